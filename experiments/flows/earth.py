"""Densities of the earth-science sets: every baseline and ours on the same splits, raw and deduplicated."""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from experiments.flows import data, pictures, training
from experiments.flows.training import Model, Recipe
from geodl import bijectors, distributions, flows, train
from geodl.manifolds import Euclidean, Sphere


Method = Literal[
    "uniform",
    "von Mises-Fisher mixture",
    "kernel density",
    "adaptive kernel density",
    "wrapped flow",
    "stereographic flow",
    "flow",
    "flow and adaptive kernel density",
]
METHODS: tuple[Method, ...] = Method.__args__  # type: ignore[attr-defined]
FLOWS = ("wrapped flow", "stereographic flow", "flow")
MIXED: tuple[Method, ...] = ("flow", "adaptive kernel density")

FLOOR = 0.01  # share of the uniform law in every baseline: no test point is impossible

LOG_PROB = "log_prob.npz"  # of every test, validation and some training points

# Test NLL in nats on raw splits: volcano, earthquake, flood, fire.
SETS = ("volcano", "earthquake", "flood", "fire")
PUBLISHED = {
    "mixture of von Mises-Fisher (Mathieu & Nickel 2020)": "-0.31±.07  0.59±.01  1.09±.01  -0.23±.02",
    "stereographic CNF (Mathieu & Nickel 2020)": "-0.64±.20  0.43±.06  0.99±.04  -0.40±.06",
    "Riemannian CNF (Mathieu & Nickel 2020)": "-0.97±.15  0.18±.05  0.90±.03  -0.66±.05",
    "Riemannian CNF (as rerun by De Bortoli et al. 2022)": "-6.05±.61  0.14±.23  1.11±.19  -0.80±.54",
    "Moser flow (as rerun by De Bortoli et al. 2022)": "-4.21±.17  -0.16±.06  0.57±.10  -1.28±.05",
    "Riemannian score-based model (De Bortoli et al. 2022)": "-4.92±.25  -0.19±.07  0.45±.17  -1.33±.06",
    "Riemannian diffusion model (Huang et al. 2022)": "-6.61±.96  -0.40±.05  0.43±.07  -1.38±.05",
    "Riemannian flow matching (Chen & Lipman 2024)": "-7.93±1.67  -0.28±.08  0.42±.05  -1.86±.11",
}


@dataclass(frozen=True)
class Earth:
    """The protocol; the defaults are the whole table. Runs of one name share what is done already."""

    name: str = "paper"
    sets: tuple[data.Name, ...] = SETS
    splits: tuple[Literal["raw", "deduplicated"], ...] = ("raw", "deduplicated")
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    methods: tuple[Method, ...] = METHODS
    fractions: tuple[float, ...] = (1.0,)
    """parts of the training points; several make learning curves"""
    recipe: Recipe = field(default_factory=Recipe)
    jitter: float = 1.0
    """moves data in training, by so much of the distance to the second neighbour"""
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


@dataclass(frozen=True)
class Cell:
    """One number of the table."""

    set: data.Name
    split: str
    seed: int
    fraction: float
    method: Method

    @property
    def folder(self) -> str:
        part = "" if self.fraction == 1 else f"-part{self.fraction:g}"
        return f"{self.set}-{self.split}{part}/seed{self.seed}/{place(self.method)}"


def place(method: Method) -> str:
    """A method's folder."""
    return method.replace(" ", "-").lower()


def cells(config: Earth) -> Iterator[Cell]:
    """Every number asked for."""
    for name in config.sets:
        for split in config.splits:
            for seed in config.seeds:
                for fraction in config.fractions:
                    for method in config.methods:
                        yield Cell(name, split, seed, fraction, method)


def run(config: Earth) -> dict[Cell, dict[str, Any]]:
    """Fit and score every cell; tables and pictures land in the run's folder."""
    protocol = asdict(config)
    for asked in ("sets", "splits", "seeds", "methods", "fractions", "download", "root"):
        del protocol[asked]
    folder = train.start_run("earth", config.name, protocol, config.root)
    for cell in cells(config):
        path = folder / cell.folder / "result.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            result = asdict(cell) | train.circumstances() | score(config, cell, path.parent)
            train.write_text(path, json.dumps(result, indent=2) + "\n")
            print(f"{cell.folder}: test {result['test']:.3f}", flush=True)
    found = results(folder)
    text = tables(found)
    train.write_text(folder / "table.md", text + "\n")
    pictures.learning_curves(folder / "learning_curves.png", found)
    print(f"\n{text}\n\ntable: {folder / 'table.md'}\npictures: {folder}/**/*.png")
    return found


