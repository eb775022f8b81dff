"""The geometry that a generator g induces on the data: G = J g_Z^{-1} J^T, the inverse metric, and its spectrum.

J is the Jacobian of the generator; in flat coordinates of the base G = J J^T. Nothing here inverts J or J^T J, which
are singular or nearly so where the data are thin (theorems 2 and 3 of arXiv:2206.05075: the directions normal to
the data have eigenvalues of order delta^2, or 0). Lengths are in units of what ``decode`` returns: of pixels for a
generator of images. All functions take one base point; use ``vmap``.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import PRNGKeyArray

from geodl.counterfactual.generator import Generator, linearise
from geodl.manifolds.base import Point


def inverse_metric(generator: Generator, z: Point, v: Array) -> Array:
    """G v for a data vector v, by one vector-Jacobian and one Jacobian-vector product: theorem 1's direction."""
    x, push, pull = linearise(generator, z)
    return push(pull(jnp.asarray(v, x.dtype)))


def jacobian(generator: Generator, z: Point, batch_size: int | None = None) -> Array:
    """J in the orthonormal frame at z: (data size, base dim), by Jacobian-vector products.

    ``batch_size`` of them are done at once, by default all. On the CPU some 30 at a time stay in the cache, but
    convolutions of many channels are slow there, as batches are a loop.
    """
    x, push, pull = linearise(generator, z)
    shape = jax.eval_shape(pull, x).shape
    return _rows(push, jnp.eye(math.prod(shape), dtype=x.dtype), shape, batch_size).T


def singular_values(
    generator: Generator,
    z: Point,
    count: int | None = None,
    key: PRNGKeyArray | None = None,
    oversample: int = 10,
    power: int = 2,
    batch_size: int | None = None,
) -> Array:
    """Singular values of J, largest first; their squares are the eigenvalues of G.

    All of them from J itself (J J^T would square the condition and lose what lies below sqrt(eps) of the largest), or
    the ``count`` largest by a random range and subspace iterations (Halko, Martinsson & Tropp 2011, algorithms 4.4
    and 5.1), which holds count + oversample images only.

    Raises ``ValueError`` for a count without a key, or above the rank that J may have.
    """
    if count is None:
        return jnp.linalg.svd(jacobian(generator, z, batch_size), compute_uv=False)
    x, push, pull = linearise(generator, z)
    shape = jax.eval_shape(pull, x).shape
    size = math.prod(shape)
    most = min(x.size, size)
    if key is None or not 0 < count <= most:
        raise ValueError(
            f"singular_values: a key and a count in 1..{most} are needed, got {key} and {count}"
        )
    width = min(count + oversample, most)
    noise = jax.random.normal(key, (width, size), x.dtype)
    images = _orthonormal(_rows(push, noise, shape, batch_size))
    for _ in range(power):
        rows = _orthonormal(_rows(pull, images, x.shape, batch_size))
        images = _orthonormal(_rows(push, rows, shape, batch_size))
    return jnp.linalg.svd(_rows(pull, images, x.shape, batch_size), compute_uv=False)[:count]


def tangent_and_normal(
    generator: Generator, z: Point, v: Array, rank: int, batch_size: int | None = None
) -> tuple[Array, Array]:
    """A data vector v as the sum of a part along the ``rank`` strongest directions of J at z and of the rest.

    With the rank of the data's dimension: what of an update goes along the data, and what leaves them.
    """
    left = jnp.linalg.svd(jacobian(generator, z, batch_size), full_matrices=False)[0]
    if not 0 <= rank <= left.shape[1]:
        raise ValueError(f"tangent_and_normal: rank in 0..{left.shape[1]} is needed, got {rank}")
    along = left[:, :rank]
    weights = jnp.sum(along * v.reshape(-1, 1), 0)  # not @: float32 on accelerators too
    tangent = jnp.sum(along * weights, 1).reshape(v.shape)
    return tangent, v - tangent


def _rows(apply, rows, shape, batch_size):
    """A linear map of arrays of some shape, on each row."""
    return jax.lax.map(
        lambda row: apply(row.reshape(shape)).ravel(), rows, batch_size=batch_size or len(rows)
    )


def _orthonormal(rows):
    return jnp.linalg.qr(rows.T)[0].T
