"""Means, variances, regression, principal directions and clusters on any manifold.

A set of points has its axis n before the axes of a point, ``(..., n, *event_shape)``, its weights are ``(..., n)``;
leading axes are sets of their own. Weights need not add up to one. Results carry whether they have converged, since a
mean is what an iteration ends at.

Sources: Karcher, *Riemannian Center of Mass and Mollifier Smoothing* (1977); Barzilai & Borwein, *Two-Point Step Size
Gradient Methods* (1988); Fletcher, *Geodesic Regression* (2011); Fletcher et al., *Principal Geodesic Analysis* (2004);
Arthur & Vassilvitskii, *k-means++* (2007).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from geodl._core.checks import (
    as_floats,
    check,
    check_points,
    float_dtype,
    is_shape,
)
from geodl._core.reductions import binade, dot, safe_norm
from geodl.manifolds.base import Manifold, Point


class Mean(NamedTuple):
    """A Fréchet mean, and how far it can be believed."""

    point: Point
    residual: Array
    """the length of the mean logarithm there, relative to the root mean square distance: 0 at a mean"""
    converged: Array
    """whether that is below the tolerance"""
    steps: Array


def frechet_mean(
    manifold: Manifold,
    points: Point,
    weights: ArrayLike | None = None,
    start: Point | None = None,
    tolerance: float | None = None,
    max_steps: int = 200,
) -> Mean:
    """The minimum of sum_i w_i dist(x, p_i)^2, where sum_i w_i log_x(p_i) = 0.

    Steps along the mean logarithm, of the length that the last two gradients suggest (Barzilai & Borwein), taken back
    where the slope has turned by more than half. Both are read off gradients, which keep digits where squared distances
    have lost them. Derivatives in points, weights and curvature, of any order, are those of the implicit function
    theorem.

    On a space of positive curvature the mean is unique for points within a ball of radius pi / (4 sqrt(curvature)). For
    others the iteration finds a point where the mean logarithm is 0, near the start: for two antipodes, say, ``start``
    itself where it is half way between.

    Args:
        manifold: that the points lie on.
        points: (..., n, *event_shape).
        weights: (..., n), at least 0 and not all 0; equal by default. Axes of points and weights broadcast.
        start: (..., *event_shape), of the iteration; by default the point of largest weight.
        tolerance: of the relative residual; 16 roundings of the dtype by default.
        max_steps: where the iteration ends in any case.

    Returns:
        The mean; ``converged`` is False where it is not to be believed.

    Raises:
        ValueError: no points; a negative weight, or only zeros (under jit these give NaN).
    """
    points, weights, batch = _weighted("frechet_mean", manifold, points, weights)
    dtype = weights.dtype
    eps = 16 * float(jnp.finfo(dtype).eps) if tolerance is None else tolerance
    one = partial(_mean, tolerance=eps, max_steps=max_steps)
    if start is None:
        largest = jnp.argmax(weights, -1)
        start = _rows(manifold, points, largest)
    start = _spread(manifold, as_floats(start), batch)
    check_points("frechet_mean: start", manifold, start)
    start = jax.tree.map(lambda s, p: s.astype(p.dtype), start, points)
    return _mapped(one, len(batch))(manifold, points, weights, start)


def _mean(manifold, points, weights, start, tolerance, max_steps):
    """Of one set of points."""
    space, fixed, shares = lax.stop_gradient((manifold, points, weights))

    def gradient(x):
        logs, unit = _in_units(space.logmap_frame(_row(space, x), fixed), shares)
        v, spread = jnp.sum(shares[:, None] * logs, 0), _root_mean_square(shares, logs)
        return unit * v, safe_norm(v) / jnp.where(spread == 0, 1.0, spread)

    def step(state):
        x, v, residual, t, n = state
        y = space.expmap_frame(x, t * v)
        new, residual_of_new = gradient(y)
        # <v, v> (1 - t h) along the step, h the second derivative there
        one = 1 / binade(v)
        vv, turned = dot(one * v, one * v), dot(one * new, one * space.transport_frame(x, y, v))
        turned = 1 - turned / jnp.where(vv == 0, 1.0, vv)
        best = jnp.where(turned > 0, t / jnp.where(turned > 0, turned, 1.0), 2 * t)
        best = jnp.clip(best, t / 8, 8 * t)
        kept = ~(turned > 1.5)
        following = y, new, residual_of_new, best, n + 1
        again = x, v, residual, best, n + 1
        return jax.tree.map(lambda a, b: jnp.where(kept, a, b), following, again)

    def running(state):
        return (state[2] > tolerance) & (state[4] < max_steps)

    start = lax.stop_gradient(start)
    first = (start, *gradient(start), jnp.ones((), weights.dtype), jnp.zeros((), jnp.int32))
    x, _, residual, _, steps = lax.while_loop(running, step, first)

    def condition(a):  # 0 at the mean, in the frame of which the components are 0
        logs = manifold.logmap_frame(_row(manifold, manifold.expmap_frame(x, a)), points)
        return jnp.sum(weights[:, None] * logs, 0)

    def linear_solve(f, b):
        return jnp.linalg.solve(jax.jacobian(f)(b), b)

    at_mean = 0 * residual * jnp.ones(manifold.dim, weights.dtype)  # NaN where that is
    a = lax.custom_root(condition, at_mean, lambda _, a: a, linear_solve)
    converged = residual <= tolerance
    return Mean(manifold.expmap_frame(x, a), residual, converged, steps)


def frechet_variance(
    manifold: Manifold,
    points: Point,
    weights: ArrayLike | None = None,
    mean: Point | None = None,
) -> Array:
    """The weighted mean (...) of dist(mean, p_i)^2, about the Fréchet mean or any other point.

    Args:
        manifold: that the points lie on.
        points: (..., n, *event_shape).
        weights: (..., n), equal by default.
        mean: (..., *event_shape), if not the Fréchet mean.

    Returns:
        Numbers (...).
    """
    points, weights, _ = _weighted("frechet_variance", manifold, points, weights)
    mean = frechet_mean(manifold, points, weights).point if mean is None else mean
    return jnp.sum(weights * manifold.sqdist(_row(manifold, mean), points), -1)


class PrincipalDirections(NamedTuple):
    """Directions at a mean in which points spread, the widest first."""

    mean: Point
    directions: Array
    """(..., dim, dim), in rows of components in the manifold's frame at the mean"""
    variances: Array
    """(..., dim), of the logarithms in these directions"""


