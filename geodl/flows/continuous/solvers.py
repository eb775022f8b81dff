"""Solving dx/dt = v(t, x) on a manifold, with the integral of a rate along the way.

Both solvers are called ``solver(rate, x0, t0, t1, manifold) -> (x1, integral, stats)``. ``rate(t, x)`` gives (v, r), v
tangent at x and r what is to be integrated over time: the divergence, whose integral is the log-determinant of the
flow, or any pytree of numbers for each point. Time may run backwards.

Steps are taken in the coordinates of the surrounding space and end with a projection to the manifold. With fields that
depend on the projected point (:mod:`~geodl.flows.continuous.field`) exponential-map or Lie-group steps would be no more
accurate on the sphere; order and error control are what counts.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import diffrax
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from geodl.manifolds import Manifold, Point


Time: TypeAlias = float | Array
Rate: TypeAlias = Callable[[ArrayLike, Point], tuple[Any, Any]]


class Stats(NamedTuple):
    """Cost and outcome of a solution: evaluations of the rate, and whether the end was reached."""

    evaluations: ArrayLike
    success: ArrayLike


@dataclass(frozen=True)
class Tsit5:
    """Adaptive steps of order 5 (Tsitouras 2011, by diffrax) within ``rtol`` and ``atol``: for reported likelihoods.

    The estimated error of each step is at most ``atol + rtol`` in every point, as a length in the manifold's metric and
    beyond the rounding of its coordinates, and ``atol + rtol |r|`` in every integral r. The step is shared by all
    points and is that of the worst of them: in a large batch no point is solved less accurately than alone.

    Where ``max_steps`` do not reach the end, all results are NaN and ``stats.success`` is False. A point that is NaN or
    becomes it stays so, and does not concern the others.

    Reverse-mode derivatives are those of the steps taken (recursive checkpoints).

    Args:
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        max_steps: Most steps that are taken.
    """

    rtol: float = 5e-6
    atol: float = 5e-6
    max_steps: int = 4096

    def refined(self) -> "Tsit5":
        """The solver of a tenth of the tolerances; of less, in float32, only the rounding would be seen."""
        return Tsit5(self.rtol / 10, self.atol / 10, 2 * self.max_steps)

    def __call__(
        self, rate: Rate, x0: Point, t0: Time, t1: Time, manifold: Manifold
    ) -> tuple[Point, Any, Stats]:
        """End points, integrals and stats (see the module)."""
        start = x0, _zeros(rate, t0, x0)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, state, _: rate(t, state[0])),
            _ProjectedTsit5(manifold=manifold, rtol=self.rtol, atol=self.atol),
            t0,
            t1,
            None,
            start,
            stepsize_controller=_FromFixedStep(rtol=0.0, atol=1.0, norm=_largest),
            max_steps=self.max_steps,
            throw=False,
        )
        success = solution.result == diffrax.RESULTS.successful
        x1, integral = jax.tree.map(lambda a: jnp.where(success, a[-1], jnp.nan), solution.ys)
        # six a step: its last stage is the first of the next
        evaluations = 1 + 6 * solution.stats["num_steps"]
        return x1, integral, Stats(evaluations, success)


@dataclass(frozen=True)
class RK4:
    """``steps`` equal steps of the classical method of order 4, in a scan: for training, also inside ``shard_map``.

    No error is controlled: by few steps a sharp density reads too high, by 0.1 to 5 nats in its logarithm, and
    training on that pushes the error further. Reverse-mode derivatives keep the states, and evaluate the rate again.
    """

    steps: int = 64

    def refined(self) -> "RK4":
        """The solver of twice the steps."""
        return RK4(2 * self.steps)

    def __call__(
        self, rate: Rate, x0: Point, t0: Time, t1: Time, manifold: Manifold
    ) -> tuple[Point, Any, Stats]:
        """End points, integrals and stats (see the module)."""
        dtype = jnp.result_type(*jax.tree.leaves(x0))
        t0, h = jnp.asarray(t0, dtype), (jnp.asarray(t1, dtype) - t0) / self.steps

        # A scan over the stages too: the rate is compiled once.
        table = jnp.array([0, 1 / 2, 1 / 2, 1], dtype), jnp.array([1, 2, 2, 1], dtype) / 6

        @jax.checkpoint
        def slope(t, state):
            return rate(t, state[0])

        def step(state, i):
            def stage(carry, place_and_weight):
                k, end = carry
                place, weight = place_and_weight
                k = slope(t0 + (i + place) * h, _add(state, place * h, k))
                return (k, _add(end, weight * h, k)), None

            still = jax.tree.map(lambda a: 0 * a, state)
            (_, (x, integral)), _ = jax.lax.scan(stage, (still, state), table)
            return (manifold.project(x), integral), None

        start = x0, _zeros(rate, t0, x0)
        (x1, integral), _ = jax.lax.scan(step, start, jnp.arange(self.steps, dtype=dtype))
        return x1, integral, Stats(4 * self.steps, True)


def _zeros(rate, t, x):
    """Zeros of the integral's shape, that vary inside ``shard_map`` over the mesh axes over which x does."""
    none = jnp.where(False, jnp.sum(jax.tree.leaves(x)[0].ravel()[:1]), 0)
    return jax.tree.map(
        lambda r: jnp.zeros(r.shape, r.dtype) + none.astype(r.dtype), jax.eval_shape(rate, t, x)[1]
    )


def _add(state, h, slope):
    return jax.tree.map(lambda a, b: a + h * b, state, slope)


_FIRST = 16  # parts of the time, the first of which is the first step


class _FromFixedStep(diffrax.PIDController):
    """A controller that knows the first step; one that it were given diffrax would check by a callback of the host."""

    def init(self, terms, t0, t1, y0, dt0, args, func, error_order):
        return super().init(terms, t0, t1, y0, (t1 - t0) / _FIRST, args, func, error_order)


class _ProjectedTsit5(diffrax.Tsit5):
    """Steps that end on the manifold, their errors in units of the tolerance."""

    manifold: Any = None
    rtol: float = 0.0
    atol: float = 0.0

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        (x, integral), error, dense, state, result = super().step(
            terms, t0, t1, y0, args, solver_state, made_jump
        )
        x = self.manifold.project(x)
        error = jax.lax.stop_gradient(self._in_tolerances(x, integral, error))
        return (x, integral), error, dense, state, result

    def _in_tolerances(self, x, integral, error):
        of_points, of_integrals = error
        visible = jax.tree.map(_beyond_rounding, of_points, x)
        length = self.manifold.norm(x, self.manifold.project_tangent(x, visible))
        length = length / (self.rtol + self.atol)

        def of_point(a):  # diffrax wants errors in the shape of the state
            return jnp.broadcast_to(
                length.reshape(*length.shape, *[1] * (a.ndim - length.ndim)), a.shape
            )

        scaled = jax.tree.map(
            lambda e, r: e / (self.atol + self.rtol * jnp.abs(r)), of_integrals, integral
        )
        return jax.tree.map(of_point, x), scaled


def _beyond_rounding(error, x):
    """The error of coordinates x, less what a few roundings make."""
    rounding = 4 * jnp.finfo(x.dtype).eps * jnp.abs(x)
    return error - jnp.clip(error, -rounding, rounding)


def _largest(tree):
    """The largest absolute value, that of no value 0; what is NaN stays so at any step and does not count."""
    sizes = [jnp.where(jnp.isnan(a), 0, jnp.abs(a)) for a in jax.tree.leaves(tree)]
    return functools.reduce(jnp.maximum, [jnp.max(a, initial=0) for a in sizes])
