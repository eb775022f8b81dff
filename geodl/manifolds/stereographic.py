"""The kappa-stereographic space: constant sectional curvature kappa of either sign, smooth through 0.

For kappa < 0 it is the Poincaré ball {x in R^d : -kappa |x|^2 < 1} with c = -kappa, for kappa > 0 the sphere
of radius 1 / sqrt(kappa) in stereographic coordinates, R^d without one point, and for kappa = 0 R^d with 4
times its metric. The metric is lambda_x^2 <u, v>, lambda_x = 2 / (1 + kappa |x|^2). ``kappa`` is a float or
an array that broadcasts against the leading axes of the points; derivatives in it are right also at 0, so
that a curvature can be learned through its sign, and a sphere's radius be a parameter.

Numerics. Either sign has the formulas that are well conditioned there: those of
:mod:`~geodl.manifolds.poincare`, and for kappa > 0 such as form everything of w = y - x: with A = 1 + kappa
|x|^2, B = 1 + kappa |y|^2 and e = 1 + kappa <x, y>

    sin^2(a) = kappa |w|^2 / (A B),   cos^2(a) = (e^2 + kappa^2 |x ^ w|^2) / (A B),   dist = 2 a / sqrt(kappa),

each by the one that is small. Where kappa > 0 the chart ends at sqrt(kappa) |x| = 2 / eps, to which
``project`` and ``expmap`` clip; at the antipode the direction of logmap is the first coordinate's. Both
halves are computed: where the sign is known, :mod:`~geodl.manifolds.poincare` and
:mod:`~geodl.manifolds.sphere` take half the time.

Sources: Bachmann, Bécigneul & Ganea, *Constant Curvature Graph Convolutional Networks* (2020); Skopek, Ganea
& Bécigneul, *Mixed-curvature Variational Autoencoders* (2020).
"""

from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Float

from geodl._core.checks import check, is_concrete, primitive
from geodl._core.records import register_record
from geodl._core.reductions import binade, dot, safe_norm, safe_sqrt, scale
from geodl._core.special import asinc, cos_minus_one, log_sinc, sinc
from geodl.manifolds import poincare
from geodl.manifolds._gap import clipped
from geodl.manifolds.base import ModuleManifold, Winding


Vector = Float[Array, "*#batch d"]
Scalar = Float[Array, "*#batch"]
Curvature = Float[Array, "*#batch"]


def _validate(kappa, **arguments):
    check(np.isfinite(kappa), "the curvature kappa must be a finite number", kappa)
    for name in ("x", "y"):
        if name in arguments:
            r2 = -kappa * np.sum(np.square(arguments[name], dtype=np.longdouble), -1)
            check(~(r2 >= 1), f"{name} must lie in the open ball, -kappa |{name}|^2 < 1", r2)


def _primitive(*arrays, point=False):
    """A public function; ``point`` says that the result is one."""
    return primitive(*arrays, validate=_validate, store=_store if point else None)


def _store(result: Array, dtype, /, kappa: Array, **_) -> Array:
    """A point in the inputs' dtype, as on the ball: at half precision its rounding keeps it inside."""
    if dtype.itemsize < 4:
        result = clipped(result, jnp.maximum(-kappa, 0), 2 * float(jnp.finfo(dtype).eps))
    return lax.convert_element_type(result, dtype)


def _halves(kappa):
    """kappa where it is positive, and the ball's c = -kappa where it is not: the other half is flat."""
    positive = kappa > 0
    return positive, jnp.where(positive, kappa, 0.0), jnp.where(positive, 0.0, -kappa)


def _where(positive, spherical, hyperbolic):
    """Of vectors; ``positive`` has the shape of numbers."""
    return jnp.where(positive[..., None], spherical, hyperbolic)


# ------------------------------------------------------------------------------------------------------
# The sphere's half, k >= 0
# ------------------------------------------------------------------------------------------------------


def _a(x, k):
    return 1 + k * dot(x, x)


def _inside(y, k):
    """The point, or where the chart ends."""
    radius = jnp.sqrt(k) * safe_norm(lax.stop_gradient(y))
    end = 2 / float(jnp.finfo(y.dtype).eps)
    far = radius > end
    return scale(jnp.where(far, end / jnp.where(far, radius, 1.0), 1.0), y)


def _add(x, s, cos, k):
    """x ⊕ s / cos = x + A (cos s - k |s|^2 x) / ((cos - k <x, s>)^2 + k^2 |x ^ s|^2)."""
    xx, xs, ss = dot(x, x), dot(x, s), dot(s, s)
    across = xx * ss - xs * xs
    across += lax.stop_gradient(jnp.maximum(-across, 0.0))  # its rounding has no derivative
    total = cos * cos + k * k * xx * ss
    floor = jnp.square(float(jnp.finfo(x.dtype).eps) / 4) * lax.stop_gradient(total)
    size = jnp.maximum(jnp.square(cos - k * xs) + k * k * across, floor)
    return _inside(x + scale((1 + k * xx) / size, scale(cos, s) - scale(k * ss, x)), k)


