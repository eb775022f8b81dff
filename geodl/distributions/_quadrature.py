"""Densities on an interval by quadrature: mass, distribution function, and quantile with exact derivatives.

A family of unimodal densities is given by its log-density relative to its mode, as a function of the offset ``y`` from
the mode (so that nothing large is ever subtracted) and of one parameter ``theta``. Its interval is cut into panels,
each with a Gauss-Legendre rule; all terms are positive, so nothing cancels. The table of panel masses is made once per
``theta``; a draw then costs a look-up and a few evaluations of the density in its panel.

Probabilities near 0 and 1 are tail masses, each summed from its own end, and quantiles are asked for by
standard normal scores, so that float32 resolves both tails alike.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.special import ndtr

from geodl._core.checks import with_axes


PANELS = 12


@runtime_checkable
class UnimodalFamily(Protocol):
    """A static, hashable description; ``theta`` and ``mode`` broadcast against ``offset``."""

    def mode(self, theta: Array, /) -> Array:
        """Where the density is largest; a constant for differentiation."""
        ...

    def support(self, mode: Array, theta: Array, /) -> tuple[Array, Array]:
        """Smallest and largest offset: what lies outside has no mass to the precision of the dtype."""
        ...

    def log_density(self, offset: Array, mode: Array, theta: Array, /) -> Array:
        """Log-density relative to the mode, not normalized."""
        ...


class Table(NamedTuple):
    """Edges of the panels, and masses from either end up to each edge, normalized; shapes (..., PANELS + 1)."""

    mode: Array  # (...)
    edges: Array
    lower: Array
    upper: Array
    total: Array  # (...): mass before normalization


def tabulate(family: UnimodalFamily, theta: Array) -> Table:
    """The table of a family, one row for each ``theta`` (...)."""
    mode, edges = _panels(family, theta)
    mass = _integral(family, mode[..., None], theta[..., None], edges[..., :-1], edges[..., 1:])
    total = jnp.sum(mass, -1)
    mass, zero = mass / total[..., None], jnp.zeros_like(mass[..., :1])
    lower = jnp.concatenate([zero, jnp.cumsum(mass, -1)], -1)
    upper = jnp.concatenate([jnp.cumsum(mass[..., ::-1], -1)[..., ::-1], zero], -1)
    return Table(mode, edges, lower, upper, total)


def log_mass(family: UnimodalFamily, theta: Array) -> Array:
    """Log of the integral of exp(log_density), differentiable in ``theta`` to any order."""
    return jnp.log(tabulate(family, theta).total)


def mean(family: UnimodalFamily, function: Callable[[Array, Array], Array], theta: Array) -> Array:
    """Expectation of function(offset, mode)."""
    mode, edges = _panels(family, theta)
    panels = family, mode[..., None], theta[..., None], edges[..., :-1], edges[..., 1:]
    return jnp.sum(_integral(*panels, function), -1) / jnp.sum(_integral(*panels), -1)


def cdf(family: UnimodalFamily, offset: Array, theta: Array) -> Array:
    """Distribution function at an offset; shapes broadcast."""
    table, below = tabulate(family, theta), offset < 0
    offset = jnp.clip(offset, table.edges[..., 0], table.edges[..., -1])
    tail = _tail(family, table, offset, below, theta)
    return jnp.where(below, tail, 1 - tail)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def quantile(family: UnimodalFamily, score: Array, theta: Array) -> Array:
    """Offset at which the distribution function is that of a standard normal at ``score``.

    ``theta`` (1, ...) broadcasts against ``score`` (samples, ...): one table serves all samples. Newton steps on
    the log of the nearer tail, a concave function, in the coordinate log(distance to the end of the interval), which
    keeps them inside and makes them exact for power-law ends.
    Derivatives by the implicit function theorem, so exact pathwise, and right to any order.
    """
    limit = (
        5.7 if score.dtype.itemsize <= 4 else 8.3
    )  # what the interval of a density has to resolve
    score = jnp.clip(score, -limit, limit)
    table = tabulate(family, theta)
    below = score < 0
    mass = ndtr(-jnp.abs(score))

    def step(offset, tail):
        density = jnp.exp(family.log_density(offset, table.mode, theta)) / table.total
        move = jnp.log(tail / mass) * tail / density
        room = jnp.where(below, offset - table.edges[..., 0], table.edges[..., -1] - offset)
        out = -jnp.expm1(-move / room) * room
        return offset + jnp.where(below, -out, out)

    # From the edge on the mode's side of the panel that holds the quantile.
    passed = (
        jnp.where(below, table.lower[..., i] < mass, table.upper[..., i] > mass).astype(int)
        for i in range(1, PANELS)
    )
    panel = sum(passed)
    edge = jnp.where(below, panel + 1, panel)
    offset, lower, upper = _pick(edge, table.edges, table.lower, table.upper)
    offset = step(offset, jnp.where(below, lower, upper))

    def refine(_, offset):
        return step(offset, _tail(family, table, offset, below, theta))

    return lax.fori_loop(0, 3 if score.dtype.itemsize <= 4 else 6, refine, offset)


@quantile.defjvp
def _quantile_jvp(family, primals, tangents):
    (score, theta), (dscore, dtheta) = primals, tangents
    offset, below = quantile(family, score, theta), score < 0

    def tail_at(theta):
        table = tabulate(family, theta)
        density = jnp.exp(family.log_density(offset, table.mode, theta)) / table.total
        return _tail(family, table, offset, below, theta), density

    (_, density), (dtail, _) = jax.jvp(tail_at, (theta,), (dtheta,))
    normal = jnp.exp(-jnp.square(score) / 2) / np.sqrt(2 * np.pi).astype(score.dtype)
    return offset, (normal * dscore + jnp.where(below, -dtail, dtail)) / density


def _tail(family, table, offset, below, theta):
    """Mass below the offset (above it where not ``below``): panels beyond, and the part of its own."""
    low, high = table.edges[..., 0], table.edges[..., -1]
    panel = jnp.floor(PANELS * lax.stop_gradient((offset - low) / (high - low)))
    edge = jnp.clip(panel, 0, PANELS - 1).astype(int) + jnp.where(below, 0, 1)
    lower, upper = _pick(edge, table.lower, table.upper)
    start = low + (high - low) * edge.astype(low.dtype) / PANELS
    part = _integral(family, table.mode, theta, start, offset) / table.total
    return jnp.where(below, lower + part, upper - part)


def _panels(family, theta):
    """The mode (...) and the edges of the panels (..., PANELS + 1), constants for differentiation."""
    mode = family.mode(theta)
    low, high = (lax.stop_gradient(end) for end in family.support(mode, theta))
    steps = with_axes(np.arange(PANELS + 1, dtype=low.dtype) / PANELS, low.ndim + 1)
    return mode, low[..., None] + (high - low)[..., None] * steps


def _integral(family, mode, theta, start, end, function=None):
    """Integral of exp(log_density), times function(offset, mode), from start to end by one Gauss-Legendre rule."""
    nodes, weights = np.polynomial.legendre.leggauss(4 if start.dtype.itemsize <= 4 else 8)
    half = (end - start) / 2

    def term(offset):
        density = jnp.exp(family.log_density(offset, mode, theta))
        return density if function is None else function(offset, mode) * density

    terms = (
        float(w) * term(start + half * (1 + float(x))) for x, w in zip(nodes, weights, strict=True)
    )
    return half * sum(terms)


def _pick(index, *rows):
    """rows[..., index] of each, without a gather: rows (..., PANELS + 1), index (samples, ...)."""
    hits = [index == i for i in range(PANELS + 1)]
    return [sum(jnp.where(hit, r[..., i], 0) for i, hit in enumerate(hits)) for r in rows]
