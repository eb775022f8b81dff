"""The contract between generative models and what is done with them: a decoder, an encoder, the space in between.

Models make generators (``VAE.generator``, ``InvertibleNet.generator``, ``Flow.generator``), searches take them, and
neither side knows the other. What is asked of a model is a pure function from one base point to one data point (no
leading axes; batches are made by ``vmap``).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jax import Array
from jax.tree_util import Partial

from geodl._core import display
from geodl.manifolds import Box, Manifold, Point


__all__ = ["Bijector", "Generator", "data_space", "from_bijector", "identity"]


class Generator(NamedTuple):
    """A generative model as pure functions of one sample.

    Parameters of a model are best bound by ``jax.tree_util.Partial(apply, params)``: they are then arguments of
    what is compiled, not constants in it, and other parameters of the same shapes need no new compilation.
    """

    decode: Callable[[Point], Array]
    """base point z to data point x"""
    manifold: Manifold
    """the base: ``Euclidean(dim)``, ``Euclidean((28, 28, 1))`` for that of a flow of images, or any other"""
    encode: Callable[[Array], Point] | None = None
    """data point to base point; None where there is none (:func:`~geodl.counterfactual.invert`)"""
    exact: bool = False
    """whether encode is the inverse of decode"""

    def __repr__(self) -> str:
        data = display.result(lambda: self.decode(self.manifold.origin()))
        encoder = "no encoder" if self.encode is None else "exact" if self.exact else "inexact"
        return f"Generator({self.manifold} -> {data}, {encoder})"


@runtime_checkable
class Bijector(Protocol):
    """What is used of a ``distrax.Bijector``."""

    def forward(self, x: Any) -> Array:
        """Base to data."""
        ...

    def inverse(self, y: Any) -> Array:
        """Data to base."""
        ...


def from_bijector(bijector: Bijector, manifold: Manifold) -> Generator:
    """The generator z -> bijector.forward(z), exact.

    Args:
        bijector: from the base to the data, a pytree as those of distrax are. Its arrays are arguments of what is
            compiled, so that another bijector of the same structure needs no new compilation.
        manifold: the base, as ``Euclidean(2)``.

    Returns:
        The generator, whose encoder is ``bijector.inverse``.
    """
    return Generator(Partial(_forward, bijector), manifold, Partial(_inverse, bijector), exact=True)


def _forward(bijector, z):
    return bijector.forward(z)


def _inverse(bijector, x):
    return bijector.inverse(x)


def data_space(shape: int | tuple[int, ...], low: float = 0.0, high: float = 1.0) -> Generator:
    """The identity on the box [low, high]^n: a search in it is one among the data (adversarial examples).

    Args:
        shape: of one data point, as (28, 28, 1).
        low: the least value of an entry, as of a pixel.
        high: the largest.

    Returns:
        The generator, exact.

    Raises:
        ValueError: unless low < high, both finite.
    """
    return Generator(identity, Box(low, high, shape), identity, exact=True)


def identity(x: Any) -> Any:
    """x."""
    return x
