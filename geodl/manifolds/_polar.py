"""Points of the hyperboloid in polar form.

A point is known by the vector x = X_{1:} of length sinh(sqrt(c) r) / sqrt(c), r its distance from the origin. Where the
square of that overflows it is not used.
"""

import jax
import jax.numpy as jnp
from jax import lax

from geodl._core.platform import cpu_barrier
from geodl._core.special import asinhc
from geodl.manifolds._vectors import dot, each, tangent_dot, tangent_scale


def largest_square(dtype) -> float:
    """Below it squared lengths are safe from overflow."""
    return float(jnp.finfo(dtype).max) ** 0.75


@jax.custom_jvp
def radii(x, c):
    """|x| and cosh(sqrt(c) r); the first has gradient 0 at 0."""
    small = float(jnp.finfo(c.dtype).tiny) ** 0.5  # a power of two
    square = dot(x, x)
    far = square > largest_square(square.dtype)
    unit = jnp.where(far, small, 1.0)  # no constant: the compiler would take it out of the square
    scaled = unit * x
    n = jnp.sqrt(dot(scaled, scaled)) / unit
    inverse = jnp.where(far, 1 / n, 1.0)
    cosh = jnp.where(far, n * jnp.sqrt(c + inverse * inverse), jnp.sqrt(1 + c * square))
    return cpu_barrier((n, cosh))


@radii.defjvp
def _radii_jvp(primals, tangents):
    (x, c), (dx, dc) = primals, tangents
    n, cosh = radii(x, c)
    return (n, cosh), (tangent_dot(direction(x, n), dx), _d_cosh(x, n, cosh, c, dx, dc))


def _d_cosh(x, n, cosh, c, dx, dc):
    return tangent_dot((c / cosh) * x, dx) + dc * (n / cosh) * n / 2


@jax.custom_jvp
def shrunk(x, c):
    """c x / (1 + cosh(sqrt(c) r)), at most sqrt(c) long; so is all that its derivative multiplies by."""
    return (c / (1 + radii(x, c)[1])) * x


@shrunk.defjvp
def _shrunk_jvp(primals, tangents):
    (x, c), (dx, dc) = primals, tangents
    (n, cosh), p = radii(x, c), shrunk(x, c)
    d_cosh, shrink = _d_cosh(x, n, cosh, c, dx, dc), 1 / (1 + cosh)
    change = tangent_scale(dc * shrink, x) - tangent_scale(d_cosh * shrink, p)
    return p, (c * shrink) * dx + change


@jax.custom_jvp
def direction(x, n):
    """x / |x|, 0 at 0. On an axis it is 1 or -1 exactly, so that a vector in line with it has nothing across it, where
    exp(r) would multiply a rounding error.
    """
    shrink = inverse(jnp.where(n == 0, 1.0, n))
    return each(lambda a, n, s: jnp.where(jnp.abs(a) == n, jnp.sign(a), s * a), x, n, shrink)


@direction.defjvp
def _direction_jvp(primals, tangents):
    """n is |x|. What dx has along x is taken out of it alone: summed with others, its cotangent would not cancel."""
    (x, n), dx = primals, cpu_barrier(tangents[0])
    u = direction(x, n)
    across = dx - tangent_scale(tangent_dot(u, dx), u)
    return u, inverse(jnp.where(n == 0, 1.0, n)) * across


def is_far(sinh):
    """Where formulas in polar coordinates hold; others do to a little beyond."""
    return sinh > 1


def split(u, v):
    """v = across + along u, across orthogonal to the unit vector u: across, along; for u = 0 all is across."""
    along = dot(u, v)
    across = v - along * u
    rest = dot(u, across)  # of the rounding of u, which a step back to the origin would show
    return across - rest * u, along + rest


@jax.custom_jvp
def inverse(a):
    """1 / a; its derivative does not square a, nor does the compiler, which makes t / (a b) of (t / a) / b: what may be
    as long as a far point is multiplied by inverses only.
    """
    return 1 / a


inverse.defjvp(lambda primals, tangents: (1 / primals[0], -(tangents[0] / primals[0]) / primals[0]))


def hypotenuse(s):
    """sqrt(1 + s^2), which for large s is |s|."""
    return jnp.where(jnp.abs(s) < 1e10, jnp.sqrt(1 + s * s), jnp.abs(s))


def asinh(r):
    """For r >= 0, without its square."""
    return jnp.log1p(r + r * (r / (1 + hypotenuse(r))))


def log_asinh(r):
    """asinh(r) for r >= 1; its derivative does not square r either."""
    return jnp.log(r * (1 + jnp.sqrt(1 + jnp.square(1 / r))))


def asinhc_of(square, h, c):
    """asinh(sqrt(c) h) / (sqrt(c) h), smooth; ``square`` is h^2 where that is below 1 / c."""
    near = c * square < 1
    r = jnp.where(near, 1.0, jnp.sqrt(c) * h)
    return jnp.where(near, asinhc(jnp.where(near, c * square, 0.0)), log_asinh(r) * inverse(r))


def axis(x, c, far):
    """x / |x| where it is far, else sqrt(c) x / (1 + cosh(sqrt(c) r)); and what it is multiplied by to give x."""
    n, cosh = radii(x, c)
    long = jnp.where(far, n, (1 + cosh) * lax.rsqrt(c))
    e = each(lambda x, u, far, s: jnp.where(far, u, s * x), x, direction(x, n), far, 1 / long)
    return e, long


def d_cosh_along(long, ex, n, per_cosh, c, dc):
    """The derivative of cosh from the product ex of dx with the axis."""
    return c * per_cosh * long * ex + dc * (n * per_cosh) * n / 2


@jax.custom_jvp
def to_frame(x, v, c):
    """v without its stretch along x, which is cosh(r)-fold."""
    n, cosh = radii(x, c)
    u = direction(x, n)
    across, along = split(u, v)
    return across + (along / cosh) * u


@to_frame.defjvp
def _to_frame_jvp(primals, tangents):
    """Of (v - <e, v> e) +- <e, v> e / cosh, + where x is far; dx goes by its parts along x and across it there, which
    have no common terms that cancel.
    """
    (x, v, c), (dx, dv, dc) = primals, tangents
    n, cosh = radii(x, c)
    far = is_far(jnp.sqrt(c) * n)
    e, long = axis(x, c, far)
    ev, ex, ed = dot(e, v), tangent_dot(e, dx), tangent_dot(e, dv)
    d_cosh = d_cosh_along(long, ex, n, inverse(cosh), c, dc)
    turn = dx - tangent_scale(jnp.where(far, ex, 0.0), e)  # de is turn / long + stretch e
    stretch = jnp.where(far, 0.0, dc / (2 * c) - d_cosh / (1 + cosh))
    turned, share = tangent_dot(v, turn) / long + stretch * ev, jnp.where(far, 1.0, -1.0) / cosh
    along = share * (ed - d_cosh / cosh * ev) + (share - 1) * (turned + stretch * ev)
    straight = dv - tangent_scale(ed, e)
    return to_frame(*primals), straight + tangent_scale(along, e) + ((share - 1) * ev / long) * turn
