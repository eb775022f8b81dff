"""Kernel density estimates on the sphere, with one concentration for all kernels or one for each.

The adaptive estimate is the sample-point estimator of Breiman, Meisel & Purcell (1977): the width of a
point's kernel is proportional to the distance to one of its nearest neighbors.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.special import logsumexp
from jax.typing import ArrayLike
from jaxtyping import Float

from geodl._core.checks import check, check_positive
from geodl._core.reductions import dot
from geodl.distributions._base import OnManifold
from geodl.distributions._checks import points_on
from geodl.distributions.von_mises_fisher import VonMisesFisher
from geodl.manifolds import Manifold, Point, Sphere


PAIRS = 2**22  # as many pairs of points are in memory at a time


class KernelDensity(OnManifold):
    """Equal mixture of von Mises-Fisher distributions at given points of S^d, and a uniform part.

    ``log_prob`` is with respect to the area, needs memory for PAIRS pairs of points (its derivatives too),
    and has no cancellation: a kernel is exp(-kappa |x - x_i|^2 / 2), so that in float32 concentrations up
    to about 1e10, a width of 1e-5, are resolved. Samples have pathwise derivatives in the points and
    concentrations, but none through the choice of the kernel.
    """

    def __init__(
        self, points: ArrayLike, concentrations: ArrayLike, uniform_weight: ArrayLike = 0.0
    ):
        """
        Args:
            points: Unit vectors (n, d + 1).
            concentrations: At least 0, one number or (n,). Half precision becomes float32.
            uniform_weight: Weight of the uniform part, in [0, 1).

        Raises:
            ValueError: other shapes; where values are concrete, points off the sphere, negative or infinite
                concentrations.
        """
        points, concentrations = jnp.asarray(points), jnp.asarray(concentrations)
        if (
            points.ndim != 2
            or 0 in points.shape
            or concentrations.shape not in ((), points.shape[:1])
        ):
            raise ValueError(
                "KernelDensity: points must be (n, d + 1) and concentrations () or (n,), got "
                f"{points.shape} and {concentrations.shape}"
            )
        weight = jnp.asarray(uniform_weight)
        valid = (weight >= 0) & (weight < 1)
        check(valid, "KernelDensity: uniform_weight must be in [0, 1)", weight)
        concentrations = jnp.broadcast_to(concentrations, points.shape[:1])
        self._kernels = VonMisesFisher(points, concentrations)
        super().__init__(self._kernels.manifold)
        self._uniform_weight = jnp.where(valid, weight.astype(self._kernels.loc.dtype), jnp.nan)

    def __repr__(self) -> str:
        return f"KernelDensity({self._kernels})"

    @property
    def kernels(self) -> VonMisesFisher:
        """The mixture's components, a batch (n,)."""
        return self._kernels

    @property
    def uniform_weight(self) -> Array:
        """Weight of the uniform part, as given."""
        return self._uniform_weight

    def log_prob(self, value: ArrayLike) -> Array:
        """Log-density at unit vectors (..., d + 1).

        Raises ``ValueError`` for another last axis and, where values are concrete, for points off the sphere.
        """
        points, kappa = self._single()
        x = points_on("KernelDensity", self._manifold, value)
        peak = self._kernels.log_prob(points) + jnp.log1p(-self._uniform_weight)

        def log_kernels(x):
            w = x[None] - points
            return logsumexp(peak - kappa * dot(w, w) / 2)

        queries = x.reshape(-1, x.shape[-1])
        mixed = _over_rows(jax.checkpoint(log_kernels), queries, len(points)) - jnp.log(len(points))
        uniform = jnp.log(self._uniform_weight) - self._manifold.log_volume()
        return jnp.logaddexp(mixed, uniform).reshape(x.shape[:-1])

    def _single(self):
        """Points and concentrations of one estimate."""
        points = self._kernels.loc
        if points.ndim != 2:
            raise ValueError(
                f"KernelDensity: a stack of estimates, points {points.shape}, is evaluated under jax.vmap"
            )
        return points, self._kernels.concentration

    def _sample_n(self, key, n):
        key_kernel, key_point, key_part, key_uniform = jax.random.split(key, 4)
        points, kappa = self._single()
        kernel = jax.random.randint(key_kernel, (n,), 0, len(points))
        near = VonMisesFisher(points[kernel], kappa[kernel]).sample(seed=key_point)
        anywhere = self._manifold.random_uniform(key_uniform, (n,))
        u, weight = jax.random.uniform(key_part, (n, 1), near.dtype), self._uniform_weight
        missing = jnp.where(u >= weight, near, jnp.nan)  # NaN stays NaN
        return jnp.where(u < weight, anywhere.astype(near.dtype), missing)


