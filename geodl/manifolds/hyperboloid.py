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
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Float

from geodl._core.checks import as_shape, check, check_dim, check_positive, primitive
from geodl._core.platform import cpu_barrier
from geodl._core.records import register_record
from geodl._core.reductions import UNROLLED, dot, safe_norm, safe_sqrt, scale, tangent_dot
from geodl._core.special import asinhc, log_sinhc, sinhc
from geodl.manifolds import poincare
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
                off < 1e-2,  # the rounding of bfloat16
                f"{name} must lie on the hyperboloid: relative error of its time coordinate",
                off,
            )


def _primitive(*points, validate=_validate):
    """A public function; where values are not known, NaN stands for a curvature that is not positive."""

    def decorate(function):
        @functools.wraps(function)
        def allowed(*, c, **arguments):
            for name in points:  # formulas read X_{1:} only; a NaN in X_0 is one all the same
                if name in arguments:
                    arguments[name] += 0 * arguments[name][..., :1]
            return function(**arguments, c=jnp.where(c > 0, c, jnp.nan))

        return primitive(*points, validate=validate)(allowed)

    return decorate


# ------------------------------------------------------------------------------------------------------
# A point from its spatial part; where a square overflows it is not used
# ------------------------------------------------------------------------------------------------------


def _large(dtype) -> float:
    """Below it squared lengths are safe from overflow."""
    return float(jnp.finfo(dtype).max) ** 0.75


@jax.custom_jvp
def _radii(x, c):
    """|X_{1:}| and sqrt(c) X_0 = cosh(r), r = sqrt(c) dist(origin, X); the first has gradient 0 at 0."""
    small = float(jnp.finfo(x.dtype).tiny) ** 0.5  # a power of two
    square = dot(x, x)
    far = square > _large(x.dtype)
    unit = jnp.where(
        far, small, 1.0
    )  # no constant, which the compiler would take out of the square
    scaled = unit[..., None] * x
    n = jnp.sqrt(dot(scaled, scaled)) / unit
    inverse = jnp.where(far, 1 / n, 1.0)
    cosh = jnp.where(far, n * jnp.sqrt(c + inverse * inverse), jnp.sqrt(1 + c * square))
    return cpu_barrier((n, cosh))


@_radii.defjvp
def _radii_jvp(primals, tangents):
    (x, c), (dx, dc) = primals, tangents
    n, cosh = _radii(x, c)
    d_cosh = tangent_dot(scale(c / cosh, x), dx) + dc * (n / cosh) * n / 2
    return (n, cosh), (tangent_dot(_direction(x, n), dx), d_cosh)


def _direction(x, n):
    """x / |x|, 0 at 0. On an axis it is 1 or -1 exactly, so that a vector in line with it has nothing across it, where
    exp(r) would multiply a rounding error.
    """
    u = x / jnp.where(n == 0, 1.0, n)[..., None]
    return jnp.where(jnp.abs(x) == n[..., None], jnp.sign(x), u)


def _cosh(x, c):
    return _radii(x, c)[1]


def _time(space, c):
    """X_0 of the point with the given spatial part."""
    return _cosh(space, c) * _curvature_radius(c)


@jax.custom_jvp
def _curvature_radius(c):
    """1 / sqrt(c); where its derivative overflows that is the largest number, so that 0 times it is 0."""
    return lax.rsqrt(c)


@_curvature_radius.defjvp
def _curvature_radius_jvp(primals, tangents):
    (c,), (dc,) = primals, tangents
    radius = _curvature_radius(c)
    return radius, -jnp.minimum(radius / c / 2, float(jnp.finfo(c.dtype).max)) * dc


def _point(space, c):
    return jnp.concatenate([_time(space, c)[..., None], space], -1)


def _is_far(sinh):
    """Where formulas in polar coordinates hold; others do to a little beyond."""
    return sinh > 1