def _exp(x, v, k):
    v = scale(1 / _a(x, k), v)
    q = k * dot(v, v)
    return _add(x, scale(sinc(q), v), 1 + cos_minus_one(q), k)


def _meet(x, y, k):
    """w = y - x, |w|^2 / (A B), sin^2 and cos^2 of half the angle, and whether cos^2 is the small one."""
    w = y - x
    xx, xw, ww = dot(x, x), dot(x, w), dot(w, w)
    ab = _a(x, k) * _a(y, k)
    chord = ww / ab
    sin2 = k * chord
    far = sin2 > 0.5
    shadow = jnp.where(far, xw / jnp.where(xx > 0, xx, 1.0), 0.0)
    across = w - scale(shadow, x)
    cos2 = (jnp.square(1 + k * dot(x, y)) + k * k * xx * dot(across, across)) / ab
    return w, chord, sin2, jnp.where(far, cos2, 1 - sin2), far


def _far_angle(cos2, far):
    """Half the angle from its cosine, where that is the small one."""
    cos2 = jnp.where(far, cos2, 0.5)
    return jnp.pi / 2 - safe_sqrt(cos2) * asinc(cos2)


def _dist(x, y, k):
    _, chord, sin2, cos2, far = _meet(x, y, k)
    near = 2 * safe_sqrt(chord) * asinc(jnp.where(far, 0.0, sin2))
    return jnp.where(far, 2 * _far_angle(cos2, far) * lax.rsqrt(jnp.where(far, k, 1.0)), near)


def _sqdist(x, y, k):
    _, chord, sin2, cos2, far = _meet(x, y, k)
    near = 4 * chord * jnp.square(asinc(jnp.where(far, 0.0, sin2)))
    return jnp.where(far, 4 * jnp.square(_far_angle(cos2, far)) / jnp.where(far, k, 1.0), near)


def _log(x, y, k):
    w, _, sin2, cos2, far = _meet(x, y, k)
    a, b, ww = _a(x, k), _a(y, k), dot(w, w)
    to_y = scale(a, w) + scale(k * ww, x)  # along the geodesic
    close = asinc(jnp.where(far, 0.0, sin2)) * lax.rsqrt(jnp.where(far, 1.0, cos2)) / b
    least = float(jnp.finfo(x.dtype).eps) * a * safe_norm(w)
    lost = far & (dot(to_y, to_y) < jnp.square(least))
    first = jnp.eye(1, x.shape[-1], dtype=x.dtype)[0]
    to_y = _where(lost, scale(lax.stop_gradient(least), first), to_y)
    length = jnp.where(far, dot(to_y, to_y), 1.0)
    wide = a * _far_angle(cos2, far) * lax.rsqrt(length * jnp.where(far, k, 1.0))
    return scale(jnp.where(far, wide, close), to_y)


def _gyration(x, y, v, k):
    """gyr[y, -x] v, the rotation by twice the argument of e + i k |x ^ w|: v + 2 k (k j j v - e j v) / |.|^2."""
    w, _, sin2, cos2, far = _meet(x, y, k)
    size = jnp.where(far, cos2, 1 - sin2) * _a(x, k) * _a(y, k)
    size = jnp.maximum(size, jnp.square(float(jnp.finfo(x.dtype).eps)))

    def j(v):
        return scale(dot(w, v), x) - scale(dot(x, v), w)

    turned, root = j(v), lax.rsqrt(size)  # 1 / size has a second derivative beyond float32
    part = scale(root, scale(k, j(turned)) - scale(1 + k * dot(x, y), turned))
    return v + scale(2 * k * root, part)


# ------------------------------------------------------------------------------------------------------
# Exponential and logarithm, distance
# ------------------------------------------------------------------------------------------------------


@_primitive("x", "v", point=True)
def expmap(x: Vector, v: Vector, kappa: Curvature) -> Vector:
    """x ⊕ tan(sqrt(kappa) lambda_x |v| / 2) v / (sqrt(kappa) |v|), tanh for kappa < 0 (Bachmann et al. 2020)."""
    positive, k, c = _halves(kappa)
    return _where(positive, _exp(x, v, k), poincare.expmap(x, v, c))