def select_kernel_density(
    points: ArrayLike, validation: ArrayLike, candidates: ArrayLike, uniform_weight: ArrayLike = 0.0
) -> KernelDensity:
    """The estimate from ``points`` under which ``validation`` is most likely.

    Args:
        points: Unit vectors (n, d + 1).
        validation: Unit vectors (m, d + 1).
        candidates: k rows to choose from: single concentrations (k,) for the plain estimate, one for each point (k,
            n) for the adaptive one, see :func:`adaptive_concentrations`.
        uniform_weight: Weight of the uniform part, in [0, 1).

    Returns:
        The estimate with the best row.
    """

    def score(concentrations):
        return jnp.mean(KernelDensity(points, concentrations, uniform_weight).log_prob(validation))

    candidates = jnp.asarray(candidates)
    best = candidates[jnp.argmax(lax.map(score, candidates))]
    return KernelDensity(points, best, uniform_weight)


def adaptive_concentrations(
    points: ArrayLike,
    neighbors: Sequence[int] = (1, 2, 4, 8),
    scales: Sequence[float] = (0.3, 1.0, 3.0),
    max_concentration: float = 1e10,
) -> Float[Array, "k n"]:
    """min(max_concentration, scale / distance to the m-th neighbor^2): candidates for :func:`select_kernel_density`.

    The cap is what duplicates of points get. It matters: the likelihood of data with duplicates, among
    themselves or of test points in the training set, grows with it without bound. A concentration kappa is
    a width of 1 / sqrt(kappa) rad, on the Earth 64 m for 1e10 and 64 km for 1e4.

    Args:
        points: Unit vectors (n, d + 1).
        neighbors: Values of m.
        scales: Values of the scale.
        max_concentration: The cap.

    Returns:
        Concentrations (k, n), a row for each m and each scale.

    Raises:
        ValueError: neighbors below 1 or too many for n, scales or a cap that are not positive.
    """
    if min(neighbors) < 1:
        raise ValueError(f"adaptive_concentrations: neighbors must be at least 1, got {neighbors}")
    check_positive("max_concentration", max_concentration)
    check_positive("scales", np.asarray(scales))
    points = jnp.asarray(points)
    manifold = Sphere(points.shape[-1] - 1)
    distances = neighbor_distances(manifold, points, max(neighbors))
    squared = jnp.square(distances[:, jnp.array(neighbors) - 1]).T[:, None]
    candidates = jnp.array(scales, squared.dtype)[None, :, None] / squared  # inf at 0
    return jnp.minimum(candidates, max_concentration).reshape(-1, len(points))


def neighbor_distances(
    manifold: Manifold, points: ArrayLike | tuple, m: int
) -> Float[Array, "n m"]:
    """Geodesic distances from each of n points to its m nearest others, in increasing order.

    Duplicates are neighbors at distance 0. All n^2 distances are taken, PAIRS at a time.

    Args:
        manifold: The space.
        points: Points (n, *event_shape), a tuple of such on a product.
        m: How many neighbors, from 1 to n - 1.

    Returns:
        Distances (n, m).

    Raises:
        ValueError: m is below 1 or not below n; concrete points are off the manifold.
    """
    others: Point = jax.tree.map(jnp.asarray, points)
    n = len(jax.tree.leaves(others)[0])
    if not 1 <= m < n:
        raise ValueError(
            f"neighbor_distances: m must be at least 1 and below the {n} points, got {m}"
        )
    manifold.sqdist(others, others)  # raises where a point is off the manifold
    for leaf in jax.tree.leaves(others):
        check(jnp.isfinite(leaf), "neighbor_distances: points must be finite", leaf)

    def nearest(row):
        index, x = row
        distances = manifold.dist(jax.tree.map(lambda p: p[None], x), others)
        distances = jnp.where(jnp.arange(n) == index, jnp.inf, distances)
        return -lax.top_k(-distances, m)[0]

    return _over_rows(nearest, (jnp.arange(n), others), n)


def _over_rows(function: Callable, rows, width: int) -> Array:
    """function(row) for every row, as many at a time as make PAIRS numbers if each needs ``width``."""
    return lax.map(function, rows, batch_size=max(1, PAIRS // width))
