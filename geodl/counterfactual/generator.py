"""The contract between searches and generative models: a decoder, an encoder, and the space in between.

Nothing here knows a model. What is asked of a flow, a decoder, a GAN is a pure function from one base point to
one data point (no leading axes; batches are made by ``vmap``).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from geodl._core.checks import float_dtype
from geodl._core.records import register_record
from geodl._core.reductions import dot, safe_norm
from geodl.manifolds import Manifold
from geodl.manifolds.base import Point


def as_floats(tree: Any) -> Any:
    """Arrays for lists, and integers as floats: what arithmetic and derivatives need."""

    def one(leaf):
        array = jnp.asarray(leaf)
        return jnp.asarray(array, float_dtype(array))

    return jax.tree.map(one, tree, is_leaf=lambda node: isinstance(node, list))


@jax.custom_jvp
def _clip(x, low, high):
    return jnp.clip(x, low, high)


@_clip.defjvp
def _clip_jvp(primals, tangents):
    # A pixel on the bound must be able to leave it, so the derivative is that of the identity.
    return _clip(*primals), tangents[0]


@register_record
@dataclass(frozen=True)
class Flat:
    """R^n, or the box [low, high]^n in it, in arrays of any shape: the base of a flow of images, or the images.

    It has those of a manifold's methods that a search needs. Gradients pass through the clipping unchanged.
    """

    low: float = field(default=-float("inf"), metadata={"static": True})
    high: float = field(default=float("inf"), metadata={"static": True})

    frame_is_parallel = True

    def expmap_frame(self, x: Any, a: Array) -> Array:
        """x + a, clipped to the box."""
        moved = x + a
        bounded = (self.low, self.high) != (-float("inf"), float("inf"))
        return _clip(moved, self.low, self.high) if bounded else moved

    def to_frame(self, x: Any, v: Any) -> Array:
        """v itself."""
        return v

    def sqdist(self, x: Any, y: Any) -> Array:
        """|x - y|^2, over all axes."""
        way = jnp.ravel(as_floats(x) - as_floats(y))
        return dot(way, way)

    def dist(self, x: Any, y: Any) -> Array:
        """|x - y|, over all axes, gradient 0 at x = y."""
        return safe_norm(jnp.ravel(as_floats(x) - as_floats(y)))


class Generator(NamedTuple):
    """A generative model as pure functions of one sample.

    Parameters of a model are best bound by ``jax.tree_util.Partial(apply, params)``: they are then arguments of
    what is compiled, not constants in it, and other parameters of the same shapes need no new compilation.
    """

    decode: Callable[[Point], Array]
    """base point z to data point x"""
    encode: Callable[[Array], Point] | None = None
    """data point to base point; None where there is none (``invert``)"""
    manifold: Manifold | Flat = Flat()
    """the base's record; by default R^n in whatever shape z has"""
    exact: bool = False
    """whether encode is the inverse of decode"""


@runtime_checkable
class Bijector(Protocol):
    """What is used of a ``distrax.Bijector``."""

    def forward(self, x: Any) -> Array:
        """Base to data."""
        ...

    def inverse(self, y: Any) -> Array:
        """Data to base."""
        ...


def from_bijector(bijector: Bijector, manifold: Manifold | Flat = Flat()) -> Generator:
    """The generator of a flow: a distrax bijector from the base to the data.

    Its arrays are arguments of what is compiled, so that another flow of the same kind needs no new compilation.
    """
    return Generator(Partial(_forward, bijector), Partial(_inverse, bijector), manifold, exact=True)


def _forward(bijector, z):
    return bijector.forward(z)


def _inverse(bijector, x):
    return bijector.inverse(x)


def data_space(low: float = 0.0, high: float = 1.0) -> Generator:
    """The identity: a search in it is a search among the data, pixels within [low, high] (adversarial examples).

    Raises ``ValueError`` unless low < high.
    """
    if not low < high:
        raise ValueError(f"data_space: low must be below high, got {low} and {high}")
    return Generator(identity, identity, Flat(low, high), exact=True)


def identity(x: Any) -> Any:
    """x."""
    return x


def linearise(
    generator: Generator, z: Point
) -> tuple[Array, Callable[[Array], Array], Callable[[Array], Array]]:
    """The decoded point x, and the differential of the generator at z with its transpose.

    ``push(a)`` is the change of x along the tangent vector with components a in the orthonormal frame at z, and
    ``pull(v)`` the components of the Riemannian gradient of <v, x>. On a flat base they are J a and J^T v; on a
    curved one J E a and E^T J^T v for the frame E, hence push(pull(v)) = J g_Z^{-1} J^T v.
    """
    space, z = generator.manifold, as_floats(z)
    # From z and not by jnp.zeros: in shard_map the gradient in what all devices share is summed over them.
    a = space.to_frame(z, jax.tree.map(jnp.zeros_like, z))
    x, push = jax.linearize(lambda a: generator.decode(space.expmap_frame(z, a)), a)
    return x, push, lambda v: jax.linear_transpose(push, a)(v)[0]
