"""Targets of which the density is known: on sphere, torus, hyperbolic plane and SO(3).

What counts is the gap of the test likelihood to the truth, KL(model | target), and the mass by quadrature.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from experiments import _devices, _grid
from experiments._run import Run, date_and_revision, markdown_table
from experiments._training import by_batches
from experiments.flows import pictures, training
from experiments.flows.training import Model, Recipe
from geodl import bijectors, flows
from geodl.distributions import Uniform, VonMisesFisher, WrappedNormal
from geodl.flows.continuous.field import Kind
from geodl.manifolds import SO3, Hyperboloid, Manifold, Sphere, Torus, poincare


Objective = Literal["matching", "likelihood", "reverse KL"]
Geometry = Literal["Riemannian", "stereographic"]
Space = Literal["vmf", "torus", "hyperbolic", "so3"]


class Target(NamedTuple):
    """A distribution to learn, from which base, by which kind of field."""

    manifold: Manifold
    distribution: Any
    base: distrax.Distribution
    kind: Kind


def von_mises_fisher(concentration: float) -> Target:
    """On S^2 at the point that the stereographic chart of the baseline lacks (Mathieu & Nickel 2020)."""
    sphere = Sphere(2)
    distribution = VonMisesFisher(-sphere.origin(), concentration)
    return Target(sphere, distribution, Uniform(sphere), "ambient")


def torus(_: float) -> Target:
    """Eight wrapped normals in a checkerboard on T^2."""
    manifold = Torus(2)
    corner = np.array([(i, j) for i in range(4) for j in range(4) if (i + j) % 2 == 0])
    means = jnp.asarray((corner + 0.5) * np.pi / 2 - np.pi, jnp.float32)
    return Target(
        manifold, _mixture(manifold, means, jnp.full((8, 1), 0.2)), Uniform(manifold), "frame"
    )


def hyperbolic(_: float) -> Target:
    """Four elongated wrapped normals around the origin of H^2, c = 1 (De Bortoli et al. 2022)."""
    manifold = Hyperboloid(2)
    centers = jnp.array([[0.4, 0.0], [-0.4, 0.0], [0.0, 0.4], [0.0, -0.4]])
    scales = jnp.array([[0.15, 0.5], [0.15, 0.5], [0.5, 0.15], [0.5, 0.15]])
    distribution = _mixture(manifold, poincare.to_hyperboloid(centers, 1.0), scales)
    return Target(manifold, distribution, WrappedNormal(manifold, manifold.origin(), 1.0), "frame")


def rotations(components: float) -> Target:
    """Wrapped normals with random centers and scales on SO(3) (De Bortoli et al. 2022 publish no draws of theirs)."""
    manifold, n = SO3(), int(components)
    key_mean, key_scale = jax.random.split(jax.random.key(0))
    means = manifold.random_uniform(key_mean, (n,))
    precision = 100 * jax.random.uniform(key_scale, (n, 1), minval=0.5, maxval=1.5)
    return Target(manifold, _mixture(manifold, means, precision**-0.5), Uniform(manifold), "frame")


def _mixture(manifold, means, scales):
    weights = distrax.Categorical(logits=jnp.zeros(len(scales)))
    return distrax.MixtureSameFamily(weights, WrappedNormal(manifold, means, scales))


TARGETS: dict[Space, Callable[[float], Target]] = {
    "vmf": von_mises_fisher,
    "torus": torus,
    "hyperbolic": hyperbolic,
    "so3": rotations,
}

# (KL(model | target)) in nats, for concentrations 100, 50, 10 (Mathieu & Nickel 2020)
PUBLISHED_KL = {
    ("Riemannian", "reverse KL"): {100: 0.04, 50: 0.03, 10: 0.01},
    ("stereographic", "reverse KL"): {100: 1.56, 50: 0.68, 10: 0.12},
}
# gap of -log likelihood to the entropy, from the same: -1.78, -1.09, 0.52 and 63.60, 32.68, 6.45
PUBLISHED_GAP = {
    ("Riemannian", "likelihood"): {100: -0.01, 50: -0.02, 10: -0.02},
    ("stereographic", "likelihood"): {100: 65.37, 50: 33.75, 10: 5.91},
}
# log-likelihood for 16, 32, 64 components, each of its own draw of the target (De Bortoli et al. 2022, table 5)
PUBLISHED_SO3 = {16: 0.89, 32: 0.20, 64: -0.49}


@dataclass(frozen=True)
class Known:
    """The protocol. Runs of one name share what is done already."""

    space: Space
    name: str = "paper"
    parameters: tuple[float, ...] = (0.0,)
    """concentrations (vmf), numbers of components (so3)"""
    objectives: tuple[Objective, ...] = ("matching",)
    geometries: tuple[Geometry, ...] = ("Riemannian",)
    recipe: Recipe = field(default_factory=Recipe)
    likelihood_steps: int = 240
    """steps of the objectives that solve the differential equation"""
    solver_steps: int = 12
    """of RK4 in these steps; what is reported is by the adaptive solver"""
    test: int = 20_000
    """samples, of the target and of the model"""
    root: str = "runs"


PLAIN = Recipe(width=64, frequencies=0, steps=12_000)
FOURIER = replace(PLAIN, frequencies=32, band=(1.0, 10.0))
VMF = Known(
    "vmf",
    parameters=(100.0, 50.0, 10.0),
    objectives=("matching", "likelihood", "reverse KL"),
    geometries=("Riemannian", "stereographic"),
    recipe=FOURIER,
)
TORUS = Known("torus", recipe=FOURIER)
HYPERBOLIC = Known("hyperbolic", recipe=PLAIN)
ROTATIONS = Known(
    "so3", parameters=(16.0, 32.0, 64.0), recipe=Recipe(steps=20_000, band=(1.0, 10.0))
)


@dataclass(frozen=True)
class Cell:
    """One model."""

    space: Space
    parameter: float
    geometry: Geometry
    objective: Objective

    @property
    def folder(self) -> str:
        return f"{self.geometry}-{self.objective}-{self.parameter:g}".replace(" ", "-").lower()


def cells(config: Known) -> list[Cell]:
    """Every model asked for."""
    asked = config.parameters, config.geometries, config.objectives
    return [Cell(config.space, *values) for values in product(*asked)]


def run(config: Known) -> dict[Cell, dict[str, Any]]:
    """Train and score every cell; the table and the pictures land in the run's folder."""
    run = Run(f"flow-{config.space}", config, free=("parameters", "objectives", "geometries"))
    found = _grid.fill(run, cells(config), partial(score, config), shown="gap")
    run.finish(table(list(found.values())))
    return found


