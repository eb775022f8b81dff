"""The rotation group SO(n) with its bi-invariant metric, n of any size; :mod:`~geodl.manifolds.so3` for n = 3.

Points are rotation matrices (..., n, n). Tangent vectors at x are the ambient matrices x w, w skew, with <u,
v> = tr(u^T v) / 2: a rotation by an angle in one plane has that length, and the origin is the identity. The
frame at x is left invariant, its components are the entries of w below the diagonal, by rows. Functions take
x^T x = I for granted (eagerly, an entry off by more than 2e-2 or det x < 0 raises ``ValueError``);
``project`` makes it so.

Numerics. exp and log are the formulas of Rodrigues by functions of one symmetric matrix, w^T w or the squared
chord (y - x)^T (y - x) / 4, so that close rotations keep their digits. The logarithm of a rotation by pi - e
in a plane has an error of 4 eps / e^2, its derivative more: in float32 1e-5 to e = 0.2, in float64 1e-12 to
0.03. Where an angle is pi (to 4 sqrt(eps)) two geodesics arrive; the plane that is taken is one of
eigenvectors as they come, and has no derivatives. Elsewhere those are right, and finite, up to order two.

Sources: Gallier & Xu, *Computing Exponentials of Skew-Symmetric Matrices and Logarithms of Orthogonal
Matrices* (2002).
"""

import math
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from geodl._core.checks import as_shape, check, check_integer, primitive
from geodl._core.records import register_record
from geodl._core.reductions import dot, safe_norm, safe_sqrt, zero_of
from geodl._core.special import log_sinc
from geodl.manifolds import _matrices as matrices
from geodl.manifolds._matrices import entries, mul, rotation_log, rotation_step, skew, t
from geodl.manifolds.base import ModuleManifold
from geodl.manifolds.sphere import log_area


Matrix = Float[Array, "*#batch n n"]
Components = Float[Array, "*#batch d"]  # d = n (n - 1) / 2
Scalar = Float[Array, "*#batch"]


def _validate(**arguments):
    for name in ("x", "y"):
        if name in arguments:
            x = arguments[name]
            off = np.abs(np.swapaxes(x, -2, -1) @ x - np.eye(x.shape[-1])).max((-2, -1))
            wrong = f"{name} must be a rotation matrix"
            check(~(off >= 2e-2), f"{wrong}: largest entry of |{name}^T {name} - I|", off)
            with np.errstate(invalid="ignore"):  # NaN gives NaN
                det = np.linalg.det(x)
            check(~(det <= 0), f"{wrong}, of determinant 1", det)


def _primitive(*points):
    return primitive(*points, validate=_validate)


def _body(x, v):
    """w of the tangent part x w of v."""
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"so: points and tangent vectors have shape (..., n, n), got {x.shape}")
    return skew(mul(t(x), v))


def _matrix(x, a):
    n = x.shape[-1]
    if a.shape[-1] != n * (n - 1) // 2:
        raise ValueError(f"so: components have shape (..., {n * (n - 1) // 2}), got {a.shape}")
    return matrices.from_skew_components(a, n)


def _step(x, y):
    """x^T y - I."""
    return mul(t(x), y - x)


def _dot(w, u):
    return dot(entries(w), entries(u)) / 2


# -------------------------------------------------------------------------------------------------
# Exponential, logarithm, distance
# -------------------------------------------------------------------------------------------------


@_primitive("x", "v")
def expmap(x: Matrix, v: Matrix) -> Matrix:
    """x exp(x^T v), by the formula of Rodrigues in n dimensions."""
    return x + mul(x, rotation_step(_body(x, v)))


@_primitive("x")
def expmap_frame(x: Matrix, a: Components) -> Matrix:
    """x exp(w), w the skew matrix with entries a (..., d) below the diagonal."""
    return x + mul(x, rotation_step(_matrix(x, a)))


@_primitive("x", "y")
def logmap(x: Matrix, y: Matrix) -> Matrix:
    """x log(x^T y), inverse of expmap for angles below pi."""
    return mul(x, rotation_log(_step(x, y)))


@_primitive("x", "y")
def dist(x: Matrix, y: Matrix) -> Scalar:
    """sqrt(sum of the squared angles of x^T y); gradient 0 at x = y."""
    return safe_sqrt(matrices.rotation_sqdist(_step(x, y)))


@_primitive("x", "y")
def sqdist(x: Matrix, y: Matrix) -> Scalar:
    """The sum of the squared angles of x^T y, each in [0, pi]."""
    return matrices.rotation_sqdist(_step(x, y))


@_primitive("x", "y")
def geodesic(t: Scalar, x: Matrix, y: Matrix) -> Matrix:
    """Point at time t of the shortest geodesic from x to y (time 1): x exp(t log(x^T y))."""
    return x + mul(x, rotation_step(t[..., None, None] * rotation_log(_step(x, y))))


@_primitive("x", "v")
def logdetexp(x: Matrix, v: Matrix) -> Scalar:
    """log |det d exp_x| at v: the sum of 2 log |sin(r/2) / (r/2)| over r = t_i +- t_j, i < j, t the angles of v.

    For odd n also over r = t_i.
    """
    return _logdetexp(_body(x, v))


