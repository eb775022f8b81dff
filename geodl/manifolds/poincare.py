"""The Poincaré ball of sectional curvature -c: {x in R^d : c |x|^2 < 1}, metric lambda_x^2 <u, v>.

Conventions: ``c >= 0``; lambda_x = 2 / (1 - c |x|^2), so lambda_0 = 2 and dist(0, expmap0(v)) = 2 |v|. c = 0 is R^d
with 4 times the Euclidean metric, exactly, with one-sided derivatives in c. ``c`` is a float or an array that
broadcasts against the leading axes of the points; negative or NaN it raises, or gives NaN where it is not known.

Sources: Ungar, *Analytic Hyperbolic Geometry* (2008) for the gyrovector operations; Ganea et al., *Hyperbolic
Neural Networks* (2018), and Mathieu et al., *Poincaré VAEs* (2019), for exp, log and gyroplanes.

Numerics. Papers write everything through the Möbius difference (-x) + y, whose numerator and denominator
cancel for close points and near the edge. With the conformal gaps A = 1 - c|x|^2, B = 1 - c|y|^2 and the plain
difference w = y - x the same quantities have no cancellation left:

    (-x) + y = (A w - c |w|^2 x) / (c |w|^2 + A B),      dist = (2 / sqrt c) asinh sqrt(c |w|^2 / (A B)).

The gap itself is summed exactly (``geodl.manifolds._gap``). The float32 ball ends at ``sqrt(c) dist(0, x)`` = 15.2
(float64: 35.4): ``project`` clips to gap 8 eps (half precision: 2 eps of its own), results are clipped by their own
norm, and a point given beyond gap 4 eps counts as the nearest one on that rim (eagerly, a point outside the open ball
raises ``ValueError``; where |x|^2 overflows, only ``project`` knows a direction, and the others give NaN).
"""

import functools
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Float

from geodl._core.checks import as_shape, check, check_nonnegative, check_positive, primitive
from geodl._core.records import register_record
from geodl._core.reductions import (
    binade,
    dot,
    dots,
    once,
    safe_norm,
    safe_sqrt,
    scale,
    zero_of,
)
from geodl._core.special import asinhc, log_sinhc, tanhc
from geodl.manifolds._gap import (
    chord2,
    clipped,
    gap_of,
    into_ball,
    onto_rim,
    rim_gap,
)
from geodl.manifolds.base import ModuleManifold, Winding


Vector = Float[Array, "*#batch d"]
Scalar = Float[Array, "*#batch"]
Curvature = Float[Array, "*#batch"]


def _primitive(*arrays, points=("x", "y", "z", "p"), point=False, flat=True):
    """A public function: ``points`` must lie in the ball, ``c >= 0``; ``point`` says that the result is one,
    ``flat`` that c may be 0.

    Where values are not known, NaN stands for a curvature that is not allowed.
    """

    def validate(c, **arguments):
        valid = check_nonnegative if flat else check_positive
        valid("curvature parameter c (sectional curvature is -c)", c)
        for name in points:
            if name in arguments:
                r2 = c * np.sum(np.square(arguments[name], dtype=np.longdouble), -1)
                check(~(r2 >= 1), f"{name} must lie in the open ball, c |{name}|^2 < 1", r2)

    def decorate(function):
        @functools.wraps(function)
        def allowed(*, c, **arguments):
            return function(**arguments, c=jnp.where(c >= 0, c, jnp.nan))

        return primitive(*arrays, validate=validate, store=_store if point else None)(allowed)

    return decorate


def _store(result: Array, dtype, /, c: Array, **_) -> Array:
    """A point in the inputs' dtype, at half precision so far inside that its rounding keeps it there."""
    if dtype.itemsize < 4:
        result = clipped(result, c, 2 * float(jnp.finfo(dtype).eps))
    return lax.convert_element_type(result, dtype)


# ------------------------------------------------------------------------------------------------------
# Möbius operations
# ------------------------------------------------------------------------------------------------------


@_primitive("x", "y", point=True)
def mobius_add(x: Vector, y: Vector, c: Curvature) -> Vector:
    """Möbius addition x ⊕ y (Ungar 2008; Ganea et al. 2018, eq. 2): the translation by x, applied to y."""
    (to_x, a), (to_y, b) = into_ball(x, c), into_ball(y, c)
    s = scale(to_x, x) + scale(to_y, y)
    ss = c * dot(s, s)
    denominator = ss + a * b
    return _combine(to_x * ss / denominator, x, a / denominator, s, c)


