"""Training: a pure step, chunks under one jit, and a host loop that survives being killed."""

from geodl.train.cache import cached_map, fingerprint, lock, write_text
from geodl.train.checkpoints import CheckpointError, CheckpointWriter, load, restore, save
from geodl.train.ema import EmaState, with_ema
from geodl.train.fitting import NonFiniteError, fit
from geodl.train.loop import (
    Batch,
    TrainState,
    chunked,
    init,
    make_step,
    on_minibatches,
    steps_per_epoch,
)
from geodl.train.sharding import (
    batch_sharding,
    data_mesh,
    fetch,
    fully_sharded,
    held,
    initialize,
    place,
    replicate,
    shard_batch,
    shared_map,
    wait_for_all,
)


__all__ = [
    "Batch",
    "CheckpointError",
    "CheckpointWriter",
    "EmaState",
    "NonFiniteError",
    "TrainState",
    "batch_sharding",
    "cached_map",
    "chunked",
    "data_mesh",
    "fetch",
    "fingerprint",
    "fit",
    "fully_sharded",
    "held",
    "init",
    "initialize",
    "load",
    "lock",
    "make_step",
    "on_minibatches",
    "place",
    "replicate",
    "restore",
    "save",
    "shard_batch",
    "shared_map",
    "steps_per_epoch",
    "wait_for_all",
    "with_ema",
    "write_text",
]
