"""The hyperboloid of sectional curvature -c: {X in R^{d+1} : -X_0^2 + |X_{1:}|^2 = -1/c, X_0 > 0}.

Minkowski metric -u_0 v_0 + <u_{1:}, v_{1:}>; origin (1/sqrt c, 0, ..., 0); ``c > 0`` is a float or an array that
broadcasts against the leading axes (c = 0 is refused, its origin being at infinity; c -> 0 is flat space in the spatial
coordinates). Isometric to :mod:`~geodl.manifolds.poincare` by ``to_ball``, and it reaches much farther: float32 holds
points to ``sqrt(c) dist(origin, X)`` = 87 (the ball: 15.2). Distances, geodesics and what is given in frame components
reach as far. A tangent vector in ambient coordinates is exp(r) long, and what lies across X is lost to its rounding
beyond r = 16, except in line with an axis.

Sources: Nickel & Kiela, *Learning Continuous Hierarchies in the Lorentz Model* (2018); Nagano et al., *A Wrapped
Normal Distribution on Hyperbolic Space* (2019).

Numerics. The time coordinate follows from the others, so every function reads X_{1:} only: far out the stored X_0
carries no information that X_{1:} does not. The Minkowski product of two points cancels like exp(2 r);
distances come from the polar form instead, a sum of positive terms with no cancellation,

    sinh^2(dist/2) = sinh^2((r_x - r_y)/2) + sinh(r_x) sinh(r_y) sin^2(angle/2)        (c = 1),

whose differences are formed from X_{1:} - Y_{1:}, in a way that is exact for points in line with an axis
(``_pairs``). Derivatives come from it too where points are far, else from the plain form, which is smooth at the
origin and at coincident points.
"""

import functools
import operator
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Float

from geodl._core.checks import as_shape, check, check_integer, check_positive, primitive
from geodl._core.records import register_record
from geodl._core.reductions import FEW, UNROLLED, safe_sqrt, zero_of
from geodl._core.special import log_sinhc, sinhc
from geodl.manifolds import _pairs, _polar, poincare
from geodl.manifolds._pairs import log_frame
from geodl.manifolds._polar import direction, hypotenuse, is_far, radii
from geodl.manifolds._vectors import dot, each, of_array, tangent_dot, tangent_scale, to_array
from geodl.manifolds.base import ModuleManifold, Winding


Vector = Float[Array, "*#batch e"]  # e = d + 1 ambient coordinates
Space = Float[Array, "*#batch d"]
Scalar = Float[Array, "*#batch"]
Curvature = Float[Array, "*#batch"]


def _validate(c, **arguments):
    check_positive("curvature parameter c of the hyperboloid (sectional curvature is -c)", c)
    for name in ("x", "y"):
        if name in arguments:
            point = np.asarray(arguments[name], np.longdouble)
            time = np.sqrt(1 / np.asarray(c, np.longdouble) + np.sum(np.square(point[..., 1:]), -1))
            off = np.abs(point[..., 0] - time) / time
            check(
                (off < 1e-2) | np.isnan(point).any(-1),  # the rounding of bfloat16; NaN gives NaN
                f"{name} must lie on the hyperboloid: relative error of its time coordinate",
                off,
            )


def _primitive(*points, validate=_validate):
    """A public function; where values are not known, NaN stands for a curvature that is not positive."""

    def decorate(function):
        @functools.wraps(function)
        def allowed(*, c, **arguments):
            return function(**arguments, c=jnp.where(c > 0, c, jnp.nan))

        return primitive(*points, validate=validate)(allowed)

    return decorate


def _space(x, most=FEW):
    """X_{1:} of an ambient point or vector; NaN where X_0 is."""
    return each(operator.add, of_array(x, 1, most), 0 * lax.stop_gradient(x[..., 0]))