def _step(to_x: Array, a: Array, x: Array, t: Array, v: Array, b: Array, c: Array) -> Array:
    """(to_x x) ⊕ u for u = t v, whose gap b is that before the rounding of u.

    Where u is near -x, near the rim, that rounding is all that is left of |x + u| in the direction of u. It is found
    by comparing b with the gap of what was rounded, s - x, and taken back.
    """
    u = _rounded(scale(t, v))
    s, m = scale(to_x, x) + u, 1 - b
    ss, sx = dots((s, s), (s, x))
    ss, sx = c * ss, c * to_x * sx
    excess = ((a - b) + 2 * sx - ss) / (2 * m)
    excess = jnp.where((m > 0.25) & (ss < 0.25), lax.stop_gradient(excess), 0.0)
    ss = ss + lax.stop_gradient(jnp.maximum(excess * (2 * (ss - sx) + excess * m), -ss))
    ss, excess, b = once((ss, excess, b), x)
    denominator = ss + a * b
    back = (
        ss < (1 - a) / 4
    )  # then from x + u, which cancels; else as a step from x, exact for u = 0
    along_x = jnp.where(back, ss, denominator + a * m) / denominator
    fixed = lax.stop_gradient(denominator)  # divided by it, the two are computed once for a point
    back, excess = (jnp.where(back, f * fixed, 0.0) / fixed for f in (1.0, excess))
    z = (scale(back * to_x, x) + u) + scale(excess, u)
    return _combine(along_x * to_x, x, a / denominator, z, c)


@jax.custom_jvp
def _rounded(a):
    """The product a as a float: no compiler contracts it with a sum, here in this way and there in that."""
    return jnp.maximum(a, jnp.finfo(a.dtype).min)


_rounded.defjvp(lambda primals, tangents: (_rounded(*primals), tangents[0]))


def _combine(along_x, x, along_z, z, c):
    """The point along_x x + along_z z, clipped to the rim by its own norm (without a derivative of the clipping)."""
    y = scale(along_x, x) + scale(along_z, z)
    return scale(onto_rim(1 - c * lax.stop_gradient(dot(y, y))), y)


@_primitive("x", point=True)
def mobius_scalar_mul(r: Scalar, x: Vector, c: Curvature) -> Vector:
    """Möbius multiple r ⊗ x = expmap0(r logmap0(x)) (Ganea et al. 2018, eq. 3)."""
    return _expmap0(scale(r, _logmap0(x, c)), c)


@_primitive(point=True)
def mobius_matvec(m: Float[Array, "*#batch k d"], x: Float[Array, "*#batch d"], c: Curvature):
    """Möbius matrix-vector product M ⊗ x = expmap0(M logmap0(x)) (Ganea et al. 2018, eq. 27): (..., k)."""
    return _expmap0(dot(m, _logmap0(x, c)[..., None, :]), c)


@_primitive("u", "v", "w", points=("u", "v"))
def gyration(u: Vector, v: Vector, w: Vector, c: Curvature) -> Vector:
    """gyr[u, v] w, the rotation by which Möbius addition fails to associate (Ungar 2008).

    Args:
        u, v: Points (..., d).
        w: Vectors (..., d).
        c: Minus the sectional curvature (...).

    Returns:
        Array (..., d).
    """
    return _rotate(-v, u, w, c)[0]


def _rotate(x, y, v, c):
    """gyr[y, -x] v, and the gaps of the points, which are s x and t y (s = t = 1 inside the rim).

    Without cancellation as their difference w goes to 0.
    """
    (s, a), (t, b) = into_ball(x, c), into_ball(y, c)
    w = scale(t, y) - scale(s, x)
    ww, xv, wv = dots((w, w), (x, v), (w, v))
    cww, xv = c * ww, s * xv
    k = 2 * c / (cww + a * b)
    along_y, along_w = k * t * (a * wv - cww * xv), k * (wv + b * xv)
    # Not w again: XLA:CPU would write out what a sum and this share.
    return v + (scale(along_y, y) + scale(along_w, scale(s, x) - scale(t, y))), a, b


@_primitive("x")
def conformal_factor(x: Vector, c: Curvature) -> Scalar:
    """lambda_x = 2 / (1 - c |x|^2): hyperbolic over Euclidean length at x."""
    return 2 / gap_of(x, c)


# ------------------------------------------------------------------------------------------------------
# Exponential and logarithm, distance
# ------------------------------------------------------------------------------------------------------


