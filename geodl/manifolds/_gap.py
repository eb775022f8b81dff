"""The conformal gap 1 - c |x|^2 to its last digit, and the rim beyond which no point lies.

Near the edge of the ball the gap is the difference of two numbers next to 1, and every formula of the geometry divides
by it: what is rounded in |x|^2 is then an error of the result. The textbook ways to sum a square without error (an
exact product by a fused multiply-add, a compensated sum) do not survive a compiler that contracts and reorders.

Here the points are put on a grid instead. In units of the ball's radius each coordinate is split into a head of half
the digits, a middle part and a small rest, all fixed-point numbers. Sums of heads squared, and of heads times middle
parts, then are sums of integers that fit into the mantissa: exact in any order, contracted or not. With 1/c, as a
number and what its rounding left, in place of 1,

    1 - c |x|^2 = c ((1/c - sum head^2) - 2 sum head middle + (residual of 1/c - sum of the small rest)),

the first difference is exact near the edge, and only small terms round.
"""

import operator

import jax
import jax.numpy as jnp
from jax import Array, lax

from geodl._core.checks import aligned
from geodl._core.platform import cpu_barrier
from geodl._core.reductions import (
    UNROLLED,
    dot,
    power_of_two_above,
    scale,
    sums,
    tangent_dot,
)


@jax.custom_jvp
def exact_gap(x: Array, c: Array) -> Array:
    """1 - c |x|^2 to full relative precision, for c |x|^2 <= 1; exactly 1 for c = 0."""
    grid, *curvature = exact_curvature(c)
    return gap_of_sums(*sums(*exact_squares(x, grid)), *curvature)


@exact_gap.defjvp
def _exact_gap_jvp(primals, tangents):
    (x, c), (dx, dc) = primals, tangents
    return exact_gap(x, c), -2 * c * tangent_dot(x, dx) - dc * dot(x, x)


def exact_squares(x: Array, grid: Array) -> tuple[Array, Array, Array]:
    """Arrays a, b, r with (grid x)^2 = a + b / 2^k + r, of which the sums of a and of b over the last axis are exact.

    Each coordinate of grid x is split on fixed-point grids, h + (m + r) / 2^(k + 1), so coarse that the sums of h^2 and
    of h m are exact in any order and whatever the compiler contracts.
    What is left has 2^-20 of the whole, and rounds where it does not matter.
    """
    bits = jnp.finfo(x.dtype).nmant + 1  # 24 or 53
    finer = 2.0 ** _cross_bits(bits)
    scaled = operator.mul(*aligned(x, grid[..., None]))
    head = jnp.round(scaled)
    tail = scaled - head
    middle = jnp.round(tail * (2 * finer))
    rest = tail * (2 * finer) - middle
    return head * head, head * middle, head * rest * (1 / finer) + tail * tail


def _cross_bits(bits: int) -> int:
    return bits // 3


