"""The hyperboloid of sectional curvature -c: {X in R^{d+1} : -X_0^2 + |X_{1:}|^2 = -1/c, X_0 > 0}.

Minkowski metric -u_0 v_0 + <u_{1:}, v_{1:}>; origin (1/sqrt c, 0, ..., 0); ``c > 0`` is a float or an array that
broadcasts against the leading axes. Isometric to :mod:`~geodl.manifolds.poincare` by ``to_ball``, and it reaches much
farther: float32 holds points to ``sqrt(c) dist(origin, X)`` = 87 (the ball: 15.2). Distances and
:func:`expmap_frame` reach as far; what takes ambient tangent vectors forms squares of coordinates, and reaches 43.

Sources: Nickel & Kiela, *Learning Continuous Hierarchies in the Lorentz Model* (2018); Nagano et al., *A Wrapped
Normal Distribution on Hyperbolic Space* (2019).

Numerics. The time coordinate follows from the others, so every function reads X_{1:} only: far out the stored X_0
carries no information that X_{1:} does not. The Minkowski product of two points cancels like exp(2 r);
distances come from the polar form instead, a sum of positive terms with no cancellation,

    sinh^2(dist/2) = sinh^2((r_x - r_y)/2) + sinh(r_x) sinh(r_y) sin^2(angle/2)        (c = 1),

whose differences are formed from X_{1:} - Y_{1:}.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Float

from geodl._core.checks import as_shape, check, check_positive, primitive
from geodl._core.records import register_record
from geodl._core.reductions import dot, power_of_two_above, safe_norm, safe_sqrt, scale, tangent_dot
from geodl._core.special import asinhc, log_sinhc, sinhc
from geodl.manifolds import poincare
from geodl.manifolds.base import ModuleManifold, Winding


Vector = Float[Array, "*#batch e"]  # e = d + 1 ambient coordinates
Space = Float[Array, "*#batch d"]
Scalar = Float[Array, "*#batch"]
Curvature = Float[Array, "*#batch"]


def _validate(c, **arguments):
    check_positive("curvature parameter c (sectional curvature is -c)", c)
    for name in ("x", "y"):
        if name in arguments:
            point = np.asarray(arguments[name], np.longdouble)
            time = np.sqrt(1 / c + np.sum(np.square(point[..., 1:]), -1))
            off = np.abs(point[..., 0] - time) / time
            check(
                off < 1e-3,
                f"{name} must lie on the hyperboloid: relative error of its time coordinate",
                off,
            )


def _primitive(*points):
    return primitive(*points, validate=_validate)


def _size(space):
    """A power of two, at least 1 and at least every coordinate: divided by it, squares do not overflow."""
    return power_of_two_above(lax.stop_gradient(jnp.maximum(jnp.max(jnp.abs(space), -1), 1.0)))


def _time(space, c):
    """X_0 of the point with the given spatial part."""
    size = _size(space)
    small = scale(1 / size, space)
    return size * jnp.sqrt(1 / (c * size) / size + dot(small, small))


def _norm(space):
    """|X_{1:}|, gradient 0 at 0."""
    size = _size(space)
    return size * safe_norm(scale(1 / size, space))


def _rise(x, y, x0, y0):
    """y_0 - x_0."""
    total = x0 + y0
    return dot(scale(1 / total, y - x), x + y)


def _point(space, c):
    return jnp.concatenate([_time(space, c)[..., None], space], -1)


def _tangent(x_space, x_time, v_space):
    """The tangent vector at x with the given spatial part: orthogonal to x in the Minkowski product."""
    time = dot(x_space, v_space) / x_time
    return jnp.concatenate([time[..., None], v_space], -1)


def _split(x, v):
    """v = across + along x' for x' = x / size, away from x = 0: across, along, x', |x'|^2.

    across is made orthogonal twice: one pass leaves eps |v| along x.
    """
    x = scale(1 / _size(x), x)
    xx = dot(x, x)
    xx = jnp.where(xx > 0, xx, 1.0)
    along = dot(x, v) / xx
    across = v - scale(along, x)
    return across - scale(dot(x, across) / xx, x), along, x, xx


def _sqnorm(x, v, c):
    """<v, v> of a tangent vector from its spatial part, |v|^2 - <x, v>^2 / x_0^2.

    Far out that cancels, so there it is the part across x plus the part along x, shortened. Each branch holds beyond
    the seam at c |x|^2 = 1, since XLA may round a predicate differently in each ``where``.
    """
    (across, along, _, xx), cxx = _split(x, v), c * dot(x, x)
    far = dot(across, across) + jnp.square(along) * (xx / (1 + cxx))
    near = dot(v, v) - c * jnp.square(dot(x, v)) / (1 + cxx)
    return jnp.where(cxx > 1, far, near)


@jax.custom_jvp
def _chord2(x, y, c):
    """sinh^2(sqrt(c) dist / 2) / c from the spatial parts (polar form of the module's docstring)."""
    nx, ny, sinh, turn = _polar(x, y, _time(x, c), _time(y, c))
    radial = sinh / c * (sinh / (2 + 2 * _time(sinh[..., None], 1.0)))
    return radial + nx * ny * jnp.minimum(dot(turn, turn), 4.0) / 4


def _polar(x, y, x0, y0):
    """|x|, |y|, sinh(r_y - r_x) and y/|y| - x/|x| (0 has no direction)."""
    w, nx, ny = y - x, _norm(x), _norm(y)
    tiny = (
        jnp.finfo(x.dtype).tiny / jnp.finfo(x.dtype).eps
    )  # XLA may multiply two divisors: c tiny is not 0
    shorter, longer = jnp.minimum(nx, ny), jnp.maximum(jnp.maximum(nx, ny), tiny)
    step = dot(scale(1 / longer, w), y + x)  # (|y|^2 - |x|^2) / longer
    sinh = step / jnp.maximum(nx / longer * y0 + ny / longer * x0, tiny)
    growth = (
        step / jnp.maximum(nx / longer + ny / longer, tiny) / jnp.where(shorter > 0, shorter, 1.0)
    )  # (|y| - |x|) / shorter
    turn = w - scale(growth, jnp.where((nx < ny)[..., None], x, y))
    return nx, ny, sinh, scale(1 / longer, turn)


@_chord2.defjvp
def _chord2_jvp(primals, tangents):
    """Of (x_0 y_0 - <x, y> - 1/c) / 2."""
    (x, y, c), (dx, dy, dc) = primals, tangents
    x0, y0 = _time(x, c), _time(y, c)
    rise = _rise(x, y, x0, y0)
    from_x = tangent_dot(dx, _chord2_slope(y, x, c))
    from_y = tangent_dot(dy, _chord2_slope(x, y, c))
    from_c = dc * (rise / x0) * (rise / y0) / (2 * c * c)
    return _chord2(x, y, c), (from_x + from_y - from_c) / 2


def _chord2_slope(x, y, c):
    """2 d _chord2 / dy = x_0 / y_0 y - x.

    That form where one end is near the origin and the other is far; by y - x near the origin, where it is smooth at
    coincident points; in polar form where both are far. Each keeps its digits there, and beyond the seams.
    """
    x0, y0 = _time(x, c), _time(y, c)
    near = (y - x) - scale(_rise(x, y, x0, y0) / y0, y)
    mixed = scale(x0 / y0, y) - x
    nx, ny, sinh, turn = _polar(x, y, x0, y0)
    far = scale(sinh / y0 / (c * jnp.where(ny > 0, ny, 1.0)), y) + scale(nx, turn)
    shorter, longer = jnp.minimum(nx, ny)[..., None], jnp.maximum(nx, ny)[..., None]
    limit = lax.rsqrt(c)[..., None]
    return jnp.where(shorter > limit, far, jnp.where(longer > limit, mixed, near))


@_primitive("x", "v")
def expmap(x: Vector, v: Vector, c: Curvature) -> Vector:
    """cosh(r) x + sinh(r) v / r, r = sqrt(c) |v| (Nickel & Kiela 2018, eq. 10)."""
    x, v = x[..., 1:], v[..., 1:]
    q = c * _sqnorm(x, v, c)
    rise = q / 2 * jnp.square(sinhc(q / 4))  # cosh(r) - 1
    return _point(x + scale(rise, x) + scale(sinhc(q), v), c)


@_primitive("x")
def expmap_frame(x: Vector, a: Space, c: Curvature) -> Vector:
    """expmap of the tangent vector with components a (..., d) in the orthonormal frame at x, without forming it:

    far out that vector is exp(sqrt(c) dist(origin, x)) long, and its floats keep nothing of what lies across x. With
    rho, r the distances of x and of the step (c = 1) and a = across + along x / |x| the result is

        (sinh(rho) cosh(r) + cosh(rho) sinh(r) along / |a|) x / |x| + sinh(r) across / |a|,

    whose first terms cancel on the way back to the origin; they are summed by e^-r, e^-rho and |a| + along instead.
    """
    x = x[..., 1:]
    if a.shape[-1] != x.shape[-1]:
        raise ValueError(f"expmap_frame: a needs {x.shape[-1]} components, got {a.shape}")
    root = jnp.sqrt(c)
    q, cosh, sinh = c * dot(a, a), root * _time(x, c), root * _norm(x)
    near = 1 + q / 2 * jnp.square(sinhc(q / 4)) + sinhc(q) * c * dot(x, a) / (1 + cosh)
    near = scale(near, x) + scale(sinhc(q), a)
    (across, along, _, xx), r, length = _split(x, a), safe_sqrt(q), safe_norm(a)
    is_far, along = (sinh > 1) & (q > 1), along * jnp.sqrt(xx)
    back = along < 0
    outward = jnp.where(
        back, dot(across, across) / jnp.where(back, length - along, 1.0), length + along
    )
    inverse = 1 / jnp.where(is_far, sinh, 1.0)
    coth = jnp.sqrt(1 + jnp.square(inverse))
    grown = jnp.exp(-r) + sinhc(q) * (coth * root * outward - r * inverse / (cosh + sinh))
    far = scale(grown, x) + scale(sinhc(q), across)
    return _point(jnp.where(is_far[..., None], far, near), c)


@_primitive("v")
def expmap0(v: Vector, c: Curvature) -> Vector:
    """expmap at the origin (v = (0, v_{1:}))."""
    space = v[..., 1:]
    return _point(scale(sinhc(c * dot(space, space)), space), c)


@_primitive("x", "y")
def logmap(x: Vector, y: Vector, c: Curvature) -> Vector:
    """r / sinh(r) (y - cosh(r) x), r = sqrt(c) dist(x, y); inverse of expmap."""
    x, y = x[..., 1:], y[..., 1:]
    q = c * _chord2(x, y, c)
    step = (y - x) - scale(2 * q, x)
    return _tangent(x, _time(x, c), scale(asinhc(q) * lax.rsqrt(1 + q), step))


@_primitive("y")
def logmap0(y: Vector, c: Curvature) -> Vector:
    """logmap at the origin."""
    space = y[..., 1:]
    v = scale(asinhc(c * dot(space, space)), space)
    return jnp.concatenate([jnp.zeros_like(y[..., :1]), v], -1)


@_primitive("x", "y")
def dist(x: Vector, y: Vector, c: Curvature) -> Scalar:
    """Geodesic distance arccosh(-c <x, y>) / sqrt(c), as an asinh; gradient 0 at x = y."""
    q = _chord2(x[..., 1:], y[..., 1:], c)
    return 2 * safe_sqrt(q) * asinhc(c * q)


@_primitive("x", "y")
def sqdist(x: Vector, y: Vector, c: Curvature) -> Scalar:
    """Squared distance, smooth also at x = y."""
    q = _chord2(x[..., 1:], y[..., 1:], c)
    return 4 * q * jnp.square(asinhc(c * q))


@_primitive("x", "y")
def geodesic(t: Scalar, x: Vector, y: Vector, c: Curvature) -> Vector:
    """Point at time t of the geodesic from x (time 0) to y (time 1)."""
    return expmap(x, scale(t, logmap(x, y, c)), c)


@_primitive("x", "v")
def logdetexp(x: Vector, v: Vector, c: Curvature) -> Scalar:
    """log |det d exp_x| at v: (d - 1) log(sinh(r) / r), r = sqrt(c) |v| (Nagano et al. 2019, eq. 10)."""
    x, v = x[..., 1:], v[..., 1:]
    return (v.shape[-1] - 1) * log_sinhc(c * _sqnorm(x, v, c))


@_primitive("x", "u", "v")
def inner(x: Vector, u: Vector, v: Vector, c: Curvature) -> Scalar:
    """Minkowski product of two tangent vectors."""
    return dot(u[..., 1:], v[..., 1:]) - u[..., 0] * v[..., 0] + 0 * x[..., 0]


@_primitive("x", "v")
def norm(x: Vector, v: Vector, c: Curvature) -> Scalar:
    """Riemannian norm of a tangent vector."""
    return safe_sqrt(_sqnorm(x[..., 1:], v[..., 1:], c))


@_primitive("x", "y", "v")
def transport(x: Vector, y: Vector, v: Vector, c: Curvature) -> Vector:
    """Parallel transport v + c <y, v> / (1 - c <x, y>) (x + y) (Nickel & Kiela 2018).

    Computed as the ball's rotation of frame components, whose vectors are not exp(r) long.
    """
    x, y, v, root = x[..., 1:], y[..., 1:], v[..., 1:], jnp.sqrt(c)
    x0, y0, w = root * _time(x, c), root * _time(y, c), y - x
    rise = root * _rise(x, y, x0 / root, y0 / root)
    a, b = 2 / (1 + x0), 2 / (1 + y0)  # conformal gaps of the ball's points, a / 2 x and b / 2 y
    step = scale(b / 2, w - scale(rise * a / 2, x))
    frame = poincare.gyration_of_step(
        scale(b / 2, y), b, scale(a / 2, x), a, step, _to_frame(x, v, c), c
    )
    return _transport0(y, frame, c)


@_primitive("y", "v")
def transport0(y: Vector, v: Vector, c: Curvature) -> Vector:
    """Parallel transport of v from the origin to y."""
    return _transport0(y[..., 1:], v[..., 1:], c)


def _transport0(y, v, c):
    y0 = _time(y, c)
    return _tangent(y, y0, v + scale(dot(y, v) / (1 / c + y0 / jnp.sqrt(c)), y))


@_primitive("x", "g")
def egrad_to_rgrad(x: Vector, g: Vector, c: Curvature) -> Vector:
    """Riemannian gradient: the metric's sign on the time axis, then the tangent projection."""
    return _project_tangent(x, jnp.concatenate([-g[..., :1], g[..., 1:]], -1), c)


@_primitive("x", "v")
def project_tangent(x: Vector, v: Vector, c: Curvature) -> Vector:
    """Minkowski-orthogonal projection v + c <x, v> x."""
    return _project_tangent(x, v, c)


def _project_tangent(x, v, c):
    xv = dot(x[..., 1:], v[..., 1:]) - x[..., 0] * v[..., 0]
    space = v[..., 1:] + scale(c * xv, x[..., 1:])
    return _tangent(x[..., 1:], _time(x[..., 1:], c), space)


@_primitive("x")
def from_frame(x: Vector, a: Space, c: Curvature) -> Vector:
    """Tangent vector with components a (..., d) in the orthonormal frame at x: the origin's, transported."""
    if a.shape[-1] != x.shape[-1] - 1:
        raise ValueError(f"from_frame: a needs {x.shape[-1] - 1} components, got {a.shape}")
    return _transport0(x[..., 1:], a, c)


@_primitive("x", "v")
def to_frame(x: Vector, v: Vector, c: Curvature) -> Space:
    """Components (..., d) of v in the orthonormal frame at x."""
    return _to_frame(x[..., 1:], v[..., 1:], c)


def _to_frame(x, v, c):
    """v without its stretch along x; far out from its two parts (as in :func:`_sqnorm`)."""
    (across, along, axis, _), x0 = _split(x, v), jnp.sqrt(c) * _time(x, c)
    near = v - scale(c * dot(x, v) / (x0 * (x0 + 1)), x)
    return jnp.where((x0 > 1.5)[..., None], across + scale(along / x0, axis), near)


@_primitive("x")
def logdetexp_frame(x: Vector, a: Space, c: Curvature) -> Scalar:
    """logdetexp at the tangent vector with frame components a, the same at every x."""
    a = a + 0 * x[..., 1:]
    return (a.shape[-1] - 1) * log_sinhc(c * dot(a, a))


@_primitive("x")
def frame_divergence(x: Vector, a: Space, c: Curvature) -> Scalar:
    """sum_i a_i div e_i = (d - 1) c <a, y> of the orthonormal frame e_i, y the point in the ball."""
    return (a.shape[-1] - 1) * c * dot(a, to_ball(x, c))


@_primitive("x")
def tangent_basis(x: Vector, c: Curvature) -> Float[Array, "*batch d e"]:
    """Orthonormal frame at x, vectors in rows."""
    return _transport0(x[..., None, 1:], jnp.eye(x.shape[-1] - 1, dtype=x.dtype), c[..., None])


@primitive("x")
def project(x: Vector, c: Curvature) -> Vector:
    """The point with the same X_{1:}."""
    return _point(x[..., 1:], c)


def origin(
    dim: int, c: ArrayLike = 1.0, dtype: DTypeLike | None = None
) -> Float[Array, "*batch e"]:
    """The point (1/sqrt c, 0, ..., 0), one for each c."""
    zero = jnp.zeros((*jnp.shape(c), dim + 1), dtype)
    return project(zero, jnp.asarray(c, zero.dtype))


def random_uniform(
    key: Array, shape: int | tuple[int, ...], c: ArrayLike = 1.0, dtype: DTypeLike | None = None
) -> Array:
    """Points of the given full shape (..., d + 1): the images of the ball's ``random_uniform``."""
    *batch, e = as_shape(shape)
    x = poincare.random_uniform(key, (*batch, e - 1), c, dtype)
    return poincare.to_hyperboloid(x, jnp.asarray(c, x.dtype))


@_primitive("x")
def to_ball(x: Vector, c: Curvature) -> Space:
    """Isometry to the Poincaré ball of curvature -c: X_{1:} / (1 + sqrt(c) X_0), clipped to its float rim."""
    space = x[..., 1:]
    return poincare.project(scale(1 / (1 + jnp.sqrt(1 + c * dot(space, space))), space), c)


@register_record
@dataclass(frozen=True)
class Hyperboloid(ModuleManifold):
    """The hyperboloid of sectional curvature -c as a :class:`~geodl.manifolds.base.Manifold`."""

    dim: int = field(metadata={"static": True})
    c: ArrayLike = 1.0

    winding = Winding("none")
    embedded = True

    def __post_init__(self):
        check_positive("Hyperboloid: curvature parameter c (sectional curvature is -c)", self.c)

    @property
    def event_shape(self):
        return (self.dim + 1,)

    def curvature(self):
        return -1.0 * self.c

    def origin(self, dtype=None):
        return origin(self.dim, self.c, dtype)

    def random_uniform(self, key, batch_shape=(), dtype=None):
        return random_uniform(key, (*as_shape(batch_shape), self.dim + 1), self.c, dtype)

    def coordinates(self, x):
        """Normal coordinates at the origin: the hyperboloid's own grow exponentially."""
        return self.normal_coordinates(x)

    def to_hyperboloid(self, x):
        """x itself."""
        return jnp.asarray(x)
