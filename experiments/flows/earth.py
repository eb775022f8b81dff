"""Densities of the earth-science sets: every baseline and ours on the same splits, raw and deduplicated."""

import math
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from experiments import _grid
from experiments._run import Run
from experiments._training import by_batches
from experiments.flows import baselines, data, pictures, training
from experiments.flows.earth_tables import EARTH_SETS, METHODS, Cell, Method, folder_name, tables
from experiments.flows.training import Model, Recipe
from geodl import bijectors, distributions, flows
from geodl.manifolds import Sphere


FLOWS = ("wrapped flow", "stereographic flow", "flow")
MIXED: tuple[Method, ...] = ("flow", "adaptive kernel density")

LOG_PROB = "log_prob.npz"  # of every test, validation and some training points


@dataclass(frozen=True)
class Earth:
    """The protocol; the defaults are the whole table. Runs of one name share what is done already."""

    name: str = "paper"
    sets: tuple[data.Name, ...] = EARTH_SETS
    splits: tuple[Literal["raw", "deduplicated"], ...] = ("raw", "deduplicated")
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    methods: tuple[Method, ...] = METHODS
    fractions: tuple[float, ...] = (1.0,)
    """parts of the training points; several make learning curves"""
    recipe: Recipe = field(default_factory=Recipe)
    jitter: float = 0.5
    """moves data in training, by so much of the distance to the second neighbor"""
    download: bool = False
    root: str = "runs"


# minutes on two cores, no download
QUICK = Earth(
    name="quick",
    sets=("cities", "mixture"),
    splits=("raw",),
    seeds=(0,),
    methods=(
        "uniform",
        "von Mises-Fisher mixture",
        "kernel density",
        "adaptive kernel density",
        "flow",
        "flow and adaptive kernel density",
    ),
    recipe=Recipe(steps=4000, frequencies=32, band=(1.0, 10.0)),
)


def cells(config: Earth) -> list[Cell]:
    """Every number asked for."""
    asked = config.sets, config.splits, config.seeds, config.fractions, config.methods
    return [Cell(*values) for values in product(*asked)]


def run(config: Earth) -> dict[Cell, dict[str, Any]]:
    """Fit and score every cell; tables and pictures land in the run's folder."""
    free = ("sets", "splits", "seeds", "methods", "fractions")
    run = Run("flow-earth", config, free)
    found = _grid.fill(run, cells(config), partial(score, config), shown="test")
    pictures.learning_curves(run.folder / "learning_curves.png", found)
    run.finish(tables(found))
    return found


def score(config: Earth, cell: Cell, folder: Path) -> dict[str, Any]:
    """Negative log-likelihoods in nats per point, with respect to area; the processor's time of the fit."""
    points = data.load(cell.set, cell.split == "deduplicated", config.download)
    index = data.split(cell.set, len(points), cell.seed, cell.split == "deduplicated")
    fitted = index.train[: max(2, round(cell.fraction * len(index.train)))]
    fit, validation, test = (
        jnp.asarray(points[i], jnp.float32) for i in (fitted, index.validation, index.test)
    )
    key = jax.random.key(cell.seed)
    scored = {"test": test, "validation": validation, "train": fit[: len(test)]}
    result: dict[str, Any] = {"train_points": len(fit), "test_points": len(test)}
    start = time.process_time()
    if cell.method == "flow and adaptive kernel density":
        log_p, result["weight"] = mixed([folder.parent / folder_name(m) for m in MIXED])
        cpu_seconds = time.process_time() - start
    else:
        if cell.method in FLOWS:
            trained, model = fit_flow(config, cell.method, fit, validation, key, folder)
            distribution = model.distribution(trained.params)
            cpu_seconds = trained.cpu_seconds
            if cell.method == "flow":
                result |= solver_report(model, trained.params, test, folder)
                if cell.seed == 0:
                    drawn = model.flow(trained.params, flows.Tsit5(1e-3, 1e-3))
                    pictures.density(folder, drawn, np.asarray(test))
                    pictures.paths(folder, drawn, key)
        elif cell.method == "von Mises-Fisher mixture":
            distribution, cpu_seconds = baselines.mixture(fit, validation, key, folder / "mixtures")
        else:
            distribution, cpu_seconds = baselines.baseline(cell.method, fit, validation, folder)
        found = training.log_prob(
            distribution, jnp.concatenate([*scored.values()]), folder / "log_prob"
        )
        ends = np.cumsum([len(x) for x in scored.values()])[:-1]
        log_p = dict(zip(scored, np.split(found, ends), strict=True))
    np.savez(folder / LOG_PROB, **log_p)  # type: ignore[arg-type]
    result |= {name: -float(np.mean(values)) for name, values in log_p.items()}
    result["cpu_seconds"] = round(cpu_seconds, 1)
    if cell.set in EARTH_SETS:
        copied = (points[index.test][:, None] == points[fitted]).all(-1).any(-1)
        result["copies"] = float(np.mean(copied))
    if not all(map(math.isfinite, (result["test"], result["validation"]))):
        raise FloatingPointError(f"{folder}: the likelihood is not finite: {result}")
    return result


