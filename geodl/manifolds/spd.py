"""Symmetric positive definite matrices with the affine-invariant metric: lengths do not change under x -> g x
g^T.

Points and tangent vectors are symmetric matrices (..., n, n), <u, v> = tr(x^-1 u x^-1 v); the origin is the
identity. The curvature is not positive and not constant; the determinant's logarithm over sqrt(n) is a flat
direction. Functions take x for symmetric and positive definite (eagerly, one that is not raises
``ValueError``, inside jit it gives NaN); of what is not symmetric they read the symmetric part.

Numerics. With the factor of Cholesky x = l l^T everything happens at the identity, in l^-1 v l^-T: expmap
there is the matrix exponential, and its inverse is taken of l^-1 (y - x) l^-T as log(1 + .), so that close
points keep their digits. The frame at x is l E l^T, E the symmetric matrices of one or two entries: smooth
everywhere, and invariant under triangular matrices. What is lost is the condition number: float32 has a
distance to 1e-5 where the eigenvalues of x^-1 y are within a factor of 100 of each other. Derivatives are
right, and finite at equal eigenvalues, up to order two.

Sources: Pennec, Fillard & Ayache, *A Riemannian Framework for Tensor Computing* (2006); Bhatia, *Positive
Definite Matrices* (2007), chapter 6.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from geodl._core.checks import check, check_integer, primitive
from geodl._core.records import register_record
from geodl._core.reductions import binade, dot, safe_norm, zero_of
from geodl._core.special import log_sinhc
from geodl.manifolds import _matrices as matrices
from geodl.manifolds._matrices import entries, mul, spectral, symmetric, t
from geodl.manifolds.base import ModuleManifold, Winding


Matrix = Float[Array, "*#batch n n"]
Components = Float[Array, "*#batch d"]  # d = n (n + 1) / 2
Scalar = Float[Array, "*#batch"]


def _validate(**arguments):
    for name in ("x", "y"):
        if name in arguments:
            x = arguments[name]
            off = np.abs(x - np.swapaxes(x, -1, -2)).max((-2, -1)) / np.abs(x).max((-2, -1))
            check(
                ~(off >= 1e-2), f"{name} must be symmetric: largest entry of {name} - {name}^T", off
            )
            unknown = np.isnan(x).any((-2, -1), keepdims=True)  # NaN gives NaN
            least = np.linalg.eigvalsh(np.where(unknown, np.eye(x.shape[-1]), x))[..., 0]
            check(least > 0, f"{name} must be positive definite: its least eigenvalue", least)


def _primitive(*points):
    return primitive(*points, validate=_validate)


# -------------------------------------------------------------------------------------------------
# To the identity and back
# -------------------------------------------------------------------------------------------------


def _factor(x):
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"spd: points and tangent vectors have shape (..., n, n), got {x.shape}")
    return jnp.linalg.cholesky(x)


def _there(lower, w):
    """l w l^T."""
    return symmetric(mul(lower, w, t(lower)))


def _here(lower, v):
    """l^-1 v l^-T."""
    lower = jnp.broadcast_to(lower, (*jnp.broadcast_shapes(lower.shape, v.shape),))
    v = jnp.broadcast_to(symmetric(v), lower.shape)
    half = jax.scipy.linalg.solve_triangular(lower, v, lower=True)
    return symmetric(jax.scipy.linalg.solve_triangular(lower, t(half), lower=True))


def _basis(n, dtype):
    """An orthonormal basis (d, n, n) of the symmetric matrices, the diagonal ones first."""
    i, j = np.tril_indices(n, -1)
    i, j = np.concatenate([np.arange(n), i]), np.concatenate([np.arange(n), j])
    basis = np.zeros((len(i), n, n))
    basis[np.arange(len(i)), i, j] = basis[np.arange(len(i)), j, i] = np.where(i == j, 1, 0.5**0.5)
    return jnp.asarray(basis, dtype)


def _matrix(a, n):
    if a.shape[-1] != n * (n + 1) // 2:
        raise ValueError(f"spd: components have shape (..., {n * (n + 1) // 2}), got {a.shape}")
    i, j = np.tril_indices(n, -1)
    w = jnp.zeros((*a.shape[:-1], n, n), a.dtype)
    w = w.at[..., np.arange(n), np.arange(n)].set(a[..., :n])
    off = a[..., n:] * 0.5**0.5
    return w.at[..., i, j].set(off).at[..., j, i].set(off)


def _components(w):
    i, j = np.tril_indices(w.shape[-1], -1)
    return jnp.concatenate([jnp.diagonal(w, axis1=-2, axis2=-1), w[..., i, j] * 2**0.5], -1)


def _log(x, y):
    """log(l^-1 y l^-T) = log(1 + l^-1 (y - x) l^-T), and l."""
    lower = _factor(x)
    return spectral(matrices.log1p, _here(lower, y - x)), lower


# -------------------------------------------------------------------------------------------------
# Exponential, logarithm, distance
# -------------------------------------------------------------------------------------------------


@_primitive("x", "v")
def expmap(x: Matrix, v: Matrix) -> Matrix:
    """l exp(l^-1 v l^-T) l^T, x = l l^T (Pennec et al. 2006, 3.5)."""
    lower = _factor(x)
    return _there(lower, spectral(matrices.exp, _here(lower, v)))


@_primitive("x")
def expmap_frame(x: Matrix, a: Components) -> Matrix:
    """expmap of the tangent vector with components a (..., d) in the frame at x."""
    return _there(_factor(x), spectral(matrices.exp, _matrix(a, x.shape[-1])))


@_primitive("x", "y")
def logmap(x: Matrix, y: Matrix) -> Matrix:
    """l log(l^-1 y l^-T) l^T, inverse of expmap."""
    log, lower = _log(x, y)
    return _there(lower, log)


@_primitive("x", "y")
def logmap_frame(x: Matrix, y: Matrix) -> Components:
    """Components (..., d) of logmap(x, y) in the frame at x."""
    return _components(_log(x, y)[0])


@_primitive("x", "y")
def dist(x: Matrix, y: Matrix) -> Scalar:
    """sqrt(sum_i log^2 l_i), l_i the eigenvalues of x^-1 y; gradient 0 at x = y."""
    return safe_norm(entries(_log(x, y)[0]))


@_primitive("x", "y")
def sqdist(x: Matrix, y: Matrix) -> Scalar:
    """sum_i log^2 l_i, l_i the eigenvalues of x^-1 y."""
    log = entries(_log(x, y)[0])
    return dot(log, log)


@_primitive("x", "y")
def geodesic(t: Scalar, x: Matrix, y: Matrix) -> Matrix:
    """Point at time t of the geodesic from x (time 0) to y (time 1): l (l^-1 y l^-T)^t l^T."""
    log, lower = _log(x, y)
    return _there(lower, spectral(matrices.exp, t[..., None, None] * log))


@_primitive("x", "v")
def logdetexp(x: Matrix, v: Matrix) -> Scalar:
    """log det d exp_x at v: sum_{i < j} log(sinh(r) / r), r = (l_i - l_j) / 2, l_i the eigenvalues of x^-1 v."""
    return _logdetexp(_here(_factor(x), v))


@_primitive("x")
def logdetexp_frame(x: Matrix, a: Components) -> Scalar:
    """logdetexp at the tangent vector with frame components a, the same at every x."""
    return _logdetexp(_matrix(a, x.shape[-1])) + zero_of(entries(x))


def _logdetexp(w):
    """By u -> [[u, w], w] / 4 on skew matrices, whose eigenvalues are the (l_i - l_j)^2 / 4."""
    if w.shape[-1] == 1:
        return zero_of(entries(w))
    return matrices.log_det_exp_by_commutators(log_sinhc, w)


# -------------------------------------------------------------------------------------------------
# Tangent vectors
# -------------------------------------------------------------------------------------------------


@_primitive("x", "u", "v")
def inner(x: Matrix, u: Matrix, v: Matrix) -> Scalar:
    """tr(x^-1 u x^-1 v)."""
    lower = _factor(x)
    return dot(entries(_here(lower, u)), entries(_here(lower, v)))


@_primitive("x", "v")
def norm(x: Matrix, v: Matrix) -> Scalar:
    """sqrt(tr((x^-1 v)^2)), gradient 0 at 0."""
    return safe_norm(entries(_here(_factor(x), v)))


@_primitive("x", "y", "v")
def transport(x: Matrix, y: Matrix, v: Matrix) -> Matrix:
    """Parallel transport e v e^T along the geodesic from x to y, e = (y x^-1)^(1/2)."""
    log, lower = _log(x, y)
    return _there(mul(lower, spectral(matrices.exp, log / 2)), _here(lower, v))


@_primitive("x", "y")
def transport_frame(x: Matrix, y: Matrix, a: Components) -> Components:
    """Parallel transport along the geodesic from x to y, in frame components: a, rotated."""
    log, lower = _log(x, y)
    moved = _there(mul(lower, spectral(matrices.exp, log / 2)), _matrix(a, x.shape[-1]))
    return _components(_here(_factor(y), moved))


@_primitive("x", "v")
def project_tangent(x: Matrix, v: Matrix) -> Matrix:
    """The symmetric part of v."""
    return symmetric(v) + zero_of(entries(x))[..., None, None]


@_primitive("x", "g")
def egrad_to_rgrad(x: Matrix, g: Matrix) -> Matrix:
    """Riemannian gradient x g x, of the symmetric part of g."""
    return mul(x, symmetric(g), x)


@_primitive("x")
def from_frame(x: Matrix, a: Components) -> Matrix:
    """l E(a) l^T: tangent vector with components a (..., d), the diagonal of E(a) first."""
    return _there(_factor(x), _matrix(a, x.shape[-1]))


@_primitive("x", "v")
def to_frame(x: Matrix, v: Matrix) -> Components:
    """Components (..., d) of l^-1 v l^-T in the orthonormal basis of symmetric matrices."""
    return _components(_here(_factor(x), v))


@_primitive("x")
def tangent_basis(x: Matrix) -> Float[Array, "*batch d n n"]:
    """The frame (..., d, n, n), vectors along the first of the last three axes."""
    return _there(_factor(x)[..., None, :, :], _basis(x.shape[-1], x.dtype))


# -------------------------------------------------------------------------------------------------
# Points
# -------------------------------------------------------------------------------------------------


@primitive("x")
def project(x: Matrix) -> Matrix:
    """The symmetric part, its eigenvalues raised to 4 n eps times the largest in absolute value."""
    n, s = x.shape[-1], symmetric(x)
    # Squares of the entries neither overflow nor underflow.
    size = binade(entries(s))[..., None, None]
    unit = jnp.linalg.norm(jax.lax.stop_gradient(s / size), axis=(-2, -1), keepdims=True)
    unit = jnp.where(unit == 0, 1.0, size * unit)
    floor = 4 * n * float(jnp.finfo(x.dtype).eps)
    raised = matrices.quotient(lambda q: jnp.maximum(q, floor), lambda a, b: floor + 0 * (a + b))
    return jnp.where(_is_inside(s, unit, floor), s, unit * spectral(raised, s / unit))


def _is_inside(s, unit, floor):
    """Where nothing is to be raised, so that a point stays what it is."""
    least = jnp.linalg.eigvalsh(jax.lax.stop_gradient(s / unit))[..., :1, None]
    return least >= floor


def origin(n: int, dtype: DTypeLike | None = None) -> Float[Array, "n n"]:
    """The identity matrix."""
    return jnp.eye(n, dtype=dtype)


@register_record
@dataclass(frozen=True)
class SPD(ModuleManifold):
    """Symmetric positive definite n x n matrices as a :class:`~geodl.manifolds.base.Manifold`.

    Example:
        >>> import jax.numpy as jnp
        >>> from geodl.manifolds import SPD
        >>> spd = SPD(2)
        >>> x, y = jnp.eye(2), jnp.diag(jnp.array([1.0, 4.0]))
        >>> spd.geodesic(0.5, x, y)
        Array([[1., 0.],
               [0., 2.]], dtype=float32)
    """

    n: int = field(metadata={"static": True})

    winding = Winding("none")
    embedded = False

    def __post_init__(self):
        check_integer("SPD: n", self.n)

    @property
    def dim(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.n * (self.n + 1) // 2

    @property
    def event_shape(self):
        return (self.n, self.n)

    def origin(self, dtype=None):
        return origin(self.n, dtype)

    def coordinates(self, x):
        """Normal coordinates at the identity, the entries of log x."""
        return self.normal_coordinates(x)