def tangent_pca(
    manifold: Manifold,
    points: Point,
    weights: ArrayLike | None = None,
    mean: Point | None = None,
) -> PrincipalDirections:
    """Principal components of the logarithms at the mean (Fletcher et al. 2004), by their weighted covariance.

    Variances are weighted means of squares (without weights sums over n, not n - 1). Where they are equal, their
    directions are any orthonormal ones, and derivatives of these are NaN.

    Args:
        manifold: that the points lie on.
        points: (..., n, *event_shape).
        weights: (..., n), equal by default.
        mean: (..., *event_shape), if not the Fréchet mean.

    Returns:
        The mean, and directions and variances there.
    """
    points, weights, _ = _weighted("tangent_pca", manifold, points, weights)
    mean = frechet_mean(manifold, points, weights).point if mean is None else mean
    logs, unit = _in_units(manifold.logmap_frame(_row(manifold, mean), points), weights)
    covariance = jnp.sum(weights[..., None, None] * logs[..., :, None] * logs[..., None, :], -3)
    variances, columns = jnp.linalg.eigh(covariance)
    return PrincipalDirections(
        mean,
        jnp.swapaxes(columns, -1, -2)[..., ::-1, :],
        jnp.square(unit)[..., None] * variances[..., ::-1],
    )