def exact_curvature(c: Array) -> tuple[Array, ...]:
    """For points on the grid of 2^11 (float64: 2^25) steps to the radius, rounded up to a power of two: their scale,
    then c, 1/c and what the rounding of 1/c leaves in its units, and 0. For c = 0 the last is 1.

    Behind a barrier: a compiler that fuses them into the loop over points computes them for every point.
    """
    bits, tiny = jnp.finfo(c.dtype).nmant + 1, jnp.finfo(c.dtype).tiny
    steps, flat = 2.0 ** (bits // 2 - 1), c < tiny
    unit = power_of_two_above(lax.rsqrt(jnp.where(flat, 1, c)))  # >= c^-1/2
    scaled = jnp.where(flat, 1, c) * unit * unit  # exact, in [1, 4)
    inverse = 1 / scaled
    c_head, inverse_head = _on_grid(scaled, bits // 2 - 2), _on_grid(inverse, bits // 2)
    c_tail, inverse_tail = scaled - c_head, inverse - inverse_head
    residual = (
        (1 - c_head * inverse_head) - c_head * inverse_tail - c_tail * inverse_head
    ) - c_tail * inverse_tail
    inverse, residual = inverse * steps**2, inverse * residual * steps**2
    scaled = jnp.where(flat, 0, scaled) / steps**2
    return cpu_barrier((steps / unit, scaled, inverse, residual, flat.astype(c.dtype)))


def gap_of_sums(head2, cross, small, c, inverse, residual, flat):
    """1 - c |x|^2 from the sums of :func:`exact_squares`."""
    finer = 2.0 ** _cross_bits(jnp.finfo(c.dtype).nmant + 1)
    return c * (((inverse - head2) - cross * (1 / finer)) + (residual - small)) + flat


def _on_grid(a: Array, bits: int) -> Array:
    """a rounded to a multiple of 2^-bits."""
    return jnp.round(a * 2.0**bits) * 2.0**-bits


# ------------------------------------------------------------------------------------------------------
# Points beyond the rim
# ------------------------------------------------------------------------------------------------------


def _min_gap(dtype) -> float:
    return 4 * float(jnp.finfo(dtype).eps)


def rim_gap(dtype) -> float:
    """The gap to which points are clipped: a margin for their rounding."""
    return 2 * _min_gap(dtype)


def gap_of(x: Array, c: Array) -> Array:
    """The conformal gap, a point beyond the rim counting as one on it."""
    return gap_inside(exact_gap(x, c))


def into_ball(x: Array, c: Array) -> tuple[Array, Array]:
    """What takes a point beyond the rim to the nearest one on it (1 inside), and the gap there.

    Formulas fold the factor into their own: a scaled copy of the point would be written out.
    """
    gap = exact_gap(x, c)
    return shrink_inside(gap), gap_inside(gap)


def gap_inside(gap: Array) -> Array:
    rim = rim_gap(gap.dtype) + 0 * gap  # NaN for a point whose square is infinite
    return jnp.where(gap < _min_gap(gap.dtype), rim, gap)


def shrink_inside(gap: Array) -> Array:
    """1, or what takes a point beyond the rim to it (and has no derivative)."""
    gap = lax.stop_gradient(gap)
    return _shrink(gap, gap < _min_gap(gap.dtype), rim_gap(gap.dtype))


def _shrink(gap: Array, beyond: Array, rim: float) -> Array:
    """|x| for the gap ``rim`` over |x| for the given one, or 1.

    The division comes last: what ends in one is computed once for a point, what does not for every coordinate.
    """
    return 1 / jnp.sqrt(jnp.where(beyond, (1 - gap) * (1 / (1 - rim)), 1.0))


def clipped(x: Array, c: Array, rim: float) -> Array:
    """The point itself, or the nearest one of gap ``rim`` where its own is less."""
    gap = exact_gap(x, c)
    return scale(_shrink(gap, gap < rim, rim) + 0 * gap, x)


def onto_rim(gap):
    """What takes a point of the given gap to the largest representable ball: 1 inside."""
    rim = rim_gap(gap.dtype)
    return _shrink(gap, gap < rim, rim)


# ------------------------------------------------------------------------------------------------------
# Two points
# ------------------------------------------------------------------------------------------------------


def chord2(x, y, c):
    """sinh^2(sqrt(c) dist / 2) / c = |x - y|^2 / (gap(x) gap(y))."""
    ww, a, b = _chord_and_gaps(x, y, c)
    return ww / (gap_inside(a) * gap_inside(b))


@jax.custom_jvp
def _chord_and_gaps(x, y, c):
    """|x - y|^2 of the points inside, and the exact gaps of x and y; long axes in one pass over both."""
    if x.shape[-1] <= UNROLLED or x.shape != y.shape:
        a, b = exact_gap(x, c), exact_gap(y, c)
        w = _difference(x, y, a, b)
        return cpu_barrier((dot(w, w), a, b))
    grid, *curvature = exact_curvature(c)
    of_x, of_y, w = exact_squares(x, grid), exact_squares(y, grid), y - x
    ww, *rest = sums(w * w, *of_x, *of_y)
    a, b = (gap_of_sums(*s, *curvature) for s in (rest[: len(of_x)], rest[len(of_x) :]))
    return cpu_barrier((_chord_inside(ww, a, b, c), a, b))


def _difference(x, y, a, b):
    return shrink_inside(b)[..., None] * y - shrink_inside(a)[..., None] * x


def _chord_inside(ww, a, b, c):
    """|t y - s x|^2 for the factors s, t of points beyond the rim: s t |y - x|^2 + (s - t) (s |x|^2 - t |y|^2),

    less its rounding, so that points in one direction are one.
    """
    s, t = shrink_inside(a), shrink_inside(b)
    u, v = s * (1 - a), t * (1 - b)
    correction = (s - t) * (u - v) - 8 * jnp.finfo(ww.dtype).eps * jnp.abs(s - t) * (u + v)
    return jnp.maximum(s * t * ww + correction / jnp.maximum(c, jnp.finfo(c.dtype).tiny), 0.0)


@_chord_and_gaps.defjvp
def _chord_and_gaps_jvp(primals, tangents):
    (x, y, c), (dx, dy, dc) = primals, tangents
    value = _chord_and_gaps(x, y, c)
    x, y = cpu_barrier((x, y))  # else y - x is written out, for the value and for here
    d_chord = 2 * tangent_dot(_difference(x, y, *value[1:]), _difference(dx, dy, *value[1:]))
    d_gaps = (-2 * c * tangent_dot(p, dp) - dc * dot(p, p) for p, dp in ((x, dx), (y, dy)))
    return value, (d_chord, *d_gaps)
