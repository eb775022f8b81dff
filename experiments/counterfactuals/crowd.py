"""Counting: what has to change in a scene for a counter to see few figures, or more of them.

The scenes are generated, so that an independent detector knows what a figure looks like: a counterfactual should add
and remove figures, an adversarial example only misleads the counter.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial
from scipy.stats import spearmanr, wasserstein_distance

from experiments._run import Run, citation, markdown_table, metric_rows, provenance
from experiments.counterfactuals import models, pictures, scenes, searches
from experiments.counterfactuals.counter import unet_counter
from experiments.counterfactuals.image_flows import FlowRecipe, TrainedFlow, train_flow
from experiments.counterfactuals.rules import fixed_length
from experiments.counterfactuals.scenes import Scenes
from geodl import counterfactual as cf
from geodl import nn, train
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
    net = unet_counter(shape, config.counter_widths, patch=2)

    def count(params, x):
        return net.apply(params, x).counts

    data = {"counter": first, "second counter": second}
    trained = train_counters(config, net, data, folder)
    counters = {name: Partial(count, params) for name, params in trained.items()}
    report = quality(flow, counters, test, folder)
    rules = make_rules(config, shape, flow.generator(), counters["counter"])
    starts, goal, decrease = tasks(config, test)
    found = searches.search_all(rules, starts.images[..., None], goal, folder / "searches")
    measures = {name: measure(flow, counters, starts, result) for name, result in found.items()}
    table = tables(config, report, measures, decrease)
    result = report | {
        name: {k: np.asarray(v, float).tolist() for k, v in values.items()}
        for name, values in measures.items()
    }
    draw(rules, found, measures, starts, goal, decrease, folder)
    run.finish(table, result)
    return result


def train_counters(
    config: Crowd, net: nn.Net, data: dict[str, Scenes], folder: Path
) -> dict[str, Any]:
    """Parameters of U-Nets that have learned counts and places of heads, each from its own scenes and seed."""

    def loss(params, batch, key):
        scene, count, heads = batch.data
        found = net.apply(params, bin_centers(scene))
        off = optax.huber_loss(found.counts, count)
        map_loss = optax.sigmoid_binary_cross_entropy(found.map_logits, heads).mean((-2, -1))
        weight = batch.weight / jnp.sum(batch.weight)
        return jnp.sum(weight * (off + config.map_weight * map_loss)), {
            "off": jnp.sum(weight * off)
        }

    rate = optax.cosine_decay_schedule(config.counter_rate, config.counter_steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    step = train.on_minibatches(train.make_step(loss, optimizer), config.batch)
    run = train.chunked(step, convolutional=True)
    chunk = min(500, config.counter_steps)
    params = {}
    for seed, (name, drawn) in enumerate(data.items()):
        key = jax.random.key(seed)
        arrays = drawn.images[..., None], drawn.counts.astype(np.float32), drawn.heads
        counter_folder = folder / name.replace(" ", "-")
        arrays = jax.tree.map(jnp.asarray, arrays)
        state = train.init(net.init(key), optimizer, key, len(drawn.images))
        state, _ = train.fit(run, state, arrays, config.counter_steps, counter_folder, chunk=chunk)
        params[name] = state.params
    return params


def make_rules(
    config: Crowd, shape: tuple[int, ...], generator: cf.Generator, counter: Partial
) -> dict[str, cf.Search]:
    """The search in the flow's base, and among the images."""

    def rule(generator, rate):
        ascent = fixed_length(rate)
        return cf.Search(
            generator, counter, cf.interval(), ascent, config.steps, postprocess=searches.as_8bit
        )

    return {
        "base space": rule(generator, config.rate),
        "data space": rule(cf.data_space(shape), config.data_rate),
    }


def tasks(config: Crowd, test: Scenes) -> tuple[Scenes, np.ndarray, np.ndarray]:
    """Scenes to set out from, intervals of counts (n, 2) to reach, and which of the searches decrease the count."""
    room = scenes.MOST_FIGURES - config.more
    to_more, to_few = (
        np.flatnonzero(mask)[: config.searched] for mask in (test.counts <= room, test.counts > 0)
    )
    index = np.concatenate([to_more, to_few])
    starts = jax.tree.map(lambda a: a[index], test)
    decrease = np.arange(len(index)) >= len(to_more)
    low = np.where(decrease, -math.inf, starts.counts + config.more)
    high = np.where(decrease, config.below, math.inf)
    return starts, np.stack([low, high], -1).astype(np.float32), decrease


def detected(x: np.ndarray) -> np.ndarray:
    """How many figures the detector sees in images (n, 32, 32, 1) in [0, 1]."""
    return np.array([len(p) for p in scenes.detect(255 * np.asarray(x)[..., 0])])


