"""Exponential moving averages of parameters, kept with the optimizer's state."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int


class EmaState(NamedTuple):
    """State of the optimizer, the average of the parameters, and the number of updates."""

    inner: Any
    average: Any
    updates: Int[Array, ""]


def with_ema(optimizer: optax.GradientTransformation, decay: float) -> optax.GradientTransformation:
    """The same updates, and in ``opt_state.average`` the moving average of the parameters after each.

    The decay starts low, (1 + n) / (10 + n) after n updates, so that the initial parameters are soon forgotten.

    Returns:
        The transformation, whose state is an :class:`EmaState`.

    Raises:
        ValueError: unless 0 <= decay < 1.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"with_ema: decay must be in [0, 1), got {decay}")

    def init(params):
        return EmaState(
            optimizer.init(params), jax.tree.map(jnp.copy, params), jnp.zeros((), jnp.int32)
        )

    def update(updates, state, params=None):
        if params is None:
            raise ValueError("with_ema: update needs the parameters")
        updates, inner = optimizer.update(updates, state.inner, params)
        weight = 1 - jnp.minimum(decay, (1 + state.updates) / (10 + state.updates))
        average = optax.incremental_update(
            optax.apply_updates(params, updates), state.average, weight
        )
        return updates, EmaState(inner, average, state.updates + 1)

    return optax.GradientTransformation(init, update)
