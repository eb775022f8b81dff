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
(:func:`_split`). First derivatives come from the polar form too, second ones from the plain one, which is smooth
everywhere.
"""

import functools
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Float

from geodl.manifolds import poincare
from geodl.manifolds._numerics import (
    UNROLLED,
    as_shape,
    asinhc,
    check,
    check_dim,
    check_positive,
    dot,
    log_sinhc,
    power_of_two_above,
    primitive,
    safe_norm,
    safe_sqrt,
    scale,
    sinhc,
    tangent_dot,
)
from geodl.manifolds._record import register_record
from geodl.manifolds.base import ModuleManifold, Winding


Vector = Float[Array, "*#batch e"]  # e = d + 1 ambient coordinates
Space = Float[Array, "*#batch d"]
Scalar = Float[Array, "*#batch"]
Curvature = Float[Array, "*#batch"]


def _validate(c, **arguments):
    check_positive("curvature parameter c of the hyperboloid (sectional curvature is -c)", c)
    for name in ("x", "y"):
        if name in arguments:
            point = arguments[name]
            time = _time(point[..., 1:], c)
            off = jnp.abs(point[..., 0] - time) / time
            check(
                off < 1e-2,  # the rounding of bfloat16
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


# ------------------------------------------------------------------------------------------------------
# A point from its spatial part; no square of a coordinate is formed
# ------------------------------------------------------------------------------------------------------


def _size(space):
    """A power of two >= 1 and a quarter of every coordinate: divided by it, squares do not overflow."""
    return power_of_two_above(lax.stop_gradient(jnp.maximum(_max(jnp.abs(space)) / 4, 1.0)))


def _norm(space):
    """|X_{1:}|, gradient 0 at 0."""
    size = _size(space)
    return size * safe_norm(scale(1 / size, space))


def _cosh(space, c):
    """sqrt(c) X_0 = cosh(r), r = sqrt(c) dist(origin, X)."""
    size = _size(space)
    small = scale(1 / size, space)
    return size * jnp.sqrt(1 / size / size + c * dot(small, small))


def _time(space, c):
    """X_0 of the point with the given spatial part."""
    return _cosh(space, c) * lax.rsqrt(c)


def _point(space, c):
    return jnp.concatenate([_time(space, c)[..., None], space], -1)


def _is_far(sinh):
    """Where formulas in polar coordinates hold; others do to a little beyond."""
    return sinh > 1


@jax.custom_jvp
def _split(x, v):
    """v = across + along x / |x|, across orthogonal to x: across, along; at x = 0 all is across.

    At its largest coordinate b = x / max_i |x_i| is 1 or -1 exactly, and v - v_i / b_i b is 0 exactly: a vector in line
    with an axis has nothing across it, where exp(r) would multiply a rounding error.
    """
    size = _max(jnp.abs(x))
    sign = jnp.where(jnp.abs(x) == size[..., None], jnp.sign(x), 0.0)
    nothing = (size == 0).astype(x.dtype)
    b = jnp.where(sign == 0, scale(1 / (size + nothing), x), sign)
    top, bb = dot(sign, v) / (dot(sign, sign) + nothing), dot(b, b) + nothing
    oblique = v - scale(top, b)
    rest = dot(oblique, b) / bb
    return oblique - scale(rest, b), (top + rest) * jnp.sqrt(bb)


@_split.defjvp
def _split_jvp(primals, tangents):
    """Away from x = 0."""
    (x, v), (dx, dv) = primals, tangents
    across, along = _split(x, v)
    n, least = _norm(x), float(jnp.finfo(x.dtype).tiny) ** 0.25
    n = jnp.where(n < least, 1.0, n)
    u = scale(1 / n, x)
    du = scale(1 / n, dx - scale(tangent_dot(u, dx), u))
    d_along = tangent_dot(u, dv) + tangent_dot(v, du)
    return (across, along), (dv - scale(d_along, u) - scale(along, du), d_along)


def _max(a):
    """Over the last axis; short ones by slices, as in :func:`dot`."""
    if 0 < a.shape[-1] <= UNROLLED:
        return functools.reduce(jnp.maximum, (a[..., i] for i in range(a.shape[-1])))
    return jnp.max(a, -1)


# ------------------------------------------------------------------------------------------------------
# The polar form of a pair
# ------------------------------------------------------------------------------------------------------


def _polar(x, y, cosh_x, cosh_y):
    """Of X, Y, the vectors x and y, from their difference and the shorter of them:

    sinh(r_y - r_x) / sqrt(c), sqrt(|x| |y|) sin(angle / 2), and y / |y| - x / |x| (0 has no direction).
    """
    nx, ny = _norm(x), _norm(y)
    x_is_shorter = nx < ny
    sign = jnp.where(x_is_shorter, 1.0, -1.0).astype(x.dtype)
    base = jnp.where(x_is_shorter[..., None], x, y)
    across, along = _split(base, y - x)
    along = sign * along  # from the shorter to the longer
    shorter, longer = jnp.minimum(nx, ny), jnp.maximum(nx, ny)
    nothing = (longer == 0).astype(x.dtype)
    longer = longer + nothing
    tilt = scale(1 / longer, across)
    step = dot(tilt, across) + along * ((along + 2 * shorter) / longer)  # (|.|^2 - |.|^2) / longer
    sinh = sign * step / (nx / longer * cosh_y + ny / longer * cosh_x + nothing)
    cos = (shorter + along) / longer
    versine = jnp.where(cos > 0, dot(tilt, tilt) / (1 + cos), 1 - cos)
    side = jnp.where(
        cos > 0,
        _norm(scale(jnp.sqrt(shorter / longer), across)) / jnp.sqrt(2 * (1 + cos)),
        jnp.sqrt(shorter) * jnp.sqrt(longer) * jnp.sqrt(versine / 2),
    )
    turn = tilt - scale(sign * versine / jnp.where(shorter == 0, 1.0, shorter), base)
    return sinh, side, turn


@jax.custom_jvp
def _chord(x, y, c):
    """h = sinh(sqrt(c) dist / 2) / sqrt(c), and its square, which is smooth, as long as that is below 1 / c.

    h^2 = sinh^2((r_x - r_y) / 2) / c + |x| |y| sin^2(angle / 2). Its derivative belongs to h away from 0.
    """
    sinh, side, _ = _polar(x, y, _cosh(x, c), _cosh(y, c))
    radial = sinh / jnp.sqrt(2 + 2 * _cosh(sinh[..., None], c))
    h = _norm(jnp.stack([radial, side], -1))
    return jnp.square(jnp.minimum(h, 2 * lax.rsqrt(c))), h


@_chord.defjvp
def _chord_jvp(primals, tangents):
    """Of h^2 = (x_0 y_0 - <x, y> - 1/c) / 2; divided by h where that may overflow."""
    (x, y, c), (dx, dy, dc) = primals, tangents
    square, h = _chord(x, y, c)
    size = lax.stop_gradient(jnp.maximum(h, 1.0))
    cosh_x, cosh_y, (from_x, from_y) = _cosh(x, c), _cosh(y, c), _slopes(x, y, c)
    rise = _rise(x, y, cosh_x, cosh_y)
    change = tangent_dot(dx, scale(1 / size, from_x)) + tangent_dot(dy, scale(1 / size, from_y))
    change = change - dc * (rise / cosh_x) * (rise / cosh_y / size) / 2
    least = lax.rsqrt(c) / 8
    return (square, h), (change * size / 2, change * (size / (4 * jnp.where(h > least, h, least))))


def _rise(x, y, cosh_x, cosh_y):
    """(cosh(r_y) - cosh(r_x)) / c."""
    return dot(scale(1 / (cosh_x + cosh_y), y - x), x + y)


@jax.custom_jvp
def _slopes(x, y, c):
    """The derivatives of 2 h^2 in x and in y: y_0 / x_0 x - y and x_0 / y_0 y - x, in polar form."""
    cosh_x, cosh_y, nx, ny = _cosh(x, c), _cosh(y, c), _norm(x), _norm(y)
    sinh, _, turn = _polar(x, y, cosh_x, cosh_y)
    along_x, along_y = (
        sinh / cosh / jnp.where(n == 0, 1.0, n) for cosh, n in ((cosh_x, nx), (cosh_y, ny))
    )
    return -scale(ny, turn) - scale(along_x, x), scale(nx, turn) + scale(along_y, y)


@_slopes.defjvp
def _slopes_jvp(primals, tangents):
    """Of the plain form, which is smooth everywhere."""
    (x, y, c), (dx, dy, dc) = primals, tangents
    cosh_x, cosh_y = _cosh(x, c), _cosh(y, c)
    d_cosh_x, d_cosh_y = (
        tangent_dot(dp, scale(c / cosh, p)) + dc * (_norm(p) / cosh) * _norm(p) / 2
        for p, dp, cosh in ((x, dx, cosh_x), (y, dy, cosh_y))
    )
    ratio = cosh_x / cosh_y
    inverse = cosh_y / cosh_x
    d_y = scale(ratio, dy) - dx + scale(d_cosh_x - ratio * d_cosh_y, scale(1 / cosh_y, y))
    d_x = scale(inverse, dx) - dy + scale(d_cosh_y - inverse * d_cosh_x, scale(1 / cosh_x, x))
    return _slopes(x, y, c), (d_x, d_y)


@jax.custom_jvp
def _turned(x, y, c):
    """sinh(r_y - r_x) / sqrt(c) and y / |y| - x / |x|."""
    sinh, _, turn = _polar(x, y, _cosh(x, c), _cosh(y, c))
    return sinh, turn


@_turned.defjvp
def _turned_jvp(primals, tangents):
    """Away from the origin."""
    (x, y, c), (dx, dy, dc) = primals, tangents
    sinh, turn = _turned(x, y, c)
    cosh = _cosh(sinh[..., None], c)

    def change(p, dp):  # of sqrt(c) r and of the direction
        n = _norm(p)
        n = jnp.where(jnp.sqrt(c) * n > 0.5, n, lax.rsqrt(c))
        u = scale(1 / n, p)
        dn = tangent_dot(u, dp)
        return (dn + dc * n / (2 * c)) / _cosh(p, c), scale(1 / n, dp - scale(dn, u))

    (rise_x, turn_x), (rise_y, turn_y) = change(x, dx), change(y, dy)
    return (sinh, turn), (cosh * (rise_y - rise_x) - dc * sinh / (2 * c), turn_y - turn_x)


def _log_frame(x, y, c):
    """Components of logmap(x, y) in the frame at x: D / sinh(D) times (c = 1, D the distance)

    sinh(r_y) (y / |y| - cos(angle) x / |x|) + (sinh(r_y - r_x) - cosh(r_x) sinh(r_y) (1 - cos(angle))) x / |x|.

    That form where both ends are far; by y - x where both are near, else as the boost of Y by -X.
    """
    square, h = _chord(x, y, c)
    cosh_x, cosh_y, nx, ny, root = _cosh(x, c), _cosh(y, c), _norm(x), _norm(y), jnp.sqrt(c)
    longer = asinhc(c * square, root * h)
    shorter = _cosh(h[..., None], c)  # D / sinh(D) is their ratio
    weight = longer / shorter

    w = y - x
    back = dot(scale(c / (1 + cosh_x), x), w) - c * _rise(x, y, cosh_x, cosh_y)
    near = w + scale(back, x)
    mixed = y + scale(dot(scale(c / (1 + cosh_x), x), y) - cosh_y, x)

    far = _is_far(root * nx) & _is_far(root * ny)
    apart = root * jnp.maximum(nx, ny) > 2  # so that y - x is not short where one is near
    sinh, turn = _turned(x, y, c)
    out = longer * ny / shorter
    versine = dot(turn, turn) / 2
    radial = longer * sinh / shorter - out * (cosh_x * versine) + out * versine
    polar = scale(out, turn) + scale(radial / jnp.where(far, nx, lax.rsqrt(c)), x)
    plain = scale(weight, jnp.where(apart[..., None], mixed, near))
    return jnp.where(far[..., None], polar, plain)


# ------------------------------------------------------------------------------------------------------
# Exponential and logarithm, distance
# ------------------------------------------------------------------------------------------------------


@_primitive("x", "v")
def expmap(x: Vector, v: Vector, c: Curvature) -> Vector:
    """cosh(r) x + sinh(r) v / r, r = sqrt(c) |v| (Nickel & Kiela 2018, eq. 10)."""
    x = x[..., 1:]
    return _exp_frame(x, _to_frame(x, v[..., 1:], c), c)


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
    return _exp_frame(x[..., 1:], a, c)


def _exp_frame(x, a, c):
    root = jnp.sqrt(c)
    q, cosh, sinh = c * dot(a, a), _cosh(x, c), root * _norm(x)
    is_far = _is_far(sinh) & (q > 1)
    q_near = jnp.where(is_far, 1.0, q)
    near = q_near / 2 * jnp.square(sinhc(q_near / 4))  # cosh(r) - 1
    near = 1 + near + sinhc(q_near) * dot(scale(c / (1 + cosh), x), a)
    near = scale(near, x) + scale(sinhc(q_near), a)

    (across, along), length = _split(x, a), safe_norm(a)
    back = along < 0
    outward = jnp.where(
        back, dot(across, across) / jnp.where(back, length - along, 1.0), length + along
    )
    q_far = jnp.where(is_far, q, 1.0)
    r, inverse = jnp.sqrt(q_far), 1 / jnp.where(is_far, sinh, 1.0)
    coth = jnp.sqrt(1 + jnp.square(inverse))
    half, other = (
        sinhc(q_far / 4),
        jnp.cosh(r / 2),
    )  # sinhc(q), which may overflow, is their product
    grown = jnp.exp(-r) + other * (
        half * (coth * root * outward - r * inverse / (jnp.where(is_far, cosh, 1.0) + sinh))
    )
    far = scale(grown, x) + scale(other, scale(half, across))
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
    return _from_frame(x, _log_frame(x, y, c), c)


@_primitive("x", "y")
def logmap_frame(x: Vector, y: Vector, c: Curvature) -> Space:
    """Components (..., d) of logmap in the orthonormal frame at x, without forming it; inverse of expmap_frame."""
    return _log_frame(x[..., 1:], y[..., 1:], c)


@_primitive("y")
def logmap0(y: Vector, c: Curvature) -> Vector:
    """logmap at the origin."""
    space = y[..., 1:]
    n = _norm(space)
    q = jnp.square(jnp.minimum(jnp.sqrt(c) * n, 1.0))
    near = c * dot(jnp.where((q < 1)[..., None], space, 0.0), space)
    v = scale(asinhc(near + jnp.where(q < 1, 0.0, 1.0), jnp.sqrt(c) * n), space)
    return jnp.concatenate([jnp.zeros_like(y[..., :1]), v], -1)


@_primitive("x", "y")
def dist(x: Vector, y: Vector, c: Curvature) -> Scalar:
    """Geodesic distance arccosh(-c <x, y>) / sqrt(c), as an asinh; gradient 0 at x = y."""
    return safe_sqrt(_sqdist(x, y, c))


@_primitive("x", "y")
def sqdist(x: Vector, y: Vector, c: Curvature) -> Scalar:
    """Squared distance, smooth also at x = y."""
    return _sqdist(x, y, c)


def _sqdist(x, y, c):
    square, h = _chord(x[..., 1:], y[..., 1:], c)
    near = c * square < 1
    r = jnp.where(near, 1.0, jnp.sqrt(c) * h)
    far = jnp.log(r) + jnp.log(
        1 + jnp.sqrt(1 + jnp.square(1 / r))
    )  # asinh(r), whose derivative squares r
    close = square * jnp.square(asinhc(jnp.where(near, c * square, 0.0)))
    return 4 * jnp.where(near, close, jnp.square(far) / c)


@_primitive("x", "y")
def geodesic(t: Scalar, x: Vector, y: Vector, c: Curvature) -> Vector:
    """(sinh((1 - t) r) x + sinh(t r) y) / sinh(r), r = sqrt(c) dist(x, y): x at time 0, y at time 1."""
    q = c * _sqdist(x, y, c)
    return _point(scale(_share(1 - t, q), x[..., 1:]) + scale(_share(t, q), y[..., 1:]), c)


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
    a = _to_frame(x[..., 1:], v[..., 1:], c)
    return (a.shape[-1] - 1) * log_sinhc(c * dot(a, a))


# ------------------------------------------------------------------------------------------------------
# Tangent vectors
# ------------------------------------------------------------------------------------------------------


@_primitive("x", "u", "v")
def inner(x: Vector, u: Vector, v: Vector, c: Curvature) -> Scalar:
    """Minkowski product of two tangent vectors, from their spatial parts: that of their frame components."""
    x = x[..., 1:]
    return dot(_to_frame(x, u[..., 1:], c), _to_frame(x, v[..., 1:], c))


@_primitive("x", "v")
def norm(x: Vector, v: Vector, c: Curvature) -> Scalar:
    """Riemannian norm of a tangent vector."""
    return safe_norm(_to_frame(x[..., 1:], v[..., 1:], c))


@_primitive("x", "y", "v")
def transport(x: Vector, y: Vector, v: Vector, c: Curvature) -> Vector:
    """Parallel transport v + c <y, v> / (1 - c <x, y>) (x + y) (Nickel & Kiela 2018).

    Computed as a rotation of frame components, whose vectors are not exp(r) long.
    """
    x, y, v = x[..., 1:], y[..., 1:], v[..., 1:]
    return _from_frame(y, _rotate(x, y, _to_frame(x, v, c), c), c)


def _rotate(x, y, a, c):
    """The frame at x, transported to y, in the frame there: a turn by the defect of the triangle (origin, x, y).

    In the plane of p and q, the points half way from the origin to x and to y (c = 1), the tangent of half its angle is
    |p ^ q| / (sqrt(1 + |p|^2) sqrt(1 + |q|^2) - <p, q>). Where both are far the wedge comes from directions.
    """
    root = jnp.sqrt(c)
    cosh_x, cosh_y, nx, ny = _cosh(x, c), _cosh(y, c), _norm(x), _norm(y)
    far = _is_far(root * nx) & _is_far(root * ny)
    half_x, half_y = jnp.sqrt((1 + cosh_x) / 2), jnp.sqrt((1 + cosh_y) / 2)  # cosh(r / 2)
    p, q = scale(root / (2 * half_x), x), scale(root / (2 * half_y), y)
    plain = half_x * half_y - dot(p, q)

    sinh, turn = _turned(x, y, c)
    versine = dot(turn, turn) / 2
    u = scale(1 / jnp.where(far, nx, lax.rsqrt(c)), x)
    product = root * nx / (2 * half_x) * (root * ny / (2 * half_y))
    cosh = jnp.sqrt((1 + _cosh(sinh[..., None], c)) / 2)
    polar = scale(product / (cosh + product * versine), turn + scale(versine, u))

    q = jnp.where(far[..., None], polar, scale(1 / jnp.where(far, 1.0, plain), q))
    p = jnp.where(far[..., None], u, p)
    tangent2 = dot(p, p) * dot(q, q) - jnp.where(far, 0.0, jnp.square(dot(p, q)))

    def turned(a):
        return scale(dot(p, a), q) - scale(dot(q, a), p)

    first = turned(a)
    return a + scale(2 / (1 + tangent2), first + turned(first))


@_primitive("y", "v")
def transport0(y: Vector, v: Vector, c: Curvature) -> Vector:
    """Parallel transport of v from the origin to y."""
    return _from_frame(y[..., 1:], v[..., 1:], c)


def _from_frame(x, a, c):
    xa = dot(scale(c / (1 + _cosh(x, c)), x), a)
    time = dot(scale(jnp.sqrt(c), x), a)
    return jnp.concatenate([time[..., None], a + scale(xa, x)], -1)


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
    x, space = x[..., 1:], v[..., 1:] + scale(c * xv, x[..., 1:])
    time = dot(scale(1 / _time(x, c), x), space)
    return jnp.concatenate([time[..., None], space], -1)


@_primitive("x")
def from_frame(x: Vector, a: Space, c: Curvature) -> Vector:
    """Tangent vector with components a (..., d) in the orthonormal frame at x: the origin's, transported."""
    if a.shape[-1] != x.shape[-1] - 1:
        raise ValueError(f"from_frame: a needs {x.shape[-1] - 1} components, got {a.shape}")
    return _from_frame(x[..., 1:], a, c)


