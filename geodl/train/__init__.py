"""Training: a pure step, chunks under one jit, and a host loop that survives being killed."""

from geodl.train.averaging import AveragedState, averaged
from geodl.train.checkpoints import CheckpointError, load, restore, save
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
from geodl.train.runs import (
    circumstances,
    fingerprint,
    markdown_table,
    resumable_map,
    start_run,
    write_text,
)
from geodl.train.sharding import data_mesh, initialize, replicate, shard_batch


__all__ = [
    "AveragedState",
    "Batch",
    "CheckpointError",
    "NonFiniteError",
    "TrainState",
    "averaged",
    "chunked",
    "circumstances",
    "data_mesh",
    "fingerprint",
    "fit",
    "init",
    "initialize",
    "load",
    "make_step",
    "markdown_table",
    "on_minibatches",
    "replicate",
    "restore",
    "resumable_map",
    "save",
    "shard_batch",
    "start_run",
    "steps_per_epoch",
    "write_text",
]
