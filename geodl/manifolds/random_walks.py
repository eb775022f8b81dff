"""Geodesic random walks and Brownian motion on any manifold.

Source: Jorgensen, *The Central Limit Problem for Geodesic Random Walks* (1975).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from geodl._core.checks import as_floats, check_nonnegative, float_dtype
from geodl._core.reductions import safe_norm
from geodl.manifolds.base import Manifold, Point


def random_walk(key: Array, manifold: Manifold, x: Point, steps: int, length: ArrayLike) -> Point:
    """A geodesic random walk: steps of one length, in directions uniform on the sphere of the tangent space.

    Args:
        key: of the directions.
        manifold: that it goes on.
        x: (..., *event_shape), where the walks start.
        steps: their number.
        length: of a step, a number or an array (...).

    Returns:
        (steps + 1, ..., *event_shape), the starts first.

    Raises:
        ValueError: a negative length.
    """
    check_nonnegative("random_walk: the length of a step", length)

    def draw(key, shape, dtype):
        a = jax.random.normal(key, shape, dtype)
        return jnp.asarray(length, dtype)[..., None] * a / safe_norm(a)[..., None]

    return _walk(key, manifold, x, steps, draw)


def brownian_motion(key: Array, manifold: Manifold, x: Point, time: ArrayLike, steps: int) -> Point:
    """Brownian motion up to a time, whose density solves the heat equation u_t = (Laplacian u) / 2.

    Steps exp_x(sqrt(time / steps) e), e standard normal in the frame; their ends are right up to O(time / steps).

    Args:
        key: of the steps.
        manifold: that it goes on.
        x: (..., *event_shape), where the paths start.
        time: at the end, a number or an array (...): dist^2 is dim times as large, in the mean, where it is short.
        steps: their number.

    Returns:
        (steps + 1, ..., *event_shape), the starts first.

    Raises:
        ValueError: a negative time (under jit it gives NaN).
    """
    check_nonnegative("brownian_motion: the time", time)

    def draw(key, shape, dtype):
        scale = jnp.sqrt(jnp.asarray(time, dtype) / steps)[..., None]
        return scale * jax.random.normal(key, shape, dtype)

    return _walk(key, manifold, x, steps, draw)


def _walk(key, manifold, x, steps, draw: Callable[..., Any]):
    x = as_floats(x)
    shape = (*manifold.batch_shape(x), manifold.dim)
    dtype = float_dtype(*jax.tree.leaves(x))

    def step(x, key):
        x = manifold.expmap_frame(x, draw(key, shape, dtype))
        return x, x

    _, path = lax.scan(step, x, jax.random.split(key, steps))
    return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), x, path)
