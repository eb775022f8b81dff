"""Programs on simulated devices."""

import json
import os
import subprocess
import sys
from pathlib import Path


def on_devices(module, devices=8, arguments=()):
    """What the module, run as a program with so many CPU devices, prints last, as JSON."""
    root = Path(__file__).parents[1]
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