@_primitive("x", "v")
def to_frame(x: Vector, v: Vector, c: Curvature) -> Space:
    """Components (..., d) of v in the orthonormal frame at x."""
    return _to_frame(x[..., 1:], v[..., 1:], c)


def _to_frame(x, v, c):
    """v without its stretch along x, which is cosh(r)-fold; far out from the two parts of v."""
    cosh = _cosh(x, c)
    far = cosh > 1.5
    across, along = _split(x, v)
    short = along / cosh / jnp.where(far, _norm(x), 1.0)
    near = v - scale(dot(scale(c / cosh / (cosh + 1), x), v), x)
    return jnp.where(far[..., None], across + scale(short, x), near)


@_primitive("x")
def logdetexp_frame(x: Vector, a: Space, c: Curvature) -> Scalar:
    """logdetexp at the tangent vector with frame components a, the same at every x."""
    a = a + 0 * x[..., 1:]
    return (a.shape[-1] - 1) * log_sinhc(c * dot(a, a))


@_primitive("x")
def frame_divergence(x: Vector, a: Space, c: Curvature) -> Scalar:
    """sum_i a_i div e_i = (d - 1) c <a, y> of the orthonormal frame e_i, y the point in the ball."""
    return (a.shape[-1] - 1) * c * dot(a, _to_ball(x[..., 1:], c))


@_primitive("x")
def tangent_basis(x: Vector, c: Curvature) -> Float[Array, "*batch d e"]:
    """Orthonormal frame at x, vectors in rows."""
    return _from_frame(x[..., None, 1:], jnp.eye(x.shape[-1] - 1, dtype=x.dtype), c[..., None])


# ------------------------------------------------------------------------------------------------------
# Points and charts
# ------------------------------------------------------------------------------------------------------


@_primitive("x", validate=lambda c, **_: _validate(c))
def project(x: Vector, c: Curvature) -> Vector:
    """The point with the same X_{1:}."""
    return _point(x[..., 1:] + 0 * c[..., None], c)


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
    return _to_ball(x[..., 1:], c)


def _to_ball(x, c):
    return poincare.project(scale(1 / (1 + _cosh(x, c)), x), c)


@register_record
@dataclass(frozen=True)
class Hyperboloid(ModuleManifold):
    """The hyperboloid of sectional curvature -c as a :class:`~geodl.manifolds.base.Manifold`."""

    dim: int = field(metadata={"static": True})
    c: ArrayLike = 1.0

    winding = Winding("none")
    embedded = True

    def __post_init__(self):
        check_dim("Hyperboloid", self.dim)
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
