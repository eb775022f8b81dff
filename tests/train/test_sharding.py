import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from geodl import train
from geodl.train import sharding
from tests.train.problem import CHUNK, RUN, data, initial


@pytest.fixture(scope="module")
def alone():
    """The losses of each chunk, on one device."""
    state, losses = initial(jax.random.key(0)), []
    for _ in range(4):
        state, metrics = RUN(state, data(), CHUNK)
        losses.append(metrics["loss"].mean())
    return np.asarray(losses)


def start(folder, devices, chunks, **environment):
    root = Path(__file__).parents[2]
    flags = f"--xla_force_host_platform_device_count={devices}"
    return subprocess.Popen(
        [sys.executable, "-m", "tests.train.parallel", str(folder), str(chunks * CHUNK)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "XLA_FLAGS": flags, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes):
    results = [process.communicate(timeout=240) for process in processes]
    for process, (_, errors) in zip(processes, results, strict=True):
        assert process.returncode == 0, errors
    return json.loads(results[0][0].splitlines()[-1])


def test_eight_devices_make_the_run_of_one(alone, tmp_path):
    found = finish(start(tmp_path, 8, 4))
    np.testing.assert_allclose(found["loss"], alone, rtol=1e-4)
    assert found["devices"] == found["shards"] == 8 and found["sum"] == 28


@pytest.mark.slow
def test_two_processes_make_the_run_of_one_and_resume(alone, tmp_path):
    for chunks in (2, 4):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        common = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
        both = [start(tmp_path, 4, chunks, **common, JAX_PROCESS_ID=str(i)) for i in range(2)]
        found = finish(*both)
        np.testing.assert_allclose(found["loss"], alone[:chunks], rtol=1e-4)
        assert found["devices"] == found["shards"] == 8 and found["sum"] == 28


def test_half_an_environment_is_an_error(monkeypatch):
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    monkeypatch.setenv("JAX_PROCESS_ID", "0")
    monkeypatch.delenv("JAX_COORDINATOR_ADDRESS", raising=False)
    with pytest.raises(ValueError, match="JAX_COORDINATOR_ADDRESS must be set too"):
        train.initialize()


def test_one_process_of_a_number(tmp_path, monkeypatch):
    """A second one would end both runs."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    started = []
    monkeypatch.setattr("jax.distributed.initialize", lambda *where: started.append(where))
    monkeypatch.setattr(sharding, "_joined", contextlib.ExitStack())
    train.initialize("localhost:1", 2, 0)
    train.initialize("localhost:1", 2, 1)
    with pytest.raises(RuntimeError, match=r"process 0 of the run at localhost:1 is going on al"):
        train.initialize("localhost:1", 2, 0)
    assert started == [("localhost:1", 2, 0), ("localhost:1", 2, 1)]
    sharding._joined.close()
    train.initialize("localhost:1", 2, 0)
    sharding._joined.close()
