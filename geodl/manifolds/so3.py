"""The rotation group SO(3) with its bi-invariant metric: the length of a rotation is its angle.

Points are rotation matrices (..., 3, 3). Tangent vectors at x are the ambient matrices v = x hat(w)
with hat(w) the skew matrix of w in R^3, hat(w) u = w × u; their norm is |w|, that is <u, v> =
sum(u * v) / 2. The origin is the identity; the frame at x is left invariant:
x hat(e_1), x hat(e_2), x hat(e_3). Functions take x^T x = I for granted (eagerly, an entry off by
more than 2e-2 or det x < 0 raises ``ValueError``, inside jit nothing is checked); ``project`` makes
it so, also after a long chain of steps.

Numerics. The relative rotation x^T y becomes a unit quaternion q by its largest component, which is
never small, so there is no singularity at angle 0 or pi; the skew part is formed from x^T (y - x),
so that close rotations keep their digits. The angle comes from tan(angle/4) = |q_v| / (1 + q_0). At
angle pi two geodesics arrive; the axis taken is the one whose largest component is positive.

Sources: Murray, Li, Sastry, *A Mathematical Introduction to Robotic Manipulation* (1994), 2.2, for
exp and log; Shepperd, *Quaternion from Rotation Matrix* (1978), for the largest component.
"""

import functools
import math
import operator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float

from geodl._core.checks import as_shape, check, primitive
from geodl._core.platform import cpu_once
from geodl._core.records import register_record
from geodl._core.reductions import binade, dot, safe_norm, safe_sqrt, scale, zero_of
from geodl._core.special import atanc, log_sinc, sinc
from geodl.manifolds._vectors import columns
from geodl.manifolds.base import ModuleManifold, Winding


Matrix = Float[Array, "*#batch 3 3"]
Vector = Float[Array, "*#batch 3"]
Scalar = Float[Array, "*#batch"]


def _validate(**arguments):
    for name in ("x", "y"):
        if name in arguments:
            x = arguments[name]
            if x.shape[-2:] != (3, 3):
                raise ValueError(f"so3: {name} has shape (..., 3, 3), got {x.shape}")
            off = np.max(np.abs(np.swapaxes(x, -2, -1) @ x - np.eye(3)), (-2, -1))
            check(
                ~(off >= 2e-2),
                f"{name} must be a rotation matrix: largest entry of |{name}^T {name} - I|",
                off,
            )
            with np.errstate(invalid="ignore"):  # NaN gives NaN
                det = np.linalg.det(x)
            check(~(det <= 0), f"{name} must be a rotation matrix, of determinant 1", det)


def _primitive(*points):
    return primitive(*points, validate=_validate)


# -------------------------------------------------------------------------------------------------
# 3 x 3 matrices as nine numbers, row by row, and vectors as three, each an array of its own: loops
# over points, never in bf16 or TF32 on an accelerator; computed before they meet in an array again,
# into whose concatenation XLA:CPU would fuse them
# -------------------------------------------------------------------------------------------------


def _entries(a):
    if a.shape[-2:] != (3, 3):
        raise ValueError(f"so3: points and tangent vectors have shape (..., 3, 3), got {a.shape}")
    return a.reshape(*a.shape[:-2], 9)


def _split(a) -> Any:
    return cpu_once(columns(_entries(a)))


def _split_vector(w) -> Any:
    _check_vector(w)
    return cpu_once(columns(w))


def _check_vector(w):
    if w.shape[-1:] != (3,):
        raise ValueError(f"so3: components have shape (..., 3), got {w.shape}")


def _join_vector(parts):
    return jnp.stack(cpu_once(tuple(jnp.broadcast_arrays(*parts))), -1)


def _join(parts):
    joined = _join_vector(parts)
    return joined.reshape(*joined.shape[:-1], 3, 3)


def _rows(a):
    return a[0:3], a[3:6], a[6:9]


def _t(a):
    return (*a[0::3], *a[1::3], *a[2::3])


def _dot(u, v):
    return functools.reduce(operator.add, map(operator.mul, u, v))


def _scale(s, u):
    return tuple(s * a for a in u)


def _minus(u, v):
    return tuple(map(operator.sub, u, v))


def _cross(u, v):
    (a, b, c), (x, y, z) = u, v
    return b * z - c * y, c * x - a * z, a * y - b * x