@_primitive("x", "a", point=True)
def expmap_frame(x: Vector, a: Vector, kappa: Curvature) -> Vector:
    """expmap of the tangent vector with components a in the orthonormal frame at x."""
    positive, k, c = _halves(kappa)
    spherical = _exp(x, scale(_a(x, k) / 2, a), k)
    return _where(positive, spherical, poincare.expmap_frame(x, a, c))


@_primitive("v", point=True)
def expmap0(v: Vector, kappa: Curvature) -> Vector:
    """exp_0(v) = tan(sqrt(kappa) |v|) v / (sqrt(kappa) |v|), tanh for kappa < 0; dist(0, expmap0(v)) = 2 |v|."""
    positive, k, c = _halves(kappa)
    return _where(positive, _exp(jnp.zeros_like(v), v, k), poincare.expmap0(v, c))


@_primitive("x", "y")
def logmap(x: Vector, y: Vector, kappa: Curvature) -> Vector:
    """log_x(y), inverse of expmap; at the antipode along the first coordinate."""
    positive, k, c = _halves(kappa)
    return _where(positive, _log(x, y, k), poincare.logmap(x, y, c))


@_primitive("y")
def logmap0(y: Vector, kappa: Curvature) -> Vector:
    """log_0(y) = arctan(sqrt(kappa) |y|) y / (sqrt(kappa) |y|), artanh for kappa < 0."""
    positive, k, c = _halves(kappa)
    return _where(positive, _log(jnp.zeros_like(y), y, k), poincare.logmap0(y, c))


@_primitive("x", "y")
def dist(x: Vector, y: Vector, kappa: Curvature) -> Scalar:
    """Geodesic distance (2 / sqrt kappa) arctan(sqrt(kappa) |(-x) ⊕ y|), artanh for kappa < 0; gradient 0 at x = y."""
    positive, k, c = _halves(kappa)
    return jnp.where(positive, _dist(x, y, k), poincare.dist(x, y, c))


@_primitive("x", "y")
def sqdist(x: Vector, y: Vector, kappa: Curvature) -> Scalar:
    """Squared distance, smooth also at x = y."""
    positive, k, c = _halves(kappa)
    return jnp.where(positive, _sqdist(x, y, k), poincare.sqdist(x, y, c))


@_primitive("x", "y", point=True)
def geodesic(t: Scalar, x: Vector, y: Vector, kappa: Curvature) -> Vector:
    """Point at time t of the shortest geodesic from x (time 0) to y (time 1)."""
    positive, k, c = _halves(kappa)
    spherical = _exp(x, scale(t, _log(x, y, k)), k)
    return _where(positive, spherical, poincare.geodesic(t, x, y, c))


@_primitive("x", "v")
def logdetexp(x: Vector, v: Vector, kappa: Curvature) -> Scalar:
    """log |det d exp_x| at v: (d - 1) log |sin(r) / r|, r = sqrt(kappa) |v|_x, sinh for kappa < 0."""
    return logdetexp_frame(x, to_frame(x, v, kappa), kappa)


@_primitive("x", "a")
def logdetexp_frame(x: Vector, a: Vector, kappa: Curvature) -> Scalar:
    """logdetexp at the tangent vector with frame components a, the same at every x."""
    positive, k, c = _halves(kappa)
    spherical = (a.shape[-1] - 1) * log_sinc(k * dot(a, a))
    return jnp.where(positive, spherical + 0 * dot(x, x), poincare.logdetexp_frame(x, a, c))


# ------------------------------------------------------------------------------------------------------
# Tangent vectors
# ------------------------------------------------------------------------------------------------------


@_primitive("x")
def conformal_factor(x: Vector, kappa: Curvature) -> Scalar:
    """lambda_x = 2 / (1 + kappa |x|^2)."""
    positive, k, c = _halves(kappa)
    return jnp.where(positive, 2 / _a(x, k), poincare.conformal_factor(x, c))


@_primitive("x", "u", "v")
def inner(x: Vector, u: Vector, v: Vector, kappa: Curvature) -> Scalar:
    """Riemannian inner product lambda_x^2 <u, v>."""
    return jnp.square(conformal_factor(x, kappa)) * dot(u, v)


@_primitive("x", "v")
def norm(x: Vector, v: Vector, kappa: Curvature) -> Scalar:
    """Riemannian norm lambda_x |v|."""
    return conformal_factor(x, kappa) * safe_norm(v)


@_primitive("x", "y", "v")
def transport(x: Vector, y: Vector, v: Vector, kappa: Curvature) -> Vector:
    """Parallel transport of v along the shortest geodesic from x to y: gyr[y, -x] v lambda_x / lambda_y."""
    positive, k, c = _halves(kappa)
    spherical = scale(_a(y, k) / _a(x, k), _gyration(x, y, v, k))
    return _where(positive, spherical, poincare.transport(x, y, v, c))