def score(config: Known, cell: Cell, folder: Path) -> dict[str, Any]:
    """Train one model and measure it, in nats."""
    target = TARGETS[cell.space](cell.parameter)
    recipe = config.recipe
    if cell.objective != "matching":
        recipe = replace(recipe, steps=config.likelihood_steps, warmup=20, average=0.9)
    model = make_model(recipe, target, cell.geometry)
    key, key_test, key_model = jax.random.split(jax.random.key(1), 3)
    trained = training.fit(
        recipe, model, objective(config, recipe, model, target, cell), None, key, folder
    )

    @jax.jit
    def measure(x, first):
        distribution = model.distribution(trained.params)
        log_p = distribution.log_prob(x)
        key = jax.random.fold_in(key_model, first)
        drawn = distribution.sample_and_log_prob(seed=key, sample_shape=len(x))
        y, log_q = _devices.over_devices(drawn)
        return {
            "gap": target.distribution.log_prob(x) - log_p,
            "kl": log_q - target.distribution.log_prob(y),
            "log_likelihood": log_p,
            "y": y,
        }

    x = target.distribution.sample(seed=key_test, sample_shape=config.test)
    figures = by_batches(measure, x, 2000, folder / "measures", trained.params)
    y = figures.pop("y")
    result: dict[str, Any] = {"cpu_seconds": round(trained.cpu_seconds, 1)}
    for name, values in figures.items():
        result[name] = float(np.mean(values, dtype=float))
        result[f"{name}_error"] = float(np.std(values, dtype=float) / config.test**0.5)
    distribution = model.distribution(trained.params)
    nodes = quadrature(target.manifold)
    if nodes is not None and cell.geometry == "Riemannian":
        points, weights = nodes
        log_p = training.log_prob(distribution, points, folder / "mass")
        result["mass"] = float(np.sum(weights * np.exp(log_p.astype(np.float64))))
        _, stats = jax.jit(lambda flow, x: flow.log_prob_and_stats(x))(distribution, points[:512])
        result["evaluations"] = int(stats.evaluations)
    samples = {"target": np.asarray(x[:200]), "flow": np.asarray(y[:200])}
    pictures.known(
        folder, target.manifold, {"target": target.distribution, "flow": distribution}, samples
    )
    return result