def _spaces(x, y):
    """X_{1:} and Y_{1:}; of all pairs (n, 1) against (m,) no (n, m, d) array comes of more coordinates either."""
    most = FEW if x.shape == y.shape else UNROLLED
    return _space(x, most), _space(y, most)


def _cosh(x, c):
    return radii(x, c)[1]


def _time(x, c):
    """X_0 of the point with the given spatial part."""
    return _cosh(x, c) * _curvature_radius(c)


@jax.custom_jvp
def _curvature_radius(c):
    """1 / sqrt(c); where its derivative overflows that is the largest number, so that 0 times it is 0."""
    return lax.rsqrt(c)


@_curvature_radius.defjvp
def _curvature_radius_jvp(primals, tangents):
    (c,), (dc,) = primals, tangents
    radius = _curvature_radius(c)
    return radius, -jnp.minimum(radius / c / 2, float(jnp.finfo(c.dtype).max)) * dc


def _point(x, c):
    return to_array(x, _time(x, c))


# ------------------------------------------------------------------------------------------------------
# Exponential and logarithm, distance
# ------------------------------------------------------------------------------------------------------


@_primitive("x", "v")
def expmap(x: Vector, v: Vector, c: Curvature) -> Vector:
    """cosh(r) x + sinh(r) v / r, r = sqrt(c) |v| (Nickel & Kiela 2018, eq. 10)."""
    p = _space(x)
    return _point(_exp(p, _space(v), c), c)


@_primitive("x")
def expmap_frame(x: Vector, a: Space, c: Curvature) -> Vector:
    """expmap of the tangent vector with components a (..., d) in the orthonormal frame at x, without forming it:

    far out that vector is exp(sqrt(c) dist(origin, x)) long, and its floats keep nothing of what lies across x. With
    rho, r the distances of x and of the step (c = 1) and a = across + along x / |x| the result is

        (sinh(rho) cosh(r) + cosh(rho) sinh(r) along / |a|) x / |x| + sinh(r) across / |a|,

    whose first terms cancel on the way back to the origin; they are summed by e^-r, e^-rho and |a| + along instead.
    """
    if a.shape[-1] != x.shape[-1] - 1:
        raise ValueError(f"expmap_frame: a needs {x.shape[-1] - 1} components, got {a.shape}")
    return _point(_exp_frame(_space(x), of_array(a), c), c)


@jax.custom_jvp
def _exp_frame(x, a, c):
    across, along = _polar.split(direction(x, radii(x, c)[0]), a)
    return _step(x, across, along, c)


@_exp_frame.defjvp
def _exp_frame_jvp(primals, tangents):
    return _exp_frame(*primals), _exp_tangent(*primals, *tangents)


@jax.custom_jvp
def _exp(x, v, c):
    n, cosh = radii(x, c)
    across, along = _polar.split(direction(x, n), v)
    return _step(x, across, along / cosh, c)


@_exp.defjvp
def _exp_jvp(primals, tangents):
    (x, _, c), (dx, _, dc) = primals, tangents
    a, da = jax.jvp(_polar.to_frame, primals, tangents)
    return _exp(*primals), _exp_tangent(x, a, c, dx, da, dc)


def _step(x, across, along, c):
    """The step with components across + along x / |x|."""
    n = radii(x, c)[0]
    decay, grown, half, other = _polar_weights(n, along, dot(across, across), c)
    return decay * x + other * (grown * direction(x, n) + half * across)


def _polar_weights(n, along, square, c):
    """What multiplies x, x / |x| and across; sinh(r) / r, which may overflow, is the product of the last two."""
    length, back = safe_sqrt(square + along * along), along < 0
    outward = jnp.where(back, square / jnp.where(back, length - along, 1.0), length + along)
    r, sinh = jnp.sqrt(c) * length, jnp.sqrt(c) * n
    cosh, half, other = hypotenuse(sinh), sinhc(jnp.square(r / 2)), jnp.cosh(r / 2)
    # Straight back nothing goes outward, and what its derivative multiplies by may leave the floats.
    large = other * jnp.sqrt(cosh) > float(jnp.finfo(c.dtype).max) ** 0.5 / 4
    outward = jnp.where(back & (square == 0) & large, 0.0, outward)
    grown = half * (cosh * outward - length * _polar.inverse(cosh + sinh))
    return jnp.exp(-r), grown, half, other


