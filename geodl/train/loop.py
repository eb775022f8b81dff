"""State, step, minibatches and chunks: pure functions on pytrees, and the user jits.

    step = make_step(loss, optimizer)                    # (state, batch) -> (state, metrics)
    step = on_minibatches(step, 64)                      # (state, data)  -> (state, metrics)
    run = chunked(step)                                  # (state, data, n) -> (state, metrics)
    state, metrics = run(init(params, optimizer, key), data, 1000)

Everything random is a function of ``(state.key, state.step)``, so a resumed run sees the batches
and the noise of an unbroken one. Several seeds are trained at once by stacking their states along
a leading axis and ``jax.vmap(step, in_axes=(0, None))``, or ``(0, 0)`` where each has its own data.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray


PyTree: TypeAlias = Any
Key: TypeAlias = PRNGKeyArray
Metrics: TypeAlias = dict[str, Array]

# The two streams of randomness. Large numbers: fold_in(key, i) with a small i is split(key)[i],
# which the caller may have used to draw the initial parameters.
_NOISE, _SHUFFLE = 0x6E6F6973, 0x73687566


class TrainState(NamedTuple):
    """Everything that a step changes; `key` stays, and is folded with `step`."""

    params: PyTree
    opt_state: PyTree
    step: Int[Array, "*seeds"]
    key: Key


class Batch(NamedTuple):
    """Rows of the data, and their weights: 1, or 0 for the padding of the last partial batch."""

    data: PyTree
    weight: Float[Array, "*seeds batch"]


Loss: TypeAlias = Callable[[PyTree, Any, Key], tuple[Array, Metrics]]
Step: TypeAlias = Callable[[TrainState, Any], tuple[TrainState, Metrics]]


def init(params: PyTree, optimizer: optax.GradientTransformation, key: Key) -> TrainState:
    """The state at step 0, of copies: `chunked` donates its state, the caller keeps these."""
    params, key = jax.tree.map(jnp.copy, (params, key))
    return TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32), key)


def make_step(loss: Loss, optimizer: optax.GradientTransformation) -> Step:
    """One optimizer step on a batch: `step(state, batch) -> (state, metrics)`, pure, not jitted.

    Args:
        loss: `loss(params, batch, key) -> (scalar, metrics)`, metrics a dict of scalars.
        optimizer: any optax transformation.

    The metrics returned are `{"loss": scalar, **metrics}`, before the update.
    """

    def step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.fold_in(state.key, _NOISE), state.step)
        (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(state.params, batch, key)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(params, opt_state, state.step + 1, state.key), {"loss": value, **metrics}

    return step


def steps_per_epoch(size: int, batch_size: int, drop_last: bool = False) -> int:
    """Number of batches in a pass over `size` items; at least one, or ValueError."""
    count = size // batch_size if drop_last else -(-size // batch_size)
    if batch_size < 1 or count < 1:
        raise ValueError(f"no batch of {batch_size} in {size} items, drop_last={drop_last}")
    return count


def on_minibatches(
    step: Step,
    batch_size: int,
    drop_last: bool = False,
    sharding: jax.sharding.Sharding | None = None,
) -> Step:
    """A step on batches as a step on the whole data: `step(state, data) -> (state, metrics)`.

    Each epoch is a fresh permutation of the data. The last partial batch is dropped, or kept and
    filled up to `batch_size` by rows of weight 0, which the loss must use (`Batch.weight`).

    Args:
        step: as from `make_step`; it gets a `Batch`.
        batch_size: rows per step.
        drop_last: drop the last partial batch of an epoch.
        sharding: of the batch's leading axis, for data-parallel training on replicated data.

    Raises:
        ValueError: no batch in the data, or leaves of different length.
    """

    def on_data(state: TrainState, data: PyTree) -> tuple[TrainState, Metrics]:
        sizes = {len(leaf) for leaf in jax.tree.leaves(data)}
        if len(sizes) != 1:
            raise ValueError(f"data leaves must share their leading axis, got {sorted(sizes)}")
        (size,) = sizes
        epoch, batch = jnp.divmod(state.step, steps_per_epoch(size, batch_size, drop_last))
        key = jax.random.fold_in(jax.random.fold_in(state.key, _SHUFFLE), epoch)
        position = batch * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
        index = shuffled(key, position % size, size)
        drawn = Batch(jax.tree.map(lambda a: a[index], data), jnp.float32(position < size))
        if sharding is not None:
            drawn = jax.lax.with_sharding_constraint(drawn, sharding)
        return step(state, drawn)

    return on_data


def shuffled(key: Key, position: Int[Array, " n"], size: int) -> Int[Array, " n"]:
    """The elements at `position` of a random permutation of 0..size-1, without the rest of it.

    The swap-or-not shuffle (Hoang, Morris, Rogaway 2012): a round pairs x with K - x (mod size)
    and swaps each pair or not by a hash of it. A batch costs microseconds where the whole
    permutation of 60000 costs 15 ms, so that a step can draw its batch from (key, step) alone.
    """
    rounds = 32  # two given elements keep a trace of where they were with probability 2^-16
    pivot_key, salt_key = jax.random.split(key)
    pivots = jax.random.randint(pivot_key, (rounds,), 0, size, jnp.int32)
    salts = jax.random.bits(salt_key, (rounds,), jnp.uint32)

    def swap_or_not(x: Array, pivot_salt: tuple[Array, Array]) -> tuple[Array, None]:
        pivot, salt = pivot_salt
        partner = (pivot - x) % size
        coin = _mix(_mix(jnp.maximum(x, partner).astype(jnp.uint32)) ^ salt) >> 31
        return jnp.where(coin, partner, x), None

    return jax.lax.scan(swap_or_not, position.astype(jnp.int32), (pivots, salts))[0]


def _mix(h: Array) -> Array:
    """The 32-bit finaliser of MurmurHash3: every input bit reaches every output bit."""
    h = (h ^ (h >> 16)) * jnp.uint32(0x85EBCA6B)
    h = (h ^ (h >> 13)) * jnp.uint32(0xC2B2AE35)
    return h ^ (h >> 16)


def chunked(
    step: Step, convolutional: bool = False
) -> Callable[[TrainState, Any, int], tuple[TrainState, Metrics]]:
    """`run(state, data, n)`: n steps at a time, with the metrics stacked along a leading axis n.

    The state is donated: use the returned one. A chunk is a scan under one jit, compiled once for
    each n; with `convolutional=True` on the CPU it is a host loop over the jitted step, because
    XLA:CPU runs a convolution inside a loop 5 to 26 times slower (jax-ml/jax#12868). Both give
    the same numbers.
    """

    @partial(jax.jit, static_argnums=2, donate_argnums=0)
    def scanned(state: TrainState, data: Any, n: int) -> tuple[TrainState, Metrics]:
        return jax.lax.scan(lambda state, _: step(state, data), state, length=n)

    jitted = jax.jit(step, donate_argnums=0)

    def looped(state: TrainState, data: Any, n: int) -> tuple[TrainState, Metrics]:
        metrics = []
        for _ in range(n):
            state, latest = jitted(state, data)
            metrics.append(latest)
        return state, jax.tree.map(lambda *m: jnp.asarray(np.stack(m)), *metrics)

    def run(state: TrainState, data: Any, n: int) -> tuple[TrainState, Metrics]:
        on_host = convolutional and jax.default_backend() == "cpu"
        return (looped if on_host else scanned)(state, data, n)

    return run