def _mul(a, b):
    return tuple(_dot(row, column) for row in _rows(a) for column in _rows(_t(b)))


def _vee(m):
    return (m[7] - m[5]) / 2, (m[2] - m[6]) / 2, (m[3] - m[1]) / 2


def _body(x, v):
    """w of the tangent part x hat(w) of v."""
    return cpu_once(_vee(_mul(_t(x), v)))


def _ambient(x, w):
    """x hat(w)."""
    return tuple(entry for row in _rows(x) for entry in _cross(row, w))


def _zero_of(a):
    return zero_of(_entries(a))


def _det(a):
    return dot(jnp.cross(a[..., 0, :], a[..., 1, :]), a[..., 2, :])


@primitive("w")
def hat(w: Vector) -> Matrix:
    """The skew matrix of w: hat(w) u = w × u."""
    x, y, z = _split_vector(w)
    o = jnp.zeros_like(x)
    return _join((o, -z, y, z, o, -x, -y, x, o))


@primitive("m")
def vee(m: Matrix) -> Vector:
    """Inverse of hat; of a matrix that is not skew, its skew part."""
    return _join_vector(_vee(_split(m))) + 0 * jnp.diagonal(m, axis1=-2, axis2=-1)


# -------------------------------------------------------------------------------------------------
# Exponential, logarithm, distance
# -------------------------------------------------------------------------------------------------


def _turned(w, *vectors):
    """Each of the vectors u turned by the rotation exp(hat(w)), by Rodrigues' formula."""
    q = cpu_once(_dot(w, w))
    s, c = cpu_once((sinc(q), jnp.square(sinc(q / 4)) / 2))
    found = []
    for u in vectors:
        wu = _cross(w, u)
        turn = zip(u, wu, _cross(w, wu), strict=True)
        found.append(tuple(a + (s * b + c * d) for a, b, d in turn))
    return found


def _quaternion(x, y):
    """Unit quaternion (q_0, q_v), q_0 >= 0, of x^T y: the row of 4 q q^T with the largest entry on the diagonal."""
    r, (a, b, c) = _mul(_t(x), y), _scale(2.0, _body(x, _minus(y, x)))
    trace = r[0] + r[4] + r[8]
    xy, xz, yz = r[1] + r[3], r[2] + r[6], r[5] + r[7]
    rest = 1 - trace
    rows = (
        (1 + trace, a, b, c),
        (a, rest + 2 * r[0], xy, xz),
        (b, xy, rest + 2 * r[4], yz),
        (c, xz, yz, rest + 2 * r[8]),
    )
    row, best = rows[0], rows[0][0]
    for i in 1, 2, 3:
        larger = rows[i][i] > best
        row = tuple(jnp.where(larger, n, o) for n, o in zip(rows[i], row, strict=True))
        best = jnp.where(larger, rows[i][i], best)
    return _scale(jnp.where(row[0] < 0, -1.0, 1.0) * lax.rsqrt(_dot(row, row)), row)


def _quarter(x, y):
    """q_v / (1 + q_0) = tan(angle/4) axis, and its square."""
    q, *v = cpu_once(_quaternion(x, y))
    h = _scale(1 / (1 + q), v)
    return h, _dot(h, h)


def _log(x, y):
    h, h2 = _quarter(x, y)
    return _scale(cpu_once(4 * atanc(h2)), h)


@_primitive("x", "v")
def expmap(x: Matrix, v: Matrix) -> Matrix:
    """x exp(x^T v), by Rodrigues' formula (Murray et al. 1994, eq. 2.14)."""
    x = _split(x)
    return _exp(x, _body(x, _split(v)))


@_primitive("x")
def expmap_frame(x: Matrix, a: Vector) -> Matrix:
    """x exp(hat(a)): expmap of the tangent vector with components a (..., 3)."""
    return _exp(_split(x), _split_vector(a))


def _exp(x, w):
    """Rows of x turned by the rotation back."""
    turned = _turned(_scale(-1.0, w), *_rows(x))
    return _join([entry for row in turned for entry in row])


@_primitive("x", "y")
def logmap(x: Matrix, y: Matrix) -> Matrix:
    """x log(x^T y), inverse of expmap for angles below pi."""
    x = _split(x)
    return _join(_ambient(x, _log(x, _split(y))))


