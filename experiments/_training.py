"""Training on minibatches, and functions of many samples in batches of one size."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from experiments import _devices
from geodl import train
from geodl.train.loop import Step


def minimize(
    loss: Callable[[Any, Any, Array], dict[str, Array]],
    params: Any,
    optimizer: optax.GradientTransformation,
    data: Any,
    batch: int,
    steps: int,
    key: Array,
    folder: Path,
    chunk: int = 500,
    convolutional: bool = True,
) -> tuple[train.TrainState, list[dict[str, Any]]]:
    """Minimize a mean over samples by a network; a run that was killed goes on where it was.

    Args:
        loss: ``loss(params, samples, key)``, what each sample (n,) adds to the mean "loss", and to others in the log.
        params: to start from.
        optimizer: any of optax.
        data: a pytree of arrays of leading axis n.
        batch: samples of a step.
        steps: of the training.
        key: of the order of the samples, and of what the loss draws.
        folder: of log and checkpoints.
        chunk: steps between two checkpoints.
        convolutional: whether the network is.

    Returns:
        The state after the last step, and the log.
    """

    def mean(params, batch, key):
        total = jnp.sum(batch.weight)
        each = loss(params, batch.data, key)
        means = {name: jnp.sum(batch.weight * values) / total for name, values in each.items()}
        return means.pop("loss"), means

    data = jax.tree.map(jnp.asarray, data)
    optimizer = _devices.optimizer(optimizer)
    step = on_minibatches(_devices.make_step(mean, optimizer), batch)
    state = train.init(params, optimizer, key, len(jax.tree.leaves(data)[0]))
    chunk = max(1, min(chunk, steps))
    return _devices.fit(step, state, data, steps, folder, chunk=chunk, convolutional=convolutional)


def on_minibatches(step: Step, batch: int, drop_last: bool = False) -> Step:
    """``train.on_minibatches``, its batches over the devices in use."""
    return train.on_minibatches(step, _devices.rows(batch), drop_last, _devices.batches())


def by_batches(
    f: Callable[[Any, np.int32], Any],
    samples: Any,
    size: int,
    folder: Path | None = None,
    depends: Any = None,
) -> Any:
    """``f(batch, number of its first sample)`` of all samples, a pytree of arrays of leading axis n.

    All batches have one size, for one compilation: the last is filled up from its own start. The processes of a run
    share the batches, the devices of each their samples. With a ``folder`` there is a bar, and a killed run keeps the
    finished batches (``train.cached_map``).
    """
    count = len(jax.tree.leaves(samples)[0])
    if not count:
        raise ValueError("there are no samples to evaluate")
    size = min(size, count)

    def batch(first):
        index = first + np.arange(size) % min(size, count - first)
        return jax.tree.map(lambda a: np.asarray(a)[index], samples), np.int32(first)

    def one(chunk):
        some, first = chunk
        found = f(_devices.split(some), first)
        return jax.tree.map(lambda a: np.asarray(a)[: count - first], found)

    chunks = [batch(first) for first in range(0, count, size)]
    if folder:
        parts = train.cached_map(one, chunks, folder, depends)
    else:
        parts = train.shared_map(one, chunks)
    return jax.tree.map(lambda *rows: np.concatenate(rows), *parts)
