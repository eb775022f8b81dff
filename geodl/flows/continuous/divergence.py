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
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from geodl.manifolds import Manifold, Point, Tangent


Field: TypeAlias = Callable[[ArrayLike, Point], Tangent]
Rate: TypeAlias = Callable[[ArrayLike, Point], tuple[Tangent, Array]]

_WRITTEN_OUT = 16  # directions; each adds a third of a second to the compilation of a gradient


def exact(manifold: Manifold, field: Field) -> Rate:
    """The exact divergence, by ``manifold.dim`` forward derivatives along the orthonormal frame.

    Returns:
        ``rate(t, x)``, the tangent vector and the divergence (...).
    """

    def rate(t, x):
        def along(unit, push):
            e = manifold.from_frame(x, jnp.broadcast_to(unit, _shape(manifold, x)))
            return manifold.inner(x, e, manifold.project_tangent(x, push(e)))

        v, div = _total(lambda x: field(t, x), x, manifold.dim, along)
        return v, div + _volume_drift(manifold, x, v)

    return rate


def hutchinson(manifold: Manifold, field: Field, key: Array) -> Rate:
    """Hutchinson's unbiased estimate <e, D_e v>, e a tangent vector of random signs in the orthonormal frame.

    There is one vector for each point, the same at all times, as a solver of ordinary differential equations needs it.
    For training, never for reported likelihoods.

    Args:
        manifold: The space.
        field: ``field(t, x)``, a tangent vector.
        key: For the random vectors.

    Returns:
        ``rate(t, x)``, the tangent vector and the estimate (...).

    Reference:
        Grathwohl et al. (2019).
    """

    def rate(t, x):
        a = jax.random.rademacher(key, _shape(manifold, x), _dtype(x))
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

    Returns:
        ``rate(t, x)``, the tangent vector and the divergence (...).

    Raises:
        ValueError: On spheres of dim > 1, which have no continuous frame.
    """

    def rate(t, x):
        def along(unit, push):
            unit = jnp.broadcast_to(unit, _shape(manifold, x))
            return jnp.sum(unit * push(manifold.from_frame(x, unit)), -1)

        f, div = _total(lambda x: components(t, x), x, manifold.dim, along)
        return manifold.from_frame(x, f), div + manifold.frame_divergence(x, f)

    return rate


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