class Geodesic(NamedTuple):
    """A geodesic ``expmap_frame(point, t * velocity)`` fitted to points at times."""

    point: Point
    velocity: Array
    """(..., dim), components in the manifold's frame at ``point``"""
    converged: Array
    steps: Array


def geodesic_regression(
    manifold: Manifold,
    times: ArrayLike,
    points: Point,
    weights: ArrayLike | None = None,
    tolerance: float | None = None,
    max_steps: int = 100,
) -> Geodesic:
    """The geodesic with least sum_i w_i dist(exp_x(t_i v), p_i)^2 (Fletcher 2011), by damped Gauss-Newton steps.

    It starts at the mean, standing still, and stays there where all times are equal. Not differentiated: derivatives
    are those of the last step.

    Args:
        manifold: that the points lie on.
        times: (..., n), in any unit.
        points: (..., n, *event_shape).
        weights: (..., n), equal by default.
        tolerance: of a step, relative to the spread of the points; 1e-5 in float32, 1e-10 in float64 by default.
        max_steps: where the iteration ends in any case.

    Returns:
        The geodesic, whose ``point`` is that at time 0.

    Raises:
        ValueError: no points; a negative weight, or only zeros (under jit these give NaN).
    """
    points, weights, batch = _weighted("geodesic_regression", manifold, points, weights)
    times = jnp.asarray(times, weights.dtype)
    _check_numbers("geodesic_regression", "times", times, weights.shape)
    times = jnp.broadcast_to(times, weights.shape)
    small = 1e-5 if weights.dtype.itemsize < 8 else 1e-10
    one = partial(_regression, tolerance=tolerance or small, max_steps=max_steps)
    return _mapped(one, len(batch))(manifold, times, points, weights)


def _regression(manifold, times, points, weights, tolerance, max_steps):
    unit = binade(times)
    times = times / unit
    middle = jnp.sum(weights * times)
    width = jnp.sqrt(jnp.sum(weights * jnp.square(times - middle)))
    equal = width <= 8 * jnp.finfo(times.dtype).eps * jnp.max(jnp.abs(times))
    width = jnp.where(equal, 1.0, width)  # of equal times it is the rounding of their mean
    s = jnp.where(equal, 0.0, times - middle) / width
    start = frechet_mean(manifold, points, weights).point
    logs, size = _in_units(manifold.logmap_frame(_row(manifold, start), points), weights)
    spread = _root_mean_square(weights, logs)

    def moved(x, v, change):
        """Another point, and v + dv transported there."""
        a, dv = change
        y = manifold.expmap_frame(x, size * a)
        return y, manifold.transport_frame(x, y, v + dv)

    def residuals(x, v, change):
        x, v = moved(x, v, change)
        on_it = manifold.expmap_frame(_row(manifold, x), s[:, None] * (size * v))
        return (jnp.sqrt(weights)[:, None] * manifold.logmap_frame(on_it, points)) * (1 / size)

    def cost(x, v):
        return jnp.sum(jnp.square(residuals(x, v, nothing)))

    nothing = jnp.zeros((2, manifold.dim), weights.dtype)
    n = nothing.size

    def step(state):
        x, v, value, damping, _, count = state
        r = residuals(x, v, nothing).ravel()
        jacobian = jax.jacfwd(lambda change: residuals(x, v, change).ravel())(nothing)
        jacobian = jacobian.reshape(-1, n)
        normal = _product(jacobian.T, jacobian)
        change = -jnp.linalg.solve(
            normal + damping * jnp.eye(n, dtype=r.dtype), _product(jacobian.T, r[:, None])
        ).reshape(nothing.shape)
        y, u = moved(x, v, change)
        new = cost(y, u)
        kept = ~(new > value * (1 + 16 * jnp.finfo(r.dtype).eps))
        damping = jnp.where(kept, damping / 10, 10 * damping)
        length = jnp.sqrt(jnp.sum(jnp.square(change)))
        following, again = (y, u, new), (x, v, value)
        chosen = jax.tree.map(lambda a, b: jnp.where(kept, a, b), following, again)
        # At a perfect fit short steps change the cost by its rounding alone.
        ended = kept | ((length <= tolerance * spread) & (damping < 1))
        return *chosen, damping, jnp.where(ended, length, jnp.inf), count + 1

    def running(state):
        return (state[4] > tolerance * spread) & (state[5] < max_steps)

    zero = jnp.zeros(manifold.dim, weights.dtype)
    first = (start, zero, cost(start, zero), jnp.full_like(width, 1e-3), spread, jnp.int32(0))
    x, v, _, _, length, steps = lax.while_loop(running, step, first)
    velocity = size * v / width
    point = manifold.expmap_frame(x, -middle * velocity)
    return Geodesic(
        point,
        manifold.transport_frame(x, point, velocity) / unit,
        length <= tolerance * spread,
        steps,
    )


