"""The unit sphere S^d = {x in R^{d+1} : |x| = 1} of curvature 1.

Points are unit vectors (..., d + 1), tangent vectors at x are the ambient vectors orthogonal to it;
the origin is the first basis vector (1, 0, ..., 0). The frame at x is the origin's, (0, e_1), ...,
(0, e_d), transported along the geodesic. Functions take |x| = 1 for granted (eagerly, a point off
by more than 2e-2 in |x|^2 raises ``ValueError``, inside jit nothing is checked); ``project`` makes
it so.

Numerics. Close points would lose their distance in <x, y>, and rounding of |x| and |y| would spoil
the chord |x - y|. Everything is made of u = y - <x, y> x, the part of y across x, formed from the
small one of w = y -+ x as w - <x, w> x: that keeps all digits of u next to x and next to the
antipode -x, and the angle to the nearer of the two comes from tan(angle/2) = |u| / (1 + |<x, y>|).

The antipode. All directions lead to -x and none is distinguished. A y closer than eps (the dtype's)
to -x is taken to lie eps away from it along the first frame vector at x: so dist is pi, logmap is
pi times that vector, transport goes along that geodesic; gradients are finite.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float

from geodl._core import reductions
from geodl._core.checks import as_shape, check, primitive
from geodl._core.platform import cpu_barrier, cpu_once
from geodl._core.records import register_record
from geodl._core.reductions import (
    FEW,
    UNROLLED,
    binade,
    safe_sqrt,
    scale,
    sums,
    zero_of,
)
from geodl._core.special import atanc, cos_minus_one, log_sinc, sinc
from geodl.manifolds._gap import exact_gap
from geodl.manifolds._vectors import Vectors, cut, dot, each, join, of_array, tangent_dot, to_array
from geodl.manifolds.base import ModuleManifold, Winding
from geodl.manifolds.euclidean import inner, norm  # noqa: F401 - the surrounding space's metric


Vector = Float[Array, "*#batch e"]  # e = d + 1 ambient coordinates
Coordinates = Float[Array, "*#batch d"]
Scalar = Float[Array, "*#batch"]


def _validate(**arguments):
    for name in ("x", "y"):
        if name in arguments:
            q = np.sum(np.square(arguments[name]), -1)
            check(
                ~(np.abs(q - 1) >= 2e-2), f"{name} must lie on the unit sphere, |{name}|^2 = 1", q
            )


def _primitive(*points):
    return primitive(*points, validate=_validate)


# -------------------------------------------------------------------------------------------------
# Two points: the angle between them and the direction from one to the other
# -------------------------------------------------------------------------------------------------


class _Angle(NamedTuple):
    """The geometry of two points x and y."""

    near: Array  # whether y is nearer to x than to -x
    across: Vectors  # u of the module's docstring where it is, else the unit vector along it
    tan2_half: Array  # tan^2(a / 2), a the angle to the nearer one
    k: Array  # with n = s u: k n n^T = u u^T / (1 + <x, y>)
    s: Array


def _meet(x, y):
    """The angle between two points."""
    cos = dot(x, y)
    w = each(lambda near, a, b: b - jnp.where(near, a, -a), cos >= 0, x, y)
    return _angle(cos, w - dot(x, w) * x, _first_frame_vector(x))


def _from_origin(x):
    """The angle between the origin and x, the vectors across without their first coordinate, which is 0."""
    cos, u = cut(x)
    return _angle(cos, u, _basis_vector(u))


def _angle(cos, u, away):
    """Of two points with the product ``cos``, u what the second has across the first.

    At the antipode ``away`` is the direction.
    """
    eps, near = float(jnp.finfo(cos.dtype).eps), cos >= 0
    antipode = ~near & (dot(u, u) < eps**2)
    u = each(lambda at, a, u: jnp.where(at, eps * lax.stop_gradient(a), u), antipode, away, u)
    sin2, one_plus = dot(u, u), 1 + jnp.abs(cos)
    s = lax.rsqrt(jnp.where(near, 1.0, sin2))
    k = jnp.where(near, 1 / one_plus, one_plus)
    return _Angle(near, u, sin2 / jnp.square(one_plus), k, s)


def _basis_vector(x):
    """(1, 0, ..., 0), of the length of x."""
    first, rest = cut(x)
    return join(jnp.ones_like(first), each(jnp.zeros_like, rest))


def _first_frame_vector(x):
    return _from_frame(x, _basis_vector(cut(x)[1]))


def _from_frame(x, a):
    _, u, _, k, s = _from_origin(x)
    n = s * u
    return join(-dot(u, a), a - (k * dot(n, a)) * n)


def _half_angle(x, y):
    """``near`` and ``tan2_half`` of :func:`_meet`, without a vector.

    In the parallelogram of sides x and y with diagonals w = y - x and m = y + x, and with r = |y| - |x|,

        tan^2(angle/2) = (|w|^2 - r^2) / (|m|^2 - r^2),   r^2 = <w, m>^2 / (|w|^2 + |m|^2) up to terms in r^4.
    """
    ww, mm, wm = _diagonals(of_array(x), of_array(y))
    r2 = jnp.square(wm) / (ww + mm)
    across, along = ww - r2, mm - r2
    near = across <= along
    small, large = jnp.where(near, across, along), jnp.where(near, along, across)
    antipode = float(jnp.finfo(x.dtype).eps) ** 2
    small = jnp.where(small < jnp.where(near, 0.0, antipode), 0.0, small)
    return near, small / large


@jax.custom_jvp
def _diagonals(x, y):
    """|w|^2, |m|^2 and <w, m> for w = y - x and m = y + x: in one pass, or of all pairs of long vectors in two.

    Then m is of halves, since XLA:CPU would write out what two sums share, and <w, m> is |y|^2 - |x|^2 of each alone.
    """
    w, m = y - x, y + x
    if isinstance(w.parts, tuple):
        return cpu_barrier((dot(w, w), dot(m, m), dot(w, m)))
    x, y, w, m = x.parts, y.parts, w.parts, m.parts
    if x.shape == y.shape or x.shape[-1] <= UNROLLED:
        return cpu_barrier(sums(w * w, m * m, w * m))
    one, half = jnp.ones((), x.dtype), x / 2 + y / 2
    squares = reductions.dot(w, w), 4 * reductions.dot(half, half)
    return cpu_barrier((*squares, exact_gap(x, one) - exact_gap(y, one)))


@_diagonals.defjvp
def _diagonals_jvp(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    d_ww, d_mm = 2 * tangent_dot(y - x, dy - dx), 2 * tangent_dot(y + x, dy + dx)
    return _diagonals(x, y), (d_ww, d_mm, 2 * (tangent_dot(y, dy) - tangent_dot(x, dx)))


def _supplement(h2):
    """pi - a."""
    return jnp.pi - 2 * safe_sqrt(h2) * atanc(h2)


@_primitive("x", "v")
def expmap(x: Vector, v: Vector) -> Vector:
    """cos(r) x + sin(r) v / r, r = |v|; normalized, so that long chains stay on it."""
    return to_array(_exp(of_array(x), of_array(v)))


def _exp(x, v):
    q = cpu_once(dot(v, v))  # so that its cotangent is computed once too
    return _unit(x + cos_minus_one(q) * x + sinc(q) * v)


@_primitive("x", "y")
def logmap(x: Vector, y: Vector) -> Vector:
    """r / sin(r) (y - cos(r) x), r = dist(x, y); at y = -x, pi times the first frame vector."""
    near, u, h2, k, s = _meet(of_array(x), of_array(y))
    return to_array(jnp.where(near, 2 * k * atanc(h2), s * _supplement(h2)) * u)


@_primitive("x", "y")
def dist(x: Vector, y: Vector) -> Scalar:
    """The angle between x and y, in [0, pi]; gradient 0 at y = x and at y = -x."""
    near, h2 = _half_angle(x, y)
    return jnp.where(near, 2 * safe_sqrt(h2) * atanc(h2), _supplement(h2))


@_primitive("x", "y")
def sqdist(x: Vector, y: Vector) -> Scalar:
    """Squared angle, smooth also at x = y; gradient 0 at y = -x."""
    near, h2 = _half_angle(x, y)
    return jnp.where(near, 4 * h2 * jnp.square(atanc(h2)), jnp.square(_supplement(h2)))


@_primitive("x", "y")
def geodesic(t: Scalar, x: Vector, y: Vector) -> Vector:
    """Point at time t of the shortest great arc from x (time 0) to y (time 1)."""
    return expmap(x, scale(t, logmap(x, y)))


@_primitive("x", "v")
def logdetexp(x: Vector, v: Vector) -> Scalar:
    """log |det d exp_x| at v: (d - 1) log |sin(r) / r|, r = |v|; finite also where that is 0."""
    return (v.shape[-1] - 2) * log_sinc(inner(x, v, v))


# -------------------------------------------------------------------------------------------------
# Tangent vectors
# -------------------------------------------------------------------------------------------------


@_primitive("x", "y", "v")
def transport(x: Vector, y: Vector, v: Vector) -> Vector:
    """Parallel transport v - <y, v> / (1 + <x, y>) (x + y) along the shortest great arc."""
    p, a = of_array(x), of_array(v)
    _, u, _, k, s = _meet(p, of_array(y))
    n = s * u
    return to_array(a - dot(u, a) * p - (k * dot(n, a)) * n)


@_primitive("x", "v")
def project_tangent(x: Vector, v: Vector) -> Vector:
    """Orthogonal projection v - <x, v> x."""
    p, a = of_array(x), of_array(v)
    return to_array(a - dot(p, a) * p)


@_primitive("x", "g")
def egrad_to_rgrad(x: Vector, g: Vector) -> Vector:
    """Riemannian gradient: the tangent part of g."""
    return project_tangent(x, g)


@_primitive("x")
def from_frame(x: Vector, a: Coordinates) -> Vector:
    """Tangent vector with components a (..., d) in the frame at x."""
    return to_array(_from_frame(of_array(x), _components(x, a)))


def _components(x, a):
    if a.shape[-1] != x.shape[-1] - 1:
        raise ValueError(f"sphere: components have shape (..., {x.shape[-1] - 1}), got {a.shape}")
    return of_array(a, 0, FEW - 1)  # columns where those of x are


@_primitive("x")
def expmap_frame(x: Vector, a: Coordinates) -> Vector:
    """expmap of the tangent vector with components a (..., d) in the frame at x."""
    p = of_array(x)
    return to_array(_exp(p, _from_frame(p, _components(x, a))))


@_primitive("x", "v")
def to_frame(x: Vector, v: Vector) -> Coordinates:
    """Components (..., d) of v in the orthonormal frame at x."""
    _, u, _, k, s = _from_origin(of_array(x))
    (first, rest), n = cut(of_array(v)), s * u
    return to_array(rest - first * u - (k * dot(n, rest)) * n)


@_primitive("x")
def logdetexp_frame(x: Vector, a: Coordinates) -> Scalar:
    """logdetexp at the tangent vector with frame components a, the same at every x."""
    b = of_array(a)
    return (a.shape[-1] - 1) * log_sinc(dot(b, b) + zero_of(x))


@_primitive("x")
def killing(x: Vector, a: Float[Array, "*#batch k"]) -> Vector:
    """A x of the skew matrix A whose lower triangle has the k = d (d + 1) / 2 entries a: a Killing field at x.

    sum_{i < j} a_ij (x_i e_j - x_j e_i); the fields of the unit vectors a span the tangent space, and each of them is
    free of divergence.

    Args:
        x: Points (..., d + 1).
        a: Coefficients (..., k).

    Returns:
        Tangent vectors (..., d + 1).
    """
    i, j = np.triu_indices(x.shape[-1], 1)
    if a.shape[-1] != len(i):
        raise ValueError(f"killing: a needs {len(i)} coefficients, got {a.shape}")
    v = jnp.zeros(jnp.broadcast_shapes(x.shape, (*a.shape[:-1], 1)), a.dtype)
    return v.at[..., j].add(a * x[..., i]).at[..., i].add(-a * x[..., j])


@_primitive("x")
def tangent_basis(x: Vector) -> Float[Array, "*batch d e"]:
    """Orthonormal frame at x, vectors in rows."""
    return from_frame(x[..., None, :], jnp.eye(x.shape[-1] - 1, dtype=x.dtype))


# -------------------------------------------------------------------------------------------------
# Points and charts
# -------------------------------------------------------------------------------------------------


@primitive("x")
def project(x: Vector) -> Vector:
    """Nearest point x / |x|; the origin for x = 0, to which all are equally near."""
    return to_array(_unit((1 / binade(x)) * of_array(x)))


def _unit(x):
    q = dot(x, x)
    zero = q == 0
    return each(jnp.where, zero, _basis_vector(x), lax.rsqrt(jnp.where(zero, 1.0, q)) * x)


def origin(dim: int, dtype: DTypeLike | None = None) -> Float[Array, " e"]:
    """The first basis vector (1, 0, ..., 0) of R^{dim + 1}."""
    return jnp.eye(1, dim + 1, dtype=dtype)[0]


def random_uniform(
    key: Array, shape: int | tuple[int, ...], dtype: DTypeLike | None = None
) -> Array:
    """Points of the given full shape (..., d + 1), uniform on the sphere."""
    return project(jax.random.normal(key, as_shape(shape), dtype))


@_primitive("x")
def to_stereographic(x: Vector) -> Coordinates:
    """Stereographic coordinates x_{1:} / (1 + x_0) (..., d): projection from -origin, the origin is at 0.

    The chart is the Poincaré ball's formula with c = -1: metric (2 / (1 + |p|^2))^2 |dp|^2, the
    hemisphere around the origin is the unit ball. The point -origin, which it lacks, gets (2 / eps,
    0, ..., 0).
    """
    _, u, _, k, s = _from_origin(of_array(x))
    return to_array((k * s * s) * u)


@primitive("p")
def from_stereographic(p: Coordinates) -> Vector:
    """Inverse of to_stereographic: (1 - |p|^2, 2 p) / (1 + |p|^2), (..., d + 1).

    Homogeneous in (1, p), which are divided by what keeps |p|^2 from overflow.
    """
    one = 1 / jnp.maximum(binade(p), 1.0)
    scaled = one * of_array(p, 0, FEW - 1)
    a, q = one * one, dot(scaled, scaled)
    return to_array((1 / (a + q)) * join(a - q, (2 * one) * scaled))


def log_area(dim: int) -> float:
    """Log of the volume 2 pi^((dim + 1)/2) / Gamma((dim + 1)/2) of the unit sphere S^dim.

    Returns:
        A Python float.
    """
    half = (dim + 1) / 2
    return math.log(2) + half * math.log(math.pi) - math.lgamma(half)


@register_record
@dataclass(frozen=True)
class Sphere(ModuleManifold):
    """The unit sphere S^dim as a :class:`~geodl.manifolds.base.Manifold`.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from geodl.manifolds import Sphere
        >>> sphere = Sphere(2)
        >>> x, y = jnp.array([1.0, 0.0, 0.0]), jnp.array([0.0, 1.0, 0.0])
        >>> sphere.dist(x, y).round(4)
        Array(1.5708, dtype=float32)
        >>> sphere.geodesic(0.5, x, y).round(4)
        Array([0.7071, 0.7071, 0.    ], dtype=float32)
        >>> sphere.random_uniform(jax.random.key(0), (5,)).shape
        (5, 3)
    """

    dim: int = field(metadata={"static": True})

    winding = Winding("directions")
    embedded = True

    @property
    def event_shape(self):
        return (self.dim + 1,)

    def curvature(self):
        return 1.0

    def log_volume(self):
        """Log of the area 2 pi^((dim + 1)/2) / Gamma((dim + 1)/2)."""
        return log_area(self.dim)

    def frame_divergence(self, x, a):
        """0 on the circle; a sphere of dim > 1 has no continuous frame: ``ValueError``."""
        if self.dim > 1:
            raise ValueError(f"{self} has no continuous frame")
        return logdetexp_frame(x, a)
