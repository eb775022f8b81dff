"""The uniform law on a manifold of finite volume."""

import functools
import math

import distrax
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from geodl.distributions._checks import points_on
from geodl.manifolds import SO3, Product, Sphere, Torus
from geodl.manifolds.base import Manifold


def log_area(dim: int) -> float:
    """Log of the volume 2 pi^((dim + 1)/2) / Gamma((dim + 1)/2) of the unit sphere S^dim."""
    half = (dim + 1) / 2
    return math.log(2) + half * math.log(math.pi) - math.lgamma(half)


def log_volume(manifold: Manifold) -> float:
    """Log of the Riemannian volume; ``ValueError`` where that is not finite.

    (2 pi)^dim on the torus; 8 pi^2 on SO(3), the integral of (sin(r/2) / (r/2))^2 over the ball r < pi.
    """
    match manifold:
        case Sphere():
            return log_area(manifold.dim)
        case Torus():
            return manifold.dim * math.log(2 * math.pi)
        case SO3():
            return math.log(8 * math.pi**2)
        case Product():
            return sum(map(log_volume, manifold.factors))
    raise ValueError(
        f"a manifold of finite volume is needed (Sphere, Torus, SO3, a Product of them), got {manifold}"
    )


class Uniform(distrax.Distribution):
    """Density 1 / volume with respect to the Riemannian volume, on sphere, torus, SO(3), and products."""

    def __init__(self, manifold: Manifold):
        """Raises ``ValueError`` where the volume is infinite (Euclidean and hyperbolic space)."""
        super().__init__()
        log_volume(manifold)
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
        """-log_volume at points (..., *event_shape), NaN at NaN.

        Raises ``ValueError`` for another shape and, where values are concrete, for points off the manifold.
        """
        points = points_on("Uniform", self._manifold, value)
        zeros = jax.tree.map(
            lambda p, s: 0 * jnp.sum(p, tuple(range(-len(s), 0))), points, self.event_shape
        )
        return functools.reduce(jnp.add, jax.tree.leaves(zeros)) - log_volume(self._manifold)

    def entropy(self) -> Array:
        """log_volume."""
        return jnp.asarray(log_volume(self._manifold))

    def mean(self) -> Array:
        """The mean in the surrounding space, on sphere (dim >= 1) and SO(3): zero."""
        if not isinstance(self._manifold, Sphere | SO3):
            raise NotImplementedError(f"Uniform: points of {self._manifold} have no mean")
        return jnp.zeros(self.event_shape)