def results(folder: Path) -> dict[Cell, dict[str, Any]]:
    """What the finished cells of a run have measured."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*/*/*/result.json"))]
    return {
        Cell(*(r[k] for k in ("set", "split", "seed", "fraction", "method"))): r for r in records
    }


# ---------------------------------------------------------------------------------------------------
# One cell
# ---------------------------------------------------------------------------------------------------


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
        log_p, result["weight"] = mixed([folder.parent / place(m) for m in MIXED])
        cpu_seconds = time.process_time() - start
    else:
        if cell.method in FLOWS:
            trained, model = fit_flow(config, cell.method, fit, validation, key, folder)
            law, cpu_seconds = model.law(trained.params), trained.cpu_seconds
        elif cell.method == "von Mises-Fisher mixture":
            law, cpu_seconds = mixture(fit, validation, key, folder / "mixtures")
        else:
            law = jax.block_until_ready(baseline(cell.method, fit, validation))
            cpu_seconds = time.process_time() - start
        log_prob = jax.jit(lambda law, x: law.log_prob(x))
        log_p = {name: np.asarray(log_prob(law, x)) for name, x in scored.items()}
    np.savez(folder / LOG_PROB, **log_p)
    result |= {name: -float(np.mean(values)) for name, values in log_p.items()}
    result["cpu_seconds"] = round(cpu_seconds, 1)
    if cell.set in SETS:
        seen = (points[index.test][:, None] == points[fitted]).all(-1).any(-1)
        result["copies"] = float(np.mean(seen))
    if not all(map(math.isfinite, (result["test"], result["validation"]))):
        raise FloatingPointError(f"{folder}: the likelihood is not finite: {result}")
    if cell.method == "flow":
        result |= solver_report(model, trained.params, test)
        if cell.seed == 0:
            drawn = model.flow(trained.params, flows.Tsit5(1e-3, 1e-3))
            pictures.density(folder, drawn, np.asarray(test))
            pictures.paths(folder, drawn, key)
    return result


def mixed(folders: list[Path]) -> tuple[dict[str, np.ndarray], float]:
    """Log-densities of the mixture of two laws that are scored already, and the weight of the first one.

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


def solver_report(model: Model, params: Any, test: jax.Array) -> dict[str, float]:
    """Evaluations of the field, the mean error of the reported log-densities, and what eight even steps would read."""

    @jax.jit
    def report(params, x):
        flow = model.flow(params)
        _, error = flow.log_prob_and_error(x)
        _, stats = flow.log_prob_and_stats(x)
        x0, log_det, _ = flows.RK4(8)(flow.rate, x, 1.0, 0.0, flow.manifold)
        coarse = -(flow.base.log_prob(x0) + log_det)
        return {"solver_error": error, "evaluations": stats.evaluations, "by_rk4_8": coarse}

    return jax.tree.map(lambda a: float(jnp.mean(a)), report(params, test))


def baseline(method: Method, fit, validation) -> distrax.Distribution:
    """The law that a method makes of the points, FLOOR of it uniform: of all candidates the best on ``validation``."""
    match method:
        case "uniform":
            return distributions.Uniform(Sphere(2))
        case "kernel density":
            candidates = jnp.logspace(0.0, 10.0, 61)
            return jax.jit(distributions.select_kernel_density)(fit, validation, candidates, FLOOR)
        case "adaptive kernel density":
            near = [m for m in (1, 2, 4, 8, 16, 32) if m < len(fit)]
            candidates = distributions.adaptive_concentrations(
                fit, near, tuple(np.logspace(-1, 1, 10))
            )
            return jax.jit(distributions.select_kernel_density)(fit, validation, candidates, FLOOR)
        case _:
            raise ValueError(f"{method} is no baseline")


def mixture(fit, validation, key, folder: Path) -> tuple[distrax.Distribution, float]:
    """The von Mises-Fisher mixture of the largest validation likelihood, and the processor's time of all sizes.

    A killed run keeps the sizes that it has fitted.
    """

    def fitted(components: int) -> dict[str, Any]:
        start = time.process_time()
        law = jax.block_until_ready(
            with_floor(distributions.fit_von_mises_fisher_mixture(key, fit, components, 100, 2))
        )
        return {
            "validation": jnp.mean(law.log_prob(validation)),
            "logits": law.mixture_distribution.logits,
            "loc": law.components_distribution.loc,
            "concentration": law.components_distribution.concentration,
            "cpu_seconds": time.process_time() - start,
        }

    sizes = [k for k in (5, 10, 25, 50, 100, 200) if 2 * k <= len(fit)]
    found = train.resumable_map(fitted, sizes, folder, (fit, validation, key))
    best = max(found, key=lambda one: float(one["validation"]))
    law = distrax.MixtureSameFamily(
        distrax.Categorical(logits=jnp.asarray(best["logits"])),
        distributions.VonMisesFisher(best["loc"], best["concentration"]),
    )
    return law, float(sum(one["cpu_seconds"] for one in found))


