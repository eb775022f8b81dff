"""Riemannian continuous normalizing flows as distributions (Mathieu & Nickel 2020).

A flow carries a base distribution at time 0 along a field to a distribution at time 1:

    log p(x_1) = log p_0(x_0) - int_0^1 div v(t, x_t) dt,

with respect to the Riemannian volume. The losses that train it are in :mod:`~geodl.flows.continuous.losses`.
"""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from geodl._core import distrax
from geodl._core.checks import as_float, check_points, is_concrete
from geodl.flows.continuous.field import VectorField
from geodl.flows.continuous.solvers import RK4, Stats, Tsit5
from geodl.flows.continuous.time import in_warped_time, warp_time
from geodl.generators import Generator
from geodl.manifolds import Manifold, Point


ADAPTIVE, FIXED = Tsit5(), RK4()
FEW_STEPS = 64  # with fewer RK4 steps likelihoods of sharp densities are off by more than 1e-3 nats


class ContinuousFlow(distrax.Distribution):
    """The distribution of base samples carried along a vector field from time 0 to 1, on the field's manifold.

    Example:
        >>> import jax
        >>> from geodl import flows
        >>> from geodl.distributions import Uniform
        >>> from geodl.manifolds import Torus
        >>> field = flows.vector_field(Torus(1), width=8, depth=1, frequencies=0)
        >>> params = field.init(jax.random.key(0))
        >>> flow = flows.ContinuousFlow(Uniform(Torus(1)), field, params, flows.RK4(64))
        >>> draw = jax.jit(lambda flow, key: flow.sample(seed=key, sample_shape=4))
        >>> draw(flow, jax.random.key(1)).shape
        (4, 1)
    """

    def __init__(
        self,
        base: distrax.Distribution,
        field: VectorField,
        params: Any,
        solver: Tsit5 | RK4 = ADAPTIVE,
    ):
        """
        Args:
            base: A distribution on the field's manifold, of no batch shape.
            field: A vector field with parameters.
            params: Those of ``field``.
            solver: Of the differential equation, :class:`Tsit5` (adaptive) or :class:`RK4` (of fixed steps).

        Raises:
            ValueError: The base has a batch shape, another event shape than the field's manifold, or it has a
                ``manifold`` and that is another one.
        """
        super().__init__()
        manifold, own = field.manifold, getattr(base, "manifold", None)
        if base.event_shape != manifold.event_shape or base.batch_shape:
            raise ValueError(
                f"ContinuousFlow: the base must have the event shape {manifold.event_shape} of the field's "
                f"{manifold} and no batch shape, got {base.event_shape} and {base.batch_shape}"
            )
        if own is not None and not _is_same(own, manifold):
            raise ValueError(
                f"ContinuousFlow: base and field must be on one manifold, got a base on {own} and a field on {manifold}"
            )
        self._base, self._solver = base, solver
        self._field, self._params = field, jax.tree.map(jnp.asarray, params)

    def __repr__(self) -> str:
        return f"ContinuousFlow({self._base}, {self._field}, {self._solver})"

    @property
    def manifold(self) -> Manifold:
        """The manifold's record."""
        return self._field.manifold

    @property
    def base(self) -> distrax.Distribution:
        """The distribution at time 0."""
        return self._base

    @property
    def event_shape(self) -> tuple:
        """Shape of one point."""
        return self.manifold.event_shape

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
        """Log-density with respect to the Riemannian volume.

        Args:
            value: Points (..., *event_shape).

        Returns:
            Log-densities (...); NaN for all of them where the solver gave up.

        Raises:
            ValueError: Concrete points are not on the manifold.
        """
        return self.log_prob_and_stats(value)[0]

    def log_prob_and_stats(self, value: Point) -> tuple[Array, Stats]:
        """Log-density, and its cost.

        Warns where a solver of fixed steps takes fewer than 64 of them.
        """
        if isinstance(self._solver, RK4) and self._solver.steps < FEW_STEPS:
            warnings.warn(
                f"ContinuousFlow: a likelihood by {self._solver.steps} RK4 steps may be nats too high; "
                f"take at least {FEW_STEPS}, or the adaptive solver, for what is reported",
                stacklevel=2,
            )
        return self._pull_back(value, self.rate, self._solver)

    def log_prob_and_error(self, value: Point) -> tuple[Array, Array]:
        """Log-density, and its absolute difference from that of a solver of much smaller error."""
        log_p = self.log_prob(value)
        return log_p, jnp.abs(log_p - self._pull_back(value, self.rate, self._solver.refined())[0])

    def path(self, x: Point, times: ArrayLike) -> Point:
        """Points (n, ..., *event_shape) at ``times`` (n,) of the paths through x (..., *event_shape) at the first."""
        check_points("path", self.manifold, x)
        times = jnp.asarray(times)

        def leg(x, ends):
            x, _, _ = self._solve(self._solver, self._velocity, x, *ends)
            return x, x

        _, later = jax.lax.scan(leg, x, (times[:-1], times[1:]))
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), x, later)

    def generator(self, solver: RK4 = FIXED) -> Generator:
        """The generator on the manifold: along the field from time 0 to 1, and back to encode.

        The solver is one of fixed steps, as searches differentiate forwards; up to its error encode is the inverse.
        """
        flow = ContinuousFlow(self._base, self._field, self._params, solver)
        return Generator(
            Partial(_to_data, flow), self.manifold, Partial(_to_base, flow), exact=True
        )

    def _sample_n(self, key, n):
        return self._push_forward(self._base.sample(seed=key, sample_shape=n), self._velocity)[0]

    def _sample_n_and_log_prob(self, key, n):
        x0, log_p0 = self._base.sample_and_log_prob(seed=key, sample_shape=n)
        x1, log_det = self._push_forward(x0, self.rate)
        return x1, log_p0 - log_det

    def _velocity(self, t, x):
        v = self.field(t, x)
        return v, jnp.zeros((), jax.tree.leaves(v)[0].dtype)  # diffrax takes no empty tree

    def _pull_back(self, x1, rate, solver):
        x1 = jax.tree.map(as_float, x1)
        if is_concrete(*jax.tree.leaves(x1)):
            self.manifold.sqdist(x1, x1)  # raises for points that are not on the manifold
        x0, log_det, stats = self._solve(solver, rate, x1, 1.0, 0.0)
        return self._base.log_prob(x0) + log_det, stats

    def _push_forward(self, x0, rate):
        x1, integral, _ = self._solve(self._solver, rate, x0, 0.0, 1.0)
        return x1, integral

    def _solve(self, solver, rate, x, start, end):
        """In the warped time, in which the fields are smooth: equal steps are then good ones."""
        dtype = jnp.result_type(*jax.tree.leaves(x))
        start, end = (warp_time(jnp.asarray(t, dtype)) for t in (start, end))
        return solver(in_warped_time(rate), x, start, end, self.manifold)


def _to_data(flow, z):
    return flow._solve(flow._solver, flow._velocity, z, 0.0, 1.0)[0]


def _to_base(flow, x):
    return flow._solve(flow._solver, flow._velocity, x, 1.0, 0.0)[0]


def _is_same(manifold: Manifold, other: Manifold) -> bool:
    """Whether two records are of one class and structure, with the same curvatures where those are concrete."""
    if jax.tree.structure(manifold) != jax.tree.structure(other):
        return False
    pairs = zip(jax.tree.leaves(manifold), jax.tree.leaves(other), strict=True)
    return all(np.allclose(*pair) for pair in pairs if is_concrete(*pair))
