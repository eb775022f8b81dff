"""Any optimizer of optax, in orthonormal components that are carried along the path by parallel transport.

An optimizer that keeps a number for each component compares components of different steps. In the manifold's own frame,
which turns from point to point, they mean different directions; in a frame that is carried along they do not, and a
momentum goes straight on along a geodesic.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from geodl.manifolds import Manifold, Point
from geodl.optim._trees import (
    Manifolds,
    at,
    from_origin,
    is_curved,
    last_points,
    over,
    points_of,
    zero_components,
)


class FrameState(NamedTuple):
    """The optimizer's own state, the frames that it sees, and where they are."""

    inner: Any
    frames: Any
    """(..., dim, dim) for each point, rows of components in the manifold's own frame at ``points``; None where that
    frame is parallel"""
    points: Any


def in_frame(
    manifolds: Manifolds, optimizer: optax.GradientTransformation
) -> optax.GradientTransformationExtraArgs:
    """The optimizer in components of a frame that is carried by parallel transport along the path of each point.

        optimizer = optax.chain(optim.riemannian_gradient(ball), optim.in_frame(ball, optax.lion(1e-3)))

    The optimizer's parameters, which weight decay reads, are the components of -log_x(0), 0 the origin: on R^d, x. A
    frame has dim^2 numbers for a point; :func:`~geodl.optim.riemannian_momentum` and
    :func:`~geodl.optim.scale_by_riemannian_adam` need no frame.

    Args:
        manifolds: as in :func:`~geodl.optim.riemannian_gradient`, which comes before this.
        optimizer: any transformation of optax.

    Returns:
        The transformation of frame components.
    """
    optimizer = optax.with_extra_args_support(optimizer)

    def init(params):
        tree = at(manifolds, params)
        frames = over(tree, identity_frame, params)
        seen = over(tree, from_origin, params)
        return FrameState(
            optimizer.init(seen), frames, jax.tree.map(jnp.copy, points_of(tree, params))
        )

    def update(updates, state, params=None, **extra_args):
        tree = at(manifolds, params)
        points = last_points(manifolds, tree, state.points)
        frames = over(tree, carry_frame, state.frames, points, params)
        seen, places = (
            over(tree, lambda _, f, a: _seen(f, a), frames, each)
            for each in (updates, over(tree, from_origin, params))
        )
        moves, inner = optimizer.update(seen, state.inner, places, **extra_args)
        moves = over(tree, lambda _, f, a: _unseen(f, a), frames, moves)
        return moves, FrameState(inner, frames, points_of(tree, params))

    return optax.GradientTransformationExtraArgs(init, update)


def identity_frame(manifold: Manifold | None, x: Point) -> Array | None:
    """The manifold's own frame at the points x.

    Returns:
        The unit matrices (..., dim, dim); None where that frame is parallel.
    """
    if not is_curved(manifold, x):
        return None
    zero = zero_components(manifold, x)
    return jnp.broadcast_to(
        jnp.eye(zero.shape[-1], dtype=zero.dtype), (*zero.shape, zero.shape[-1])
    )


def carry_frame(manifold: Manifold | None, frame: Array | None, x: Point, y: Point) -> Array | None:
    """A frame after parallel transport.

    Args:
        manifold: that the points lie on.
        frame: (..., dim, dim), in rows of components in the manifold's own frame at x; None stays.
        x, y: points, from where to where.

    Returns:
        The frame, in components in the manifold's own frame at y.
    """
    if frame is None:
        return None
    one = lambda a: manifold.transport_frame(x, y, a)  # type: ignore  # noqa: E731
    return jax.vmap(one, -2, -2)(frame)


def update_in_frame(
    optimizer: optax.GradientTransformation, frame: Array | None, updates: Array, state: Any
) -> tuple[Array, Any]:
    """The optimizer's update of one point, seen in the frame (None: the manifold's own), and its next state.

    Args:
        optimizer: any transformation of optax.
        frame: (dim, dim), in rows of components in the manifold's own frame.
        updates: components (dim,) in the manifold's own frame, as is the result.
        state: the optimizer's.

    Returns:
        The update and the optimizer's next state.
    """
    moves, state = optimizer.update(_seen(frame, updates), state)
    return _unseen(frame, jnp.asarray(moves, updates.dtype)), state


def _seen(frame, a):
    return a if frame is None else jnp.sum(frame * a[..., None, :], -1)


def _unseen(frame, a):
    return a if frame is None else jnp.sum(frame * a[..., :, None], -2)
