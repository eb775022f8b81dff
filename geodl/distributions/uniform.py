"""The uniform distribution on a manifold of finite volume."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from geodl.distributions._base import OnManifold
from geodl.distributions._checks import points_on, zeros
from geodl.manifolds import Manifold


class Uniform(OnManifold):
    """Density 1 / volume with respect to the Riemannian volume, on sphere, torus, SO(3), and products."""

    def __init__(self, manifold: Manifold):
        """Raises ``NotImplementedError`` where the manifold has no finite volume (Euclidean and hyperbolic space)."""
        super().__init__(manifold)
        manifold.log_volume()

    def __repr__(self) -> str:
        return f"Uniform({self._manifold})"

    def _sample_n(self, key, n):
        return self._manifold.random_uniform(key, (n,))

    def log_prob(self, value: ArrayLike | tuple) -> Array:
        """-log_volume at points (..., *event_shape), NaN at NaN.

        Raises ``ValueError`` for another shape and, where values are concrete, for points off the manifold.
        """
        points = points_on("Uniform", self._manifold, value)
        return zeros(points, self.event_shape) - self._manifold.log_volume()

    def entropy(self) -> Array:
        """log_volume."""
        return jnp.asarray(self._manifold.log_volume())
