"""Flow matching on manifolds: regression of a field on the velocities of geodesics (Chen & Lipman 2024).

A point x_0 of the base law and a data point x_1 are joined by a geodesic, and the field learns its velocity at a
random time. No differential equation is solved in training.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from geodl._core.checks import float_dtype
from geodl._core.platform import cpu_barrier
from geodl.manifolds import Manifold
from geodl.manifolds.base import Point, Tangent


def conditional_path(
    manifold: Manifold, t: ArrayLike, x0: Point, x1: Point
) -> tuple[Point, Tangent]:
    """The point at time t (...) of the geodesic from x0 to x1, and its velocity there.

    The velocity is the derivative of the geodesic by its time, finite for coincident points and antipodes too, where
    log_{x_t}(x_1) / (1 - t) is 0 / 0 for t -> 1. Raises ``ValueError`` where the times are neither one
    number nor one for each pair.
    """
    t = _times(manifold, t, x0, x1)
    return jax.jvp(lambda t: manifold.geodesic(t, x0, x1), (t,), (jnp.ones_like(t),))


def matching_loss(
    manifold: Manifold,
    field: Callable[[ArrayLike, Point], Tangent],
    t: Float[ArrayLike, "*#batch"],
    x0: Point,
    x1: Point,
) -> Float[Array, "*batch"]:
    """|field(t, x_t) - velocity|^2 / dim for each pair (...): squared error in the Riemannian norm.

    Its mean over uniform t in [0, 1], x_0 from the base and x_1 from the data is minimal for the field that carries
    the one law to the other (Lipman et al. 2023). Raises ``ValueError`` where the times are neither one
    number nor one for each pair.
    """
    t = _times(manifold, t, x0, x1)
    # else XLA draws the random numbers again for each use of them
    t, x0, x1 = cpu_barrier((t, x0, x1))
    x, u = conditional_path(manifold, t, x0, x1)
    error = jax.tree.map(jnp.subtract, field(t, x), u)
    return manifold.inner(x, error, error) / manifold.dim


def _times(manifold, t, x0, x1):
    """Times in the type of the points, whose leading axes they must not add to: a column would pair all with all."""
    t = jnp.asarray(t, float_dtype(*jax.tree.leaves((x0, x1))))
    batch = np.broadcast_shapes(manifold.batch_shape(x0), manifold.batch_shape(x1))
    try:
        return jnp.broadcast_to(t, batch)
    except ValueError:
        raise ValueError(
            f"times must be a number, or one for each point {batch}, got {t.shape}"
        ) from None


def optimal_pairs(manifold: Manifold, x0: Point, x1: Point) -> Point:
    """x0 (n, ...) reordered so that the total squared distance to x1 (n, ...) is least.

    Minibatch optimal transport (Tong et al. 2024) by the Hungarian algorithm (optax): paths cross less, fields are
    easier to learn and to integrate. The cost grows as n^3.
    """
    rows = jax.tree.map(lambda a: a[:, None], x0)
    columns = jax.tree.map(lambda a: a[None], x1)
    i, j = optax.assignment.hungarian_algorithm(manifold.sqdist(rows, columns))
    order = jnp.zeros_like(i).at[j].set(i)
    return jax.tree.map(lambda a: a[order], x0)


def jitter(manifold: Manifold, key: Array, x: Point, scale: ArrayLike) -> Point:
    """Points moved by normal steps of geodesic deviation ``scale`` (...): data as samples of a kernel density.

    With the distances to a near neighbour as scales (:func:`~geodl.distributions.neighbor_distances`) it keeps the
    flow from learning single points by heart.
    """
    scale = jnp.asarray(scale)
    shape = (*manifold.batch_shape(x), manifold.dim)
    noise = jax.random.normal(key, shape, jnp.result_type(*jax.tree.leaves(x)))
    return manifold.expmap_frame(x, scale[..., None] * noise)