@_primitive("x")
def logdetexp_frame(x: Matrix, a: Components) -> Scalar:
    """logdetexp at the tangent vector with frame components a, the same at every x."""
    return _logdetexp(_matrix(x, a)) + zero_of(entries(x))


def _logdetexp(w):
    """By the curvature u -> -[[u, w], w] / 4."""
    return matrices.log_det_exp_by_commutators(lambda q: log_sinc(-q), w)


# -------------------------------------------------------------------------------------------------
# Tangent vectors
# -------------------------------------------------------------------------------------------------


@_primitive("x", "u", "v")
def inner(x: Matrix, u: Matrix, v: Matrix) -> Scalar:
    """tr(u^T v) / 2, of the tangent parts."""
    return _dot(_body(x, u), _body(x, v))


@_primitive("x", "v")
def norm(x: Matrix, v: Matrix) -> Scalar:
    """sqrt(tr(v^T v) / 2), gradient 0 at 0."""
    return safe_norm(to_frame(x, v))


@_primitive("x", "y", "v")
def transport(x: Matrix, y: Matrix, v: Matrix) -> Matrix:
    """Parallel transport x e (x^T v) e, e = exp(log(x^T y) / 2), of v along the shortest geodesic to y."""
    return mul(y, _half_way_back(x, y, _body(x, v)))


def _half_way_back(x, y, w):
    """e^T w e: seen from the left-invariant frame, w turns half of the way back."""
    step = rotation_step(rotation_log(_step(x, y)) / 2)
    half = step + jnp.eye(x.shape[-1], dtype=x.dtype)
    return skew(mul(t(half), w, half))


@_primitive("x", "y")
def transport_frame(x: Matrix, y: Matrix, a: Components) -> Components:
    """Parallel transport in components of the left-invariant frame."""
    return matrices.skew_components(_half_way_back(x, y, _matrix(x, a)))


@_primitive("x", "v")
def project_tangent(x: Matrix, v: Matrix) -> Matrix:
    """Orthogonal projection: x times the skew part of x^T v."""
    return mul(x, _body(x, v))


@_primitive("x", "g")
def egrad_to_rgrad(x: Matrix, g: Matrix) -> Matrix:
    """Riemannian gradient: twice the tangent part of g, as the metric is half the ambient one."""
    return 2 * mul(x, _body(x, g))


@_primitive("x")
def from_frame(x: Matrix, a: Components) -> Matrix:
    """x w, w the skew matrix with entries a (..., d) below the diagonal."""
    return mul(x, _matrix(x, a))


@_primitive("x", "v")
def to_frame(x: Matrix, v: Matrix) -> Components:
    """The entries (..., d) of w = x^T v below the diagonal."""
    return matrices.skew_components(_body(x, v))


@_primitive("x")
def tangent_basis(x: Matrix) -> Float[Array, "*batch d n n"]:
    """The left-invariant frame (..., d, n, n), vectors along the first of the last three axes."""
    n = x.shape[-1]
    unit = jnp.eye(n * (n - 1) // 2, dtype=x.dtype)
    return mul(x[..., None, :, :], matrices.from_skew_components(unit, n))


# -------------------------------------------------------------------------------------------------
# Points
# -------------------------------------------------------------------------------------------------


@primitive("x")
def project(x: Matrix) -> Matrix:
    """Nearest rotation in the Frobenius norm, u diag(1, ..., 1, det(u v^T)) v^T for the factors u and v of the SVD.

    Derivatives are the implicit ones of the polar decomposition; 0 where the nearest rotation is not unique.
    """
    return matrices.nearest_orthogonal(x, proper=True)


def origin(n: int, dtype: DTypeLike | None = None) -> Float[Array, "n n"]:
    """The identity matrix."""
    return jnp.eye(n, dtype=dtype)


def random_uniform(
    key: Array, shape: int | tuple[int, ...], dtype: DTypeLike | None = None
) -> Array:
    """Rotations of the given full shape (..., n, n), uniform (Haar): the nearest ones to matrices of normal numbers."""
    return project(jax.random.normal(key, as_shape(shape), dtype))


@register_record
@dataclass(frozen=True)
class SO(ModuleManifold):
    """The rotation group SO(n), n >= 2, as a :class:`~geodl.manifolds.base.Manifold`."""

    n: int = field(metadata={"static": True})

    embedded = True

    def __post_init__(self):
        check_integer("SO: n", self.n, 2)

    @property
    def dim(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.n * (self.n - 1) // 2

    @property
    def event_shape(self):
        return (self.n, self.n)

    def origin(self, dtype=None):
        return origin(self.n, dtype)

    def log_volume(self):
        """The sum of the logarithms of the areas of S^1, ..., S^(n - 1), over which SO(n) fibers."""
        return math.fsum(log_area(k) for k in range(1, self.n))

    def frame_divergence(self, x, a):
        """0: left-invariant fields are Killing fields."""
        return zero_of(jnp.asarray(a)) + zero_of(entries(jnp.asarray(x)))
