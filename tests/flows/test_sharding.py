import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def found(devices):
    root = Path(__file__).parents[2]
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    done = subprocess.run(
        [sys.executable, "-m", "tests.flows.parallel"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_eight_devices_have_the_losses_of_one():
    """Matching by sharded arrays, the likelihood's gradient in shard_map, the adaptive solver on sharded points."""
    one, eight = found(1), found(8)
    assert (one.pop("devices"), eight.pop("devices")) == (1, 8)
    assert eight == pytest.approx(one, rel=2e-4)
    assert one["likelihood"] == pytest.approx(one["adaptive"], abs=2e-3)
