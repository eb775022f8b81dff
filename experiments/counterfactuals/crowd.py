"""Counting: what has to change in a scene for a counter to see few figures, or more of them.

The scenes are generated, so that an independent detector knows what a figure looks like: a counterfactual should add
and remove figures, an adversarial example only misleads the counter.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.tree_util import Partial
from scipy.stats import spearmanr, wasserstein_distance

from experiments import _devices
from experiments._run import Run, citation, markdown_table, metric_rows, provenance
from experiments._training import minimize
from experiments.counterfactuals import models, pictures, scenes, searches
from experiments.counterfactuals.counter import unet_counter
from experiments.counterfactuals.image_flows import FlowRecipe, TrainedFlow, train_flow
from experiments.counterfactuals.scenes import Scenes
from geodl import counterfactual as cf
from geodl.flows import bin_centers


@dataclass(frozen=True)
class Crowd:
    """The protocol; the defaults take about half an hour on one core."""

    name: str = "crowd"
    scenes: int = 10_000
    """to train on, of the flow and the counter that is explained; the second counter has as many others"""
    tested: int = 1000
    flow: FlowRecipe = field(
        default_factory=lambda: FlowRecipe(
            levels=((4, 6),), width=64, steps=6000, noise="uniform", alpha=0.05
        )
    )
    """the camera's noise fills the bins: uniform noise within them will do"""
    counter_widths: tuple[int, ...] = (12, 24, 48)
    counter_steps: int = 1000
    counter_rate: float = 3e-3
    batch: int = 32
    map_weight: float = 10.0
    """of the location map's cross-entropy beside the count's smooth l1 distance"""
    searched: int = 200
    """scenes to set out from, in both directions"""
    more: int = 4
    """figures to add"""
    below: float = 0.5
    """count to get below"""
    rate: float = 0.5
    """length of a step in the base, in all coordinates together"""
    data_rate: float = 0.05
    """likewise among the images"""
    steps: int = 500
    root: str = "runs"


def run(config: Crowd) -> dict[str, Any]:
    """Train flow and counters, search both ways, count anew; everything lands in the run's folder."""
    run = Run("cf-crowd", config)
    folder = run.folder
    first, second = (scenes.draw(config.scenes, seed) for seed in (0, 1))
    test = scenes.draw(config.tested, seed=2)

    flow = train_flow(config.flow, first.images, folder / "flow")
    shape = (*first.images.shape[1:], 1)
    trained = train_counters(config, shape, {"counter": first, "second counter": second}, folder)
    counters: Counters = {name: partial(models.outputs, model) for name, model in trained.items()}
    counters["detector"] = detected
    report = quality(flow, counters, test, folder)
    report["counter parameters"] = sum(leaf.size for leaf in jax.tree.leaves(trained["counter"]))
    lengths = config.rate, config.data_rate
    rules = searches.in_both_spaces(
        flow.generator(), shape, trained["counter"], cf.interval(), config.steps, lengths
    )
    task = tasks(config, test)
    images = task.starts.images[..., None]
    found = searches.search_all(rules, images, task.goal, folder / "searches")
    measures = {name: measure(flow, counters, task, result) for name, result in found.items()}
    draw(rules["base space"], found, measures["base space"], task, folder)
    result = report | {
        name: {k: np.asarray(v, float).tolist() for k, v in values.items()}
        for name, values in measures.items()
    }
    run.finish(tables(config, report, measures, task.decrease), result)
    return result


Counters = dict[str, Callable[[Any], np.ndarray]]  # from images (n, 32, 32, 1) in [0, 1] to counts


class Task(NamedTuple):
    """Scenes to set out from, intervals of counts (n, 2) to reach, and which of the searches decrease the count."""

    starts: Scenes
    goal: np.ndarray
    decrease: np.ndarray