def _plain_weights(along, q):
    """What multiplies x and a: cosh(r) + sinh(r) / r along, along = <shrunk(x), a>, and sinh(r) / r, r^2 = q."""
    return 1 + q / 2 * jnp.square(sinhc(q / 4)) + sinhc(q) * along, sinhc(q)


def _exp_tangent(x, a, c, dx, da, dc):
    """The derivative of y = f x + h a, in polar form where both x and the step are far.

    Both forms are y = f e + h w of e, which is x times a number, and w = a - <e, a> e or a; dy is a sum of dx, da, e
    and w.
    """
    (n, cosh), q, root = radii(x, c), c * dot(a, a), jnp.sqrt(c)
    far = is_far(root * n) & (q > 1)
    out, q = jnp.where(far, n, lax.rsqrt(c)), jnp.where(far, 1.0, q)
    (e, long), shrink = _polar.axis(x, c, far), 1 / (1 + cosh)
    along = dot(e, a)
    w = a - jnp.where(far, along, 0.0) * e
    ex, wx, ea, wa = (tangent_dot(p, dp) for dp in (dx, da) for p in (e, w))

    turn = wx / out
    at = (out, jnp.where(far, along, 0.0), jnp.where(far, dot(w, w), 1 / c), c)
    d_along = ea + turn

    def polar(*at):
        decay, grown, half, other = _polar_weights(*at)
        return decay * at[0] + other * grown, other * half

    (f, h), (df, dh) = jax.jvp(polar, at, (ex, d_along, 2 * (wa - along * turn), dc))
    stretch = (f - h * along) / out

    d_cosh = _polar.d_cosh_along(long, ex, n, _polar.inverse(cosh), c, dc)
    d_plain = root * ea + shrink * (c * wx - root * along * d_cosh) + dc * along * lax.rsqrt(c)
    plain, d_weights = jax.jvp(
        _plain_weights, (root * along, q), (d_plain, 2 * c * wa + dc * q / c)
    )
    moved = jnp.where(far, stretch, plain[0]) * dx + jnp.where(far, h, plain[1]) * da
    moved = moved - tangent_scale(jnp.where(far, tangent_dot(e, moved), 0.0), e)
    s = jnp.where(far, df - h * turn, d_weights[0] * long)
    return moved + tangent_scale(s, e) + tangent_scale(jnp.where(far, dh, d_weights[1]), w)


@_primitive("v")
def expmap0(v: Vector, c: Curvature) -> Vector:
    """expmap at the origin (v = (0, v_{1:}))."""
    a = _space(v)
    return _point(sinhc(c * dot(a, a)) * a, c)


@_primitive("x", "y")
def logmap(x: Vector, y: Vector, c: Curvature) -> Vector:
    """r / sinh(r) (y - cosh(r) x), r = sqrt(c) dist(x, y); inverse of expmap."""
    p, q = _space(x), _space(y)
    return _from_frame(p, log_frame(p, q, c), c)


@_primitive("x", "y")
def logmap_frame(x: Vector, y: Vector, c: Curvature) -> Space:
    """Components (..., d) of logmap in the orthonormal frame at x, without forming it; inverse of expmap_frame."""
    return to_array(log_frame(_space(x), _space(y), c))


@_primitive("y")
def logmap0(y: Vector, c: Curvature) -> Vector:
    """logmap at the origin."""
    q = _space(y)
    n = radii(q, c)[0]
    near = jnp.sqrt(c) * n < 1
    inside = each(lambda near, a: jnp.where(near, a, 0.0), near, q)
    factor = _polar.asinhc_of(jnp.where(near, dot(inside, inside), 2 / c), n, c)
    return to_array(each(operator.mul, factor, q), 0 * n)


