"""The uniform law on the sphere."""

import math

import distrax
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from geodl.manifolds import sphere
from geodl.manifolds._numerics import float_dtype


def log_area(dim: int) -> float:
    """Log of the volume 2 pi^((dim + 1)/2) / Gamma((dim + 1)/2) of the unit sphere S^dim."""
    half = (dim + 1) / 2
    return math.log(2) + half * math.log(math.pi) - math.lgamma(half)


class HypersphericalUniform(distrax.Distribution):
    """Uniform on the unit sphere S^dim in R^{dim + 1}, dim >= 1; density 1 / area with respect to its area."""

    def __init__(self, dim: int, dtype: DTypeLike = float):
        """Raises ``ValueError`` for dim < 1. ``dtype`` is that of the samples."""
        super().__init__()
        if dim < 1:
            raise ValueError(f"HypersphericalUniform: dim must be at least 1, got {dim}")
        self._dim = dim
        self._dtype = str(jnp.dtype(jnp.result_type(dtype)))

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one point, (dim + 1,)."""
        return (self._dim + 1,)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Empty."""
        return ()

    def _sample_n(self, key, n):
        return sphere.project(jax.random.normal(key, (n, *self.event_shape), self._dtype))

    def log_prob(self, value: ArrayLike) -> Array:
        """-log_area(dim) for points (..., dim + 1); wrong last axis: ``ValueError``."""
        value = jnp.asarray(value)
        check_point("HypersphericalUniform", value, self.event_shape)
        return jnp.full(value.shape[:-1], -log_area(self._dim), float_dtype(value))

    def entropy(self) -> Array:
        """log_area(dim)."""
        return jnp.asarray(log_area(self._dim), self._dtype)

    def mean(self) -> Array:
        """The mean in R^{dim + 1}: zero."""
        return jnp.zeros(self.event_shape, self._dtype)


def check_point(name: str, value: Array, event_shape: tuple[int, ...]) -> None:
    """Raise where an array does not end in the shape of one point."""
    if value.shape[value.ndim - len(event_shape) :] != tuple(event_shape):
        raise ValueError(f"{name}: points have shape (..., {event_shape}), got {value.shape}")