@_primitive("x", "v", point=True)
def expmap(x: Vector, v: Vector, c: Curvature) -> Vector:
    """exp_x(v) = x ⊕ tanh(sqrt(c) lambda_x |v| / 2) v / (sqrt(c) |v|) (Ganea et al. 2018, lemma 2).

    Example:
        >>> import jax.numpy as jnp
        >>> from geodl.manifolds import poincare
        >>> poincare.expmap(jnp.zeros(2), jnp.array([[0.5, 0.0], [0.0, 50.0]]), c=1.0).round(4)
        Array([[0.4621, 0.    ],
               [0.    , 1.    ]], dtype=float32)
    """
    return _expmap(*into_ball(x, c), x, v, c)


def _expmap(to_x, a, x, v, c):
    t, b = _disk_step(c * dot(v, v) / jnp.square(a))
    return _step(to_x, a, x, t / a, v, b, c)


@_primitive("x", "a", point=True)
def expmap_frame(x: Vector, a: Vector, c: Curvature) -> Vector:
    """exp_x of the tangent vector with components a in the orthonormal frame at x: x ⊕ exp_0(a / 2)."""
    t, b = _disk_step(c * dot(a, a) / 4)
    return _step(*into_ball(x, c), x, t / 2, a, b, c)


def _disk_step(q: Array) -> tuple[Array, Array]:
    """tanh(r) / r and sech^2 r for r^2 = q.

    For large r not as 1 - tanh^2 r, which cancels; for small r not through r, which has no derivative in c at c = 0.
    """
    t, far = tanhc(q), q > 1
    e = jnp.exp(-2 * jnp.sqrt(jnp.where(far, q, 1.0)))
    return t, jnp.where(far, 4 * e / jnp.square(1 + e), 1 - q * jnp.square(t))


@_primitive("v", point=True)
def expmap0(v: Vector, c: Curvature) -> Vector:
    """exp_0(v) = tanh(sqrt(c) |v|) v / (sqrt(c) |v|); dist(0, expmap0(v)) = 2 |v|."""
    return _expmap0(v, c)


def _expmap0(v, c):
    vv = c * dot(v, v)
    t = tanhc(vv)
    return scale(t * lax.stop_gradient(onto_rim(1 - vv * jnp.square(t))), v)


@_primitive("x", "y")
def logmap(x: Vector, y: Vector, c: Curvature) -> Vector:
    """log_x(y), inverse of expmap (Ganea et al. 2018, lemma 2).

    Example:
        >>> import jax.numpy as jnp
        >>> from geodl.manifolds import poincare
        >>> x, v = jnp.array([0.3, 0.6]), jnp.array([0.2, -0.1])
        >>> jnp.allclose(poincare.logmap(x, poincare.expmap(x, v, c=0.7), c=0.7), v)
        Array(True, dtype=bool)
    """
    return _logmap(x, *into_ball(x, c), y, *into_ball(y, c), c)


def _logmap(x, to_x, a, y, to_y, b, c):
    w = scale(to_y, y) - scale(to_x, x)
    cww = c * dot(w, w)
    q = cww / (a * b)
    return scale(asinhc(q) * lax.rsqrt(1 + q) / b, scale(a, w) - scale(cww * to_x, x))


@_primitive("y")
def logmap0(y: Vector, c: Curvature) -> Vector:
    """log_0(y) = artanh(sqrt(c) |y|) y / (sqrt(c) |y|), inverse of expmap0."""
    return _logmap0(y, c)


def _logmap0(y, c):
    to_y, b = into_ball(y, c)
    return scale(asinhc(c * jnp.square(to_y) * dot(y, y) / b) * lax.rsqrt(b) * to_y, y)


@_primitive("x", "y")
def dist(x: Vector, y: Vector, c: Curvature) -> Scalar:
    """Geodesic distance (2 / sqrt c) artanh(sqrt(c) |(-x) ⊕ y|), as an asinh; gradient 0 at x = y.

    Example:
        >>> import jax.numpy as jnp
        >>> from geodl.manifolds import poincare
        >>> poincare.dist(jnp.zeros((4, 1, 2)), jnp.ones((3, 2)) / 2, c=1.0).shape  # leading axes broadcast
        (4, 3)
        >>> poincare.dist(jnp.zeros(2), jnp.array([0.5, 0.0]), c=1.0).round(4)
        Array(1.0986, dtype=float32)
    """
    q = chord2(x, y, c)
    return 2 * safe_sqrt(q) * asinhc(c * q)


