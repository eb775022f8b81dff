"""A run killed with -9 in training and in evaluation ends as an unbroken one."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest


COMMAND = (
    "-m experiments.pvae mnist --data digits --kinds N-VAE --dims 3 "
    "--epochs 12 --hidden 16 --samples 1000 --root"
).split()
CELL, RESULT = "mnist/paper/n-vae-d3", "mnist/paper/results/n-vae-d3.json"


def start(root):
    environment = {  # seven starts, one compilation, and that a quick one
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "true",
        "JAX_ENABLE_COMPILATION_CACHE": "true",
        "JAX_COMPILATION_CACHE_DIR": str(root.parent / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(
        [sys.executable, *COMMAND, str(root)], env=os.environ | environment, **silent
    )


def marks(root):
    """How far a run has come: lines of its log, finished chunks of its evaluation."""
    log = root / CELL / "metrics.jsonl"
    lines = log.read_text().count("\n") if log.exists() else 0
    return lines + len(list((root / CELL).glob("iwae/*.npz")))


def ended(root):
    """Its figures and its parameters."""
    record = json.loads((root / RESULT).read_text())
    figures = {k: record[k] for k in ("loss", "negative_elbo", "kl", "active_units")}
    with open(root / CELL / "metrics.jsonl") as log:
        losses = [json.loads(line)["loss"] for line in log]
    newest = max((root / CELL / "checkpoints").iterdir(), key=lambda path: path.name)
    return figures, losses, newest.name


@pytest.mark.slow
def test_five_kills_change_nothing(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert start(whole).wait() == 0
    total = 12 + 4  # epochs, and chunks of 100 of the 359 test images
    assert marks(whole) == total
    chosen = sorted([*random.Random(0).sample(range(1, 12), 3), 13, 15])
    for mark in chosen:
        run = start(broken)
        while marks(broken) < mark and run.poll() is None:
            time.sleep(0.01)
        run.kill()
        assert run.wait() == -signal.SIGKILL  # it had not ended by itself
    assert start(broken).wait() == 0
    assert ended(broken) == ended(whole)
    digests = [
        np.load(path)["__depends__"]
        for root in (whole, broken)
        for path in sorted((root / CELL / "iwae").glob("*.npz"))[:1]
    ]
    assert digests[0] == digests[1]  # of the parameters, among others
