"""State, step, minibatches and chunks: pure functions on pytrees, and the user jits.

    step = make_step(loss, optimizer)                    # (state, batch) -> (state, metrics)
    step = on_minibatches(step, 64)                      # (state, data)  -> (state, metrics)
    run = chunked(step)                                  # (state, data, n) -> (state, metrics)
    state, metrics = run(init(params, optimizer, key, len(data)), data, 1000)

Everything random is a function of ``(state.key, state.step)``, and the order of an epoch's rows is
kept in the state, so a resumed run sees the batches and the noise of an unbroken one.

Several seeds are trained at once by stacking their states along a leading axis and
``jax.vmap(step, in_axes=(0, None))``, or ``(0, 0)`` where each has its own data.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from geodl._core.checks import check_count
from geodl._core.loops import host_is_faster, repeated


PyTree: TypeAlias = Any
Key: TypeAlias = PRNGKeyArray
Metrics: TypeAlias = dict[str, Array]

# The two streams of randomness. Large numbers: fold_in(key, i) with a small i is split(key)[i],
# which the caller may have used to draw the initial parameters.
_NOISE, _SHUFFLE = 0x6E6F6973, 0x73687566


class TrainState(NamedTuple):
    """Everything that a step changes; ``key`` stays, and is folded with ``step``.

    ``order`` is the epoch's permutation of the rows, from which ``on_minibatches`` takes its batches.
    """

    params: PyTree
    opt_state: PyTree
    step: Int[Array, "*seeds"]
    key: Key
    order: Int[Array, "*seeds rows"] | None = None


class Batch(NamedTuple):
    """Rows of the data, and their weights: 1, or 0 for the padding of the last partial batch."""

    data: PyTree
    weight: Float[Array, "*seeds batch"]


Loss: TypeAlias = Callable[[PyTree, Any, Key], tuple[Array, Metrics]]
Step: TypeAlias = Callable[[TrainState, Any], tuple[TrainState, Metrics]]


def init(
    params: PyTree, optimizer: optax.GradientTransformation, key: Key, rows: int | None = None
) -> TrainState:
    """The state at step 0, of copies: ``chunked`` donates its state, the caller keeps these.

    Args:
        params: initial parameters, a pytree of arrays.
        optimizer: any optax transformation.
        key: of all that is random in the run.
        rows: number of rows of the data, for ``on_minibatches``.

    Returns:
        The state.
    """
    params, key = jax.tree.map(jnp.copy, (params, key))
    order = None if rows is None else jnp.arange(rows, dtype=jnp.int32)
    return TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32), key, order)


def make_step(loss: Loss, optimizer: optax.GradientTransformation) -> Step:
    """One optimizer step on a batch, pure, not jitted.

    Args:
        loss: ``loss(params, batch, key) -> (scalar, metrics)``, metrics a dict of scalars.
        optimizer: any optax transformation.

    Returns:
        ``step(state, batch) -> (state, metrics)``; the metrics are ``{"loss": scalar, **metrics}``, before the
        update.
    """

    def step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.fold_in(state.key, _NOISE), state.step)
        (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(state.params, batch, key)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        state = state._replace(params=params, opt_state=opt_state, step=state.step + 1)
        return state, {"loss": value, **metrics}

    return step


def steps_per_epoch(size: int, batch_size: int, drop_last: bool = False) -> int:
    """Number of batches in a pass over the data.

    Args:
        size: number of items.
        batch_size: items of a batch.
        drop_last: whether the last partial batch is dropped.

    Returns:
        The number, at least one.

    Raises:
        ValueError: there is no batch, or ``batch_size`` is below 1.
    """
    check_count("batch_size", batch_size)
    count = size // batch_size if drop_last else -(-size // batch_size)
    if count < 1:
        raise ValueError(f"no batch of {batch_size} in {size} items, drop_last={drop_last}")
    return count


def on_minibatches(
    step: Step,
    batch_size: int,
    drop_last: bool = False,
    sharding: jax.sharding.Sharding | None = None,
) -> Step:
    """A step on batches as a step on the whole data.

    Each epoch is a fresh permutation of the data, drawn in its first step (by a sort: for 60000 rows
    0.1 s on a busy CPU core). The last partial batch is dropped, or kept and filled up to
    ``batch_size`` by rows of weight 0, which the loss must use (``Batch.weight``).

    Args:
        step: as from ``make_step``; it gets a ``Batch``.
        batch_size: rows per step.
        drop_last: drop the last partial batch of an epoch.
        sharding: of the batch's leading axis, for data-parallel training on replicated data.

    Returns:
        ``step(state, data) -> (state, metrics)``.

    Raises:
        ValueError: ``batch_size`` below 1, no batch in the data, leaves of different length, or a
            state that ``init`` has made for another number of rows.
    """
    check_count("batch_size", batch_size)

    def on_data(state: TrainState, data: PyTree) -> tuple[TrainState, Metrics]:
        sizes = {len(leaf) for leaf in jax.tree.leaves(data)}
        if len(sizes) != 1:
            raise ValueError(f"data leaves must share their leading axis, got {sorted(sizes)}")
        (size,) = sizes
        per_epoch = steps_per_epoch(size, batch_size, drop_last)
        if state.order is None or state.order.shape != (size,):
            found = "no rows" if state.order is None else f"rows {list(state.order.shape)}"
            raise ValueError(
                f"the data has {size} rows, but the state was made for {found}: "
                f"init(params, optimizer, key, {size})"
            )
        epoch, batch = jnp.divmod(state.step, per_epoch)
        key = jax.random.fold_in(jax.random.fold_in(state.key, _SHUFFLE), epoch)
        if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
            key = jax.random.wrap_key_data(key)
        order = _permuted_at(batch == 0, key, state.order)
        position = batch * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
        index = order[position % size]
        drawn = Batch(jax.tree.map(lambda a: a[index], data), jnp.float32(position < size))
        if sharding is not None:
            drawn = jax.lax.with_sharding_constraint(drawn, sharding)
        return step(state._replace(order=order), drawn)

    return on_data


@jax.custom_batching.custom_vmap
def _permuted_at(
    start: Bool[Array, "*seeds"], key: Array, order: Int[Array, "*seeds rows"]
) -> Int[Array, "*seeds rows"]:
    """A permutation drawn anew where an epoch starts, elsewhere the order as it is."""
    permutation = jnp.vectorize(jax.random.permutation, excluded={1}, signature="()->(n)")

    def draw() -> Array:
        return jnp.where(start[..., None], permutation(key, order.shape[-1]), order)

    return jax.lax.cond(jnp.any(start), draw, lambda: order)


@_permuted_at.def_vmap
def _permuted_at_of_seeds(size: int, batched: Sequence[bool], *args: Array) -> tuple[Array, bool]:
    # A cond that is mapped over computes both branches in every step; one cond for all seeds does not.
    return _permuted_at(
        *(
            a if mapped else jnp.broadcast_to(a, (size, *a.shape))
            for a, mapped in zip(args, batched, strict=True)
        )
    ), True


def chunked(
    step: Step, convolutional: bool = False
) -> Callable[[TrainState, Any, int], tuple[TrainState, Metrics]]:
    """The run of many steps at a time, ``run(state, data, n)``.

    The state is donated: use the returned one. A chunk is a scan under one jit, compiled once for each n; with
    ``convolutional=True`` on the CPU it is a host loop over the jitted step, because XLA:CPU runs a convolution inside
    a loop 5 to 26 times slower (jax-ml/jax#12868). Both give the same numbers.

    Returns:
        ``run(state, data, n) -> (state, metrics)``, the metrics stacked along a leading axis n.
    """
    repeat = repeated(step, donate=True)

    def run(state: TrainState, data: Any, n: int) -> tuple[TrainState, Metrics]:
        return repeat(state, data, n, convolutional and host_is_faster())

    return run
