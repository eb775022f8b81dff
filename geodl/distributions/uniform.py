"""The uniform law on a manifold of finite volume."""

import distrax
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from geodl.manifolds import Manifold, Point
from geodl.manifolds._numerics import float_dtype


class Uniform(distrax.Distribution):
    """Density 1 / volume with respect to the Riemannian volume, on sphere, torus, SO(3), and products."""

    def __init__(self, manifold: Manifold):
        """Raises ``NotImplementedError`` where the manifold has no finite volume (Euclidean and hyperbolic space)."""
        super().__init__()
        manifold.log_volume()
        self._manifold = manifold

    @property
    def manifold(self) -> Manifold:
        """The manifold's record."""
        return self._manifold

    @property
    def event_shape(self) -> tuple:
        """Shape of one point (on a product, the tuple of its factors')."""
        return self._manifold.event_shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Empty."""
        return ()

    def _sample_n(self, key, n):
        return self._manifold.random_uniform(key, (n,))

    def log_prob(self, value: ArrayLike | tuple) -> Array:
        """-log_volume at points (..., *event_shape); another shape: ``ValueError``."""
        points: Point = jax.tree.map(jnp.asarray, value)
        jax.tree.map(lambda p, s: check_point("Uniform", p, s), points, self.event_shape)
        dtype = float_dtype(*jax.tree.leaves(points))
        return jnp.full(self._manifold.batch_shape(points), -self._manifold.log_volume(), dtype)

    def entropy(self) -> Array:
        """log_volume."""
        return jnp.asarray(self._manifold.log_volume())


def check_point(name: str, value: Array, event_shape: tuple[int, ...]) -> None:
    """Raise where an array does not end in the shape of one point."""
    if value.shape[value.ndim - len(event_shape) :] != tuple(event_shape):
        raise ValueError(f"{name}: points have shape (..., {event_shape}), got {value.shape}")