@_primitive("x", "y")
def dist(x: Vector, y: Vector, c: Curvature) -> Scalar:
    """Geodesic distance arccosh(-c <x, y>) / sqrt(c), as an asinh; gradient 0 at x = y."""
    return _pairs.dist(*_spaces(x, y), c)


@_primitive("x", "y")
def sqdist(x: Vector, y: Vector, c: Curvature) -> Scalar:
    """Squared distance, smooth also at x = y."""
    return _pairs.sqdist(*_spaces(x, y), c)


@_primitive("x", "y")
def geodesic(t: Scalar, x: Vector, y: Vector, c: Curvature) -> Vector:
    """(sinh((1 - t) r) x + sinh(t r) y) / sinh(r), r = sqrt(c) dist(x, y): x at time 0, y at time 1."""
    p, q = _space(x), _space(y)
    d2 = c * _pairs.sqdist(p, q, c)
    return _point(_share(1 - t, d2) * p + _share(t, d2) * q, c)


def _share(s, q):
    """sinh(s r) / sinh(r) for r = sqrt(q), without overflow where |s| <= 1."""
    far = q > 1
    q_near, r, size = jnp.where(far, 1.0, q), jnp.sqrt(jnp.where(far, q, 1.0)), jnp.abs(s)
    grown = jnp.exp((size - 1) * r) * jnp.expm1(-2 * size * r) / jnp.expm1(-2 * r)
    near = s * sinhc(jnp.square(jnp.where(far, 0.0, s)) * q_near) / sinhc(q_near)
    return jnp.where(far, jnp.sign(s) * grown, near)


@_primitive("x", "v")
def logdetexp(x: Vector, v: Vector, c: Curvature) -> Scalar:
    """log |det d exp_x| at v: (d - 1) log(sinh(r) / r), r = sqrt(c) |v| (Nagano et al. 2019, eq. 10)."""
    a = _polar.to_frame(_space(x), _space(v), c)
    return (x.shape[-1] - 2) * log_sinhc(c * dot(a, a))


# ------------------------------------------------------------------------------------------------------
# Tangent vectors
# ------------------------------------------------------------------------------------------------------


@_primitive("x", "u", "v")
def inner(x: Vector, u: Vector, v: Vector, c: Curvature) -> Scalar:
    """Minkowski product of two tangent vectors, from their spatial parts: that of their frame components."""
    p = _space(x)
    return dot(_polar.to_frame(p, _space(u), c), _polar.to_frame(p, _space(v), c))


@_primitive("x", "v")
def norm(x: Vector, v: Vector, c: Curvature) -> Scalar:
    """Riemannian norm of a tangent vector."""
    a = _polar.to_frame(_space(x), _space(v), c)
    return safe_sqrt(dot(a, a))


@_primitive("x", "y", "v")
def transport(x: Vector, y: Vector, v: Vector, c: Curvature) -> Vector:
    """Parallel transport v + c <y, v> / (1 - c <x, y>) (x + y) (Nickel & Kiela 2018).

    Computed as a rotation of frame components, whose vectors are not exp(r) long.
    """
    p, q = _space(x), _space(y)
    return _from_frame(q, _pairs.rotate(p, q, _polar.to_frame(p, _space(v), c), c), c)


@_primitive("x", "y")
def transport_frame(x: Vector, y: Vector, a: Space, c: Curvature) -> Space:
    """Parallel transport in components of the orthonormal frames at x and y, which far out are not exp(r) long."""
    return to_array(_pairs.rotate(_space(x), _space(y), of_array(a), c))


@_primitive("y", "v")
def transport0(y: Vector, v: Vector, c: Curvature) -> Vector:
    """Parallel transport of v from the origin to y."""
    return _from_frame(_space(y), _space(v), c)


