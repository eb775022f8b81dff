"""Losses of continuous flows: flow matching, maximum likelihood, and the reverse Kullback-Leibler divergence.

Flow matching (Chen & Lipman 2024) joins a point x_0 of the base distribution and a data point x_1 by a geodesic. The
field learns its velocity at a random time. No differential equation is solved in training, so that a step is two
hundred times cheaper than one of maximum likelihood, which may follow it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from geodl._core import distrax
from geodl._core.checks import aligned, check_points, float_dtype
from geodl._core.platform import cpu_once
from geodl.flows.continuous import divergence
from geodl.flows.continuous.flow import ContinuousFlow
from geodl.manifolds import Manifold, Point, Tangent


def conditional_path(
    manifold: Manifold, t: ArrayLike, x0: Point, x1: Point
) -> tuple[Point, Tangent]:
    """The point x_t at time t of the geodesic from x_0 to x_1, and the velocity d x_t / dt there.

    The velocity is the derivative of the geodesic in its time. It is finite for coincident points and antipodes too,
    where log_{x_t}(x_1) / (1 - t) is 0 / 0 for t -> 1.

    Args:
        manifold: The space.
        t: Times, one number or one for each pair (...).
        x0, x1: Points (..., *event_shape).

    Returns:
        x_t (..., *event_shape), and the tangent vector there.

    Raises:
        ValueError: The times are neither one number nor one for each pair; points off the manifold.
    """
    t = _times(manifold, t, x0, x1)
    check_points("flow matching: x0", manifold, x0)
    check_points("flow matching: x1", manifold, x1)
    return jax.jvp(lambda t: manifold.geodesic(t, x0, x1), (t,), (jnp.ones_like(t),))


def matching_loss(
    manifold: Manifold,
    field: Callable[[ArrayLike, Point], Tangent],
    t: ArrayLike,
    x0: Point,
    x1: Point,
) -> Float[Array, "*batch"]:
    """Flow matching, |field(t, x_t) - d x_t / dt|^2 / dim for each pair, in the Riemannian norm.

    Its mean over random t, x_0 of the base and x_1 of the data is least for the field that carries the one distribution
    to the other.

    Args:
        manifold: The space.
        field: ``field(t, x)``, the tangent vector that is trained.
        t: Times in [0, 1], one number or one for each pair, as of :func:`random_times`.
        x0: Points (..., *event_shape) of the base.
        x1: Points (..., *event_shape) of the data.

    Returns:
        Squared errors (...).

    Raises:
        ValueError: The times are neither one number nor one for each pair; points off the manifold.

    Reference:
        Lipman et al. (2023); Chen & Lipman (2024).

    Example:
        >>> from functools import partial
        >>> import jax
        >>> from geodl import flows
        >>> from geodl.manifolds import Torus
        >>> torus = Torus(1)
        >>> field = flows.vector_field(torus, width=8, depth=1, frequencies=0)
        >>> def loss(params, key, x1):
        ...     of_time, of_base = jax.random.split(key)
        ...     t, x0 = flows.random_times(of_time, len(x1)), torus.random_uniform(of_base, len(x1))
        ...     return flows.matching_loss(torus, partial(field.apply, params), t, x0, x1).mean()
        >>> params, x1 = field.init(jax.random.key(0)), 0.1 * jax.random.normal(jax.random.key(1), (32, 1))
        >>> value, gradient = jax.jit(jax.value_and_grad(loss))(params, jax.random.key(2), x1)
        >>> value.shape
        ()
    """
    t = _times(manifold, t, x0, x1)
    # else XLA draws the random numbers again for each use of them
    t, x0, x1 = cpu_once((t, x0, x1))
    x, u = conditional_path(manifold, t, x0, x1)
    error = jax.tree.map(jnp.subtract, field(t, x), u)
    return manifold.inner(x, error, error) / manifold.dim


def _times(manifold, t, x0, x1):
    """Times in the type of the points. They add no axes: a column would pair all points with all."""
    t = jnp.asarray(t, float_dtype(*jax.tree.leaves((x0, x1))))
    batch = np.broadcast_shapes(manifold.batch_shape(x0), manifold.batch_shape(x1))
    try:
        return jnp.broadcast_to(t, batch)
    except ValueError:
        raise ValueError(
            f"times must be a number, or one for each point {batch}, got {t.shape}"
        ) from None


def optimal_pairs(manifold: Manifold, x0: Point, x1: Point) -> Point:
    """Reorders x_0 so that the sum of dist(x_0, x_1)^2 is least (minibatch optimal transport).

    The paths cross less, and the field is easier to learn and to integrate. By the Hungarian algorithm of optax, whose
    cost grows as n^3.

    Args:
        manifold: The space.
        x0, x1: Points (n, *event_shape).

    Returns:
        The points x_0, reordered.

    Reference:
        Tong et al. (2024).
    """
    rows = jax.tree.map(lambda a: a[:, None], x0)
    columns = jax.tree.map(lambda a: a[None], x1)
    i, j = optax.assignment.hungarian_algorithm(manifold.sqdist(rows, columns))
    order = jnp.zeros_like(i).at[j].set(i)
    return jax.tree.map(lambda a: a[order], x0)


def jitter(manifold: Manifold, key: Array, x: Point, scale: ArrayLike) -> Point:
    """Moves points by normal steps, exp_x(scale * noise), so that the data are samples of a kernel density.

    With the distances to a near neighbor as scales (:func:`~geodl.distributions.neighbor_distances`) it keeps the flow
    from memorizing single points.

    Args:
        manifold: The space.
        key: For the noise.
        x: Points (..., *event_shape).
        scale: Standard deviations (...), as geodesic lengths.

    Returns:
        Points (..., *event_shape).
    """
    scale = jnp.asarray(scale)
    shape = (*manifold.batch_shape(x), manifold.dim)
    noise = jax.random.normal(key, shape, jnp.result_type(*jax.tree.leaves(x)))
    scale, noise = aligned(scale[..., None], noise)
    return manifold.expmap_frame(x, scale * noise)


def nll(distribution: distrax.Distribution, x: Point, key: Array | None = None) -> Array:
    """Negative log-likelihood -log p(x) of each point, to be minimized in the mean.

    Args:
        distribution: A continuous flow, or any other distribution.
        x: Points (..., *event_shape).
        key: If given, the divergence of a continuous flow is Hutchinson's unbiased estimate, with one probe for each
            point: noisy, cheaper if dim > 2. Use it for training only.

    Returns:
        Nats (...).
    """
    if not isinstance(distribution, ContinuousFlow):
        return -jnp.asarray(distribution.log_prob(x))
    flow = distribution
    rate = flow.rate if key is None else divergence.hutchinson(flow.manifold, flow.field, key)
    return -flow._pull_back(x, rate, flow._solver)[0]


def reverse_kl(
    flow: ContinuousFlow,
    log_density: Callable[[Point], Array],
    key: Array,
    samples: int,
    kinetic: ArrayLike = 0.0,
) -> Array:
    """log p(x) - log_density(x) of random points x of the flow, for targets of which there are no samples.

    Its mean is KL(p | target), up to the logarithm of the target's mass. Gradients go through the samples.

    Args:
        flow: The flow p.
        log_density: Log-density of the target, which need not be normalized, at points.
        key: For the samples.
        samples: Their number.
        kinetic: Weight of the kinetic energy int_0^1 |v|^2 dt of each path, which is added.

    Returns:
        Nats (samples,).

    Reference:
        Mathieu & Nickel (2020).
    """

    def rate(t, x):
        v, div = flow.rate(t, x)
        return v, (div, flow.manifold.inner(x, v, v))

    x0, log_p0 = flow.base.sample_and_log_prob(seed=key, sample_shape=samples)
    x1, (log_det, energy) = flow._push_forward(x0, rate)
    return log_p0 - log_det - log_density(x1) + kinetic * energy
