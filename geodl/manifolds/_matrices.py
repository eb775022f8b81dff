"""Functions of symmetric matrices by their eigenvalues, and the exponential and the logarithm of rotations.

Eigenvectors have no derivatives where eigenvalues are equal, f(m) has: by the divided differences of f (Daletskii &
Krein). With q and the eigenvalues l held fixed and e = q^T dm q,

    f(m + dm) = q (f(l) + f[l_i, l_j] e_ij + sum_k f[l_i, l_k, l_j] e_ik e_kj + ...) q^T.

These two terms are the derivatives here: right and finite for orders one and two, nothing beyond.

Sources: Higham, *Functions of Matrices* (2008), 3.2; Gallier & Xu, *Computing Exponentials of Skew-Symmetric Matrices*
(2002), for the formula of Rodrigues in any dimension.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from geodl._core.reductions import binade, zero_of
from geodl._core.special import asinc, atanhc, sinc, sinhc


# ------------------------------------------------------------------------------------------------------
# Elementary
# ------------------------------------------------------------------------------------------------------


def mul(a: Array, *others: Array) -> Array:
    """The matrix product, in full precision on an accelerator too."""
    for b in others:
        a = jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
    return a


def t(a: Array) -> Array:
    return jnp.swapaxes(a, -2, -1)


def symmetric(a: Array) -> Array:
    return (a + t(a)) / 2


def skew(a: Array) -> Array:
    return (a - t(a)) / 2


def entries(a: Array) -> Array:
    """The entries (..., n m) of matrices (..., n, m), as vectors."""
    return a.reshape(*a.shape[:-2], a.shape[-2] * a.shape[-1])


def commutator(a: Array, b: Array) -> Array:
    return mul(a, b) - mul(b, a)


def skew_components(a: Array) -> Array:
    """The entries (..., n (n - 1) / 2) below the diagonal, by rows."""
    return a[(..., *np.tril_indices(a.shape[-1], -1))]


def from_skew_components(w: Array, n: int) -> Array:
    """The skew matrix with these entries below the diagonal."""
    lower = jnp.zeros((*w.shape[:-1], n, n), w.dtype).at[(..., *np.tril_indices(n, -1))].set(w)
    return lower - t(lower)


# ------------------------------------------------------------------------------------------------------
# Functions of symmetric matrices
# ------------------------------------------------------------------------------------------------------


class Spectral(NamedTuple):
    """A function of one number, for matrices."""

    value: Callable[[Array], Array]
    divided: Callable[[Array, Array], Array]
    """(f(a) - f(b)) / (a - b), smooth also at a = b"""
    width: Callable[[Array, Array], Array]
    """of the interval around a and b in which f hardly bends"""


def quotient(f: Callable[[Array], Array], width: Callable[[Array, Array], Array]) -> Spectral:
    """With the divided difference as it is written, near a = b by the derivative between them."""

    def divided(a, b):
        near = jnp.abs(a - b) < _nearness(a.dtype) * width(a, b)
        slope = _derivative(f, jnp.where(near, (a + b) / 2, a))
        return jnp.where(near, slope, (f(a) - f(b)) / jnp.where(near, 1.0, a - b))

    return Spectral(f, divided, width)


def _nearness(dtype) -> float:
    """Where the errors of a difference and of a derivative in its place meet."""
    return float(jnp.finfo(dtype).eps) ** (1 / 3)


def _derivative(f, a, *others):
    """Of an elementwise function, in its first argument."""
    return jax.jvp(lambda a: f(a, *others), (a,), (jnp.ones_like(a),))[1]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def spectral(f: Spectral, m: Array) -> Array:
    """f(m) of symmetric matrices (..., n, n)."""
    values, q = jnp.linalg.eigh(m)
    return mul(q * f.value(values)[..., None, :], t(q))


@spectral.defjvp
def _spectral_jvp(f, primals, tangents):
    (m,), (dm,) = primals, tangents
    values, q, moved = _at_eigenvectors(m)
    first, second = _differences(f, values)
    e = symmetric(mul(t(q), dm, q))
    bent = jnp.sum(second * (e[..., :, :, None] * moved[..., None, :, :]), -2)
    return spectral(f, m), mul(q, first * e + bent + t(bent), t(q))


def _at_eigenvectors(m):
    """Eigenvalues and eigenvectors without derivatives, and q^T (m - m) q, which is 0 and has one."""
    fixed = lax.stop_gradient(m)
    values, q = jnp.linalg.eigh(fixed)
    return values, q, mul(t(q), symmetric(m) - symmetric(fixed), q)


def _differences(f, values):
    """f[l_i, l_j] and f[l_i, l_k, l_j] (at i, k, j)."""
    a, b = jnp.broadcast_arrays(values[..., :, None], values[..., None, :])
    first, slope = f.divided(a, b), _derivative(f.divided, a, b)
    near = jnp.abs(a - b) < _nearness(a.dtype) * f.width(a, b)
    gap = jnp.where(near, 1.0, a - b)[..., :, None, :]
    apart = (first[..., :, :, None] - first[..., None, :, :]) / gap
    close = (slope[..., :, :, None] + t(slope)[..., None, :, :]) / 2
    return first, jnp.where(near[..., :, None, :], close, apart)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def spectral_trace(f: Callable[[Array], Array], m: Array) -> Array:
    """The trace of f(m), the sum of f over the eigenvalues."""
    return jnp.sum(f(jnp.linalg.eigvalsh(m)), -1)


@spectral_trace.defjvp
def _spectral_trace_jvp(f, primals, tangents):
    (m,), (dm,) = primals, tangents
    values, q, moved = _at_eigenvectors(m)
    a, b = jnp.broadcast_arrays(values[..., :, None], values[..., None, :])
    slope = partial(_derivative, f)
    bend = quotient(slope, lambda a, b: 1 + 0 * a).divided(a, b)
    gradient = bend * moved + slope(values)[..., None] * jnp.eye(values.shape[-1], dtype=m.dtype)
    return spectral_trace(f, m), jnp.sum(gradient * mul(t(q), dm, q), (-2, -1))


exp = Spectral(
    jnp.exp,
    lambda a, b: jnp.exp((a + b) / 2) * sinhc(jnp.square(a - b) / 4),
    lambda a, b: 1 + 0 * (a + b),
)
log1p = Spectral(
    jnp.log1p,
    lambda a, b: 2 / (2 + a + b) * atanhc(jnp.square((a - b) / (2 + a + b))),
    lambda a, b: 2 + a + b,
)


def log_det_exp(
    f: Callable[[Array], Array], curvature: Callable[[Array], Array], n: int, zero: Array
):
    """sum of f(l_i), the l_i the eigenvalues of the symmetric map w -> curvature(w) of R^n, by its matrix.

    On a symmetric space the differential of expmap at v has the log-determinant tr log(sin(r) / r), r^2 = R(., v) v.
    """
    rows = curvature(jnp.eye(n, dtype=zero.dtype) + zero[..., None, None])
    return spectral_trace(f, symmetric(rows))


def log_det_exp_by_commutators(f: Callable[[Array], Array], w: Array) -> Array:
    """sum of f over the eigenvalues of u -> [[u, w], w] / 4 on the skew matrices."""
    n = w.shape[-1]

    def curvature(u):
        u, at = from_skew_components(u, n), w[..., None, :, :]
        return skew_components(commutator(commutator(u, at), at)) / 4

    return log_det_exp(f, curvature, n * (n - 1) // 2, zero_of(entries(w)))


# ------------------------------------------------------------------------------------------------------
# Rotations
# ------------------------------------------------------------------------------------------------------


def _everywhere(a, b):
    return 1 + 0 * (a + b)


_SINC = quotient(sinc, _everywhere)
_VERSINE = quotient(lambda s: jnp.square(sinc(s / 4)) / 2, _everywhere)  # (1 - cos(r)) / r^2


def rotation_step(a: Array) -> Array:
    """exp(a) - I of skew matrices: a sinc(s) + a^2 (1 - cos) / s, s = -a^2, in full relative precision."""
    square = mul(a, a)
    s = -square
    return mul(a, spectral(_SINC, s)) + mul(square, spectral(_VERSINE, s))


def _cut(dtype) -> float:
    """cos^2(angle / 2) below which an angle counts as pi."""
    return 16 * float(jnp.finfo(dtype).eps)


def _angle_over_sine(q):
    """angle / sin(angle) by q = sin^2(angle / 2), 0 where the angle counts as pi."""
    cut = q > 1 - _cut(q.dtype)
    q = jnp.where(cut, 0.0, q)
    return jnp.where(cut, 0.0, asinc(q) * lax.rsqrt(1 - q))


def _squared_angle(q):
    """By q = sin^2(angle / 2), without a derivative where the angle counts as pi."""
    cut = q > 1 - _cut(q.dtype)
    fixed = jnp.minimum(lax.stop_gradient(q), 1.0)  # asinc has no derivative at 1, not even times 0
    fixed, q = (4 * a * jnp.square(asinc(a)) for a in (fixed, jnp.where(cut, 0.0, q)))
    return jnp.where(cut, fixed, q)


_LOG = quotient(_angle_over_sine, lambda a, b: jnp.maximum(2 - a - b, _cut(a.dtype)))


def _half_sines(step):
    """sin^2(angle / 2), as a symmetric matrix, of the rotation I + step: its chord squared over 4.

    Of a short chord what is not skew is rounding: q = sin^2(angle) / 4 + q^2 has it in the small term.
    """
    chord, across = mul(t(step), step) / 4, skew(step)
    return mul(t(across), across) / 4 + mul(chord, chord)


def rotation_log(step: Array) -> Array:
    """The logarithm of the rotation I + step: a skew matrix; of close rotations in full relative precision.

    The planes that turn by pi are pairs of eigenvectors as they come, and have no derivatives.
    """
    q = _half_sines(step)
    a = mul(skew(step), spectral(_LOG, q))
    values, vectors = jnp.linalg.eigh(lax.stop_gradient(q))
    odd = step.shape[-1] % 2
    first, second = vectors[..., odd::2], vectors[..., odd + 1 :: 2]
    largest = values[..., odd + 1 :: 2]
    angle = jnp.where(largest > 1 - _cut(step.dtype), jnp.sqrt(_squared_angle(largest)), 0.0)
    backwards = jnp.sum(first * mul(lax.stop_gradient(skew(step)), second), -2) < 0
    half = mul(first * jnp.where(backwards, -angle, angle)[..., None, :], t(second))
    return skew(a) + (half - t(half))


def rotation_sqdist(step: Array) -> Array:
    """The sum of the squared angles of the rotation I + step."""
    return spectral_trace(_squared_angle, _half_sines(step)) / 2


def reflection_turn(x: Array, y: Array) -> Array:
    """The shortest skew w with y = exp(w) x exp(-w), for orthogonal projections x and y of one rank.

    Half the logarithm of :func:`reflection_step`.
    """
    return rotation_log(reflection_step(x, y)) / 2


def reflection_step(x: Array, y: Array) -> Array:
    """(I - 2 y) (I - 2 x) - I = -2 (y - x) (I - 2 x), a rotation by twice the principal angles."""
    w = y - x
    return 4 * mul(w, x) - 2 * w


def turn_from_origin(x: Array, p: int) -> Array:
    """r - I, r the shortest rotation that takes the first p coordinates' projection to x."""
    start = jnp.diag((jnp.arange(x.shape[-1]) < p).astype(x.dtype))
    return rotation_step(reflection_turn(start, x))