def with_floor(law: distrax.MixtureSameFamily) -> distrax.MixtureSameFamily:
    """A mixture of von Mises-Fisher laws with one component more, of weight FLOOR and concentration 0."""
    kernels: Any = law.components_distribution
    logits = law.mixture_distribution.logits
    logits = jnp.append(jax.nn.log_softmax(logits) + math.log1p(-FLOOR), math.log(FLOOR))
    loc = jnp.concatenate([kernels.loc, kernels.loc[:1]])
    concentration = jnp.append(kernels.concentration, 0.0)
    return distrax.MixtureSameFamily(
        distrax.Categorical(logits=logits), distributions.VonMisesFisher(loc, concentration)
    )


def make_model(recipe: Recipe, method: Method) -> Model:
    """The flow on the sphere, or one on the plane and a chart."""
    if method == "flow":
        sphere = Sphere(2)
        return Model(sphere, distributions.Uniform(sphere), recipe.field(sphere, "ambient"))
    plane = Euclidean(2)
    base = distributions.WrappedNormal(plane, jnp.zeros(2), 1.0)
    chart = (
        bijectors.Stereographic(2)
        if method == "stereographic flow"
        else bijectors.ExponentialMap(Sphere(2))
    )
    return Model(plane, base, recipe.field(plane, "ambient"), chart)


def fit_flow(config: Earth, method: Method, fit, validation, key, folder: Path):
    """A flow trained by matching, and its model."""
    recipe, model = config.recipe, make_model(config.recipe, method)
    scales = jnp.zeros(len(fit))
    if config.jitter:
        scales = config.jitter * distributions.neighbor_distances(Sphere(2), fit, 2)[:, 1]

    def draw(points_and_scales, key, n):
        key_index, key_jitter = jax.random.split(key)
        x, scale = jax.tree.map(lambda a: training.any_of(a, key_index, n), points_and_scales)
        return flows.jitter(Sphere(2), key_jitter, x, scale) if config.jitter else x

    loss = training.matching(model, draw, recipe.batch)
    return training.fit(recipe, model, loss, (fit, scales), key, folder, validation), model


# ---------------------------------------------------------------------------------------------------
# Tables
# ---------------------------------------------------------------------------------------------------


def tables(found: dict[Cell, dict[str, Any]]) -> str:
    """One table for each kind of split, the published rows below the raw one; the cost of ours."""
    whole = {cell: r for cell, r in found.items() if cell.fraction == 1}
    text = []
    for split in dict.fromkeys(cell.split for cell in whole):
        mine = {cell: r for cell, r in whole.items() if cell.split == split}
        sets = [s for s in (*SETS, "cities", "mixture") if any(cell.set == s for cell in mine)]
        rows = [
            [
                method,
                *(
                    summary(
                        [r["test"] for c, r in mine.items() if (c.set, c.method) == (s, method)]
                    )
                    for s in sets
                ),
            ]
            for method in METHODS
            if any(cell.method == method for cell in mine)
        ]
        if split == "raw" and set(sets) & set(SETS):
            for source, values in PUBLISHED.items():
                row = dict(zip(SETS, values.replace("±", " ± ").split("  "), strict=True))
                rows.append([source, *(row.get(s, "") for s in sets)])
        counts = {s: next(r["train_points"] for c, r in mine.items() if c.set == s) for s in sets}
        header = ["", *(f"{s} ({counts[s]})" for s in sets)]
        text += [
            f"Test negative log-likelihood, nats with respect to area, {split} splits (points to train on); mean ± "
            "standard deviation over the seeds, their number in brackets where it is not 5",
            train.markdown_table(header, rows),
        ]
    ours = [(cell, r) for cell, r in whole.items() if cell.method == "flow"]
    if ours:
        rows = [
            [
                *(c.set, c.split, c.seed),
                *(f"{r[k]:.3f}" for k in ("test", "validation", "train")),
                f"{100 * r['copies']:.1f}" if "copies" in r else "",
                f"{r['cpu_seconds']:.0f}",
                f"{r['evaluations']:.0f}",
                f"{r['solver_error']:.1e}",
                f"{r['by_rk4_8']:.3f}",
                r["revision"][:7],
            ]
            for c, r in ours
        ]
        header = "set, split, seed, test, validation, train, % copies, CPU s, NFE, solver error, by RK4-8, revision"
        text += [
            "Ours, run by run; copies: test points that are training points too; solver error: the log-densities', on "
            "average, against a tenth of the tolerances; by RK4-8: what eight even steps in t would read:",
            train.markdown_table(header.split(", "), rows),
        ]
    return "\n\n".join(text)


def summary(values: list[float]) -> str:
    """Mean ± standard deviation."""
    if not values:
        return "not run"
    if len(values) == 1:
        return f"{values[0]:.2f} (1)"
    count = "" if len(values) == 5 else f" ({len(values)})"
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}{count}"
