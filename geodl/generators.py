"""The contract between generative models and what is done with them: a decoder, an encoder, the space in between.

Models make generators (``VAE.generator``, ``InvertibleNet.generator``, ``ContinuousFlow.generator``), searches take
them, and neither side knows the other. What is asked of a model is a pure function from one base point to one data
point (no leading axes; batches are made by ``vmap``).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jax import Array
from jax.tree_util import Partial

from geodl._core import display
from geodl.manifolds import Box, Manifold, Point


__all__ = ["Generator", "data_space", "from_bijector", "identity"]


class Generator(NamedTuple):
    """A generative model as pure functions of one sample.

    Parameters of a model are best bound by ``jax.tree_util.Partial(apply, params)``: they are then arguments of
    what is compiled, not constants in it, and other parameters of the same shapes need no new compilation.

    Example:
        >>> import jax.numpy as jnp
        >>> from geodl.generators import Generator
        >>> from geodl.manifolds import Sphere
        >>> weights = jnp.array([[1.0, 0.5, 0.0], [0.0, 1.0, -1.0]])
        >>> generator = Generator(lambda z: jnp.tanh(weights @ z), Sphere(2))
        >>> generator.decode(jnp.array([1.0, 0.0, 0.0])).shape
        (2,)
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


def from_bijector(bijector: Any, manifold: Manifold) -> Generator:
    """The generator z -> bijector.forward(z), exact.

    Args:
        bijector: from the base to the data, with ``forward`` and ``inverse``; a pytree, as those of distrax are. Its
            arrays are arguments of what is compiled, so that another bijector of the same structure needs no new
            compilation.
        manifold: the base, as ``Euclidean(2)``.

    Returns:
        The generator, whose encoder is ``bijector.inverse``.

    Example:
        >>> import distrax
        >>> import jax.numpy as jnp
        >>> from geodl.generators import from_bijector
        >>> from geodl.manifolds import Euclidean
        >>> generator = from_bijector(distrax.ScalarAffine(shift=1.0, scale=2.0), Euclidean(2))
        >>> generator.decode(jnp.zeros(2)), generator.encode(jnp.ones(2))
        (Array([1., 1.], dtype=float32), Array([0., 0.], dtype=float32))
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
    """x.

    Returns:
        x.
    """
    return x