def mixed(folders: list[Path]) -> tuple[dict[str, np.ndarray], float]:
    """Log-densities of the mixture of two distributions that are scored already, and the weight of the first one.

    The weight is the one of the largest validation likelihood. Raises ``FileNotFoundError`` where one is not scored.
    """
    for folder in folders:
        if not (folder / LOG_PROB).exists():
            raise FileNotFoundError(f"{folder / LOG_PROB}: score this method before the mixture")
    first, second = (dict(np.load(folder / LOG_PROB)) for folder in folders)

    def mixture(name, weight):
        return np.logaddexp(np.log(weight) + first[name], np.log1p(-weight) + second[name])

    weights = np.linspace(0.01, 0.99, 99)
    best = max(weights, key=lambda weight: np.mean(mixture("validation", weight)))
    return {name: mixture(name, best) for name in first}, float(best)


def solver_report(model: Model, params: Any, test: jax.Array, folder: Path) -> dict[str, float]:
    """Evaluations of the field, the mean error of the reported log-densities, and what eight even steps would read."""

    @jax.jit
    def report(x, _):
        flow = model.flow(params)
        _, error = flow.log_prob_and_error(x)
        _, stats = flow.log_prob_and_stats(x)
        x0, log_det, _ = flows.RK4(8)(flow.rate, x, 1.0, 0.0, flow.manifold)
        coarse = -(flow.base.log_prob(x0) + log_det)
        evaluations = jnp.full(len(x), stats.evaluations)
        return {"solver_error": error, "evaluations": evaluations, "by_rk4_8": coarse}

    found = by_batches(report, test, 2000, folder / "solver", params)
    return jax.tree.map(lambda a: float(np.mean(a)), found)


def make_model(recipe: Recipe, method: Method) -> Model:
    """The flow on the sphere, or one on the plane and a chart."""
    if method == "flow":
        sphere = Sphere(2)
        return Model(sphere, distributions.Uniform(sphere), recipe.field(sphere, "ambient"))
    stereographic = method == "stereographic flow"
    chart = bijectors.Stereographic(2) if stereographic else bijectors.ExponentialMap(Sphere(2))
    return training.in_chart(recipe, chart)


def fit_flow(config: Earth, method: Method, fit, validation, key, folder: Path):
    """A flow trained by matching, and its model."""
    recipe, model = config.recipe, make_model(config.recipe, method)
    scales = config.jitter * distributions.neighbor_distances(Sphere(2), fit, 2)[:, 1]

    def draw(points_and_scales, key, n):
        key_index, key_jitter = jax.random.split(key)
        x, scale = jax.tree.map(lambda a: training.draw_from(a, key_index, n), points_and_scales)
        return flows.jitter(Sphere(2), key_jitter, x, scale)

    loss = training.matching(model, draw, recipe.batch)
    return training.fit(recipe, model, loss, (fit, scales), key, folder, validation), model
