"""Training: a pure step, chunks under one jit, and a host loop that survives being killed."""

from geodl.train.cache import cached_map, fingerprint, write_text
from geodl.train.checkpoints import CheckpointError, load, restore, save
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
from geodl.train.sharding import data_mesh, initialize, replicate, shard_batch


__all__ = [
    "Batch",
    "CheckpointError",
    "EmaState",
    "NonFiniteError",
    "TrainState",
    "cached_map",
    "chunked",
    "data_mesh",
    "fingerprint",
    "fit",
    "init",
    "initialize",
    "load",
    "make_step",
    "on_minibatches",
    "replicate",
    "restore",
    "save",
    "shard_batch",
    "steps_per_epoch",
    "with_ema",
    "write_text",
]
