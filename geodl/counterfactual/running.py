"""Searches to their ends: chunks of steps, between which the host looks at who is still running."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from geodl._core.loops import host_is_faster, repeated
from geodl._core.records import as_pytree
from geodl.counterfactual.search import Search, State, Status


CHUNK = 16  # steps between two looks at who is still running, on an accelerator


def run(
    search: Search,
    state: State,
    record: Callable[[State], Any] | None = None,
    on_host: bool | None = None,
    max_concurrent: int | None = None,
) -> tuple[State, Any]:
    """Step until no sample is running: the last state and the recorded path.

    On the CPU the host calls a jitted step, elsewhere a jitted scan of ``CHUNK`` steps: XLA:CPU runs a convolution
    inside a loop 5 to 26 times slower (jax-ml/jax#12868). Both give the same numbers.

    Args:
        search: the rules.
        state: from ``search.init``, or from a run that was to go on.
        record: what to keep of the state before each step, as ``lambda s: s.position`` for trajectories; use one
            function for all calls, as each new one is compiled.
        on_host: overrides the choice.
        max_concurrent: step no more than so many samples at once, and where one has ended let the next in. The time is
            then that of the mean number of steps instead of the largest, and the memory of a step does not grow with
            the samples.

    Returns:
        The last state, and the path in NumPy arrays (None without ``record``), whose leading axis is that of the
        longest search's steps: samples that have ended repeat their last.

    Raises:
        ValueError: max_concurrent below 1, or together with ``record``.

    Example:
        >>> import jax.numpy as jnp
        >>> import optax
        >>> from geodl import counterfactual as cf
        >>> from geodl.manifolds import Euclidean
        >>> generator = cf.Generator(lambda z: 2 * z, Euclidean(2))
        >>> search = cf.Search(generator, lambda x: x, cf.confidence(0.9), optax.sgd(0.1), steps=100)
        >>> z, classes = jnp.array([[0.0, 1.0], [3.0, 0.0]]), jnp.array([0, 1])
        >>> state, _ = cf.run(search, search.init(z, classes))
        >>> state.status == cf.Status.FOUND
        Array([ True,  True], dtype=bool)
    """
    on_host = host_is_faster() if on_host is None else on_host
    length = 1 if on_host else CHUNK
    if max_concurrent is not None:
        if max_concurrent < 1 or record is not None:
            raise ValueError(
                f"run: max_concurrent must be at least 1, and without record, got {max_concurrent}"
            )
        return _concurrently(search, state, max_concurrent, length, on_host), None
    before, seen, running, argument = state.steps, [], True, (search, as_pytree(record))
    while running:
        state, (records, alive) = _advance(state, argument, length, on_host)
        seen.append(jax.device_get(records))
        running = alive[-1]
    if record is None:
        return state, None
    longest = int(jnp.max(state.steps - before, initial=0)) + 1
    return state, jax.tree.map(lambda *chunks: np.concatenate(chunks)[:longest], *seen)


def _step_and_record(state, argument):
    search, record = argument
    after = search.step(state)
    kept = None if record is None else record(state)
    return after, (kept, jnp.any(after.status == Status.RUNNING))


_advance = repeated(_step_and_record)


def _concurrently(search, state, count, length, on_host):
    """The last state; who has not ended comes first, and those that have ended only fill what is left."""
    ended = np.asarray(state.status) != Status.RUNNING
    order = np.argsort(ended, kind="stable")
    rows, queue = order[:count], [row for row in order[count:] if not ended[row]]
    part, running = _take(state, rows), True
    while running:
        part, (_, alive) = _advance(part, (search, None), length, on_host)
        running = alive[-1]
        free = np.flatnonzero(np.asarray(part.status) != Status.RUNNING)[: len(queue)]
        if len(free):
            state = _put(state, rows, part)
            rows[free], queue = queue[: len(free)], queue[len(free) :]
            part, running = _take(state, rows), True
    return _put(state, rows, part)


@jax.jit
def _take(state, rows):
    return jax.tree.map(lambda leaf: leaf[rows], state)


@jax.jit
def _put(state, rows, part):
    return jax.tree.map(lambda leaf, new: leaf.at[rows].set(new), state, part)
