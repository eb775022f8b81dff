"""The Poincaré ball of sectional curvature -c: {x in R^d : c |x|^2 < 1}, metric lambda_x^2 <u, v>.

Conventions: ``c > 0``; lambda_x = 2 / (1 - c |x|^2), so lambda_0 = 2 and dist(0, expmap0(v)) = 2 |v|. The limit
c -> 0 is R^d with 4 times the Euclidean metric. ``c`` is a float or an array that broadcasts against the
leading axes of the points.

Sources: Ungar, *Analytic Hyperbolic Geometry* (2008) for the gyrovector operations; Ganea et al., *Hyperbolic
Neural Networks* (2018), and Mathieu et al., *Poincaré VAEs* (2019), for exp, log and gyroplanes.

Numerics. Papers write everything through the Möbius difference (-x) + y, whose numerator and denominator
cancel for close points and near the edge. With the conformal gaps A = 1 - c|x|^2, B = 1 - c|y|^2 and the plain
difference w = y - x the same quantities have no cancellation left:

    (-x) + y = (A w - c |w|^2 x) / (c |w|^2 + A B),      dist = (2 / sqrt c) asinh sqrt(c |w|^2 / (A B)).

The gap itself is summed exactly (:func:`_gap`). The float32 ball ends at ``sqrt(c) dist(0, x)`` = 15.2 (float64:
35.4): ``project`` clips to gap 4 eps, no function returns a point beyond, and a point given beyond counts as one on
that rim (eagerly, a point outside the open ball raises ``ValueError``).
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Float

from geodl._core.platform import cpu_barrier
from geodl.manifolds._numerics import (
    UNROLLED,
    as_shape,
    asinhc,
    check,
    check_positive,
    dot,
    log_sinhc,
    power_of_two_above,
    primitive,
    safe_norm,
    safe_sqrt,
    scale,
    sums,
    tangent_dot,
    tanhc,
)
from geodl.manifolds._record import register_record
from geodl.manifolds.base import ModuleManifold, Winding


Vector = Float[Array, "*#batch d"]
Scalar = Float[Array, "*#batch"]
Curvature = Float[Array, "*#batch"]


def _validate(c, **arguments):
    check_positive("curvature parameter c (sectional curvature is -c)", c)
    for name in ("x", "y", "z", "p"):
        if name in arguments:
            radius2 = c * dot(arguments[name], arguments[name])
            check(radius2 < 1, f"{name} must lie in the open ball, c |{name}|^2 < 1", radius2)


def _primitive(*points):
    return primitive(*points, validate=_validate)


def _min_gap(dtype) -> float:
    return 4 * float(jnp.finfo(dtype).eps)


# ------------------------------------------------------------------------------------------------------
# The conformal gap 1 - c |x|^2
# ------------------------------------------------------------------------------------------------------


@jax.custom_jvp
def _exact_gap(x: Array, c: Array) -> Array:
    """1 - c |x|^2 to full relative precision, for c |x|^2 <= 1."""
    unit, *curvature = _exact_curvature(c)
    return _gap_of_sums(*sums(*_exact_squares(x, unit)), *curvature)


@_exact_gap.defjvp
def _exact_gap_jvp(primals, tangents):
    (x, c), (dx, dc) = primals, tangents
    return _exact_gap(x, c), -2 * c * tangent_dot(x, dx) - dc * dot(x, x)


def _exact_squares(x: Array, unit: Array) -> tuple[Array, Array, Array]:
    """Arrays a, b, r with x^2 = a + 2 b + r, of which the sums of a and of b over the last axis are exact.

    Each coordinate, at most ``unit`` (a power of two), is split on fixed-point grids, x = h + m + r, so coarse that the
    sums of h^2 and of h m are exact in any order and whatever the compiler contracts (textbook error-free products do
    not survive XLA). What is left has 2^-20 of the whole, and rounds where it does not matter.
    """
    bits, unit = jnp.finfo(x.dtype).nmant + 1, unit[..., None]  # 24 or 53
    head = _on_grid(x, bits // 2 - 1, unit)
    tail = x - head
    middle = _on_grid(tail, bits // 2 + bits // 3, unit)
    return head * head, head * middle, 2 * head * (tail - middle) + tail * tail


def _exact_curvature(c: Array) -> tuple[Array, ...]:
    """The power of two >= c^-1/2, c, 1/c, and what the rounding of 1/c leaves.

    Behind a barrier: a compiler that fuses them into the loop over points computes them for every point.
    """
    bits = jnp.finfo(c.dtype).nmant + 1
    unit = power_of_two_above(lax.rsqrt(c))
    scaled = c * unit * unit  # exact, in [1, 4)
    inverse = 1 / scaled
    c_head, inverse_head = _on_grid(scaled, bits // 2 - 2), _on_grid(inverse, bits // 2)
    c_tail, inverse_tail = scaled - c_head, inverse - inverse_head
    residual = (
        (1 - c_head * inverse_head) - c_head * inverse_tail - c_tail * inverse_head
    ) - c_tail * inverse_tail
    inverse = inverse * unit * unit
    return cpu_barrier((unit, c, inverse, inverse * residual))


def _gap_of_sums(head2, cross, small, c, inverse, residual):
    """1 - c |x|^2 from the sums of :func:`_exact_squares`."""
    return c * (((inverse - head2) - 2 * cross) + (residual - small))


def _on_grid(a: Array, bits: int, unit: Array | float = 1.0) -> Array:
    """a rounded to a multiple of 2^-bits unit, a power of two."""
    return jnp.round(a * (2.0**bits / unit)) * (2.0**-bits * unit)


def _gap(x: Array, c: Array) -> Array:
    """The conformal gap, a point beyond the rim counting as one on it."""
    return jnp.maximum(_exact_gap(x, c), _min_gap(x.dtype))


def _onto_rim(x: Array, gap: Array) -> Array:
    """Clip a point x of given conformal gap to the largest representable ball."""
    rim = 2 * _min_gap(x.dtype)  # a margin for the rounding of x
    shrink = lax.rsqrt(1 + jnp.maximum(rim - gap, 0.0))
    return jnp.where((gap < rim)[..., None], scale(shrink, x), x)


# ------------------------------------------------------------------------------------------------------
# Möbius operations
# ------------------------------------------------------------------------------------------------------


def _translate(x: Array, a: Array, u: Array, b: Array, c: Array) -> Array:
    """x + u (Möbius), where a and b are the gaps of x and u; written as a step from x, never past the rim."""
    denominator = c * dot(x + u, x + u) + a * b
    y = x + scale(a / denominator, u + scale(c * dot(u, u), x))
    return _onto_rim(y, a * b / denominator)


@_primitive("x", "y")
def mobius_add(x: Vector, y: Vector, c: Curvature) -> Vector:
    """Möbius addition x ⊕ y (Ungar 2008; Ganea et al. 2018, eq. 2): the translation by x, applied to y."""
    return _translate(x, _gap(x, c), y, _gap(y, c), c)


@_primitive("x")
def mobius_scalar_mul(r: Scalar, x: Vector, c: Curvature) -> Vector:
    """Möbius multiple r ⊗ x = expmap0(r logmap0(x)) (Ganea et al. 2018, eq. 3)."""
    return _expmap0(scale(r, _logmap0(x, c)), c)


@_primitive()
def mobius_matvec(m: Float[Array, "*#batch k d"], x: Float[Array, "*#batch d"], c: Curvature):
    """Möbius matrix-vector product M ⊗ x = expmap0(M logmap0(x)) (Ganea et al. 2018, eq. 27): (..., k)."""
    return _expmap0(dot(m, _logmap0(x, c)[..., None, :]), c)


@_primitive("u", "v", "w")
def gyration(u: Vector, v: Vector, w: Vector, c: Curvature) -> Vector:
    """gyr[u, v] w, the rotation by which Möbius addition fails to associate (Ungar 2008)."""
    return gyration_of_step(u, _gap(u, c), -v, _gap(v, c), u + v, w, c)


def gyration_of_step(y, b, x, a, w, v, c):
    """gyr[y, -x] v, for the gaps a of x and b of y and the step w = y - x; without cancellation as w -> 0."""
    cww, xv, wv = c * dot(w, w), dot(x, v), dot(w, v)
    rotation = scale(a * wv - cww * xv, y) - scale(wv + b * xv, w)
    return v + scale(2 * c / (cww + a * b), rotation)


@_primitive("x")
def conformal_factor(x: Vector, c: Curvature) -> Scalar:
    """lambda_x = 2 / (1 - c |x|^2): hyperbolic over Euclidean length at x."""
    return 2 / _gap(x, c)


# ------------------------------------------------------------------------------------------------------
# Exponential and logarithm, distance
# ------------------------------------------------------------------------------------------------------


@_primitive("x", "v")
def expmap(x: Vector, v: Vector, c: Curvature) -> Vector:
    """exp_x(v) = x ⊕ tanh(sqrt(c) lambda_x |v| / 2) v / (sqrt(c) |v|) (Ganea et al. 2018, lemma 2)."""
    a = _gap(x, c)
    return _translate(x, a, *_disk_step(v / a[..., None], c), c)


@_primitive("x", "a")
def expmap_frame(x: Vector, a: Vector, c: Curvature) -> Vector:
    """exp_x of the tangent vector with components a in the orthonormal frame at x: x ⊕ exp_0(a / 2)."""
    return _translate(x, _gap(x, c), *_disk_step(a / 2, c), c)


def _disk_step(v: Array, c: Array) -> tuple[Array, Array]:
    """tanh(r) v / r for r = sqrt(c) |v|, and its gap sech^2 r.

    For large r not as 1 - tanh^2 r, which cancels; for small r not through r, which has no derivative in c at c = 0.
    """
    q = c * dot(v, v)
    t, far = tanhc(q), q > 1
    e = jnp.exp(-2 * jnp.sqrt(jnp.where(far, q, 1.0)))
    return scale(t, v), jnp.where(far, 4 * e / jnp.square(1 + e), 1 - q * jnp.square(t))


@_primitive("v")
def expmap0(v: Vector, c: Curvature) -> Vector:
    """exp_0(v) = tanh(sqrt(c) |v|) v / (sqrt(c) |v|); dist(0, expmap0(v)) = 2 |v|."""
    return _expmap0(v, c)


def _expmap0(v, c):
    return _onto_rim(*_disk_step(v, c))


@_primitive("x", "y")
def logmap(x: Vector, y: Vector, c: Curvature) -> Vector:
    """log_x(y), inverse of expmap (Ganea et al. 2018, lemma 2)."""
    a, b, w = _gap(x, c), _gap(y, c), y - x
    cww = c * dot(w, w)
    q = cww / (a * b)
    return scale(asinhc(q) * lax.rsqrt(1 + q) / b, scale(a, w) - scale(cww, x))


@_primitive("y")
def logmap0(y: Vector, c: Curvature) -> Vector:
    """log_0(y) = artanh(sqrt(c) |y|) y / (sqrt(c) |y|), inverse of expmap0."""
    return _logmap0(y, c)


def _logmap0(y, c):
    b = _gap(y, c)
    return scale(asinhc(c * dot(y, y) / b) * lax.rsqrt(b), y)


@_primitive("x", "y")
def dist(x: Vector, y: Vector, c: Curvature) -> Scalar:
    """Geodesic distance (2 / sqrt c) artanh(sqrt(c) |(-x) ⊕ y|), as an asinh; gradient 0 at x = y."""
    q = _chord2(x, y, c)
    return 2 * safe_sqrt(q) * asinhc(c * q)


@_primitive("x", "y")
def sqdist(x: Vector, y: Vector, c: Curvature) -> Scalar:
    """Squared distance, smooth also at x = y (Hessian 2 lambda_x^2 I there)."""
    q = _chord2(x, y, c)
    return 4 * q * jnp.square(asinhc(c * q))


def _chord2(x, y, c):
    """sinh^2(sqrt(c) dist / 2) / c = |x - y|^2 / (gap(x) gap(y))."""
    ww, a, b = _chord_and_gaps(x, y, c)
    least = _min_gap(x.dtype)
    return ww / (jnp.maximum(a, least) * jnp.maximum(b, least))


@jax.custom_jvp
def _chord_and_gaps(x, y, c):
    """|x - y|^2 and the exact gaps of x and y; long axes in one pass over both."""
    w = y - x
    if x.shape[-1] <= UNROLLED or x.shape != y.shape:
        return cpu_barrier((dot(w, w), _exact_gap(x, c), _exact_gap(y, c)))
    unit, *curvature = _exact_curvature(c)
    of_x, of_y = _exact_squares(x, unit), _exact_squares(y, unit)
    ww, *rest = sums(w * w, *of_x, *of_y)
    gaps = (_gap_of_sums(*s, *curvature) for s in (rest[: len(of_x)], rest[len(of_x) :]))
    return cpu_barrier((ww, *gaps))


@_chord_and_gaps.defjvp
def _chord_and_gaps_jvp(primals, tangents):
    (x, y, c), (dx, dy, dc) = primals, tangents
    value = _chord_and_gaps(x, y, c)
    x, y = cpu_barrier((x, y))  # else y - x is written out, for the value and for here
    d_chord = 2 * tangent_dot(y - x, dy - dx)
    d_gaps = (-2 * c * tangent_dot(p, dp) - dc * dot(p, p) for p, dp in ((x, dx), (y, dy)))
    return value, (d_chord, *d_gaps)


@_primitive("x", "y")
def geodesic(t: Scalar, x: Vector, y: Vector, c: Curvature) -> Vector:
    """Point at time t of the geodesic from x (time 0) to y (time 1): x ⊕ t ⊗ ((-x) ⊕ y)."""
    return expmap(x, scale(t, logmap(x, y, c)), c)


@_primitive("x", "v")
def logdetexp(x: Vector, v: Vector, c: Curvature) -> Scalar:
    """log |det d exp_x| at v: (d - 1) log(sinh(sqrt(c) |v|_x) / (sqrt(c) |v|_x)) (Mathieu et al. 2019, B.3)."""
    return (v.shape[-1] - 1) * log_sinhc(4 * c * dot(v, v) / jnp.square(_gap(x, c)))


# ------------------------------------------------------------------------------------------------------
# Tangent vectors
# ------------------------------------------------------------------------------------------------------


@_primitive("x", "u", "v")
def inner(x: Vector, u: Vector, v: Vector, c: Curvature) -> Scalar:
    """Riemannian inner product lambda_x^2 <u, v>."""
    return jnp.square(2 / _gap(x, c)) * dot(u, v)


@_primitive("x", "v")
def norm(x: Vector, v: Vector, c: Curvature) -> Scalar:
    """Riemannian norm lambda_x |v|."""
    return 2 / _gap(x, c) * safe_norm(v)


@_primitive("x", "y", "v")
def transport(x: Vector, y: Vector, v: Vector, c: Curvature) -> Vector:
    """Parallel transport of v along the geodesic from x to y: gyr[y, -x] v lambda_x / lambda_y."""
    a, b = _gap(x, c), _gap(y, c)
    return scale(b / a, gyration_of_step(y, b, x, a, y - x, v, c))


@_primitive("y", "v")
def transport0(y: Vector, v: Vector, c: Curvature) -> Vector:
    """Parallel transport of v from the origin to y: (1 - c |y|^2) v."""
    return scale(_gap(y, c), v)


@_primitive("x", "g")
def egrad_to_rgrad(x: Vector, g: Vector, c: Curvature) -> Vector:
    """Riemannian gradient g / lambda_x^2."""
    return scale(jnp.square(_gap(x, c) / 2), g)


@_primitive("x", "v")
def project_tangent(x: Vector, v: Vector, c: Curvature) -> Vector:
    """Every vector is tangent: v itself."""
    return jnp.broadcast_arrays(x, v)[1]


@_primitive("x", "a")
def from_frame(x: Vector, a: Vector, c: Curvature) -> Vector:
    """Tangent vector with components a in the orthonormal frame at x (the origin's, transported): a / lambda_x."""
    return scale(_gap(x, c) / 2, a)


@_primitive("x", "v")
def to_frame(x: Vector, v: Vector, c: Curvature) -> Vector:
    """Components of v in the orthonormal frame at x: lambda_x v."""
    return scale(2 / _gap(x, c), v)


@_primitive("x", "a")
def logdetexp_frame(x: Vector, a: Vector, c: Curvature) -> Scalar:
    """logdetexp at the tangent vector with frame components a, the same at every x."""
    a = jnp.broadcast_arrays(x, a)[1]
    return (a.shape[-1] - 1) * log_sinhc(c * dot(a, a))


@_primitive("x", "a")
def frame_divergence(x: Vector, a: Vector, c: Curvature) -> Scalar:
    """sum_i a_i div e_i = (d - 1) c <a, x> of the orthonormal frame e_i."""
    return (a.shape[-1] - 1) * c * dot(a, x)


@_primitive("x")
def tangent_basis(x: Vector, c: Curvature) -> Float[Array, "*batch d d"]:
    """Orthonormal frame at x, vectors in rows."""
    return _gap(x, c)[..., None, None] / 2 * jnp.eye(x.shape[-1], dtype=x.dtype)


# ------------------------------------------------------------------------------------------------------
# Points, charts, hyperplanes
# ------------------------------------------------------------------------------------------------------


@primitive("x")
def project(x: Vector, c: Curvature) -> Vector:
    """The point itself inside the rim (see the module's docstring), the nearest point of the rim else."""
    r2 = c * dot(x, x)
    beyond = r2 > 2.0
    inside = scale(jnp.where(beyond, lax.rsqrt(jnp.where(beyond, r2, 1.0)), 1.0), x)
    return _onto_rim(inside, _exact_gap(inside, c))


def origin(dim: int, dtype: DTypeLike | None = None) -> Float[Array, " d"]:
    """The point 0."""
    return jnp.zeros(dim, dtype)


def random_uniform(
    key: Array, shape: int | tuple[int, ...], c: ArrayLike = 1.0, dtype: DTypeLike | None = None
) -> Array:
    """Points of the given full shape (..., d), uniform in the Euclidean volume of the ball (its own is infinite)."""
    shape, (direction, radius) = as_shape(shape), jax.random.split(key)
    g = jax.random.normal(direction, shape, dtype)
    r = jax.random.uniform(radius, shape[:-1], dtype) ** (1 / shape[-1])
    return project(scale(r / (jnp.sqrt(jnp.asarray(c, g.dtype)) * safe_norm(g)), g), c)


@_primitive("x")
def to_hyperboloid(x: Vector, c: Curvature) -> Float[Array, "*batch e"]:
    """Isometry to the hyperboloid of curvature -c: (1 + c|x|^2, 2 sqrt(c) x) / (sqrt(c) (1 - c|x|^2)), (..., d + 1)."""
    a = _gap(x, c)
    return jnp.concatenate([((2 - a) / (a * jnp.sqrt(c)))[..., None], scale(2 / a, x)], -1)


@_primitive("z", "p", "a")
def dist_to_gyroplane(z: Vector, p: Vector, a: Vector, c: Curvature) -> Scalar:
    """Signed distance of z to the hyperplane through p with normal a (Ganea et al. 2018, theorem 5):

    asinh( 2 sqrt(c) <(-p) ⊕ z, a> / ((1 - c |(-p) ⊕ z|^2) |a|) ) / sqrt(c); positive on the side a points to.
    """
    gap_p, w = _gap(p, c), z - p
    side = (gap_p * dot(w, a) - c * dot(w, w) * dot(p, a)) / (gap_p * _gap(z, c) * safe_norm(a))
    return 2 * side * asinhc(4 * c * jnp.square(side))


@register_record
@dataclass(frozen=True)
class PoincareBall(ModuleManifold):
    """The Poincaré ball of sectional curvature -c as a :class:`~geodl.manifolds.base.Manifold`."""

    dim: int = field(metadata={"static": True})
    c: ArrayLike = 1.0

    winding = Winding("none")
    embedded = False

    def __post_init__(self):
        check_positive("PoincareBall: curvature parameter c (sectional curvature is -c)", self.c)

    @property
    def event_shape(self):
        return (self.dim,)

    def curvature(self):
        return -1.0 * self.c

    def origin(self, dtype=None):
        return origin(self.dim, dtype)

    def random_uniform(self, key, batch_shape=(), dtype=None):
        return random_uniform(key, (*as_shape(batch_shape), self.dim), self.c, dtype)

    def log_volume_element(self, x):
        """dim log lambda_x."""
        return self.dim * jnp.log(conformal_factor(x, self.c))

    def coordinates(self, x):
        """Normal coordinates at the origin: the ball's own are bounded."""
        return self.normal_coordinates(x)
