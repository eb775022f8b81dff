"""The geometry that a generator g induces on the data: G = J g_Z^{-1} J^T, the inverse metric, and its spectrum.

J is the Jacobian of the generator; in flat coordinates of the base G = J J^T. Nothing here inverts J or J^T J, which
are singular or nearly so where the data are thin (theorems 2 and 3 of arXiv:2206.05075: the directions normal to
the data have eigenvalues of order delta^2, or 0). Lengths are in units of what ``decode`` returns: of pixels for a
generator of images. All functions take one base point; use ``vmap``.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import PRNGKeyArray

from geodl._core.checks import as_floats
from geodl.generators import Generator
from geodl.manifolds import Point


def linearize(
    generator: Generator, z: Point
) -> tuple[Array, Callable[[Array], Array], Callable[[Array], Array]]:
    """The decoded point, and the differential of the generator at z with its transpose, in the orthonormal frame at z.

    On a flat base push and pull are J a and J^T v; on a curved one J E a and E^T J^T v for the frame E, hence
    push(pull(v)) = J g_Z^{-1} J^T v.

    Args:
        generator: any.
        z: one base point.

    Returns:
        The data point x; ``push``, from the components a (dim,) of a tangent vector to the change of x along it; and
        ``pull``, from a data vector v to the components (dim,) of the Riemannian gradient of <v, x>.
    """
    space, z = generator.manifold, as_floats(z)
    # From z and not by jnp.zeros: in shard_map the gradient in what all devices share is summed over them.
    a = space.to_frame(z, jax.tree.map(jnp.zeros_like, z))
    x, push = jax.linearize(lambda a: generator.decode(space.expmap_frame(z, a)), a)
    return x, push, lambda v: jax.linear_transpose(push, a)(v)[0]


def inverse_metric(generator: Generator, z: Point, v: Array) -> Array:
    """G v = J g_Z^{-1} J^T v, by one vector-Jacobian and one Jacobian-vector product: theorem 1's direction.

    Args:
        generator: any.
        z: one base point.
        v: a data vector, of the shape of x.

    Returns:
        A data vector.
    """
    x, push, pull = linearize(generator, z)
    return push(pull(jnp.asarray(v, x.dtype)))


def jacobian(generator: Generator, z: Point, batch_size: int | None = None) -> Array:
    """The Jacobian J in the orthonormal frame at z, by Jacobian-vector products.

    Args:
        generator: any.
        z: one base point.
        batch_size: how many products at once, by default all. On the CPU some 30 at a time stay in the cache, but
            convolutions of many channels are slow there, as batches are a loop.

    Returns:
        (data size, base dim)
    """
    x, push, _ = linearize(generator, z)
    dim = generator.manifold.dim
    return _rows(push, jnp.eye(dim, dtype=x.dtype), (dim,), batch_size).T


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

    Args:
        generator: any.
        z: one base point.
        count: how many, by default all.
        key: of the random range.
        oversample: directions beyond the count.
        power: subspace iterations, each with two passes of J.
        batch_size: products at once, as in :func:`jacobian`.

    Returns:
        (count,), in units of the data for a unit step in the base.

    Raises:
        ValueError: a count without a key, or above the rank that J may have.
    """
    if count is None:
        return jnp.linalg.svd(jacobian(generator, z, batch_size), compute_uv=False)
    x, push, pull = linearize(generator, z)
    dim = generator.manifold.dim
    most = min(x.size, dim)
    if key is None or not 0 < count <= most:
        raise ValueError(
            f"singular_values: a key and a count in 1..{most} are needed, got {key} and {count}"
        )
    width = min(count + oversample, most)
    noise = jax.random.normal(key, (width, dim), x.dtype)
    images = _orthonormal(_rows(push, noise, (dim,), batch_size))
    for _ in range(power):
        rows = _orthonormal(_rows(pull, images, x.shape, batch_size))
        images = _orthonormal(_rows(push, rows, (dim,), batch_size))
    return jnp.linalg.svd(_rows(pull, images, x.shape, batch_size), compute_uv=False)[:count]


def split_tangent_normal(
    generator: Generator, z: Point, v: Array, rank: int, batch_size: int | None = None
) -> tuple[Array, Array]:
    """Split v = tangent + normal; tangent is the projection on the first ``rank`` left singular vectors of J(z).

    With the data's intrinsic dimension as rank: what of an update goes along the data, and what leaves them.

    Args:
        generator: any.
        z: one base point.
        v: a data vector, of the shape of x.
        rank: the intrinsic dimension.
        batch_size: products at once, as in :func:`jacobian`.

    Returns:
        tangent and normal, of the shape of v.

    Raises:
        ValueError: a negative rank, or one above min(data size, base dim).
    """
    left = jnp.linalg.svd(jacobian(generator, z, batch_size), full_matrices=False)[0]
    if not 0 <= rank <= left.shape[1]:
        raise ValueError(f"split_tangent_normal: rank in 0..{left.shape[1]} is needed, got {rank}")
    along = left[:, :rank]
    weights = jnp.sum(along * v.reshape(-1, 1), 0)  # not @: float32 on accelerators too
    tangent = jnp.sum(along * weights[None], 1).reshape(v.shape)
    return tangent, v - tangent


def _rows(apply, rows, shape, batch_size):
    """A linear map of arrays of some shape, on each row."""
    return jax.lax.map(
        lambda row: apply(row.reshape(shape)).ravel(), rows, batch_size=batch_size or len(rows)
    )


def _orthonormal(rows):
    return jnp.linalg.qr(rows.T)[0].T
