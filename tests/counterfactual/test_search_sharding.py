import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_eight_devices_find_what_one_finds():
    """Every sample's state: point, optimizer, frame, best, score, steps, status."""
    root = Path(__file__).parents[2]
    flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    done = subprocess.run(
        [sys.executable, "-m", "tests.counterfactual.parallel"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["devices"] == 8 and 0 < found["found"] < 16
    assert found["path"] == [31, 16, 3]
    assert max(found["differences"]) < 1e-5