def _in_units(logs, weights):
    """Logarithms of points of some weight over a power of two of their size, so that squares are floats; and that."""
    logs = (weights > 0)[..., None] * logs
    unit = binade(logs.reshape(*logs.shape[:-2], -1))
    return logs * (1 / unit)[..., None, None], unit


def _root_mean_square(weights, logs):
    return jnp.sqrt(jnp.sum(weights * dot(logs, logs)))


def _product(a, b):
    """The matrix product, elementwise: never in bf16 or TF32."""
    return jnp.sum(a[:, :, None] * b[None], 1)


class Clusters(NamedTuple):
    """k centers, and to which of them each point is nearest."""

    centers: Point
    """(k, *event_shape)"""
    labels: Array
    """(n,)"""
    cost: Array
    """the weighted mean of the squared distances to the nearest centers"""
    converged: Array
    """whether the last step has changed no label; where there is a NaN it is False, and labels are -1"""


def kmeans(
    key: Array,
    manifold: Manifold,
    points: Point,
    k: int,
    weights: ArrayLike | None = None,
    max_steps: int = 100,
) -> Clusters:
    """k-means by Lloyd's steps with Fréchet means, from centers drawn as k-means++ draws them.

    Args:
        key: of the first centers.
        manifold: that the points lie on.
        points: (n, *event_shape).
        k: number of clusters. One that loses all its points keeps its center.
        weights: (n,), equal by default.
        max_steps: where the iteration ends in any case.

    Returns:
        The clusters; ``converged`` is False where ``max_steps`` have ended it.

    Raises:
        ValueError: not 1 <= k <= n; a negative weight, or only zeros (under jit these give NaN).
    """
    points, weights, batch = _weighted("kmeans", manifold, points, weights)
    n = weights.shape[-1]
    if batch or not 1 <= k <= n:
        raise ValueError(
            f"kmeans: needs one set of at least k points, got {weights.shape}, k = {k}"
        )

    def squares(centers):  # (n, k)
        return jax.vmap(lambda c: manifold.sqdist(_row(manifold, c), points), out_axes=1)(centers)

    def add(i, state):
        centers, nearest = state
        drawn = jax.random.categorical(jax.random.fold_in(key, i), jnp.log(weights * nearest))
        center = jax.tree.map(lambda p: p[drawn], points)
        centers = jax.tree.map(lambda c, p: c.at[i].set(p), centers, center)
        return centers, jnp.minimum(nearest, manifold.sqdist(_row(manifold, center), points))

    empty = jax.tree.map(lambda p: jnp.broadcast_to(p[:1], (k, *p.shape[1:])), points)
    centers, _ = lax.fori_loop(0, k, add, (empty, jnp.ones_like(weights)))

    def step(state):
        centers, labels, _, count = state
        member = weights * (labels == jnp.arange(k)[:, None])
        used = jnp.sum(member, -1) > 0
        means = jax.vmap(
            lambda w, start: _mean(manifold, points, w / jnp.sum(w), start, 1e-5, 100).point
        )(jnp.where(used[:, None], member, weights), centers)
        centers = jax.tree.map(
            lambda new, old: jnp.where(used.reshape(-1, *[1] * (new.ndim - 1)), new, old),
            means,
            centers,
        )
        new = jnp.argmin(squares(centers), -1)
        return centers, new, jnp.all(new == labels), count + 1

    first = (centers, jnp.argmin(squares(centers), -1), jnp.array(False), jnp.int32(0))
    centers, labels, converged, _ = lax.while_loop(
        lambda s: ~s[2] & (s[3] < max_steps), step, first
    )
    cost = jnp.sum(weights * jnp.min(squares(centers), -1))
    known = jnp.isfinite(cost)
    centers = jax.tree.map(lambda c: jnp.where(known, c, jnp.nan), centers)
    return Clusters(centers, jnp.where(known, labels, -1), cost, converged & known)