@jax.custom_jvp
def _split(x, v):
    """v = across + along x / |x|, across orthogonal to x: across, along; at x = 0 all is across.

    At its largest coordinate b = x / max_i |x_i| is 1 or -1 exactly, and v - v_i / b_i b is 0 exactly; the rounding of
    x / |x|, of which v may have exp(r), does not enter.
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
    n = _radii(x, jnp.ones((), x.dtype))[0]
    least = float(jnp.finfo(x.dtype).tiny) ** 0.25
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


@jax.custom_jvp
def _inverse(a):
    """1 / a; its derivative does not square a."""
    return 1 / a


_inverse.defjvp(
    lambda primals, tangents: (1 / primals[0], -(tangents[0] / primals[0]) / primals[0])
)


# ------------------------------------------------------------------------------------------------------
# The polar form of a pair
# ------------------------------------------------------------------------------------------------------


class _Pair(NamedTuple):
    """X and Y by the vectors x and y, their lengths and their angle; 0 has no direction."""

    nx: Array  # |x|
    ny: Array
    cosh_x: Array
    cosh_y: Array
    u: Array  # x / |x|
    across: Array  # the part of y orthogonal to u
    cos: Array  # of the angle
    versine: Array  # 1 - cos
    side: Array  # sqrt(|x| |y|) sin(angle / 2)
    sinh: Array  # sinh(r_y - r_x) / sqrt(c)
    rise: Array  # (cosh(r_y) - cosh(r_x)) / c


def _polar(x, y, c):
    """From y - x, unless y is so much shorter that it tells of itself by itself."""
    (nx, cosh_x), (ny, cosh_y) = _radii(x, c), _radii(y, c)
    u = _direction(x, nx)
    close = nx <= 2 * ny
    v = jnp.where(close[..., None], y - x, y)
    along = dot(u, v)
    across = v - scale(along, u)

    nothing = (ny == 0).astype(x.dtype)
    inverse, unit = 1 / (ny + nothing), 2.0**20  # whose tilt's square does not underflow
    tilt = scale(unit * inverse, across)
    square, tilt2 = dot(across, across), dot(tilt, tilt)
    length = jnp.where(square < _large(x.dtype), jnp.sqrt(square), jnp.sqrt(tilt2) * (ny / unit))
    cos = jnp.where(close, along + nx, along) * inverse
    versine = jnp.where(cos > 0, tilt2 / unit / unit / (1 + cos), 1 - cos)
    side = jnp.sqrt(nx) * jnp.where(
        cos > 0, length * jnp.sqrt(inverse / (2 + 2 * cos)), jnp.sqrt(ny * versine / 2)
    )

    longer = jnp.maximum(nx, ny)
    nothing = (longer == 0).astype(x.dtype)
    weight = 1 / (longer + nothing)
    near = length * (length * weight) + along * ((along + 2 * nx) * weight)
    step = jnp.where(close, near, (ny - nx) * ((ny + nx) * weight))  # (|y|^2 - |x|^2) / longer
    sinh = step / (nx * weight * cosh_y + ny * weight * cosh_x + nothing)
    rise = step * (longer / (cosh_x + cosh_y))
    return _Pair(nx, ny, cosh_x, cosh_y, u, across, cos, versine, side, sinh, rise)


def _hypotenuse(s):
    """sqrt(1 + s^2), which for large s is |s|."""
    return jnp.where(jnp.abs(s) < 1e10, jnp.sqrt(1 + s * s), jnp.abs(s))


def _chord_of(pair, c):
    """h = sinh(sqrt(c) dist / 2) / sqrt(c): h^2 = sinh^2((r_x - r_y) / 2) / c + |x| |y| sin^2(angle / 2)."""
    radial = jnp.abs(pair.sinh) * lax.rsqrt(2 + 2 * _hypotenuse(jnp.sqrt(c) * pair.sinh))
    longer, shorter = jnp.maximum(radial, pair.side), jnp.minimum(radial, pair.side)
    return longer * jnp.sqrt(1 + jnp.square(shorter / jnp.where(longer == 0, 1.0, longer)))


@jax.custom_jvp
def _chord(x, y, c):
    """h, and its square, which is smooth, as long as that is below 4 / c. The derivative is that of h away from 0."""
    h = _chord_of(_polar(x, y, c), c)
    return jnp.square(jnp.minimum(h, 2 * lax.rsqrt(c))), h


@_chord.defjvp
def _chord_jvp(primals, tangents):
    """Of h^2 = (x_0 y_0 - <x, y> - 1/c) / 2; divided by h where that may overflow."""
    (x, y, c), (dx, dy, dc) = primals, tangents
    h, size, from_x, from_y, from_c = _slopes(x, y, c)
    change = tangent_dot(dx, from_x) + tangent_dot(dy, from_y) + dc * from_c
    least = lax.rsqrt(c) / 8
    square = jnp.square(jnp.minimum(h, 2 * lax.rsqrt(c)))
    return (square, h), (change * size / 2, change * (size / (4 * jnp.where(h > least, h, least))))


@jax.custom_jvp
def _slopes(x, y, c):
    """h, the size max(h, 1), and, divided by it, the derivatives of 2 h^2:

    y_0 / x_0 x - y, x_0 / y_0 y - x and -(y_0 - x_0)^2 / (c x_0 y_0).
    """
    pair = _polar(x, y, c)
    h = _chord_of(pair, c)
    size = jnp.maximum(h, 1.0)
    nothing = (pair.ny == 0).astype(x.dtype)
    back = pair.ny * pair.versine - pair.sinh / pair.cosh_x
    out = pair.sinh / pair.cosh_y
    there = pair.cos * out - pair.nx * pair.versine
    tilt = (pair.nx + out) / (pair.ny + nothing)
    from_x = scale(1 / size, scale(back, pair.u) - pair.across)
    from_y = scale(1 / size, scale(there, pair.u) + scale(tilt, pair.across))
    return h, size, from_x, from_y, -pair.rise / pair.cosh_x * (pair.rise / pair.cosh_y / size)


@_slopes.defjvp
def _slopes_jvp(primals, tangents):
    """Of the plain form, which is smooth everywhere; the size is a unit, without a derivative."""
    (x, y, c), (dx, dy, dc) = primals, tangents
    h, size, from_x, from_y, from_c = _slopes(x, y, c)
    change = tangent_dot(dx, from_x) + tangent_dot(dy, from_y) + dc * from_c
    least = lax.rsqrt(c) / 8
    d_h = change * (size / (4 * jnp.where(h > least, h, least)))
    (nx, cosh_x), (ny, cosh_y) = _radii(x, c), _radii(y, c)
    d_cosh_x, d_cosh_y = (
        tangent_dot(scale(c / cosh, p), dp) + dc * (n / cosh) * n / 2
        for p, dp, n, cosh in ((x, dx, nx, cosh_x), (y, dy, ny, cosh_y))
    )
    ratio = cosh_x / cosh_y
    inverse = cosh_y / cosh_x
    d_y = scale(ratio, dy) - dx + scale(d_cosh_x - ratio * d_cosh_y, scale(1 / cosh_y, y))
    d_x = scale(inverse, dx) - dy + scale(d_cosh_y - inverse * d_cosh_x, scale(1 / cosh_x, x))
    rise = dot(scale(1 / (cosh_x + cosh_y), y - x), x + y)
    # of -rise^2 / (cosh_x cosh_y), rise = (cosh_y - cosh_x) / c
    d_rise = (d_cosh_y - d_cosh_x - dc * rise) / c
    d_c = (
        -rise
        / cosh_x
        * ((2 * d_rise - rise * (d_cosh_x / cosh_x + d_cosh_y / cosh_y)) / cosh_y / size)
    )
    tangents = (d_h, jnp.zeros_like(size), scale(1 / size, d_x), scale(1 / size, d_y), d_c)
    return (h, size, from_x, from_y, from_c), tangents


@jax.custom_jvp
def _turned(x, y, c):
    """sinh(r_y - r_x) / sqrt(c) and y / |y| - x / |x|."""
    pair = _polar(x, y, c)
    turn = scale(1 / jnp.where(pair.ny == 0, 1.0, pair.ny), pair.across)
    return pair.sinh, turn - scale(pair.versine, pair.u)


@_turned.defjvp
def _turned_jvp(primals, tangents):
    """Away from the origin."""
    (x, y, c), (dx, dy, dc) = primals, tangents
    sinh, turn = _turned(x, y, c)
    cosh = _hypotenuse(jnp.sqrt(c) * sinh)

    def change(p, dp):  # of sqrt(c) r and of the direction
        n, cosh = _radii(p, c)
        n = jnp.where(jnp.sqrt(c) * n > 0.5, n, lax.rsqrt(c))
        u = scale(1 / n, p)
        dn = tangent_dot(u, dp)
        return (dn + dc * n / (2 * c)) / cosh, scale(1 / n, dp - scale(dn, u))

    (rise_x, turn_x), (rise_y, turn_y) = change(x, dx), change(y, dy)
    return (sinh, turn), (cosh * (rise_y - rise_x) - dc * sinh / (2 * c), turn_y - turn_x)


@jax.custom_jvp
def _log_frame(x, y, c):
    """Components of logmap(x, y) in the frame at x: D / sinh(D) times (c = 1, D the distance)

    y - <u, y> u + (sinh(r_y - r_x) - cosh(r_x) sinh(r_y) (1 - cos(angle))) u,  u = x / |x|.
    """
    pair = _polar(x, y, c)
    h = _chord_of(pair, c)
    longer = _asinhc(jnp.square(jnp.minimum(h, 2 * lax.rsqrt(c))), h, c)
    shorter = _hypotenuse(jnp.sqrt(c) * h)  # D / sinh(D) is their ratio
    side, weight = pair.side, 2 * pair.cosh_x / jnp.where(pair.nx == 0, 1.0, pair.nx)
    radial = longer * pair.sinh / shorter - longer * side / shorter * (side * weight)
    return scale(1 / shorter, scale(longer, pair.across)) + scale(radial, pair.u)


@_log_frame.defjvp
def _log_frame_jvp(primals, tangents):
    return _log_frame(*primals), jax.jvp(_plain_log_frame, primals, tangents)[1]


def _plain_log_frame(x, y, c):
    """The same by formulas whose derivatives keep their digits: by y - x where both ends are near, in polar form where
    both are far, else as the boost of Y by -X.
    """
    square, h = _chord(x, y, c)
    (nx, cosh_x), (ny, cosh_y), root = _radii(x, c), _radii(y, c), jnp.sqrt(c)
    longer = _asinhc(square, h, c)
    close = c * square < 1  # where only the square has a derivative
    beyond = _hypotenuse(jnp.where(close, 1.0, root * h))
    cosh = jnp.where(close, jnp.sqrt(1 + c * jnp.where(close, square, 0.0)), beyond)
    inverse = _inverse(cosh)  # D / sinh(D) is the product with it
    weight = longer * inverse

    far = _is_far(root * nx) & _is_far(root * ny)
    p, q = (jnp.where(far[..., None], 0.0, a) for a in (x, y))  # their products may overflow
    w = q - p
    rise = dot(scale(1 / (cosh_x + cosh_y), w), p + q)
    back = dot(scale(c / (1 + cosh_x), p), w) - c * rise
    near = w + scale(back, p)
    mixed = q + scale(dot(scale(c / (1 + cosh_x), p), q) - cosh_y, p)

    apart = root * jnp.maximum(nx, ny) > 2  # so that y - x is not short where one is near
    sinh, turn = _turned(x, y, c)
    out = longer * ny * inverse
    versine = dot(turn, turn) / 2
    radial = longer * sinh * inverse - out * (cosh_x * versine) + out * versine
    polar = scale(out, turn) + scale(radial * _inverse(jnp.where(far, nx, lax.rsqrt(c))), x)
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
    root, (n, cosh) = jnp.sqrt(c), _radii(x, c)
    q, sinh = c * dot(a, a), root * n
    is_far = _is_far(sinh) & (q > 1)
    q_near = jnp.where(is_far, 1.0, q)
    near = q_near / 2 * jnp.square(sinhc(q_near / 4))  # cosh(r) - 1
    near = 1 + near + sinhc(q_near) * dot(scale(c / (1 + cosh), x), a)
    near = scale(near, x) + scale(sinhc(q_near), a)

    u = _direction(x, n)
    (across, along), length = _split(x, a), safe_norm(a)
    back = along < 0
    outward = jnp.where(
        back, dot(across, across) / jnp.where(back, length - along, 1.0), length + along
    )
    q_far = jnp.where(is_far, q, 1.0)
    half, other = sinhc(q_far / 4), jnp.cosh(jnp.sqrt(q_far) / 2)
    # sinhc(q), which may overflow, is their product
    grown = half * (cosh * outward - length * _inverse(cosh + sinh))
    far = scale(other, scale(grown, u) + scale(half, across))
    far = scale(jnp.exp(-jnp.sqrt(q_far)), x) + far
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
    n = _radii(space, c)[0]
    near = jnp.sqrt(c) * n < 1
    inside = jnp.where(near[..., None], space, 0.0)
    v = scale(_asinhc(jnp.where(near, dot(inside, inside), 2 / c), n, c), space)
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
    far = _asinh_far(jnp.where(near, 1.0, jnp.sqrt(c) * h))
    close = square * jnp.square(asinhc(jnp.where(near, c * square, 0.0)))
    return 4 * jnp.where(near, close, jnp.square(far) / jnp.where(near, 1.0, c))


def _asinh_far(r):
    """asinh(r) for r >= 1; neither it nor its derivative squares r."""
    return jnp.log(r * (1 + jnp.sqrt(1 + jnp.square(1 / r))))


def _asinhc(square, h, c):
    """asinh(sqrt(c) h) / (sqrt(c) h); ``square`` is h^2 where that is below 1 / c."""
    near = c * square < 1
    r = jnp.where(near, 1.0, jnp.sqrt(c) * h)
    return jnp.where(near, asinhc(jnp.where(near, c * square, 0.0)), _asinh_far(r) * _inverse(r))


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


@_primitive("x", "y")
def transport_frame(x: Vector, y: Vector, a: Space, c: Curvature) -> Space:
    """Parallel transport in components of the orthonormal frames at x and y, which far out are not exp(r) long."""
    return _rotate(x[..., 1:], y[..., 1:], a, c)


def _rotate(x, y, a, c):
    """The frame at x, transported to y, in the frame there: a turn by the defect of the triangle (origin, x, y).

    In the plane of p and q, the points half way from the origin to x and to y (c = 1), the tangent of half its angle is
    |p ^ q| / (sqrt(1 + |p|^2) sqrt(1 + |q|^2) - <p, q>). Where both are far the wedge comes from directions.
    """
    root = jnp.sqrt(c)
    (nx, cosh_x), (ny, cosh_y) = _radii(x, c), _radii(y, c)
    far = _is_far(root * nx) & _is_far(root * ny)
    half_x, half_y = jnp.sqrt((1 + cosh_x) / 2), jnp.sqrt((1 + cosh_y) / 2)  # cosh(r / 2)
    p, q = scale(root / (2 * half_x), x), scale(root / (2 * half_y), y)
    plain = half_x * half_y - dot(p, q)

    sinh, turn = _turned(x, y, c)
    versine = dot(turn, turn) / 2
    u = scale(1 / jnp.where(far, nx, lax.rsqrt(c)), x)
    product = root * nx / (2 * half_x) * (root * ny / (2 * half_y))
    cosh = jnp.sqrt((1 + _hypotenuse(root * sinh)) / 2)
    polar = scale(product / (cosh + product * versine), turn + scale(versine, u))

    q = jnp.where(far[..., None], polar, scale(1 / jnp.where(far, 1.0, plain), q))
    p = jnp.where(far[..., None], u, p)
    tangent2 = dot(p, p) * dot(q, q) - jnp.where(far, 0.0, jnp.square(dot(p, q)))

    def turned(a):
        return scale(dot(q, a), p) - scale(dot(p, a), q)

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


@jax.custom_jvp
def _to_frame(x, v, c):
    """v without its stretch along x, which is cosh(r)-fold."""
    n, cosh = _radii(x, c)
    across, along = _split(x, v)
    return across + scale(along / cosh, _direction(x, n))


@_to_frame.defjvp
def _to_frame_jvp(primals, tangents):
    """Of v - k <x, v> x, k = c / (cosh (1 + cosh)): by the parts of dx along x and across it, which have no common
    terms that cancel.
    """
    (x, v, c), (dx, dv, dc) = primals, tangents
    n, cosh = _radii(x, c)
    u = _direction(x, n)
    along, dn = dot(u, v), tangent_dot(u, dx)
    turn, k = dx - scale(dn, u), c / (cosh * (1 + cosh))
    stretch = (dn * c / cosh + dc * (n / cosh) / 2) * (n / cosh) / cosh
    d_along = tangent_dot(u, dv)
    da = dv - scale(d_along, u) + scale(d_along / cosh - along * stretch, u)
    da = da - scale(k * tangent_dot(v, turn), x) - scale(k * n * along, turn)
    return _to_frame(x, v, c), da


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