@_primitive("x", "y")
def sqdist(x: Vector, y: Vector, c: Curvature) -> Scalar:
    """Squared distance, smooth also at x = y (Hessian 2 lambda_x^2 I there)."""
    q = chord2(x, y, c)
    return 4 * q * jnp.square(asinhc(c * q))


@_primitive("x", "y", point=True)
def geodesic(t: Scalar, x: Vector, y: Vector, c: Curvature) -> Vector:
    """Point at time t of the geodesic from x (time 0) to y (time 1): x ⊕ t ⊗ ((-x) ⊕ y), from the nearer end."""
    first = t <= 0.5
    from_x = first[..., None]
    near, far = jnp.where(from_x, x, y), jnp.where(from_x, y, x)
    to_near, a = into_ball(near, c)
    v = scale(jnp.where(first, t, 1 - t), _logmap(near, to_near, a, far, *into_ball(far, c), c))
    return _expmap(to_near, a, near, v, c)


@_primitive("x", "v")
def logdetexp(x: Vector, v: Vector, c: Curvature) -> Scalar:
    """log |det d exp_x| at v: (d - 1) log(sinh(sqrt(c) |v|_x) / (sqrt(c) |v|_x)) (Mathieu et al. 2019, B.3)."""
    return (v.shape[-1] - 1) * log_sinhc(4 * c * dot(v, v) / jnp.square(gap_of(x, c)))


# ------------------------------------------------------------------------------------------------------
# Tangent vectors
# ------------------------------------------------------------------------------------------------------


@_primitive("x", "u", "v")
def inner(x: Vector, u: Vector, v: Vector, c: Curvature) -> Scalar:
    """Riemannian inner product lambda_x^2 <u, v>."""
    return jnp.square(2 / gap_of(x, c)) * dot(u, v)


@_primitive("x", "v")
def norm(x: Vector, v: Vector, c: Curvature) -> Scalar:
    """Riemannian norm lambda_x |v|."""
    return 2 / gap_of(x, c) * safe_norm(v)


@_primitive("x", "y", "v")
def transport(x: Vector, y: Vector, v: Vector, c: Curvature) -> Vector:
    """Parallel transport of v along the geodesic from x to y: gyr[y, -x] v lambda_x / lambda_y."""
    rotated, a, b = _rotate(x, y, v, c)
    return scale(b / a, rotated)


@_primitive("x", "y", "a")
def transport_frame(x: Vector, y: Vector, a: Vector, c: Curvature) -> Vector:
    """Parallel transport in components of the orthonormal frames at x and y: the rotation gyr[y, -x] a."""
    return _rotate(x, y, a, c)[0]


@_primitive("y", "v")
def transport0(y: Vector, v: Vector, c: Curvature) -> Vector:
    """Parallel transport of v from the origin to y: (1 - c |y|^2) v."""
    return scale(gap_of(y, c), v)


@_primitive("x", "g")
def egrad_to_rgrad(x: Vector, g: Vector, c: Curvature) -> Vector:
    """Riemannian gradient g / lambda_x^2."""
    return scale(jnp.square(gap_of(x, c) / 2), g)


@_primitive("x", "v")
def project_tangent(x: Vector, v: Vector, c: Curvature) -> Vector:
    """Every vector is tangent: v itself."""
    return scale(jnp.where(jnp.isnan(gap_of(x, c)), jnp.nan, 1.0), v)


@_primitive("x", "a")
def from_frame(x: Vector, a: Vector, c: Curvature) -> Vector:
    """Tangent vector with components a in the orthonormal frame at x (the origin's, transported): a / lambda_x."""
    return scale(gap_of(x, c) / 2, a)


@_primitive("x", "v")
def to_frame(x: Vector, v: Vector, c: Curvature) -> Vector:
    """Components of v in the orthonormal frame at x: lambda_x v."""
    return scale(2 / gap_of(x, c), v)


@_primitive("x", "a")
def logdetexp_frame(x: Vector, a: Vector, c: Curvature) -> Scalar:
    """logdetexp at the tangent vector with frame components a, the same at every x."""
    return (a.shape[-1] - 1) * log_sinhc(c * dot(a, a) + zero_of(x))


@_primitive("x", "a")
def frame_divergence(x: Vector, a: Vector, c: Curvature) -> Scalar:
    """sum_i a_i div e_i = (d - 1) c <a, x> of the orthonormal frame e_i."""
    return (a.shape[-1] - 1) * c * dot(a, x)


@_primitive("x")
def tangent_basis(x: Vector, c: Curvature) -> Float[Array, "*batch d d"]:
    """Orthonormal frame at x, vectors in rows."""
    return gap_of(x, c)[..., None, None] / 2 * jnp.eye(x.shape[-1], dtype=x.dtype)