# ---------------------------------------------------------------------------------------------------------------
# Sets of points
# ---------------------------------------------------------------------------------------------------------------


def _weighted(name, manifold, points, weights):
    """The points, their weights as shares of 1, and the axes before that of the set."""
    points = as_floats(points)
    shape = manifold.batch_shape(points)
    if not shape or shape[-1] == 0:
        raise ValueError(f"{name}: a set of at least one point is needed, got axes {shape}")
    if weights is None:
        weights = jnp.ones((), float_dtype(*jax.tree.leaves(points)))
    else:
        weights = jnp.asarray(weights, float_dtype(*jax.tree.leaves(points)))
        _check_numbers(name, "weights", weights, shape)
        check(~(weights < 0), f"{name}: weights must be at least 0", weights)
    shape = jnp.broadcast_shapes(shape, weights.shape)
    weights = jnp.broadcast_to(jnp.where(weights >= 0, weights, jnp.nan), shape)
    largest = lax.stop_gradient(jnp.max(weights, -1, keepdims=True))
    check(largest != 0, f"{name}: weights must not all be 0, the largest", largest)
    check(~jnp.isinf(largest), f"{name}: weights must be finite, the largest", largest)
    weights = weights / largest  # or their sum may overflow
    shares = weights / jnp.sum(weights, -1, keepdims=True)
    points = _spread(manifold, points, shape)
    check_points(name, manifold, points)
    return points, shares, shape[:-1]


def _check_numbers(name, what, numbers, shape):
    try:
        jnp.broadcast_shapes(numbers.shape, shape)
    except ValueError:
        raise ValueError(
            f"{name}: {what} are one for each point, {shape}, got {numbers.shape}"
        ) from None


def _spread(manifold, points, batch):
    """The points with just these axes before those of a point."""
    return jax.tree.map(
        lambda shape, p: jnp.broadcast_to(p, (*batch, *shape)),
        manifold.event_shape,
        points,
        is_leaf=is_shape,
    )


def _row(manifold, x):
    """Points with an axis of 1 for the points of a set."""
    return jax.tree.map(
        lambda shape, p: jnp.expand_dims(p, jnp.ndim(p) - len(shape)),
        manifold.event_shape,
        x,
        is_leaf=is_shape,
    )


def _rows(manifold, points, index):
    """The point of that index in each set."""

    def one(shape, p):
        at = index.reshape(*index.shape, 1, *[1] * len(shape))
        return jnp.squeeze(jnp.take_along_axis(p, at, index.ndim), index.ndim)

    return jax.tree.map(one, manifold.event_shape, points, is_leaf=is_shape)


def _mapped(function, axes):
    """Over leading axes of all arguments but the first, the manifold."""
    for _ in range(axes):
        function = jax.vmap(function, in_axes=(None, *(0,) * 3))
    return function
