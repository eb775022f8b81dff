"""Tangent vectors from scalars: networks of three kinds, trained on one scene and tested in other frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from experiments import _devices, _grid
from experiments._run import Run, markdown_table, mean_and_error
from experiments._training import on_minibatches
from experiments.gauge.surfaces import Scene
from geodl import nn, train
from geodl.equivariant import FieldType, Gated, stencil
from geodl.equivariant.gauge import GaugeNet, Stencil
from geodl.equivariant.groups import Group, cyclic, so2


# "turned": the plain network, trained in frames that are turned at random at each step
Model = Literal["gauge", "isotropic", "plain", "turned"]

NAMES = {
    "gauge": "gauge-equivariant",
    "isotropic": "isotropic",
    "plain": "not equivariant",
    "turned": "not equivariant, random frames in training",
}


@dataclass(frozen=True)
class Kind:
    """A kind of network: fields of a group in between, kernels up to a degree, with transport or without."""

    group: Group
    hidden: FieldType
    to: FieldType
    degree: int
    transport: bool


def kind(model: Model) -> Kind:
    """Of the networks compared, all of about 7,300 parameters on one channel."""
    rotations, none = so2(), cyclic(1)
    if model == "gauge":
        hidden = FieldType([(rotations.irrep(m), 8) for m in range(3)])
        return Kind(rotations, hidden, FieldType([(rotations.vector, 1)]), 4, True)
    group, width, degree = (rotations, 48, 0) if model == "isotropic" else (none, 21, 2)
    hidden, to = (FieldType([(group.trivial, n)]) for n in (width, 2))
    return Kind(group, hidden, to, degree, False)


RADIAL, BLOCKS = 3, 1


def network(model: Model, channels: int) -> nn.Net:
    """Of a stencil and scalars (..., n, channels): components (..., n, 2)."""
    k = kind(model)
    of = FieldType([(k.group.trivial, channels)])
    return nn.functional(
        lambda rngs: GaugeNet(of, k.hidden, k.to, BLOCKS, Gated, RADIAL, k.degree, rngs)
    )


def table_of(model: Model, scene: Scene, radius: float) -> Stencil:
    """What a network of a kind sees of the points."""
    k, near = kind(model), scene.near
    if not k.transport:
        near = near._replace(transport=jnp.broadcast_to(jnp.eye(2), near.transport.shape))
    return stencil(near, k.group, radius, RADIAL, k.degree)


class Problem(NamedTuple):
    """Scenes of one surface, all with the same radius of neighborhoods, and the lists to test on."""

    radius: float
    train: Scene
    validation: Scene
    tests: dict[str, list[Scene]]


@dataclass(frozen=True)
class Cell:
    """One trained network."""

    surface: str
    model: Model
    learning_rate: float
    seed: int

    @property
    def folder(self) -> str:
        return f"{self.surface}-{self.model}-{self.learning_rate:g}-{self.seed}"


@dataclass(frozen=True)
class Training:
    """How networks are trained."""

    models: tuple[Model, ...] = ("gauge", "isotropic", "plain", "turned")
    learning_rates: tuple[float, ...] = (1e-2, 3e-2)
    """the first seed is trained with each, the others with the best on validation fields"""
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 150
    batch: int = 2


def fill(run: Run, config: Training, problems: dict[str, Problem]) -> dict[Cell, dict[str, Any]]:
    """Train every model on every surface with every seed, at the rate that is best for the first seed."""
    scored = {}
    for surface, problem in problems.items():
        score_cell = partial(score, config, problem)
        for model in config.models:
            first = [Cell(surface, model, r, config.seeds[0]) for r in config.learning_rates]
            found = _grid.fill(run, first, score_cell, shown="validation")
            best = min(first, key=lambda cell: found[cell]["validation"]).learning_rate
            chosen = [Cell(surface, model, best, seed) for seed in config.seeds]
            found = _grid.fill(run, chosen, score_cell, shown="validation")
            scored |= {cell: found[cell] for cell in chosen}
    return scored


def fit(config: Training, problem: Problem, cell: Cell, folder: Path) -> tuple[nn.Net, Any, float]:
    """A network, its trained parameters, and the CPU seconds of its training."""
    scene = problem.train
    net, key = network(cell.model, scene.inputs.shape[-1]), jax.random.key(cell.seed)
    plain = optax.adam(optax.cosine_decay_schedule(cell.learning_rate, config.steps))
    optimizer = _devices.optimizer(plain)
    rows = (scene.inputs, scene.vectors)
    state = train.init(net.init(key), optimizer, jax.random.fold_in(key, 1), len(rows[0]))

    def loss(scene, table, params, batch, key):
        inputs, vectors = batch.data
        if cell.model == "turned":
            seen = scene._replace(inputs=inputs, vectors=vectors).randomly_framed(key)
            table, vectors = table_of(cell.model, seen, problem.radius), seen.vectors
        errors = jnp.mean(jnp.square(net.apply(params, table, inputs) - vectors), (-2, -1))
        return jnp.sum(batch.weight * errors) / jnp.sum(batch.weight), {}

    def step(state, data):
        scene, table, rows = data
        of_batch = _devices.make_step(partial(loss, scene, table), optimizer)
        return on_minibatches(of_batch, config.batch)(state, rows)

    data = (scene, table_of(cell.model, scene, problem.radius), rows)
    state, log = _devices.fit(step, state, data, config.steps, folder, chunk=50)
    # of all starts of the run
    return net, state.params, sum(line["cpu_seconds"] for line in log)


def predictions(
    run: Run,
    config: Training,
    problem: Problem,
    surface: str,
    scored: dict[Cell, dict[str, Any]],
    scene: Scene,
) -> dict[str, np.ndarray]:
    """What is asked for in the first field of a scene, and what the first network of each kind finds: in space."""
    found = {"asked for": scene.in_space(scene.vectors[0])}
    for model in config.models:
        cell = next(c for c in scored if (c.surface, c.model) == (surface, model))
        net, params, _ = fit(config, problem, cell, run.folder / cell.folder)
        vectors = net.apply(params, table_of(model, scene, problem.radius), scene.inputs[0])
        error = relative(vectors, scene.vectors[0])
        title = f"{NAMES[model]}: {100 * error:.0f} % off".replace(", ", ",\n")
        found[title] = scene.in_space(vectors)
    return found


def score(config: Training, problem: Problem, cell: Cell, folder: Path) -> dict[str, Any]:
    """Train one network; relative errors on the validation fields and on each list of scenes."""
    net, params, seconds = fit(config, problem, cell, folder)

    @jax.jit
    def predict(params, table, inputs):
        return jax.lax.map(lambda x: net.apply(params, table, x), inputs)

    def error(scene):
        found = predict(params, table_of(cell.model, scene, problem.radius), scene.inputs)
        return relative(found, scene.vectors)

    return {
        "parameters": sum(a.size for a in jax.tree.leaves(params)),
        "validation": error(problem.validation),
        **{
            name: float(np.mean([error(s) for s in tests])) for name, tests in problem.tests.items()
        },
        "cpu_seconds": round(seconds, 1),
    }


def relative(found: Array, asked: Array) -> float:
    """|found - asked| / |asked| in the mean square."""
    return float(jnp.linalg.norm(found - asked) / jnp.linalg.norm(asked))


def table(scored: dict[Cell, dict[str, Any]], tests: Sequence[str]) -> str:
    """Relative errors in per cent, mean over seeds ± standard error."""
    rows = []
    for (surface, model), of in _grid.grouped(scored, "surface", "model").items():
        rows.append(
            {
                "surface": surface,
                "network": NAMES[model],
                "parameters": of["parameters"][0],
                **{name: mean_and_error([100 * e for e in of[name]]) for name in tests},
                "CPU s": mean_and_error(of["cpu_seconds"]),
            }
        )
    return markdown_table(rows)
