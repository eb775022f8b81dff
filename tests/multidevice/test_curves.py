"""One command on one device, on eight, and in two processes of four: the same curves."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.multidevice import curves


NAMES = ["pvae", "matching", "glow", "search"]
ROOT = Path(__file__).parents[2]


def run(folder, names, processes=1, module="tests.multidevice.curves", **options):
    """What the process 0 prints."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    common = {"names": names, "processes": processes, "coordinator": coordinator, **options}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "true"}
    environment.pop("XLA_FLAGS", None)
    started = [
        subprocess.Popen(
            [sys.executable, "-m", module, str(folder), json.dumps(asked)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for asked in (common | {"process": i} for i in range(processes))
    ]
    results = [process.communicate(timeout=1200) for process in started]
    for process, (_, errors) in zip(started, results, strict=True):
        assert process.returncode == 0, errors
    return json.loads(results[0][0].splitlines()[-1])


def assert_same_curves(found, expected, names):
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], rtol=2e-4, atol=2e-5, err_msg=name)


@pytest.mark.slow
def test_eight_devices_make_the_curve_of_one(tmp_path):
    names = ["matching"]
    alone = curves.main(tmp_path / "1", names, steps=8)
    found = run(tmp_path / "8", names, steps=8, devices=8, fsdp=2)
    assert (found["devices"], found["processes"]) == (8, 1)
    assert_same_curves(found, alone, names)
    assert np.ptp(found["matching"]) > 1e-2


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return run(tmp_path_factory.mktemp("alone"), NAMES)


@pytest.mark.slow
@pytest.mark.parametrize(
    "where",
    [
        {"devices": 8},
        {"devices": 8, "fsdp": 4},
        {"devices": 8, "processes": 2},
        {"devices": 8, "processes": 2, "fsdp": 2},
    ],
    ids=str,
)
def test_fifty_steps_anywhere(alone, tmp_path, where):
    found = run(tmp_path / "first", NAMES, **where)
    assert found["devices"] == 8 and found["processes"] == where.get("processes", 1)
    assert_same_curves(found, alone, NAMES)
    assert all(len(found[name]) == 50 for name in NAMES)
    assert run(tmp_path / "again", NAMES, **where) == found  # the same mesh: the same bits


@pytest.mark.slow
def test_a_run_goes_on_with_other_devices(alone, tmp_path):
    """Begun by two processes of four devices with a split state, then on two devices, then on one."""
    names = ["pvae", "matching"]
    run(tmp_path, names, steps=20, devices=8, processes=2, fsdp=4)
    run(tmp_path, names, steps=35, devices=2)
    found = run(tmp_path, names, steps=50)
    assert_same_curves(found, alone, names)


@pytest.mark.slow
def test_processes_agree_on_the_checkpoint(tmp_path):
    """Where one cannot read its part of the newest, all go back to the one before."""
    options = {"module": "tests.multidevice.restored", "devices": 8, "processes": 2}
    found = run(tmp_path, [], **options)
    assert found["steps"] == [1, 1] and np.round(found["least"], 2).tolist() == [1, 1]
    assert any("in another process" in line for lines in found["warned"] for line in lines)


@pytest.mark.slow
def test_accumulated_gradients_anywhere(tmp_path):
    where = {"accumulate": 2, "steps": 10}
    alone = run(tmp_path / "1", ["pvae", "matching"], **where)
    found = run(tmp_path / "8", ["pvae", "matching"], devices=8, fsdp=2, **where)
    assert_same_curves(found, alone, ["pvae", "matching"])