def _from_frame(x, a, c):
    xa = dot(_polar.shrunk(x, c), a)
    return to_array(a + xa * x, dot(jnp.sqrt(c) * x, a))


@_primitive("x", "g")
def egrad_to_rgrad(x: Vector, g: Vector, c: Curvature) -> Vector:
    """Riemannian gradient: the metric's sign on the time axis, then the tangent projection."""
    return _project_tangent(x, -g[..., 0], _space(g), c)


@_primitive("x", "v")
def project_tangent(x: Vector, v: Vector, c: Curvature) -> Vector:
    """Minkowski-orthogonal projection v + c <x, v> x."""
    return _project_tangent(x, v[..., 0], _space(v), c)


def _project_tangent(point, v0, v, c):
    x = _space(point)
    v = v + (c * (dot(x, v) - point[..., 0] * v0)) * x
    return to_array(v, dot((1 / _time(x, c)) * x, v))


@_primitive("x")
def from_frame(x: Vector, a: Space, c: Curvature) -> Vector:
    """Tangent vector with components a (..., d) in the orthonormal frame at x: the origin's, transported."""
    if a.shape[-1] != x.shape[-1] - 1:
        raise ValueError(f"from_frame: a needs {x.shape[-1] - 1} components, got {a.shape}")
    return _from_frame(_space(x), of_array(a), c)


@_primitive("x", "v")
def to_frame(x: Vector, v: Vector, c: Curvature) -> Space:
    """Components (..., d) of v in the orthonormal frame at x."""
    return to_array(_polar.to_frame(_space(x), _space(v), c))


@_primitive("x")
def logdetexp_frame(x: Vector, a: Space, c: Curvature) -> Scalar:
    """logdetexp at the tangent vector with frame components a, the same at every x."""
    b = of_array(a)
    return (x.shape[-1] - 2) * log_sinhc(c * dot(b, b) + zero_of(x))


@_primitive("x")
def frame_divergence(x: Vector, a: Space, c: Curvature) -> Scalar:
    """sum_i a_i div e_i = (d - 1) c <a, y> of the orthonormal frame e_i, y the point in the ball."""
    return (a.shape[-1] - 1) * c * dot(of_array(a), of_array(_to_ball(x, c)))


@_primitive("x")
def tangent_basis(x: Vector, c: Curvature) -> Float[Array, "*batch d e"]:
    """Orthonormal frame at x, vectors in rows."""
    basis = of_array(jnp.eye(x.shape[-1] - 1, dtype=x.dtype))
    return _from_frame(_space(x[..., None, :]), basis, c[..., None])


# ------------------------------------------------------------------------------------------------------
# Points and charts
# ------------------------------------------------------------------------------------------------------


@_primitive("x", validate=lambda c, **_: _validate(c))
def project(x: Vector, c: Curvature) -> Vector:
    """The point with the same X_{1:}."""
    return _point(each(lambda a, c: a + 0 * c, _space(x), c), c)


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
    return _to_ball(x, c)


def _to_ball(x, c):
    x = _space(x)
    return poincare.project(to_array((1 / (1 + _cosh(x, c))) * x), c)


@register_record
@dataclass(frozen=True)
class Hyperboloid(ModuleManifold):
    """The hyperboloid of sectional curvature -c as a :class:`~geodl.manifolds.base.Manifold`.

    Example:
        >>> import jax.numpy as jnp
        >>> from geodl.manifolds import Hyperboloid
        >>> space = Hyperboloid(dim=2, c=0.7)
        >>> x = space.expmap0(jnp.array([0.0, 3.0, 4.0]))
        >>> space.dist(space.origin(), x).round(4)
        Array(5., dtype=float32)
    """

    dim: int = field(metadata={"static": True})
    c: ArrayLike = 1.0

    winding = Winding("none")
    embedded = True

    def __post_init__(self):
        check_integer("Hyperboloid: dim", self.dim)
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