# ------------------------------------------------------------------------------------------------------
# Points, charts, hyperplanes
# ------------------------------------------------------------------------------------------------------


@_primitive("x", points=(), point=True)
def project(x: Vector, c: Curvature) -> Vector:
    """The point itself inside the rim (see the module's docstring), the nearest point of the rim else."""
    sizes = binade(x) / lax.rsqrt(
        lax.stop_gradient(c)
    )  # a point of many radii: its square may overflow
    far = jnp.clip(sizes, 1, 1 / jnp.finfo(x.dtype).tiny)
    return clipped(scale(1 / far, x), c, rim_gap(x.dtype))


def origin(dim: int, dtype: DTypeLike | None = None) -> Float[Array, " d"]:
    """The point 0."""
    return jnp.zeros(dim, dtype)


def random_uniform(
    key: Array, shape: int | tuple[int, ...], c: ArrayLike = 1.0, dtype: DTypeLike | None = None
) -> Array:
    """Points of the given full shape (..., d), uniform in the Euclidean volume of the ball (its own is infinite).

    Raises:
        ValueError: c is not positive.
    """
    check_positive(
        "random_uniform: curvature parameter c (of flat space there is no uniform distribution)", c
    )
    shape, (direction, radius) = as_shape(shape), jax.random.split(key)
    g = jax.random.normal(direction, shape, dtype)
    r = jax.random.uniform(radius, shape[:-1], dtype) ** (1 / shape[-1])
    return project(scale(r / (jnp.sqrt(jnp.asarray(c, g.dtype)) * safe_norm(g)), g), c)


@_primitive("x", flat=False)
def to_hyperboloid(x: Vector, c: Curvature) -> Float[Array, "*batch e"]:
    """Isometry to the hyperboloid of curvature -c: (1 + c|x|^2, 2 sqrt(c) x) / (sqrt(c) (1 - c|x|^2)), (..., d + 1)."""
    (to_x, a), c = into_ball(x, c), jnp.where(c > 0, c, jnp.nan)
    time = (2 - a) / (a * jnp.sqrt(c))
    return jnp.concatenate([time[..., None], scale(2 * to_x / a, x)], -1)


@_primitive("z", "p", "a")
def dist_to_gyroplane(z: Vector, p: Vector, a: Vector, c: Curvature) -> Scalar:
    """Signed distance of z to the hyperplane through p with normal a (Ganea et al. 2018, theorem 5):

    asinh( 2 sqrt(c) <(-p) ⊕ z, a> / ((1 - c |(-p) ⊕ z|^2) |a|) ) / sqrt(c); positive on the side a points to.

    Args:
        z: Points (..., d).
        p: Points of the hyperplanes (..., d).
        a: Normals (..., d).
        c: Minus the sectional curvature (...).

    Returns:
        Array (...).
    """
    (to_z, gap_z), (to_p, gap_p) = into_ball(z, c), into_ball(p, c)
    w = scale(to_z, z) - scale(to_p, p)
    side = gap_p * dot(w, a) - c * dot(w, w) * to_p * dot(p, a)
    side = side / (gap_p * gap_z * safe_norm(a))
    return 2 * side * asinhc(4 * c * jnp.square(side))


@register_record
@dataclass(frozen=True)
class PoincareBall(ModuleManifold):
    """The Poincaré ball of sectional curvature -c as a :class:`~geodl.manifolds.base.Manifold`.

    Example:
        >>> import jax.numpy as jnp
        >>> from geodl.manifolds import PoincareBall
        >>> ball = PoincareBall(dim=2, c=0.7)
        >>> x, v = jnp.array([0.1, 0.2]), jnp.array([0.3, -0.4])
        >>> y = ball.expmap(x, v)
        >>> ball.dist(x, y).round(3) == ball.norm(x, v).round(3)
        Array(True, dtype=bool)
    """

    dim: int = field(metadata={"static": True})
    c: ArrayLike = 1.0

    winding = Winding("none")
    embedded = False

    def __post_init__(self):
        super().__post_init__()
        check_nonnegative("PoincareBall: curvature parameter c (sectional curvature is -c)", self.c)

    def curvature(self):
        return -1.0 * self.c

    def log_volume_element(self, x):
        """dim log lambda_x."""
        return self.dim * jnp.log(conformal_factor(x, self.c))

    def coordinates(self, x):
        """Normal coordinates at the origin: the ball's own are bounded."""
        return self.normal_coordinates(x)
