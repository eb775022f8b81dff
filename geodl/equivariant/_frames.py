"""Gauges, and parallel transport between points: in which frames vectors and features are written."""

import contextlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from geodl._core.checks import check, check_positive, is_shape
from geodl.equivariant._representations import check_orthogonal
from geodl.equivariant.fields import FieldType
from geodl.equivariant.groups import Group
from geodl.manifolds import Manifold, Point, Tangent


def own_gauge(manifold: Manifold, points: Point) -> Array:
    """The manifold's own frames at points (..., *event_shape): identity matrices (..., d, d).

    Returns:
        The gauge (..., d, d).
    """
    dtype = jnp.result_type(*jax.tree.leaves(points))
    return jnp.broadcast_to(
        jnp.eye(manifold.dim, dtype=dtype), (*manifold.batch_shape(points), *[manifold.dim] * 2)
    )


def random_gauge(manifold: Manifold, points: Point, group: Group, key: Array) -> Array:
    """The manifold's own frames at points, each turned by a random element of the group.

    Args:
        manifold: The space.
        points: (..., *event_shape).
        group: The structure group, which acts on the d dimensions of the manifold.
        key: Of the random numbers.

    Returns:
        The gauge (..., d, d).

    Raises:
        ValueError: The group acts on another number of dimensions.
    """
    if group.dim != manifold.dim:
        raise ValueError(f"random_gauge: {group} does not act on {manifold.dim} dimensions")
    dtype = jnp.result_type(*jax.tree.leaves(points))
    return group.random(key, manifold.batch_shape(points), dtype)


def gauge_of_vectors(manifold: Manifold, points: Point, vectors: Tangent) -> Array:
    """The gauge of given orthonormal vectors.

    Args:
        manifold: The space.
        points: (..., *event_shape).
        vectors: d tangent vectors (..., d, *event_shape) at each point.

    Returns:
        The gauge (..., d, d).

    Raises:
        ValueError: The vectors are not orthonormal.
    """
    rows = manifold.to_frame(_with_axis(manifold, points), vectors)
    check_orthogonal("gauge_of_vectors: vectors", rows)
    return jnp.swapaxes(rows, -1, -2)


def change_gauge(field_type: FieldType, features: Array, old: Array, new: Array) -> Array:
    """Features given in one gauge, written in another: rho(new^T old) f.

    Args:
        field_type: Type of the fields.
        features: (..., dim), in the frames ``old``.
        old: Gauge (..., d, d) in which they are given.
        new: Gauge (..., d, d) in which they are wanted.

    Returns:
        The features (..., dim) in the frames ``new``.

    Raises:
        ValueError: new^T old is not an element of the fields' group.
    """
    return field_type.transform(compose(jnp.swapaxes(new, -1, -2), old), features)


def on_frames(field_type: FieldType, features: Array, gauge: Array) -> Callable[[Array], Array]:
    """The function F of frames e (..., d, d) of a field: its features in e.

    It has F(e k) = rho(k)^-1 F(e). Sections of the associated bundle and such functions on the frame bundle are the
    same thing; :func:`on_points` is the inverse.

    Args:
        field_type: Type of the fields.
        features: (..., dim), in the gauge.
        gauge: (..., d, d).

    Returns:
        The function: frames (..., d, d) -> features (..., dim).
    """
    return lambda frames: change_gauge(field_type, features, gauge, frames)


def on_points(function: Callable[[Array], Array], gauge: Array) -> Array:
    """Features in a gauge (..., d, d) of an equivariant function on frames: its values there.

    Returns:
        The features (..., dim).
    """
    return function(gauge)


def check_ball(name: str, manifold: Manifold, points: Point, radius: float) -> None:
    """Raise for what are not points (n, *event_shape) on the manifold, and for a ball that would overlap itself."""
    check_positive(f"{name}: radius", radius)
    shapes = jax.tree.leaves(manifold.event_shape, is_leaf=is_shape)
    if [np.shape(p)[1:] for p in jax.tree.leaves(points)] != shapes or not all(
        map(len, jax.tree.leaves(points))
    ):
        needed = jax.tree.map(lambda s: ("n", *s), manifold.event_shape, is_leaf=is_shape)
        raise ValueError(
            f"{name}: points {needed} are needed, got {jax.tree.map(np.shape, points)}"
        )
    manifold.sqdist(points, points)  # raises for points that are not on the manifold
    for factor, _ in manifold.by_factor(points):
        with contextlib.suppress(NotImplementedError):  # a space that does not say
            winding = factor.winding
            if winding.kind != "none":
                most = np.asarray(winding.period) / 2
                check(radius < most, f"{name}: radius must be below {most:.3g} on {factor}", radius)


def compose(a: Array, b: Array) -> Array:
    """Products a b of small matrices (..., d, d), elementwise: never in bf16 or TF32."""
    return jnp.sum(a[..., :, :, None] * b[..., None, :, :], -2)


def _with_axis(manifold, points):
    """Points with an axis before the coordinates, for a frame's vectors."""
    return jax.tree.map(
        lambda p, shape: jnp.expand_dims(p, p.ndim - len(shape)), points, manifold.event_shape
    )


# -------------------------------------------------------------------------------------------------
# Parallel transport
# -------------------------------------------------------------------------------------------------


def parallel_transport(manifold: Manifold, path: Point, v: Tangent) -> Tangent:
    """A tangent vector at the first point of a path of geodesics, transported to the last one.

    Args:
        manifold: The space.
        path: The corners (n, *event_shape).
        v: Tangent vectors (..., *event_shape) at the first corner.

    Returns:
        Tangent vectors (..., *event_shape) at the last corner.
    """

    def step(v, ends):
        here, there = ends
        return manifold.transport(here, there, v), None

    starts, stops = jax.tree.map(lambda p: p[:-1], path), jax.tree.map(lambda p: p[1:], path)
    return jax.lax.scan(step, v, (starts, stops))[0]


def holonomy(manifold: Manifold, loop: Point) -> Array:
    """What transport once around a loop does to vectors: an orthogonal matrix in the manifold's frame.

    On a surface it is the rotation by the curvature that the loop encloses, for a loop that is counterclockwise in the
    frame (Gauss & Bonnet).

    Args:
        manifold: The space.
        loop: The corners (n, *event_shape) of a polygon of geodesics; the last one is joined to the first.

    Returns:
        (d, d), components at the first corner.

    Raises:
        ValueError: There is no corner.
    """
    if not jax.tree.leaves(loop)[0].shape[0]:
        raise ValueError("holonomy: a loop has at least one corner, got none")
    start = jax.tree.map(lambda p: p[0], loop)
    closed = jax.tree.map(lambda p: jnp.concatenate([p, p[:1]]), loop)
    around = parallel_transport(manifold, closed, manifold.tangent_basis(start))
    return manifold.to_frame(_with_axis(manifold, start), around).T


def transport_matrices(manifold: Manifold, x: Point, y: Point) -> Array:
    """Transport along geodesics from y to x, as matrices between the manifold's frames there.

    Args:
        manifold: The space.
        x, y: Points (..., *event_shape).

    Returns:
        (..., d, d), components at y to components at x.
    """
    x_rows, y_rows = _with_axis(manifold, x), _with_axis(manifold, y)
    columns = manifold.transport(y_rows, x_rows, manifold.tangent_basis(y))
    return jnp.swapaxes(manifold.to_frame(x_rows, columns), -1, -2)
