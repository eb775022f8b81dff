"""A helix with a tube of width delta around it, as a generator in closed form: the theorems' test object.

Normal directions have singular values of order delta exactly, so that the limit delta -> 0 can be looked at.
"""

import jax.numpy as jnp
from jax import Array

from geodl.generators import Generator
from geodl.manifolds import Euclidean


def curve(t: Array) -> Array:
    """The helix (sin t, cos t, t) (..., 3): speed sqrt 2, curvature and torsion 1/2."""
    return jnp.stack([jnp.sin(t), jnp.cos(t), t], -1)


def helix(delta: float | Array) -> Generator:
    """c(t) + delta (z2 N + z3 B) with t = z1, N and B the helix's normal and binormal.

    On the curve G has the eigenvalues 2, delta^2, delta^2.
    """

    def decode(z):
        t, zero = z[0], jnp.zeros_like(z[0])
        normal = jnp.stack([-jnp.sin(t), -jnp.cos(t), zero])
        binormal = jnp.stack([jnp.cos(t), -jnp.sin(t), zero - 1]) / jnp.sqrt(zero + 2)
        return curve(t) + delta * (z[1] * normal + z[2] * binormal)

    return Generator(decode, Euclidean(3))


def distance_to_helix(x: Array) -> Array:
    """Of points (..., 3) to the helix: the nearest of a grid over t in x3 +- 2, then Newton steps on it."""
    t = x[..., 2:] + jnp.linspace(-2, 2, 401, dtype=x.dtype)
    near = jnp.argmin(jnp.sum(jnp.square(curve(t) - x[..., None, :]), -1), -1)
    t = jnp.take_along_axis(t, near[..., None], -1)[..., 0]
    for _ in range(4):  # d/dt of |c(t) - x|^2 / 2, and of that once more
        sin, cos = jnp.sin(t), jnp.cos(t)
        slope = -x[..., 0] * cos + x[..., 1] * sin + t - x[..., 2]
        t = t - slope / (1 + x[..., 0] * sin + x[..., 1] * cos)
    return jnp.linalg.norm(curve(t) - x, axis=-1)
