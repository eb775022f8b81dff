"""Generators in closed form, of a curve with a tube of width delta around it: the theorems' test objects."""

import jax
import jax.numpy as jnp
from jax import Array

from experiments.counterfactuals import helix as of_experiment
from geodl.generators import Generator
from geodl.manifolds import Euclidean


def linear(matrix: Array, mean: Array) -> Generator:
    """z -> mean + matrix z. The induced inverse metric is matrix matrix^T everywhere, theorem 1 has no remainder."""

    def encode(x):
        return jnp.linalg.solve(matrix, x - mean)

    return Generator(lambda z: mean + matrix @ z, Euclidean(matrix.shape[1]), encode, exact=True)


def quadratic(matrix: Array, form: Array) -> Generator:
    """z -> matrix z + form[z, z] / 2, form (x, z, z) symmetric: the remainder of a step u is form[u, u] / 2 exactly."""
    base = Euclidean(matrix.shape[1])
    return Generator(lambda z: matrix @ z + jnp.einsum("xij,i,j->x", form, z, z) / 2, base)


def circle(delta: float | Array, speed: float = 1.0) -> Generator:
    """(1 + delta z2) (cos a z1, sin a z1): eigenvalues a^2 (1 + delta z2)^2 and delta^2, of the inverse metric."""

    def decode(z):
        angle = speed * z[0]
        return (1 + delta * z[1]) * jnp.stack([jnp.cos(angle), jnp.sin(angle)])

    def encode(x):
        return jnp.stack([jnp.arctan2(x[1], x[0]) / speed, (jnp.hypot(*x) - 1) / delta])

    return Generator(decode, Euclidean(2), encode, exact=True)


def helix(delta: float | Array, speed: float = 1.0, base_dim: int = 3) -> Generator:
    """The tube around the helix at another speed: on the curve G has the eigenvalues 2 speed^2, delta^2, delta^2.

    With ``base_dim=2`` there is no z3: the last is 0.
    """
    tube = of_experiment.helix(delta)

    def decode(z):
        return tube.decode(
            jnp.concatenate([speed * z[:1], z[1:], jnp.zeros(3 - base_dim, z.dtype)])
        )

    return Generator(decode, Euclidean(base_dim))


def uniform_helix(delta: float | Array, reach: float = 4.0) -> Generator:
    """The helix of the published toy, t uniform in (-reach, reach), with a tube of uniform width delta around it."""
    tube = helix(delta)

    def decode(z):
        u = jax.scipy.stats.norm.cdf(z) - 0.5
        return tube.decode(u * jnp.array([2 * reach, 1, 1], z.dtype))

    return Generator(decode, Euclidean(3))


def distance_to_circle(x: Array) -> Array:
    """Of points (..., 2) to the unit circle."""
    return jnp.abs(jnp.linalg.norm(x, axis=-1) - 1)
