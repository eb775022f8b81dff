"""What a search pays for: distances to its start, unlikely base points. Weighted terms that can be added.

    penalty = penalties.l1(0.1) + penalties.negative_log_prob(2.0, log_prob)
    Search(generator, model, target, optimizer, steps, penalty=penalty)

A penalty is any function (z, x, start) to a scalar, of one base point z, its data point x and the
:class:`~geodl.counterfactual.Sample` that the search set out from. The weights are leaves of a pytree: other weights
need no new compilation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from geodl._core.checks import check_nonnegative
from geodl._core.records import as_pytree, register_record
from geodl.manifolds import Manifold, Point


@register_record
@dataclass(frozen=True)
class Penalty:
    """A sum of terms, to which other penalties and plain functions (z, x, start) can be added."""

    terms: tuple[Callable[..., Array], ...]

    def __call__(self, z: Point, x: Array, start: Any) -> Array:
        """The sum at one base point z and its data point x, of a search from ``start``."""
        return sum((term(z, x, start) for term in self.terms), jnp.zeros((), x.dtype))

    def __add__(self, other: Callable[..., Array]) -> "Penalty":
        return Penalty(self.terms + _terms(other))

    def __radd__(self, other: Callable[..., Array]) -> "Penalty":
        return Penalty(_terms(other) + self.terms)


def _terms(penalty):
    if isinstance(penalty, Penalty):
        return penalty.terms
    return (as_pytree(penalty),)


def _weighted(term, weight, *arguments):
    check_nonnegative(f"penalties.{term.__name__[1:]}: weight", weight)
    return Penalty((Partial(term, weight, *arguments),))


def base_distance(weight: ArrayLike, manifold: Manifold) -> Penalty:
    """weight / 2 d(z, z_0)^2, the squared geodesic distance to the start in the base.

    Args:
        weight: at least 0.
        manifold: the base, ``generator.manifold``.

    Returns:
        The penalty, to which others can be added.

    Raises:
        ValueError: a weight below 0.
    """
    return _weighted(_base_distance, weight, manifold)


def _base_distance(weight, manifold, z, x, start):
    return weight / 2 * manifold.sqdist(start.z, z)


def data_distance(weight: ArrayLike) -> Penalty:
    """weight / 2 |x - x_0|^2, the squared distance to the decoded start, over all axes.

    Returns:
        The penalty, to which others can be added.

    Raises:
        ValueError: a weight below 0.
    """
    return _weighted(_data_distance, weight)


def _data_distance(weight, z, x, start):
    return weight / 2 * jnp.sum(jnp.square(x - start.x))


def l1(weight: ArrayLike) -> Penalty:
    """weight |x - x_0|_1, the l1 distance to the decoded start: few entries change.

    Returns:
        The penalty, to which others can be added.

    Raises:
        ValueError: a weight below 0.
    """
    return _weighted(_l1, weight)


def _l1(weight, z, x, start):
    return weight * jnp.sum(jnp.abs(x - start.x))


def negative_log_prob(weight: ArrayLike, log_prob: Callable[[Point], Array]) -> Penalty:
    """-weight log p(z), of a density of base points, which keeps z where the generator has seen data.

    Args:
        weight: at least 0.
        log_prob: the log-density of one base point; arrays that are bound by ``Partial`` need no new compilation.

    Returns:
        The penalty, to which others can be added.

    Raises:
        ValueError: a weight below 0.
    """
    return _weighted(_negative_log_prob, weight, as_pytree(log_prob))


def _negative_log_prob(weight, log_prob, z, x, start):
    return -weight * log_prob(z)