@_primitive("x", "y")
def dist(x: Matrix, y: Matrix) -> Scalar:
    """Angle of the rotation x^T y, in [0, pi]; gradient 0 at x = y."""
    h2 = _quarter(_split(x), _split(y))[1]
    return 4 * safe_sqrt(h2) * atanc(h2)


@_primitive("x", "y")
def sqdist(x: Matrix, y: Matrix) -> Scalar:
    """Squared angle, smooth also at x = y."""
    h2 = _quarter(_split(x), _split(y))[1]
    return 16 * h2 * jnp.square(atanc(h2))


@_primitive("x", "y")
def geodesic(t: Scalar, x: Matrix, y: Matrix) -> Matrix:
    """Point at time t of the shortest geodesic from x to y (time 1): x exp(t log(x^T y))."""
    x = _split(x)
    return _exp(x, _scale(t, _log(x, _split(y))))


@_primitive("x", "v")
def logdetexp(x: Matrix, v: Matrix) -> Scalar:
    """log |det d exp_x| at v: 2 log |sin(r/2) / (r/2)|, r = |v|; finite also where that is 0."""
    w = _body(_split(x), _split(v))
    return 2 * log_sinc(_dot(w, w) / 4)


# -------------------------------------------------------------------------------------------------
# Tangent vectors
# -------------------------------------------------------------------------------------------------


@_primitive("x", "u", "v")
def inner(x: Matrix, u: Matrix, v: Matrix) -> Scalar:
    """<w_u, w_v> for u = x hat(w_u), v = x hat(w_v): half the Frobenius product."""
    x = _split(x)
    return _dot(_body(x, _split(u)), _body(x, _split(v)))


@_primitive("x", "v")
def norm(x: Matrix, v: Matrix) -> Scalar:
    """|w| for v = x hat(w), gradient 0 at 0."""
    w = _body(_split(x), _split(v))
    return safe_sqrt(_dot(w, w))


@_primitive("x", "y", "v")
def transport(x: Matrix, y: Matrix, v: Matrix) -> Matrix:
    """Parallel transport x e (x^T v) e, e = exp(log(x^T y) / 2), of v along the shortest geodesic to y.

    For v = x hat(w) that is y hat(e^T w): seen from the left-invariant frame, w turns half of the
    way back.
    """
    x, y = _split(x), _split(y)
    return _join(_ambient(y, _half_way_back(x, y, _body(x, _split(v)))))


def _half_way_back(x, y, w):
    return _turned(_scale(-0.5, _log(x, y)), w)[0]


@_primitive("x", "y")
def transport_frame(x: Matrix, y: Matrix, a: Vector) -> Vector:
    """Parallel transport in components of the left-invariant frame: a turned by half of the way back."""
    return _join_vector(_half_way_back(_split(x), _split(y), _split_vector(a)))


@_primitive("x", "v")
def project_tangent(x: Matrix, v: Matrix) -> Matrix:
    """Orthogonal projection: x times the skew part of x^T v."""
    x = _split(x)
    return _join(_ambient(x, _body(x, _split(v))))


@_primitive("x", "g")
def egrad_to_rgrad(x: Matrix, g: Matrix) -> Matrix:
    """Riemannian gradient: twice the tangent part of g, as the metric is half the ambient one."""
    return 2 * project_tangent(x, g)


@_primitive("x")
def from_frame(x: Matrix, a: Vector) -> Matrix:
    """x hat(a): tangent vector with components a (..., 3) in the left-invariant frame."""
    return _join(_ambient(_split(x), _split_vector(a)))


@_primitive("x", "v")
def to_frame(x: Matrix, v: Matrix) -> Vector:
    """w of v = x hat(w): components (..., 3) in the left-invariant frame."""
    return _join_vector(_body(_split(x), _split(v)))


@_primitive("x")
def logdetexp_frame(x: Matrix, a: Vector) -> Scalar:
    """logdetexp at the tangent vector with frame components a, the same at every x."""
    _check_vector(a)
    return 2 * log_sinc(dot(a, a) / 4 + _zero_of(x))


