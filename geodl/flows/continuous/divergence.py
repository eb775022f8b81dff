"""Divergence of vector fields, with respect to the Riemannian volume.

Each function turns a field ``field(t, x) -> v`` into its augmentation ``rate(t, x) -> (v, div v)``, which is what
:mod:`~geodl.flows.continuous.solvers` integrates. On embedded spaces (sphere, SO(3), torus, hyperboloid, Euclidean) the
divergence is the trace of the derivative over the tangent space alone,

    div v = sum_i <e_i, D_{e_i} v>,    e_i an orthonormal basis of the tangent space,

whatever v is off the manifold; on the ball, a chart with volume element sqrt|G| = lambda^d, the derivative of
log sqrt|G| along v comes to it (Mathieu & Nickel 2020, eq. 1). The basis depends on x, and its derivative belongs
to the gradient of the divergence: stopping it there makes gradients of likelihoods wrong by a third.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from geodl.manifolds import Manifold, Point, Tangent


Field: TypeAlias = Callable[[ArrayLike, Point], Tangent]
Rate: TypeAlias = Callable[[ArrayLike, Point], tuple[Tangent, Array]]

_WRITTEN_OUT = 16  # directions; each adds a third of a second to the compilation of a gradient


def exact(manifold: Manifold, field: Field) -> Rate:
    """The exact divergence, by ``manifold.dim`` forward derivatives along the orthonormal frame."""

    def rate(t, x):
        def along(unit, push):
            e = manifold.from_frame(x, jnp.broadcast_to(unit, _shape(manifold, x)))
            return manifold.inner(x, e, manifold.project_tangent(x, push(e)))

        v, div = _total(lambda x: field(t, x), x, manifold.dim, along)
        return v, div + _volume_drift(manifold, x, v)

    return rate


def hutchinson(
    manifold: Manifold,
    field: Field,
    key: Array,
    noise: Literal["rademacher", "gaussian"] = "rademacher",
) -> Rate:
    """Hutchinson's unbiased estimate <e, D_e v>, e a random tangent vector of unit covariance.

    There is one vector for each point, the same at all times, as a solver of ordinary differential equations needs it.
    For training, never for reported likelihoods.

    Args:
        manifold: The space.
        field: ``field(t, x)``, a tangent vector.
        key: For the random vectors.
        noise: Distribution of their components.

    Returns:
        ``rate(t, x)``, the tangent vector and the estimate (...).

    Raises:
        ValueError: There is no such noise.

    Reference:
        Grathwohl et al. (2019).
    """
    draw = {"rademacher": jax.random.rademacher, "gaussian": jax.random.normal}
    if noise not in draw:
        raise ValueError(f"hutchinson: noise must be one of {list(draw)}, got {noise!r}")

    def rate(t, x):
        a = draw[noise](key, _shape(manifold, x), _dtype(x))
        e = manifold.from_frame(x, a)
        v, derivative = jax.jvp(lambda x: field(t, x), (x,), (e,))
        trace = manifold.inner(x, e, manifold.project_tangent(x, derivative))
        return v, trace + _volume_drift(manifold, x, v)

    return rate


def frame(manifold: Manifold, components: Field) -> Rate:
    """The divergence sum_i e_i(f_i) + f_i div e_i of v = sum_i f_i e_i, e_i the orthonormal frame.

    ``components(t, x)`` are the f_i (..., dim). The frame of SO(3), torus and Euclidean space is free of divergence; on
    hyperbolic space of curvature -c, div e_i = (dim - 1) c y_i, y the point in the ball. No derivative of e_i is
    formed, whose terms grow with the square of the hyperboloid's coordinates and cancel: by :func:`exact` a float32
    divergence is off by 1e-3 at distance 5.

    Raises:
        ValueError: On spheres of dim > 1, which have no continuous frame.
    """

    def rate(t, x):
        v, f, div = _spanned(components, manifold.from_frame, t, x)
        return v, div + manifold.frame_divergence(x, f)

    return rate


def killing(components: Field, assemble: Callable[[Point, Array], Tangent]) -> Rate:
    """The divergence sum_k K_k(f_k) of v = sum_k f_k K_k with divergence-free K_k, by one derivative for each k.

    ``components(t, x)`` (..., n) are the f_k and ``assemble(x, f)`` is v, as those of a
    :class:`~geodl.flows.VectorField` of kind "killing".
    """

    def rate(t, x):
        v, _, div = _spanned(components, assemble, t, x)
        return v, div

    return rate


def in_chart(log_volume: Callable[[Array], Array], field: Field) -> Rate:
    """The divergence tr(Dv) + D_v log_volume in local coordinates, log_volume(x) = log sqrt|G| (...)."""

    def rate(t, x):
        def along(unit, push):
            unit = jnp.broadcast_to(unit, x.shape)
            return jnp.sum(unit * push(unit), -1)

        v, trace = _total(lambda x: field(t, x), x, x.shape[-1], along)
        drift = jax.jvp(log_volume, (x,), (v,))[1]
        return v, trace + drift

    return rate


def _spanned(components, assemble, t, x):
    """v = sum_k f_k K_k, f and sum_k K_k(f_k)."""
    shape = jax.eval_shape(components, t, x).shape

    def along(unit, push):
        unit = jnp.broadcast_to(unit, shape)
        return jnp.sum(unit * push(assemble(x, unit)), -1)

    f, div = _total(lambda x: components(t, x), x, shape[-1], along)
    return assemble(x, f), f, div


def _total(f, x, n, along):
    """f(x), and the sum of ``along(unit, push)`` over n unit vectors; ``push(e)`` is the derivative of f along e.

    One linearization. Few terms are written out: the reverse derivative of a ``vmap`` sums over its axis, by which XLA
    makes the gradient of a divergence two to three times as slow on the CPU. For many the ``vmap`` compiles faster.
    """
    y, push = jax.linearize(f, x)
    units = jnp.eye(n, dtype=_dtype(x))
    if n > _WRITTEN_OUT:
        return y, jnp.sum(jax.vmap(lambda unit: along(unit, push))(units), 0)
    return y, functools.reduce(jnp.add, [along(unit, push) for unit in units])


def _volume_drift(manifold: Manifold, x: Point, v: Tangent) -> Any:
    """Derivative along v of log sqrt|G| in the coordinates that points have; 0 on embedded spaces."""
    return jax.jvp(manifold.log_volume_element, (x,), (v,))[1]


def _shape(manifold, x) -> tuple[int, ...]:
    return *manifold.batch_shape(x), manifold.dim


def _dtype(x):
    return jnp.result_type(*jax.tree.leaves(x))
