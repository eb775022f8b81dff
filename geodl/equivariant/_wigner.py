"""Wigner's small d and real Fourier matrices: the tables of the harmonic transforms, and the products with them.

Numbers that are not real harmonics' own are in the order (m, n, l, ...) with m, n >= 0, cosines and sines apart.
"""

from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from scipy.special import gammaln, xlogy

from geodl._core.records import register_record


DENSE = 64  # degrees: above, the tables of SO(3) are regenerated in blocks
BLOCK = 16


def wigner_d(degrees: int, orders: int, betas: ArrayLike) -> np.ndarray:
    """Wigner's d^l_mn(beta) for 0 <= m < L and 0 <= n <= N, in double precision: (L, N + 1, L, betas), m, n, l, beta.

    The sign is Sakurai's, d^1_10 = -sin(beta) / sqrt(2); 0 where l < max(m, n). By the three-term recurrence in l from
    l = max(m, n), stable at any order. The others follow from ``d_nm = d_-m,-n = (-1)^(m - n) d_mn`` and
    ``d_m,-n(beta) = (-1)^(l + m) d_mn(pi - beta)``.

    Args:
        degrees: L.
        orders: N.
        betas: angles (betas,) in [0, pi].

    Returns:
        The values (L, N + 1, L, betas).
    """
    table = np.stack(list(_degrees(degrees, orders, np.asarray(betas, float))), 2)
    return table * sign(np.add.outer(np.arange(degrees), np.arange(orders + 1)))[..., None, None]


def sign(power):
    """(-1)^power."""
    return 1 - 2 * (power % 2)


def _degrees(degrees, orders, betas):
    """(-1)^(m + n) d^l_mn (L, N + 1, betas) for l = 0, 1, ..., in turn: the signs of real harmonics."""
    m, n = np.arange(degrees)[:, None], np.arange(orders + 1)
    first, start = _first_degrees(m, n, betas)
    previous, current = np.zeros_like(start), np.where(first == 0, start, 0)
    for l in range(degrees):
        yield current
        previous, current = current, _next_degree(l, m, n, np.cos(betas), current, previous, np)
        current = np.where(first == l + 1, start, current)


def _first_degrees(m, n, betas):
    """max(m, n), the degree with which the recurrence starts, and the values there."""
    high, low = np.maximum(m, n)[..., None], np.minimum(m, n)[..., None]
    binomial = gammaln(2 * high + 1) - gammaln(high + low + 1) - gammaln(high - low + 1)
    cosine, sine = np.cos(betas / 2), np.sin(betas / 2)
    log_size = binomial / 2 + xlogy(high + low, cosine) + xlogy(high - low, sine)
    return high, np.where(high == m[..., None], 1, sign(high - low)) * np.exp(log_size)


def _next_degree(l, m, n, cosine, current, previous, np):
    """d^(l + 1) from d^l and d^(l - 1) for l >= max(m, n), 0 below."""
    fits = (l >= m) & (l >= n)
    up = np.sqrt(np.where(fits, ((l + 1.0) ** 2 - m**2) * ((l + 1.0) ** 2 - n**2), np.inf))
    down = np.sqrt(np.where(fits, 1.0 * (l**2 - m**2) * (l**2 - n**2), 0.0))
    safe = np.maximum(l, 1)
    slope = ((2 * l + 1) * (l + 1) / up)[..., None]
    offset = ((2 * l + 1) * m * n / (safe * up))[..., None]
    return (slope * cosine - offset) * current - ((l + 1) / safe * down / up)[..., None] * previous


def tabulated(degrees, orders, betas, dtype=float):
    """c_m c_n (-1)^(m + n) d^l_mn(beta) by (m, n, l, beta), where c_0 = 1 / sqrt(2) and else c_m = 1."""
    table = np.empty((degrees, orders + 1, degrees, len(betas)), dtype)
    for l, value in enumerate(_degrees(degrees, orders, np.asarray(betas))):
        table[:, :, l] = value * _halves(degrees, orders)
    return table


def _halves(degrees, orders):
    """c_m c_n (m, n, 1)."""
    c = np.where(np.arange(degrees) == 0, np.sqrt(0.5), 1.0)
    return (c[:, None] * c[: orders + 1])[..., None]


