"""Fifty steps on any devices and processes: ``python -m tests.multidevice.curves FOLDER '{"names": [...], ...}'``.

Prints as JSON the loss of each step of a training, and of a batch of searches the scores after each step.
"""

import json
import sys

import jax
import numpy as np

from experiments import _devices
from tests.flagships import EVALUATIONS, TRAININGS


def main(folder, names, steps=50, save_every=50, **flags):
    """By name the curve, and the bytes of state that the fullest device holds."""
    _devices.use(_devices.Devices(**flags))
    found = {}
    for name in names:
        if name == "search":
            found[name] = search_scores(steps)
            continue
        step, state, data, convolutional = TRAININGS[name]()
        where = f"{folder}/{name}"
        options = {"chunk": 1, "convolutional": convolutional, "save_every": save_every}
        _, log = _devices.fit(step, state, data, steps, where, **options)
        found[name] = [line["loss"] for line in log]
    return found | {"devices": _devices.count(), "processes": jax.process_count()}


def search_scores(steps):
    """Of every sample, each process with its own batches, as experiments search."""
    function, params, state = EVALUATIONS["search"]()
    step = jax.jit(lambda state: function(params, state))
    state, scores = _devices.split(state), []
    for _ in range(steps):
        state = step(state)
        scores.append(np.asarray(state.score).tolist())
    return scores


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], **json.loads(sys.argv[2]))))
