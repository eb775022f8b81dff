"""A checkpoint of which one process cannot read its part: ``python -m tests.multidevice.restored FOLDER OPTIONS``."""

import json
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from experiments import _devices
from geodl import train


def main(folder, names, **flags):
    """Of every process the step that it has restored, the least number of that state, and its warnings."""
    _devices.use(_devices.Devices(**flags))
    rows = NamedSharding(train.data_mesh(), PartitionSpec(("data", "fsdp")))
    for step in (1, 2):  # numbers that cannot be compressed into the checkpoint's common part
        state = step + jax.random.uniform(jax.random.key(step), (4000, 100))
        train.save(folder, step, train.place(rows, state))
    train.wait_for_all()
    if jax.process_index() == 0:
        for part in Path(folder).rglob("2/**/ocdbt.process_1/d/*"):
            part.write_bytes(part.read_bytes()[:50])
    train.wait_for_all()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        step, state = train.restore(folder, train.place(rows, jnp.zeros((4000, 100))))
    mine = step, float(jnp.min(state)), [str(w.message) for w in warned]
    found = train.shared_map(lambda _: mine, range(jax.process_count()))
    return dict(zip(("steps", "least", "warned"), zip(*found, strict=True), strict=True))


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], **json.loads(sys.argv[2]))))
