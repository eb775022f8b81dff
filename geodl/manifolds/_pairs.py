"""Pairs of points of the hyperboloid in polar form, and what is smooth of them.

Values come from the polar form, which cancels nothing. Derivatives come from forms that are smooth: with
y = share x + w they are the same for every share (:class:`Offset`), so that it can be the one that keeps the digits,
and where both points are far what is in line with x is again in polar form.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from geodl._core.platform import cpu_barrier, cpu_once
from geodl._core.reductions import safe_sqrt
from geodl._core.special import asinhc
from geodl.manifolds._polar import (
    asinh,
    asinhc_of,
    axis,
    d_cosh_along,
    direction,
    hypotenuse,
    inverse,
    is_far,
    largest_square,
    log_asinh,
    radii,
)
from geodl.manifolds._vectors import Vectors, dot, dots, each, tangent_dot, tangent_scale


class Pair(NamedTuple):
    """X and Y by the vectors x and y, their lengths and their angle; 0 has no direction."""

    nx: Array  # |x|
    ny: Array
    inverse_y: Array  # 1 / |y|, 1 at 0
    cosh_x: Array
    cosh_y: Array
    u: Vectors  # x / |x|
    across: Vectors  # the part of y orthogonal to u
    cos: Array  # of the angle
    versine: Array  # 1 - cos
    fall: Array  # |y| (1 - cos)
    side: Array  # sqrt(|x| |y|) sin(angle / 2)
    rise: Array  # sinh(sqrt(c) (r_y - r_x) / 2) / sqrt(c)
    lift: Array  # (cosh(sqrt(c) r_y) - cosh(sqrt(c) r_x)) / c
    h: Array  # sinh(sqrt(c) dist / 2) / sqrt(c)

    def sinh(self, c):
        """sinh(sqrt(c) (r_y - r_x)) / sqrt(c)."""
        return 2 * self.rise * hypotenuse(jnp.sqrt(c) * self.rise)


def polar(x, y, c):
    """From y - x, unless y is so much shorter that it tells of itself by itself:

    h^2 = sinh^2(sqrt(c) (r_y - r_x) / 2) / c + |x| |y| sin^2(angle / 2),

    where sinh((a - b) / 2) = (sinh(a) - sinh(b)) / (2 cosh((a + b) / 2)).
    """

    def of_one(n, cosh):  # what each point has by itself, not computed again for every pair
        half = jnp.sqrt((1 + cosh) / 2)  # cosh(sqrt(c) r / 2)
        one = jnp.where(n == 0, 1.0, n)
        return cpu_barrier(
            (half, jnp.sqrt(c) * n / (2 * half), jnp.sqrt(n), lax.rsqrt(one), 1 / one)
        )

    (nx, cosh_x), (ny, cosh_y) = radii(x, c), radii(y, c)
    half_x, sinh_x, root_x, *_ = of_one(nx, cosh_x)
    half_y, sinh_y, root_y, inverse_root, inverse_y = of_one(ny, cosh_y)
    u = cpu_barrier(direction(x, nx))
    close = nx <= 2 * ny
    share = close.astype(nx.dtype)
    v = y - share * x
    along = cpu_barrier(dot(u, v))
    across = v - along * u
    long, longer = (_again(n, across, x, y, u, share, along) for n in (2, 4))
    slant = inverse_root * longer
    square, slanted = dots((long, long), (slant, slant))
    fits = square < largest_square(square.dtype)
    length = jnp.sqrt(jnp.where(fits, square, slanted))
    length = length * jnp.where(fits, inverse_root, 1.0)  # over sqrt(|y|)
    cos = jnp.where(
        ny == 0, 1.0, (along + share * nx) * inverse_y
    )  # of any direction that 0 may have
    acute, larger = cos > 0, jnp.sqrt((1 + jnp.abs(cos)) / 2)  # of sin and cos of angle / 2
    bend = jnp.where(acute, length / (2 * larger), root_y * larger)  # sqrt(|y|) sin(angle / 2)
    fall = 2 * bend * bend
    growth = jnp.where(acute & close, along + fall, ny - nx)  # |y| - |x|
    rise = growth / (2 * (half_x * half_y + sinh_x * sinh_y))
    side = root_x * bend
    h = _length(rise, side)
    versine, lift = fall * inverse_y, growth * ((nx + ny) / (cosh_x + cosh_y))
    return Pair(
        nx, ny, inverse_y, cosh_x, cosh_y, u, across, cos, versine, fall, side, rise, lift, h
    )


def _again(part, across, x, y, u, share, along):
    """``across`` for one more sum: of all pairs of long vectors formed anew, from that part of each factor.

    XLA:CPU would write out what two sums share.
    """
    if isinstance(x.parts, tuple) or x.parts.shape == y.parts.shape:
        return across
    x, u, share, along = jax.tree.map(lambda a: a / part, (x, u, share, along))
    y = each(lambda a: a / part**2, y)
    return each(lambda a: part**2 * a, (y + -share * x) - along * u)


def _length(a, b):
    """sqrt(a^2 + b^2), in units in which the squares are among the floats."""
    longer = jnp.maximum(jnp.abs(a), jnp.abs(b))
    least = float(jnp.finfo(a.dtype).tiny) ** 0.5 / 4
    large, small = longer > 2.0**40, longer < 2.0**-40
    unit = jnp.where(large, least, jnp.where(small, 1 / least, 1.0))
    back = jnp.where(large, 1 / least, jnp.where(small, least, 1.0))
    return jnp.sqrt(jnp.square(unit * a) + jnp.square(unit * b)) * back


def by_smooth(smooth):
    """A function whose derivatives are those of another form of it, smooth where its own is not."""

    def decorate(function):
        function = jax.custom_jvp(function)
        function.defjvp(lambda primals, tangents: jax.jvp(smooth, primals, tangents))
        return function

    return decorate


def _smooth_sqdist(x, y, c):
    square, h = _chord(x, y, c)
    near = c * square < 1
    close = square * jnp.square(asinhc(jnp.where(near, c * square, 0.0)))
    far = log_asinh(jnp.where(near, 1.0, jnp.sqrt(c) * h))
    return 4 * jnp.where(near, close, jnp.square(far) / jnp.where(near, 1.0, c))


@by_smooth(_smooth_sqdist)
def sqdist(x, y, c):
    """4 asinh^2(sqrt(c) h) / c."""
    return jnp.square(2 * asinh(jnp.sqrt(c) * polar(x, y, c).h)) / c


@by_smooth(lambda x, y, c: safe_sqrt(_smooth_sqdist(x, y, c)))
def dist(x, y, c):
    """2 asinh(sqrt(c) h) / sqrt(c), with gradient 0 at x = y."""
    return 2 * asinh(jnp.sqrt(c) * polar(x, y, c).h) * lax.rsqrt(c)


@jax.custom_jvp
def _chord(x, y, c):
    """h^2, which is smooth, as long as that is below 4 / c, and h, whose derivative is right away from 0."""
    h = polar(x, y, c).h
    return jnp.square(jnp.minimum(h, 2 * lax.rsqrt(c))), h


@_chord.defjvp
def _chord_jvp(primals, tangents):
    """Of h^2 = (x_0 y_0 - <x, y> - 1/c) / 2; divided by h where that may overflow."""
    (x, y, c), (dx, dy, dc) = primals, tangents
    h, size, from_x, from_y, from_c = _slopes(x, y, c)
    change = tangent_dot(dx, from_x) + tangent_dot(dy, from_y) + dc * from_c
    return _chord(x, y, c), (change * size / 2, change * _slope_of_h(h, size, c))


def _slope_of_h(h, size, c):
    """By 2 h^2 / size, away from 0."""
    return size / (4 * jnp.maximum(h, lax.rsqrt(c) / 8))


def _smooth_slopes(x, y, c):
    """The size is a unit, without a derivative."""
    at, cosh_x, cosh_y = _offset(x, y, c), radii(x, c)[1], radii(y, c)[1]
    size = lax.stop_gradient(jnp.maximum(at.h, 1.0))
    e, long = axis(x, c, _places(x, y, c)[0])
    lag, by_x, by_y = at.lag * long / size, inverse(cosh_x), inverse(cosh_y)
    from_x = (lag * by_x) * e - (1 / size) * at.w
    from_y = (cosh_x * by_y / size) * at.w - (lag * by_y) * e
    return at.h, size, from_x, from_y, -at.lift * by_x * (at.lift * by_y / size) / 2


@by_smooth(_smooth_slopes)
def _slopes(x, y, c):
    """h, the size max(h, 1), and, divided by it, the derivatives of 2 h^2:

    y_0 / x_0 x - y, x_0 / y_0 y - x and -(y_0 - x_0)^2 / (2 c^2 x_0 y_0).
    """
    pair = polar(x, y, c)
    size, sinh = jnp.maximum(pair.h, 1.0), pair.sinh(c)
    per_x, per_y, per_size = (inverse(a) for a in (pair.cosh_x, pair.cosh_y, size))
    back, out = pair.fall - sinh * per_x, sinh * per_y
    # |x| versine, which may be less than any float
    there = pair.cos * out - pair.nx * pair.inverse_y * pair.fall
    from_x = (per_size * back) * pair.u - per_size * pair.across
    from_y = per_size * (there * pair.u + (pair.cosh_x * per_y) * pair.across)
    from_c = -pair.lift * per_x * (pair.lift * per_y * per_size) / 2
    return pair.h, size, from_x, from_y, from_c


class Offset(NamedTuple):
    """y = share x + w, for a share of which nothing depends that is made of these.

    Where both points are far w is orthogonal to x, where both are near it is y - x, else it is y.
    """

    share: Array
    w: Vectors
    lag: Array  # cosh(sqrt(c) r_y) - share cosh(sqrt(c) r_x)
    h: Array  # this and what follows as in Pair, the last two where both are far
    lift: Array
    sinh: Array
    fall: Array


@jax.custom_jvp
def _offset(x, y, c):
    pair, far, near = polar(x, y, c), *_places(x, y, c)
    per_n, sinh = inverse(jnp.where(far, pair.nx, 1.0)), pair.sinh(c)
    share = jnp.where(far, pair.cos * pair.ny * per_n, near.astype(sinh.dtype))
    w = each(jnp.where, far, pair.across, y - share * x)
    lag = jnp.where(near, c * pair.lift, pair.cosh_y)
    lag = jnp.where(far, pair.fall * (pair.cosh_x * per_n) - sinh * per_n, lag)
    return Offset(share, w, lag, pair.h, pair.lift, sinh, pair.fall)


def _places(x, y, c):
    """Where both points are far, and where both are near: y - x is not short where neither is so."""
    nx, ny = (jnp.sqrt(c) * radii(p, c)[0] for p in (x, y))
    far = is_far(nx) & is_far(ny)
    return far, ~far & (jnp.maximum(nx, ny) <= 2)


class Motion(NamedTuple):
    """What tangents of x and y do to an offset, by four products of vectors."""

    far: Array
    e: Vectors
    long: Array
    dw: Vectors  # of w, the share being fixed
    ex: Array  # <e, dx>
    ew: Array  # <e, dw>
    wx: Array  # <w, dx> / size
    size: Array  # max(h, 1)
    change: Array  # of 2 h^2, over size
    cosh_x: Array
    lag: Array  # the share being fixed
    h: Array
    sinh: Array
    fall: Array


def _motion(at, x, y, c, dx, dy, dc):
    (far, near), size = _places(x, y, c), jnp.maximum(at.h, 1.0)
    (nx, cosh_x), (ny, cosh_y), (e, long) = radii(x, c), radii(y, c), axis(x, c, far)
    per_x, per_y, per_size = (inverse(a) for a in (cosh_x, cosh_y, size))
    u, dw = per_size * at.w, dy - at.share * dx
    ex, wx, ew, ww = (tangent_dot(a, da) for da in (dx, dw) for a in (e, u))
    slope = at.lag * (long * per_size) * per_y  # lag is as small as long is large

    # of 2 h^2 = x_0 y_0 - <x, y> - 1/c
    change = cosh_x * per_y * ww - at.lag * per_y * wx - slope * (ew - at.lag * per_x * ex)
    change -= dc * (at.lift * per_x) * (at.lift * per_y * per_size) / 2

    d_cosh_x = d_cosh_along(long, ex, nx, per_x, c, dc)
    lag = c * per_y * size * (ww + at.share * wx) + c * at.share * (long * per_y) * ew
    lag -= c * at.share * size * slope * per_x * ex
    by_c = ny * (ny * per_y) - at.share * (nx * (nx * per_x))
    close = (at.lag + at.lag / (cosh_x * jnp.where(near, cosh_y, 1.0))) / c
    lag += dc * jnp.where(near, close, by_c) / 2

    nx, ny = (jnp.where(far, n, lax.rsqrt(c)) for n in (nx, ny))
    per_ny, along = inverse(ny), ew + at.share * ex
    wy, fallen = size * per_ny * (ww + at.share * wx), at.fall * per_ny
    fall = wy - size * inverse(nx) * wx - fallen * along
    d_ny = (1 - fallen) * along + wy
    rise = (d_ny + dc * ny / (2 * c)) * per_y - (ex + dc * nx / (2 * c)) * per_x
    sinh = hypotenuse(jnp.sqrt(c) * at.sinh) * rise - dc * at.sinh / (2 * c)
    h = change * _slope_of_h(at.h, size, c)
    return Motion(far, e, long, dw, ex, ew, wx, size, change, d_cosh_x, lag, h, sinh, fall)


@_offset.defjvp
def _offset_jvp(primals, tangents):
    """Where both points are far the share changes so that w stays orthogonal to x."""
    (x, _, c), at = primals, _offset(*primals)
    m, (nx, cosh_x) = _motion(at, *primals, *tangents), radii(x, c)
    per_n = inverse(jnp.where(m.far, nx, 1.0))
    turn = m.size * per_n * m.wx
    share = jnp.where(m.far, (m.ew + turn) * per_n, 0.0)
    dw = m.dw - tangent_scale(jnp.where(m.far, m.ew, 0.0), m.e)
    rest = tangent_dot(m.e, dw)  # of the rounding of e
    dw = dw - tangent_scale(jnp.where(m.far, rest + turn, 0.0), m.e)
    dw = cpu_once(dw)  # rounded in two ways, its cotangent's part along x would not cancel
    lag = m.fall * (cosh_x * per_n) + at.fall * (m.cosh_x * per_n)
    lag = lag - m.sinh * per_n - at.lag * per_n * m.ex
    lift = (m.lag + (at.share - 1) * m.cosh_x - tangents[2] * at.lift) / c
    by = Offset(share, dw, jnp.where(m.far, lag, m.lag), m.h, lift, m.sinh, m.fall)
    return at, by


@jax.custom_jvp
def turned(x, y, c):
    """sinh(sqrt(c) (r_y - r_x)) / sqrt(c) and y / |y| - x / |x|."""
    pair = polar(x, y, c)
    return pair.sinh(c), pair.inverse_y * pair.across - pair.versine * pair.u


@turned.defjvp
def _turned_jvp(primals, tangents):
    """Away from the origin."""
    (x, y, c), (dx, dy, dc) = primals, tangents
    sinh, turn = turned(x, y, c)
    cosh = hypotenuse(jnp.sqrt(c) * sinh)

    def change(p, dp):  # of sqrt(c) r and of the direction
        n, cosh = radii(p, c)
        n = jnp.where(jnp.sqrt(c) * n > 0.5, n, lax.rsqrt(c))
        u = (1 / n) * p
        dn = tangent_dot(u, dp)
        return (dn + dc * n / (2 * c)) / cosh, (1 / n) * (dp - tangent_scale(dn, u))

    (rise_x, turn_x), (rise_y, turn_y) = change(x, dx), change(y, dy)
    return (sinh, turn), (cosh * (rise_y - rise_x) - dc * sinh / (2 * c), turn_y - turn_x)


@jax.custom_jvp
def log_frame(x, y, c):
    """Components of logmap(x, y) in the frame at x: D / sinh(D) times (c = 1, D the distance)

    y - <u, y> u + (sinh(r_y - r_x) - cosh(r_x) sinh(r_y) (1 - cos(angle))) u,  u = x / |x|.
    """
    pair = polar(x, y, c)
    r = jnp.sqrt(c) * pair.h
    longer = jnp.where(r == 0, 1.0, asinh(r) / jnp.where(r == 0, 1.0, r))
    shorter = hypotenuse(r)  # D / sinh(D) is their ratio
    weight = 2 * pair.cosh_x / jnp.where(pair.nx == 0, 1.0, pair.nx)
    along = longer * pair.sinh(c) / shorter - longer * pair.side / shorter * (pair.side * weight)
    return (1 / shorter) * (longer * pair.across) + along * pair.u


@log_frame.defjvp
def _log_frame_jvp(primals, tangents):
    """Of D / sinh(D) (w + (<shrunk(x), w> - lag) x) in terms of the offset; where both points are far, of

    D / sinh(D) (w + (sinh(r_y - r_x) - cosh(r_x) fall) u).
    """
    (x, y, c), (dx, _, dc) = primals, tangents
    at, root = _offset(*primals), jnp.sqrt(c)
    m, (nx, cosh_x), ny = _motion(at, *primals, *tangents), radii(x, c), radii(y, c)[0]
    per_n, unit = inverse(jnp.where(m.far, nx, 1.0)), jnp.where(m.far, ny, 1.0)

    (longer, shorter), (d_longer, d_shorter) = jax.jvp(
        _log_weights, (*_chord(*primals), c), (m.change * m.size / 2, m.h, dc)
    )

    def weighted(a):  # D / sinh(D) may underflow where its product does not
        return longer * a * shorter

    def d_weighted(a):
        return d_longer * a * shorter + longer * a * d_shorter

    shrink, back = 1 / (1 + cosh_x), root * dot(m.e, at.w)
    d_back = root * m.ew + shrink * (c * m.size * m.wx - m.cosh_x * back) + dc * back / c
    d_along = d_weighted(back - at.lag) + weighted(d_back - m.lag)
    d_out = d_weighted(at.sinh) + weighted(m.sinh - m.size * per_n * m.wx)
    d_out -= (d_weighted(at.fall) + weighted(m.fall)) * cosh_x + weighted(at.fall) * m.cosh_x

    moved = m.dw + jnp.where(m.far, -at.lag, back - at.lag) * dx
    moved = (weighted(unit) * inverse(unit)) * moved
    moved = moved - tangent_scale(jnp.where(m.far, tangent_dot(m.e, moved), 0.0), m.e)
    moved = moved + tangent_scale(jnp.where(m.far, d_out, d_along * m.long), m.e)
    return log_frame(*primals), moved + tangent_scale(d_weighted(unit), inverse(unit) * at.w)


def _log_weights(square, h, c):
    """asinh(h) / h and sqrt(1 + h^2), whose ratio is D / sinh(D) (c = 1): the first, and the inverse of the second."""
    close = c * square < 1  # where only the square has a derivative
    cosh = hypotenuse(jnp.where(close, 1.0, jnp.sqrt(c) * h))
    cosh = jnp.where(close, jnp.sqrt(1 + c * jnp.where(close, square, 0.0)), cosh)
    return asinhc_of(square, h, c), inverse(cosh)


def _smooth_rotation(x, y, a, c):
    """By the wedge of p and q unless both are far."""
    root = jnp.sqrt(c)
    (nx, cosh_x), (ny, cosh_y) = radii(x, c), radii(y, c)
    far = is_far(root * nx) & is_far(root * ny)
    half_x, half_y = jnp.sqrt((1 + cosh_x) / 2), jnp.sqrt((1 + cosh_y) / 2)  # cosh(r / 2)
    p, q = (root / (2 * half_x)) * x, (root / (2 * half_y)) * y
    plain = half_x * half_y - dot(p, q)

    sinh, turn = turned(x, y, c)
    versine = dot(turn, turn) / 2
    u = each(jnp.where, far, direction(x, nx), root * x)
    product = (root * nx) * inverse(2 * half_x) * (root * ny * inverse(2 * half_y))
    cosh = jnp.sqrt((1 + hypotenuse(root * sinh)) / 2)
    polar = (product * inverse(cosh + product * versine)) * (turn + versine * u)

    q = each(jnp.where, far, polar, (1 / jnp.where(far, 1.0, plain)) * q)
    p = each(jnp.where, far, u, p)
    tangent2 = dot(p, p) * dot(q, q) - jnp.where(far, 0.0, jnp.square(dot(p, q)))

    def wedge(a):
        return dot(q, a) * p - dot(p, a) * q

    first = wedge(a)
    return a + (2 / (1 + tangent2)) * (first + wedge(first))


@by_smooth(_smooth_rotation)
def rotate(x, y, a, c):
    """The frame at x, transported to y, in the frame there: a turn by the defect of the triangle (origin, x, y).

    With p and q the points half way from the origin to x and to y (c = 1), the tangent of half its angle is
    |p ^ q| / (sqrt(1 + |p|^2) sqrt(1 + |q|^2) - <p, q>): the length of t below, which is orthogonal to u.
    """
    pair, root = polar(x, y, c), jnp.sqrt(c)
    sinh_x, sinh_y = (
        root * n / jnp.sqrt(2 + 2 * cosh)
        for n, cosh in ((pair.nx, pair.cosh_x), (pair.ny, pair.cosh_y))
    )
    product = sinh_x * sinh_y
    u, bent = pair.u, hypotenuse(root * pair.rise) + product * pair.versine
    length = product * inverse(bent) * pair.inverse_y
    # t = s / w, so that no square overflows; what rounding has left of u in it would stretch
    w, least = 1 / jnp.maximum(length, 1.0), jnp.minimum(length, 1.0)
    s = least * pair.across - (least * dot(pair.across, u)) * u
    ss, ua, sa, su = dots((s, s), (u, a), (s, a), (s, u))
    ss, sa = ss - su * su, sa - su * ua
    square = w * w + ss
    k = 2 / jnp.where(square == 0, 1.0, square)
    back = k * (w * ua + sa)
    return a + (k * (w * sa - ua * ss) + back * su) * u - back * s