@_primitive("x", "y", "a")
def transport_frame(x: Vector, y: Vector, a: Vector, kappa: Curvature) -> Vector:
    """Parallel transport in components of the orthonormal frames at x and y: the rotation gyr[y, -x] a."""
    positive, k, c = _halves(kappa)
    return _where(positive, _gyration(x, y, a, k), poincare.transport_frame(x, y, a, c))


@_primitive("x", "g")
def egrad_to_rgrad(x: Vector, g: Vector, kappa: Curvature) -> Vector:
    """Riemannian gradient g / lambda_x^2."""
    return scale(1 / jnp.square(conformal_factor(x, kappa)), g)


@_primitive("x", "v")
def project_tangent(x: Vector, v: Vector, kappa: Curvature) -> Vector:
    """Every vector is tangent: v itself."""
    return scale(1 + 0 * conformal_factor(x, kappa), v)


@_primitive("x", "a")
def from_frame(x: Vector, a: Vector, kappa: Curvature) -> Vector:
    """Tangent vector with components a in the orthonormal frame at x (the origin's, transported): a / lambda_x."""
    return scale(1 / conformal_factor(x, kappa), a)


@_primitive("x", "v")
def to_frame(x: Vector, v: Vector, kappa: Curvature) -> Vector:
    """Components of v in the orthonormal frame at x: lambda_x v."""
    return scale(conformal_factor(x, kappa), v)


@_primitive("x", "a")
def frame_divergence(x: Vector, a: Vector, kappa: Curvature) -> Scalar:
    """sum_i a_i div e_i = -(d - 1) kappa <a, x> of the orthonormal frame e_i."""
    return (1 - a.shape[-1]) * kappa * dot(a, x)


@_primitive("x")
def tangent_basis(x: Vector, kappa: Curvature) -> Float[Array, "*batch d d"]:
    """Orthonormal frame at x, vectors in rows."""
    return jnp.eye(x.shape[-1], dtype=x.dtype) / conformal_factor(x, kappa)[..., None, None]


# ------------------------------------------------------------------------------------------------------
# Points
# ------------------------------------------------------------------------------------------------------


@_primitive("x", "y", point=True)
def mobius_add(x: Vector, y: Vector, kappa: Curvature) -> Vector:
    """Möbius addition x ⊕ y, the translation by x, applied to y (Bachmann et al. 2020)."""
    positive, k, c = _halves(kappa)
    one = jnp.ones((), x.dtype)
    return _where(positive, _add(x, y, one, k), poincare.mobius_add(x, y, c))


@primitive("x", store=_store)
def project(x: Vector, kappa: Curvature) -> Vector:
    """The point itself where there is one, or else the nearest point of the ball's rim or of the chart's end."""
    positive, k, c = _halves(kappa)
    huge = jnp.maximum(binade(x), 1.0)
    spherical = _inside(scale(1 / huge, x), k * huge * huge)
    return _where(positive, scale(huge, spherical), poincare.project(x, c))


def origin(dim: int, dtype: DTypeLike | None = None) -> Float[Array, " d"]:
    """The point 0."""
    return jnp.zeros(dim, dtype)


@register_record
@dataclass(frozen=True)
class Stereographic(ModuleManifold):
    """The kappa-stereographic space of sectional curvature kappa as a :class:`~geodl.manifolds.base.Manifold`.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from geodl.manifolds import Stereographic
        >>> x, y = jnp.array([0.1, 0.2]), jnp.array([0.3, -0.4])
        >>> slope = jax.grad(lambda kappa: Stereographic(2, kappa).dist(x, y))
        >>> jnp.stack([slope(k) for k in (-1e-3, 0.0, 1e-3)]).round(3)
        Array([-0.213, -0.213, -0.213], dtype=float32)
    """

    dim: int = field(metadata={"static": True})
    kappa: ArrayLike = 0.0

    embedded = False

    def __post_init__(self):
        super().__post_init__()
        if is_concrete(self.kappa):
            kappa = np.asarray(self.kappa)
            check(np.isfinite(kappa), "Stereographic: kappa must be a finite number", kappa)

    def curvature(self):
        return 1.0 * self.kappa

    @property
    def winding(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """Closed geodesics of length 2 pi / sqrt(kappa), where kappa > 0; else of a length beyond all probability."""
        kappa = jnp.maximum(jnp.asarray(self.kappa), 1e-6)
        return Winding("directions", 2 * np.pi * lax.rsqrt(kappa))

    def log_volume_element(self, x):
        """dim log lambda_x."""
        return self.dim * jnp.log(conformal_factor(x, self.kappa))

    def coordinates(self, x):
        """Normal coordinates at the origin."""
        return self.normal_coordinates(x)
