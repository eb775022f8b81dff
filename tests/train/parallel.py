"""The same run on any devices and processes: ``python -m tests.train.parallel FOLDER``."""

import json
import os
import sys

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from geodl import train
from tests.train.problem import CHUNK, data, initial, step_on_data


def main(folder, steps):
    """Train data-parallel over all there is; the state, and the losses."""
    train.initialize()
    mesh = train.data_mesh()
    step = step_on_data(sharding=NamedSharding(mesh, PartitionSpec("data")))
    state, rows = train.replicate(mesh, (initial(jax.random.key(0)), data()))
    run = train.chunked(step)
    state, history = train.fit(run, state, rows, steps, folder, chunk=CHUNK, progress=False)

    local = np.arange(8.0).reshape(jax.process_count(), -1)[jax.process_index()]
    whole = train.shard_batch(mesh, local)
    devices = {"devices": jax.device_count(), "shards": len(whole.sharding.device_set)}
    return state, history, {**devices, "sum": float(whole.sum())}


if __name__ == "__main__":
    os.environ["JAX_PLATFORMS"] = "cpu"
    _, history, found = main(sys.argv[1], int(sys.argv[2]))
    if jax.process_index() == 0:
        print(json.dumps({"loss": [record["loss"] for record in history], **found}))