def train_counters(
    config: Crowd, shape: tuple[int, int, int], data: dict[str, Scenes], folder: Path
) -> dict[str, Partial]:
    """U-Nets that have learned counts and places of heads, each from its own scenes and seed: of an image its count."""
    net = unet_counter(shape, config.counter_widths, patch=2)

    def count(params, x):
        return net.apply(params, x).counts

    def loss(params, samples, key):
        scene, count, heads = samples
        found = net.apply(params, bin_centers(scene))
        off = optax.huber_loss(found.counts, count)
        map_loss = optax.sigmoid_binary_cross_entropy(found.map_logits, heads).mean((-2, -1))
        return {"loss": off + config.map_weight * map_loss, "off": off}

    rate = optax.cosine_decay_schedule(config.counter_rate, config.counter_steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    counters = {}
    for seed, (name, drawn) in enumerate(data.items()):
        key, arrays = jax.random.key(seed), (drawn.images[..., None], drawn.counts, drawn.heads)
        steps, counter_folder = config.counter_steps, folder / name.replace(" ", "-")
        state, _ = minimize(
            loss, net.init(key), optimizer, arrays, config.batch, steps, key, counter_folder
        )
        counters[name] = Partial(count, state.params)
    return counters


def tasks(config: Crowd, test: Scenes) -> Task:
    """Those scenes that have room for more figures, then those that have one at least."""
    room = scenes.MOST_FIGURES - config.more
    to_more, to_few = (
        np.flatnonzero(mask)[: config.searched] for mask in (test.counts <= room, test.counts > 0)
    )
    index = np.concatenate([to_more, to_few])
    starts = jax.tree.map(lambda a: a[index], test)
    decrease = np.arange(len(index)) >= len(to_more)
    low = np.where(decrease, -math.inf, starts.counts + config.more)
    high = np.where(decrease, config.below, math.inf)
    return Task(starts, np.stack([low, high], -1).astype(np.float32), decrease)


def detected(x: np.ndarray) -> np.ndarray:
    """How many figures the detector sees in images (n, 32, 32, 1) in [0, 1]."""
    return np.array([len(p) for p in scenes.detect(255 * np.asarray(x)[..., 0])])


def quality(flow: TrainedFlow, counters: Counters, test: Scenes, folder: Path) -> dict[str, Any]:
    """Errors of counters and detector, with figures where they are and elsewhere; how good the flow is."""
    elsewhere = scenes.resampled_positions(test, seed=3)
    shown, redrawn = (np.asarray(bin_centers(s.images[..., None])) for s in (test, elsewhere))
    report: dict[str, Any] = provenance()
    report["flow parameters"] = sum(leaf.size for leaf in jax.tree.leaves(flow.params))
    report["error"], report["positions"] = {}, {}
    for name, count in counters.items():
        first, second = count(shown), count(redrawn)
        report["error"][name] = float(np.abs(first - test.counts).mean())
        report["positions"][name] = float(np.abs(first - second).mean())
    report["bits per dim"] = float(flow.bits(shown).mean())

    @jax.jit
    def sample(params, key):
        distribution = flow.model.distribution(params)
        return _devices.over_devices(distribution.sample(seed=key, sample_shape=len(test.counts)))

    samples = np.clip(sample(flow.params["flow"], jax.random.key(1)), 0, 1)
    counts = detected(samples)
    report["samples' counts"] = np.bincount(counts).tolist()
    report["scenes' counts"] = np.bincount(test.counts).tolist()
    report["distance of counts"] = float(wasserstein_distance(counts, test.counts))
    panels = {"test scenes": shown, "samples of the flow": samples}
    pictures.grids(
        folder / "samples.png",
        {title: colored(x[:40]).reshape(5, 8, *x.shape[1:3], 3) for title, x in panels.items()},
    )
    return report


def colored(x: Any) -> np.ndarray:
    """Gray images (..., 1) in three colors: to be shown as they are, not as ink on paper."""
    return np.repeat(x, 3, -1)


def measure(
    flow: TrainedFlow, counters: Counters, task: Task, found: searches.Found
) -> dict[str, np.ndarray]:
    """What the search has measured, how the counts have changed, and how far the images have, (n,) each."""
    change = np.abs(found.x - found.start)
    values = dict(found.measures)
    for name, count in counters.items():
        values[name] = 1.0 * count(found.x) - count(found.start)
    values["l2"] = np.sqrt(np.sum(change**2, (1, 2, 3)))
    # neither where figures were, nor where the detector sees one now
    now = [scenes.silhouettes(p) for p in scenes.detect(255 * found.x[..., 0])]
    outside = np.maximum(task.starts.figures, np.stack(now)) < 0.05
    values["outside figures"] = np.array(
        [255 * c[o, 0].mean() for c, o in zip(change, outside, strict=True)]
    )
    values["bits/dim"] = flow.bits(found.x)
    return values


def rank_correlation(values: dict[str, np.ndarray], name: str, some: np.ndarray) -> float:
    """Spearman's, of the changes that the explained counter and another one see; NaN where one of them sees none."""
    if min(np.ptp(values[who][some]) for who in ("counter", name)) == 0:
        return math.nan
    return float(spearmanr(values["counter"][some], values[name][some])[0])  # type: ignore[arg-type]


def tables(
    config: Crowd,
    report: dict[str, Any],
    measures: dict[str, dict[str, np.ndarray]],
    decrease: np.ndarray,
) -> str:
    """Who counts how well; what the searches have changed."""
    errors = [
        {"who counts": name, "error": error, "other positions": report["positions"][name]}
        for name, error in report["error"].items()
    ]
    ways = {f"towards {config.more} more": ~decrease, f"below {config.below:g}": decrease}
    of_searches = {
        f"{name}, {way}": {measure: value[some] for measure, value in values.items()}
        for name, values in measures.items()
        for way, some in ways.items()
    }
    directions = {"both ways": np.ones_like(decrease), "to few": decrease}
    correlations = [
        {"search": name}
        | {
            f"{other}, {way}": rank_correlation(values, other, some)
            for other in ("second counter", "detector")
            for way, some in directions.items()
        }
        for name, values in measures.items()
    ]
    counts = " ".join(map(str, report["samples' counts"]))
    return "\n\n".join(
        [
            f"Mean absolute error of the count on {config.tested} test scenes, and mean difference between a scene and "
            "the same with the figures' positions drawn again:",
            markdown_table(errors),
            f"The flow: {report['flow parameters']} parameters, {report['bits per dim']:.3f} bits/dim; "
            f"its samples have 0, 1, 2, ... figures {counts} times by the detector; distance (Wasserstein-1) of this "
            f"from the scenes' counts {report['distance of counts']:.2f}.",
            "Searches; the counters' and the detector's columns are changes of the count, outside figures is the mean "
            "absolute change in gray levels of 255 where there is no figure before or after. Means ± standard error, "
            "shares with Wilson's interval:",
            markdown_table(metric_rows(of_searches)),
            "Rank correlation of the change that the explained counter sees with the change that others see:",
            markdown_table(correlations),
            citation(report),
        ]
    )


def draw(
    rule: cf.Search,
    found: dict[str, searches.Found],
    measures: dict[str, np.ndarray],
    task: Task,
    folder: Path,
) -> None:
    """Panels, the searches' way, and the spectrum of the flow's Jacobian."""
    base, data, counts = found["base space"], found["data space"], task.starts.counts
    to_more, to_few = np.flatnonzero(~task.decrease), np.flatnonzero(task.decrease)
    shown = np.concatenate([to_more[:4], to_few[:4]])
    captions = [f"{counts[i]} figures\n{measures['counter'][i]:+.1f} counted" for i in shown]
    start, ours, attack = (colored(x[shown]) for x in (base.start, base.x, data.x))
    pictures.panels(folder / "panels.png", start, ours, attack, captions)
    ways, images = np.array([to_more[0], to_few[0]]), task.starts.images[..., None]
    z = searches.encode(rule.generator, images[ways])
    frames, counts, steps = searches.trajectories(rule, z, task.goal[ways])
    pictures.strip(folder / "trajectories.png", colored(frames), "step {}: {:.1f}", steps, counts)
    ends = {"scenes": searches.encode(rule.generator, images[:3]), "counterfactuals": base.z[:3]}
    spectra = {name: searches.spectra(rule, z) for name, z in ends.items()}
    pictures.spectrum(folder / "spectrum.png", spectra)
