"""What all distributions ask of points and parameters: their shapes, and that points lie on the manifold."""

import functools

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from geodl._core.checks import aligned, check_points
from geodl.manifolds.base import Manifold, Point


def as_points(name: str, event_shape: tuple, points: ArrayLike | tuple) -> Point:
    """Arrays that end in the shape of one point, on a product a tuple of them; else ``ValueError``."""
    if all(isinstance(n, int) for n in event_shape):
        array = jnp.asarray(points)
        if array.shape[max(array.ndim - len(event_shape), 0) :] != tuple(event_shape):
            raise ValueError(f"{name}: points have shape (..., {event_shape}), got {array.shape}")
        return array
    if not isinstance(points, tuple | list) or len(points) != len(event_shape):
        raise ValueError(f"{name}: points are tuples of {len(event_shape)} arrays, got {points!r}")
    return tuple(as_points(name, s, p) for s, p in zip(event_shape, points, strict=True))


def points_on(name: str, manifold: Manifold, points: ArrayLike | tuple) -> Point:
    """The points as arrays; ``ValueError`` for another shape and, where values are concrete, off the manifold."""
    arrays = as_points(name, manifold.event_shape, points)
    check_points(name, manifold, arrays)
    return arrays


def zeros(points: Point, event_shape: tuple) -> Array:
    """0 for each point, NaN where it holds a NaN; (...)."""
    each = jax.tree.map(lambda p, s: 0 * jnp.sum(p, tuple(range(-len(s), 0))), points, event_shape)
    return functools.reduce(jnp.add, aligned(*jax.tree.leaves(each)))


def check_no_column(name: str, what: str, shape: tuple[int, ...], batch: tuple[int, ...]) -> None:
    """Raise where a column (n, 1), meant as a number for each of a batch (n,), would broadcast to (n, n)."""
    if len(shape) > len(batch) > 0 and shape[-1] == 1 != batch[-1]:
        raise ValueError(
            f"{name}: {what} has shape {shape} for a batch of shape {batch}, which would make all pairs; "
            f"numbers for each are of shape {shape[:-1]}"
        )
