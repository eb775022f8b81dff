"""How the flows of all experiments are trained: network, optimizer, objectives, selection."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from experiments import _devices
from experiments._training import by_batches
from geodl import flows, train
from geodl.distributions import WrappedNormal
from geodl.flows.continuous.field import Kind
from geodl.manifolds import Euclidean, Manifold
from geodl.manifolds.base import Point


@dataclass(frozen=True)
class Recipe:
    """Network and optimizer."""

    width: int = 128
    depth: int = 3
    frequencies: int = 128
    """random Fourier features of the point"""
    band: tuple[float, float] = (2.0, 100.0)
    """of their frequencies"""
    batch: int = 512
    steps: int = 16_000
    learning_rate: float = 3e-3
    warmup: int = 200
    clip: float = 10.0
    weight_decay: float = 0.0
    average: float = 0.999
    """decay of the moving average of the parameters, which is what is evaluated"""
    evaluations: int = 8
    """times that the validation likelihood is taken; the best state is kept"""

    def field(self, manifold: Manifold, kind: Kind) -> flows.VectorField:
        """The network on a manifold."""
        size: dict[str, Any] = {"width": self.width, "depth": self.depth}
        features: dict[str, Any] = {"frequencies": self.frequencies, "band": self.band}
        return flows.vector_field(manifold, kind, **size, **features)

    def optimizer(self) -> optax.GradientTransformation:
        """AdamW with clipped gradients, warm-up and cosine, averaging its parameters."""
        rate = optax.warmup_cosine_decay_schedule(
            0.0, self.learning_rate, min(self.warmup, self.steps // 10), self.steps
        )
        adam = optax.adamw(rate, weight_decay=self.weight_decay)
        return train.with_ema(optax.chain(optax.clip_by_global_norm(self.clip), adam), self.average)


Solver = flows.Tsit5 | flows.RK4
ADAPTIVE = flows.Tsit5(1e-6, 1e-6)  # of sharp densities (volcano) 1e-5 reads 2e-4 nats too low


class Model(NamedTuple):
    """A family of flows: manifold, base and field, and the map to the distribution that is compared with others."""

    manifold: Manifold
    base: distrax.Distribution
    field: flows.VectorField
    chart: distrax.Bijector | None = None
    """where the flow lives in a chart: its bijector to the manifold of the data"""

    def flow(self, params: Any, solver: Solver = ADAPTIVE) -> flows.ContinuousFlow:
        """The flow with parameters, in the chart where there is one."""
        return flows.ContinuousFlow(self.base, self.field, params, solver)

    def distribution(self, params: Any) -> distrax.Distribution:
        """The distribution on the manifold of the data."""
        flow = self.flow(params)
        return flow if self.chart is None else distrax.Transformed(flow, self.chart)

    def to_chart(self, x: Point) -> Point:
        """Points of the data in the coordinates of the flow."""
        return x if self.chart is None else self.chart.inverse(x)


def in_chart(recipe: Recipe, chart: distrax.Bijector) -> Model:
    """A flow of the plane, from a normal distribution, and its chart."""
    plane = Euclidean(2)
    base = WrappedNormal(plane, jnp.zeros(2), 1.0)
    return Model(plane, base, recipe.field(plane, "ambient"), chart)


Draw = Callable[[Any, Array, int], Point]  # (data, key, n) -> n points
Loss = Callable[[Any, Any, Array], tuple[Array, dict[str, Array]]]


def matching(model: Model, draw: Draw, batch: int) -> Loss:
    """Flow matching on points that ``draw`` takes from the data."""

    batch = _devices.rows(batch)

    def loss(params, data, key):
        key_base, key_data, key_time = jax.random.split(key, 3)
        x0 = model.base.sample(seed=key_base, sample_shape=batch)
        x1 = model.to_chart(draw(data, key_data, batch))
        t = flows.random_times(key_time, batch)
        t, x0, x1 = _devices.over_batch((t, x0, x1))

        def field(t, x):
            return model.field.apply(params, t, x)

        return jnp.mean(flows.matching_loss(model.manifold, field, t, x0, x1)), {}

    return loss


class Trained(NamedTuple):
    """Parameters (averaged, of the best evaluation), and the processor's time."""

    params: Any
    cpu_seconds: float


def fit(
    recipe: Recipe,
    model: Model,
    loss: Loss,
    data: Any,
    key: Array,
    folder: Path,
    validation: Point | None = None,
) -> Trained:
    """Train; with ``validation`` points the parameters of largest likelihood there are taken, else the last."""
    optimizer = _devices.optimizer(recipe.optimizer())
    step = _devices.make_step(loss, optimizer)
    state = train.init(model.field.init(key), optimizer, key)

    @jax.jit
    def score(params, x):
        x = _devices.over_devices(x)
        return -jnp.mean(model.distribution(params).log_prob(x))

    def evaluate(state):
        return {"validation": score(state.opt_state.average, validation)}

    options: dict[str, Any] = {"chunk": max(1, recipe.steps // recipe.evaluations)}
    if validation is not None:
        options |= {"evaluate": evaluate, "best": "validation"}
    state, history = _devices.fit(step, state, data, recipe.steps, folder, **options)
    cpu_seconds = sum(record["cpu_seconds"] for record in history)
    return Trained(state.opt_state.average, cpu_seconds)


def draw_from(points: Array, key: Array, n: int) -> Array:
    """n of the points, drawn with replacement."""
    return points[jax.random.randint(key, (n,), 0, len(points))]


def log_prob(distribution: Any, x: Any, folder: Path) -> np.ndarray:
    """Log-densities of points (n, ...), :func:`~experiments._training.by_batches`."""
    depends = jax.tree.leaves(distribution)
    found = by_batches(lambda x, _: _log_prob(distribution, x), x, 2000, folder, depends)
    return found["log_prob"]


@jax.jit
def _log_prob(distribution, x):
    return {"log_prob": distribution.log_prob(x)}