def nearest_orthogonal(m: Array, proper: bool = False) -> Array:
    """The factor u v^T of the singular value decomposition u s v^T of (..., n, p), p <= n; the nearest one to m.

    ``proper``: of determinant 1 (n = p). Derivatives are the implicit ones of the polar decomposition, which stay
    finite at equal singular values; 0 where the nearest is not unique.
    """
    return _nearest(proper, m / binade(entries(m))[..., None, None])


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _nearest(proper, m):
    u, _, vt = jnp.linalg.svd(m, full_matrices=False)
    if proper:
        mirrored = jnp.linalg.det(u) * jnp.linalg.det(vt) < 0
        sign = jnp.where(mirrored[..., None] & (jnp.arange(m.shape[-1]) == m.shape[-1] - 1), -1, 1)
        u = u * sign[..., None, :].astype(m.dtype)
    return mul(u, vt)


@_nearest.defjvp
def _nearest_jvp(proper, primals, tangents):
    """m = r s: dr = r w + (I - r r^T) dm s^-1 with w s + s w = r^T dm - dm^T r."""
    (m,), (dm,) = primals, tangents
    r = _nearest(proper, m)
    values, q, moved = _at_eigenvectors(mul(t(r), m))
    total = values[..., :, None] + values[..., None, :]
    unique = total > jnp.finfo(m.dtype).tiny
    inverse = jnp.where(unique, 1 / jnp.where(unique, total, 1.0), 0.0)
    along = mul(t(r), dm)
    e = mul(t(q), along - t(along), q)
    w = inverse * e
    w = inverse * (e - mul(w, moved) - mul(moved, w))  # s as it moves, to first order
    dr = mul(r, q, w, t(q))
    if m.shape[-1] < m.shape[-2]:
        alone = 2 * jnp.diagonal(inverse, axis1=-2, axis2=-1)
        across = mul(dm - mul(r, along), q) * alone[..., None, :]
        dr = dr + mul(across - mul(across, moved) * alone[..., None, :], t(q))
    return r, dr