@_primitive("x")
def tangent_basis(x: Matrix) -> Float[Array, "*batch 3 3 3"]:
    """The left-invariant frame (..., 3, 3, 3), vectors along the first of the last three axes."""
    return from_frame(x[..., None, :, :], jnp.eye(3, dtype=x.dtype))


# -------------------------------------------------------------------------------------------------
# Points
# -------------------------------------------------------------------------------------------------


@primitive("x")
def project(x: Matrix) -> Matrix:
    """Nearest rotation in the Frobenius norm, U diag(1, 1, det(U V^T)) V^T for the factors U and V of the SVD.

    Derivatives are the implicit ones of the polar decomposition, which stay finite at equal
    singular values (all rotations have them); 0 is returned where the nearest rotation is not
    unique.
    """
    return _nearest_rotation(x / binade(_entries(x))[..., None, None])


@jax.custom_jvp
def _nearest_rotation(m):
    u, _, vt = jnp.linalg.svd(m)
    sign = jnp.where(_det(u) * _det(vt) < 0, -1.0, 1.0).astype(m.dtype)
    one = jnp.ones_like(sign)
    return _product(u * jnp.stack([one, one, sign], -1)[..., None, :], vt)


def _product(a, b):
    return _join(_mul(_split(a), _split(b)))


@_nearest_rotation.defjvp
def _nearest_rotation_jvp(primals, tangents):
    """m = r s with s symmetric: dr = r hat(w) with (tr(s) I - s) w = 2 vee(r^T dm)."""
    (m,), (dm,) = primals, tangents
    r = _nearest_rotation(m)
    s = _product(jnp.swapaxes(r, -2, -1), m)
    s = (s + jnp.swapaxes(s, -2, -1)) / 2
    identity = jnp.broadcast_to(jnp.eye(3, dtype=m.dtype), m.shape)
    b = jnp.trace(s, axis1=-2, axis2=-1)[..., None, None] * identity - s
    rows = [b[..., i, :] for i in range(3)]
    cofactors = jnp.stack([jnp.cross(rows[i - 2], rows[i - 1]) for i in range(3)], -2)
    det = dot(rows[0], cofactors[..., 0, :])
    unique = jnp.abs(det) > jnp.finfo(m.dtype).tiny
    w = 2 * dot(cofactors, to_frame(r, dm)[..., None, :])
    return r, from_frame(
        r, jnp.where(unique[..., None], w / jnp.where(unique, det, 1.0)[..., None], 0)
    )


def origin(dim: int = 3, dtype: DTypeLike | None = None) -> Float[Array, "3 3"]:
    """The identity matrix; ``dim`` can only be 3."""
    if dim != 3:
        raise ValueError(f"so3: the dimension is 3, got {dim}")
    return jnp.eye(3, dtype=dtype)


def random_uniform(
    key: Array, shape: int | tuple[int, ...] = (3, 3), dtype: DTypeLike | None = None
) -> Array:
    """Rotations of the given full shape (..., 3, 3), uniform (Haar): uniform quaternions.

    Raises:
        ValueError: The shape does not end in (3, 3).
    """
    shape = as_shape(shape)
    if shape[-2:] != (3, 3):
        raise ValueError(f"so3.random_uniform: shape must end in (3, 3), got {shape}")
    q = jax.random.normal(key, (*shape[:-2], 4), dtype)
    q = q / safe_norm(q)[..., None]
    w, v = q[..., 0], q[..., 1:]
    identity = jnp.expand_dims(jnp.eye(3, dtype=q.dtype), range(w.ndim))
    diagonal = (w * w - dot(v, v))[..., None, None] * identity
    return diagonal + 2 * v[..., :, None] * v[..., None, :] + 2 * hat(scale(w, v))


@register_record
@dataclass(frozen=True)
class SO3(ModuleManifold):
    """The rotation group as a :class:`~geodl.manifolds.base.Manifold`."""

    dim = 3
    winding = Winding("directions")
    embedded = True

    @property
    def event_shape(self):
        return (3, 3)

    def curvature(self):
        return 0.25

    def log_volume(self):
        """log 8 pi^2, the integral of (sin(r/2) / (r/2))^2 over the ball r < pi."""
        return math.log(8 * math.pi**2)

    def frame_divergence(self, x, a):
        """0: left-invariant fields are Killing fields."""
        return zero_of(jnp.asarray(a)) + _zero_of(jnp.asarray(x))
