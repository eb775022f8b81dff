"""Riemannian continuous normalizing flows (Mathieu & Nickel 2020) as distributions, and their losses.

A flow carries a base law at time 0 along a field to the law at time 1:

    log p(x_1) = log p_0(x_0) - int_0^1 div v(t, x_t) dt,

with respect to the Riemannian volume. It is trained by flow matching (:mod:`~geodl.flows.matching`, two hundred times
cheaper a step) or by the losses here, also after matching.
"""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from geodl._core import distrax
from geodl._core.checks import float_dtype, is_concrete
from geodl.flows import divergence
from geodl.flows.clock import by_clock, clock
from geodl.flows.integrate import RK4, Stats, Tsit5
from geodl.flows.vector_field import VectorField
from geodl.manifolds import Manifold
from geodl.manifolds.base import Point


ADAPTIVE = Tsit5()
FEW_STEPS = 64  # with fewer RK4 steps likelihoods of sharp densities are off by more than 1e-3 nats


class Flow(distrax.Distribution):
    """The law of base samples carried along a vector field from time 0 to 1."""

    def __init__(
        self,
        manifold: Manifold,
        base: distrax.Distribution,
        field: VectorField,
        params: Any,
        solver: Tsit5 | RK4 = ADAPTIVE,
    ):
        """``base`` is any law on the manifold, of no batch shape; ``params`` are those of ``field``.

        Raises ``ValueError`` where the base has another event shape than the manifold, or a batch shape.
        """
        super().__init__()
        if base.event_shape != manifold.event_shape or base.batch_shape:
            raise ValueError(
                f"Flow: the base must have event shape {manifold.event_shape} and no batch shape, "
                f"got {base.event_shape} and {base.batch_shape}"
            )
        self._manifold, self._base, self._solver = manifold, base, solver
        self._field, self._params = field, jax.tree.map(jnp.asarray, params)

    @property
    def manifold(self) -> Manifold:
        """The manifold's record."""
        return self._manifold

    @property
    def base(self) -> distrax.Distribution:
        """The law at time 0."""
        return self._base

    @property
    def event_shape(self) -> tuple:
        """Shape of one point."""
        return self._manifold.event_shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Empty."""
        return ()

    def field(self, t: ArrayLike, x: Point) -> Any:
        """The tangent vector at time t and point x."""
        return self._field.apply(self._params, t, x)

    def rate(self, t: ArrayLike, x: Point) -> tuple[Any, Array]:
        """The field and its divergence."""
        return self._field.rate(self._params, t, x)

    def log_prob(self, value: Point) -> Array:
        """Log-density at points (..., *event_shape); NaN for all of them where the solver gave up.

        Raises ``ValueError`` where concrete points are not on the manifold.
        """
        return self.log_prob_and_stats(value)[0]

    def log_prob_and_stats(self, value: Point) -> tuple[Array, Stats]:
        """Log-density, and what it has cost. Warns where a fixed-step solver takes fewer than 64 steps."""
        if isinstance(self._solver, RK4) and self._solver.steps < FEW_STEPS:
            warnings.warn(
                f"Flow: a likelihood by {self._solver.steps} RK4 steps may be nats too high; "
                f"take at least {FEW_STEPS}, or the adaptive solver, for what is reported",
                stacklevel=2,
            )
        return self._pull(value, self.rate, self._solver)

    def log_prob_and_error(self, value: Point) -> tuple[Array, Array]:
        """Log-density, and its difference to the one by a solver of much smaller error."""
        log_p = self.log_prob(value)
        return log_p, jnp.abs(log_p - self._pull(value, self.rate, self._solver.refined())[0])

    def path(self, x: Point, times: ArrayLike) -> Point:
        """Points (n, ..., *event_shape) at ``times`` (n,) along the field, from x (..., *event_shape) at the first."""
        times = jnp.asarray(times)

        def leg(x, ends):
            x, _, _ = self._solve(self._solver, self._speed, x, *ends)
            return x, x

        _, later = jax.lax.scan(leg, x, (times[:-1], times[1:]))
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), x, later)

    def _sample_n(self, key, n):
        return self._push(self._base.sample(seed=key, sample_shape=n), self._speed)[0]

    def _sample_n_and_log_prob(self, key, n):
        x0, log_p0 = self._base.sample_and_log_prob(seed=key, sample_shape=n)
        x1, log_det = self._push(x0, self.rate)
        return x1, log_p0 - log_det

    def _speed(self, t, x):
        v = self.field(t, x)
        return v, jnp.zeros((), jax.tree.leaves(v)[0].dtype)  # diffrax takes no empty tree

    def _pull(self, x1, rate, solver):
        x1 = jax.tree.map(lambda a: jnp.asarray(a, float_dtype(a)), x1)
        if is_concrete(*jax.tree.leaves(x1)):
            self._manifold.sqdist(x1, x1)  # raises for points that are not on the manifold
        x0, log_det, stats = self._solve(solver, rate, x1, 1.0, 0.0)
        return self._base.log_prob(x0) + log_det, stats

    def _push(self, x0, rate):
        x1, integral, _ = self._solve(self._solver, rate, x0, 0.0, 1.0)
        return x1, integral

    def _solve(self, solver, rate, x, start, end):
        """By the clock: there the fields are smooth, so that equal steps are good ones."""
        dtype = jnp.result_type(*jax.tree.leaves(x))
        start, end = (clock(jnp.asarray(t, dtype)) for t in (start, end))
        return solver(by_clock(rate), x, start, end, self._manifold)


def negative_log_likelihood(flow: Flow, x: Point, key: Array | None = None) -> Array:
    """-log p(x) in nats for each point (...); with a key by Hutchinson's divergence: noisy, cheaper if dim > 2."""
    rate = flow.rate if key is None else divergence.hutchinson(flow.manifold, flow.field, key)
    return -flow._pull(x, rate, flow._solver)[0]


def reverse_kl(
    flow: Flow,
    log_density: Callable[[Point], Array],
    key: Array,
    samples: int,
    kinetic: ArrayLike = 0.0,
) -> Array:
    """log p(x) - log_density(x) of ``samples`` points x of the flow (samples,), gradients through the samples.

    Its mean is KL(p | target), up to the log of the target's mass, for targets of which there are no samples (Mathieu
    & Nickel 2020). ``kinetic`` adds that much of the kinetic energy int_0^1 |v|^2 dt of each path.
    """

    def rate(t, x):
        v, div = flow.rate(t, x)
        return v, (div, flow.manifold.inner(x, v, v))

    x0, log_p0 = flow.base.sample_and_log_prob(seed=key, sample_shape=samples)
    x1, (log_det, energy) = flow._push(x0, rate)
    return log_p0 - log_det - log_density(x1) + kinetic * energy