def quality(
    flow: TrainedFlow,
    counters: dict[str, Partial],
    test: Scenes,
    folder: Path,
) -> dict[str, Any]:
    """Errors of counters and detector, with figures where they are and elsewhere; how good the flow is."""
    elsewhere = scenes.resampled_positions(test, seed=3)
    shown, redrawn = (np.asarray(bin_centers(s.images[..., None])) for s in (test, elsewhere))
    report: dict[str, Any] = provenance()
    report["flow parameters"] = sum(leaf.size for leaf in jax.tree.leaves(flow.params))
    report["counter parameters"] = sum(leaf.size for leaf in jax.tree.leaves(counters))
    report["counter parameters"] //= len(counters)
    report["error"], report["positions"] = {}, {}
    for name, count in [*((n, _counts(c)) for n, c in counters.items()), ("detector", detected)]:
        first, second = count(shown), count(redrawn)
        report["error"][name] = float(np.abs(first - test.counts).mean())
        report["positions"][name] = float(np.abs(first - second).mean())
    report["bits per dim"] = float(flow.bits(shown).mean())
    sample = jax.jit(
        lambda params: flow.model.distribution(params).sample(
            seed=jax.random.key(1), sample_shape=len(test.counts)
        )
    )
    samples = np.clip(sample(flow.params["flow"]), 0, 1)
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


def _counts(counter: Partial) -> Callable[[Any], np.ndarray]:
    return lambda x: models.outputs(counter, x)


def measure(
    flow: TrainedFlow,
    counters: dict[str, Partial],
    starts: Scenes,
    found: searches.Found,
) -> dict[str, np.ndarray]:
    """What the search has measured, how the counts have changed, and how far the images have, (n,) each."""
    change = np.abs(found.x - found.start)
    values = dict(found.measures)
    for name, counter in counters.items():
        values[name] = models.outputs(counter, found.x) - models.outputs(counter, found.start)
    values["detector"] = (detected(found.x) - detected(found.start)).astype(float)
    values["l2"] = np.sqrt(np.sum(change**2, (1, 2, 3)))
    # neither where figures were, nor where the detector sees one now
    now = [scenes.silhouettes(p) for p in scenes.detect(255 * found.x[..., 0])]
    outside = np.maximum(starts.figures, np.stack(now)) < 0.05
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
    errors = [[name, report["error"][name], report["positions"][name]] for name in report["error"]]
    ways = {f"towards {config.more} more": ~decrease, f"below {config.below:g}": decrease}
    rows = [
        [
            f"{name}, {way}",
            *(cell for cell in metric_rows({"": _some(values, mask)})[1][0][1:]),
        ]
        for name, values in measures.items()
        for way, mask in ways.items()
    ]
    shown = next(iter(measures.values()))
    correlations = [
        [
            name,
            *(
                rank_correlation(values, other, mask)
                for other in ("second counter", "detector")
                for mask in (np.ones_like(decrease), decrease)
            ),
        ]
        for name, values in measures.items()
    ]
    header = [
        f"{other}, {way}"
        for other in ("second counter", "detector")
        for way in ("both ways", "to few")
    ]
    counts = " ".join(map(str, report["samples' counts"]))
    return "\n\n".join(
        [
            f"Mean absolute error of the count on {config.tested} test scenes, and mean difference between a scene and "
            "the same with the figures' positions drawn again:",
            markdown_table(["who counts", "error", "other positions"], errors),
            f"The flow: {report['flow parameters']} parameters, {report['bits per dim']:.3f} bits/dim; "
            f"its samples have 0, 1, 2, ... figures {counts} times by the detector; distance (Wasserstein-1) of this "
            f"from the scenes' counts {report['distance of counts']:.2f}.",
            "Searches; the counters' and the detector's columns are changes of the count, outside figures is the mean "
            "absolute change in gray levels of 255 where there is no figure before or after. Means ± standard error, "
            "shares with Wilson's interval:",
            markdown_table(["search", *_some(shown, decrease)], rows),
            "Rank correlation of the change that the explained counter sees with the change that others see:",
            markdown_table(["search", *header], correlations),
            citation(report),
        ]
    )


def _some(values, mask):
    return {name: value[mask] for name, value in values.items()}


def draw(
    rules: dict[str, cf.Search],
    found: dict[str, searches.Found],
    measures: dict[str, dict[str, np.ndarray]],
    starts: Scenes,
    goal: np.ndarray,
    decrease: np.ndarray,
    folder: Path,
) -> None:
    """Panels, the searches' way, and the spectrum of the flow's Jacobian."""
    base, data = found["base space"], found["data space"]
    shown = np.concatenate([np.flatnonzero(~decrease)[:4], np.flatnonzero(decrease)[:4]])
    change = measures["base space"]["counter"]
    captions = [f"{starts.counts[i]} figures\n{change[i]:+.1f} counted" for i in shown]
    start, ours, attack = (colored(x[shown]) for x in (base.start, base.x, data.x))
    pictures.panels(folder / "panels.png", start, ours, attack, captions)
    ways = np.array([np.flatnonzero(~decrease)[0], np.flatnonzero(decrease)[0]])
    rule = rules["base space"]
    z = searches.encode(rule.generator, starts.images[ways][..., None])
    frames, steps = searches.trajectories(rule, z, goal[ways])
    counts = models.outputs(rule.model, frames.reshape(-1, *frames.shape[2:])).reshape(steps.shape)
    captions = [
        [f"step {s}: {c:.1f}" for s, c in zip(*row, strict=True)]
        for row in zip(steps, counts, strict=True)
    ]
    pictures.strip(folder / "trajectories.png", colored(frames), captions)
    ends = {
        "scenes": searches.encode(rule.generator, starts.images[:3][..., None]),
        "counterfactuals": base.z[:3],
    }
    pictures.spectrum(
        folder / "spectrum.png", {name: searches.spectra(rule, z) for name, z in ends.items()}
    )