def table_of(degrees, orders, betas, dtype):
    if degrees <= DENSE or orders == 0:
        return DenseTable(jnp.asarray(tabulated(degrees, orders, betas, dtype)))
    return BlockTable.of(degrees, orders, np.asarray(betas), dtype)


@register_record
@dataclass(frozen=True)
class DenseTable:
    """The table as one array (m, n, l, beta)."""

    values: Array

    def below(self, degrees):
        """The table of the lower degrees, and of their orders."""
        return DenseTable(self.values[:degrees, :degrees, :degrees])

    def to_degrees(self, x):
        """sum_beta of the table times x (m, n, beta, ...): (m, n, l, ...)."""
        return batched(self.values, x, 3)

    def to_betas(self, x):
        """sum_l of the table times x (m, n, l, ...): (m, n, beta, ...)."""
        return batched(self.values, x, 2)


def batched(table, x, axis):
    """For each (m, n) the product of the table, or its transpose, with x."""
    return product(table, x, ((axis,), (2,)), ((0, 1), (0, 1)))


@register_record
@dataclass(frozen=True)
class BlockTable:
    """The same table, of which each sixteenth pair of degrees is kept; those between are made when they are needed.

    A pair is right to double precision before it is rounded, so that neither rounding nor underflow of a long
    recurrence in float32 comes in.
    """

    pairs: Array  # d^(l - 1) and d^l at the beginning of each block: (blocks, 2, m, n, beta)
    start: Array  # d^l for l = max(m, n): (m, n, beta)
    cosine: Array
    degrees: int = field(metadata={"static": True})

    @classmethod
    def of(cls, degrees, orders, betas, dtype):
        pairs, previous = [], 0
        for l, value in enumerate(_degrees(degrees, orders, betas)):
            value = value * _halves(degrees, orders)
            if l % BLOCK == 0:
                pairs.append(np.stack([np.broadcast_to(previous, value.shape), value]))
            previous = value
        m, n = np.arange(degrees)[:, None], np.arange(orders + 1)
        start = _first_degrees(m, n, betas)[1] * _halves(degrees, orders)
        arrays = (np.stack(pairs), start, np.cos(betas))
        pairs, start, cosine = (jnp.asarray(a, dtype) for a in arrays)
        return cls(pairs, start, cosine, degrees)

    def below(self, degrees):
        """The table of the lower degrees, and of their orders."""
        pairs = self.pairs[: -(-degrees // BLOCK), :, :degrees, :degrees]
        return BlockTable(pairs, self.start[:degrees, :degrees], self.cosine, degrees)

    def _block(self, first, pair):
        """The table of the degrees ``first`` to ``first + 15``."""
        m, n = jnp.arange(self.start.shape[0])[:, None], jnp.arange(self.start.shape[1])
        begin = jnp.maximum(m, n)[..., None]

        def step(pair, l):
            previous, current = pair
            following = _next_degree(l, m, n, self.cosine, current, previous, jnp)
            following = jnp.where(begin == l + 1, self.start, following).astype(current.dtype)
            return (current, following), current

        _, values = lax.scan(step, (pair[0], pair[1]), first + jnp.arange(BLOCK))
        return jnp.moveaxis(values, 0, 2)

    def to_degrees(self, x):
        def block(_, block):
            return None, batched(self._block(*block), x, 3)

        _, y = lax.scan(block, None, (jnp.arange(0, self.degrees, BLOCK), self.pairs))
        y = jnp.moveaxis(y, 0, 2)
        return y.reshape(*y.shape[:2], -1, *y.shape[4:])[:, :, : self.degrees]

    def to_betas(self, x):
        padding = [(0, 0)] * x.ndim
        padding[2] = (0, -self.degrees % BLOCK)
        x = jnp.pad(x, padding)
        x = jnp.moveaxis(x.reshape(*x.shape[:2], -1, BLOCK, *x.shape[3:]), 2, 0)

        def block(total, block):
            first, pair, x = block
            return total + batched(self._block(first, pair), x, 2), None

        zero = jnp.zeros((*self.start.shape, *x.shape[4:]), x.dtype)
        firsts = jnp.arange(0, self.degrees, BLOCK)
        return lax.scan(block, zero, (firsts, self.pairs, x))[0]


def default_dtype(dtype):
    return jnp.dtype(jnp.result_type(float) if dtype is None else dtype)


def along(values, x, axis):
    """A vector as an array that multiplies x along an axis."""
    return np.expand_dims(np.asarray(values, x.dtype), tuple(range(1, x.ndim - axis)))


def fourier(orders, points, dtype):
    """The real Fourier matrix (2, orders, points): cos(m alpha_j), then sin(m alpha_j)."""
    turns = np.outer(np.arange(orders), np.arange(points)) % points
    angles = turns * (2 * np.pi / points)
    return jnp.asarray(np.stack([np.cos(angles), np.sin(angles)]), dtype)


def matmul(fourier, x, transposed=False):
    """The Fourier matrix (2, m, points) along the leading axis, or leading two axes, of x."""
    return product(fourier, x, ((0, 1), (0, 1)) if transposed else ((2,), (0,)))


def product(a, b, contracted, batched=((), ())):
    """``lax.dot_general``; one axis of many is not made before it, along which a batch could not be split."""
    return lax.dot_general(a, b, (contracted, batched), precision="highest")


# With c = cos and s = sin of m alpha and n gamma, in that order, and d and d' the small d of (m, n) and (m, -n),
# without Condon and Shortley's signs:     D_mn = d (cc - ss) + d' (cc + ss),    D_m,-n = -d (sc + cs) + d' (sc - cs),
# D_-m,-n = d (cc - ss) - d' (cc + ss),  D_-m,n = d (sc + cs) + d' (sc - cs), times 1 / sqrt(2) for m = 0 and for n =
# 0.


def sines(f, of_alpha, of_gamma):
    """Products with the sines and cosines: (s, m, t, n, beta, ...) of (alpha, gamma, beta, ...)."""
    x = matmul(of_alpha, f)
    matrices = jnp.broadcast_to(of_gamma, (*x.shape[:2], *of_gamma.shape))
    return product(matrices, x, ((4,), (2,)), ((0, 1), (0, 1)))


def sines_transposed(waves, of_alpha, of_gamma):
    """(alpha, gamma, beta, ...) of (s, m, t, n, beta, ...)."""
    matrices = jnp.broadcast_to(of_gamma, (*waves.shape[:2], *of_gamma.shape))
    y = product(matrices, waves, ((2, 3), (2, 3)), ((0, 1), (0, 1)))
    return matmul(of_alpha, y, transposed=True)


def split(waves):
    """What d and d' multiply, each (m, n, beta, 2, ...): of waves (s, m, t, n, beta, ...)."""
    cc, cs, sc, ss = (waves[s, :, t] for s in (0, 1) for t in (0, 1))
    return jnp.stack([cc - ss, sc + cs], 3), jnp.stack([cc + ss, sc - cs], 3)


def split_transposed(u, v):
    u1, u2, v1, v2 = u[:, :, :, 0], u[:, :, :, 1], v[:, :, :, 0], v[:, :, :, 1]
    cosines = jnp.stack([u1 + v1, u2 - v2], 1)
    sines = jnp.stack([u2 + v2, v1 - u1], 1)
    return jnp.stack([cosines, sines])


def join(u, v):
    """The blocks (m, n, l, s, t, ...) of the sums over d and d', each (m, n, l, 2, ...)."""
    u1, u2, v1, v2 = u[:, :, :, 0], u[:, :, :, 1], v[:, :, :, 0], v[:, :, :, 1]
    return jnp.stack([jnp.stack([u1 + v1, v2 - u2], 3), jnp.stack([u2 + v2, u1 - v1], 3)], 3)


def join_transposed(x):
    pp, pm, mp, mm = (x[:, :, :, s, t] for s in (0, 1) for t in (0, 1))
    return jnp.stack([pp + mm, mp - pm], 3), jnp.stack([pp - mm, mp + pm], 3)


def mirrored(x):
    """x (m, n, l, ...) times (-1)^(l + m + n): d_m,-n(beta) is d_mn(pi - beta) with this sign."""
    for axis in range(3):
        x = x * along(sign(np.arange(x.shape[axis])), x, axis)
    return x