def make_model(recipe: Recipe, target: Target, geometry: Geometry) -> Model:
    """The flow on the target's manifold, or (sphere) on the plane of the stereographic chart."""
    if geometry == "stereographic":
        return training.in_chart(recipe, bijectors.Stereographic(2))
    return Model(target.manifold, target.base, recipe.field(target.manifold, target.kind))


def objective(
    config: Known, recipe: Recipe, model: Model, target: Target, cell: Cell
) -> training.Loss:
    """The loss of a cell."""
    solver, batch = flows.RK4(config.solver_steps), _devices.rows(recipe.batch)

    def draw(_, key, n):
        return target.distribution.sample(seed=key, sample_shape=n)

    def log_density(x) -> Any:
        if model.chart is None:
            return target.distribution.log_prob(x)
        y, log_det = model.chart.forward_and_log_det(x)
        return target.distribution.log_prob(y) + log_det

    def likelihood(params, _, key):
        x = _devices.over_batch(model.to_chart(draw(None, key, batch)))
        return jnp.mean(flows.nll(model.flow(params, solver), x)), {}

    def reverse_kl(params, _, key):
        flow = model.flow(params, solver)
        return jnp.mean(_devices.over_batch(flows.reverse_kl(flow, log_density, key, batch))), {}

    matching = training.matching(model, draw, recipe.batch)
    return {"matching": matching, "likelihood": likelihood, "reverse KL": reverse_kl}[
        cell.objective
    ]


def quadrature(manifold: Manifold) -> tuple[jax.Array, np.ndarray] | None:
    """Nodes and weights of the volume; None on SO(3). The hyperbolic plane up to distance 4 of the origin.

    On the torus an even grid, else polar coordinates about the origin.
    """
    phi = (np.arange(192) + 0.5) / 192 * 2 * np.pi
    circle = np.stack([np.cos(phi), np.sin(phi)], -1)
    match manifold:
        case Torus():
            points = np.stack(np.meshgrid(phi - np.pi, phi - np.pi), -1).reshape(-1, 2)
            return jnp.asarray(points, jnp.float32), np.full(192**2, (2 * np.pi / 192) ** 2)
        case Sphere():
            reach, circumference = np.pi, np.sin
        case Hyperboloid():
            root = float(np.sqrt(manifold.c))
            reach, circumference = 4.0, lambda r: np.sinh(root * r) / root
        case _:
            return None
    node, weight = np.polynomial.legendre.leggauss(128)
    r, weight = reach / 2 * (1 + node), reach / 2 * weight
    a = jnp.asarray(r[:, None, None] * circle, jnp.float32)
    points = manifold.expmap_frame(manifold.origin(), a)
    weights = np.repeat(weight * circumference(r), 192) * 2 * np.pi / 192
    return points.reshape(-1, points.shape[-1]), weights


def table(found: list[dict[str, Any]]) -> str:
    """Ours beside what is published."""
    found = sorted(found, key=lambda r: (r["geometry"], r["objective"], -r["parameter"]))
    return (
        "Gap: mean log-density of test points under the truth minus that under the model; KL(model | target); nats, ± "
        "standard error over the samples\n\n" + markdown_table(map(table_row, found))
    )


def table_row(r: dict[str, Any]) -> dict[str, object]:
    """One model."""
    model, parameter = (r["geometry"], r["objective"]), int(r["parameter"])
    row: dict[str, object] = {"geometry": model[0], "objective": model[1], "parameter": parameter}
    for name, title, published in (("gap", "gap", PUBLISHED_GAP), ("kl", "KL", PUBLISHED_KL)):
        row[title] = f"{r[name]:z.4f} ± {r[f'{name}_error']:.4f}"
        if r["space"] == "vmf":
            row[f"{title}, paper"] = published.get(model, {}).get(parameter)
    if r["space"] == "so3":
        row["log-likelihood"] = f"{r['log_likelihood']:z.3f}"
        row["paper, its own draw"] = PUBLISHED_SO3.get(parameter)
    row["mass"] = f"{r['mass']:.5f}" if "mass" in r else ""
    row["evaluations"] = r.get("evaluations")
    return row | {"CPU s": f"{r['cpu_seconds']:.0f}", **date_and_revision(r)}
