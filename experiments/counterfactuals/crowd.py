"""Counting: what has to change in a scene for a counter to see few figures, or more of them.

The scenes are generated, so that an independent detector knows what a figure looks like: a counterfactual should add
and remove figures, an adversarial example only misleads the counter.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial
from scipy.stats import spearmanr, wasserstein_distance

from experiments.counterfactuals import flow, images, models, pictures
from experiments.counterfactuals.mnist import Law, bits, fixed_length
from geodl import counterfactual as cf
from geodl import datasets, nn, train
from geodl.bijectors import bin_centers


@dataclass(frozen=True)
class Crowd:
    """The protocol; the defaults take about half an hour on one core."""

    name: str = "crowd"
    scenes: int = 10_000
    """to train on, of the flow and the counter that is explained; the second counter has as many others"""
    tested: int = 1000
    levels: tuple[tuple[int, int], ...] = ((4, 6),)
    """of the flow, as its width and steps"""
    width: int = 64
    flow_steps: int = 6000
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
    fewer: float = 0.5
    """count to get below"""
    rate: float = 0.5
    """length of a step in the base, in all coordinates together"""
    data_rate: float = 0.05
    """likewise among the images"""
    steps: int = 500
    root: str = "runs"


def run(config: Crowd) -> dict[str, Any]:
    """Train flow and counters, search both ways, count anew; everything lands in the run's folder."""
    protocol = asdict(config)
    del protocol["root"]
    folder = train.start_run("crowd-counterfactual", config.name, protocol, config.root)
    seen, others = (datasets.scenes(config.scenes, seed) for seed in (0, 1))
    test = datasets.scenes(config.tested, seed=2)

    law = train_flow(config, seen, test, folder / "flow")
    net = nn.unet_counter((*seen.images.shape[1:], 1), config.counter_widths, patch=2)

    def count(params, x):
        return net.apply(params, x).counts

    data = {"counter": seen, "second counter": others}
    trained = train_counters(config, net, data, folder)
    counters = {name: Partial(count, params) for name, params in trained.items()}
    report = quality(law, counters, test, folder)
    rules = make_rules(config, models.flow(law.model, law.params["flow"]), counters["counter"])
    starts, goal, few = tasks(config, test)
    found = images.search_all(rules, starts.images[..., None], goal, folder / "searches")
    measures = {name: measure(law, counters, starts, result) for name, result in found.items()}
    table = tables(config, report, measures, few)
    train.write_text(folder / "table.md", table + "\n")
    result = report | {
        name: {k: np.asarray(v, float).tolist() for k, v in values.items()}
        for name, values in measures.items()
    }
    train.write_text(folder / "result.json", json.dumps(result) + "\n")
    draw(rules, found, measures, starts, goal, few, folder)
    print(f"\n{table}\n\ntable: {folder / 'table.md'}\npictures: {folder}/*.png")
    return result


def train_flow(config: Crowd, seen: datasets.Scenes, test: datasets.Scenes, folder: Path) -> Law:
    """The flow of the scenes. The camera's noise fills the bins: uniform noise within them will do."""
    settings = flow.FlowRun(
        levels=config.levels,
        width=config.width,
        steps=config.flow_steps,
        noise="uniform",
        alpha=0.05,
    )
    data = datasets.Images(seen.images, seen.counts, test.images, test.counts)
    model, noise = flow.make_model(settings, data)
    return Law(model, noise, flow.fit(settings, model, noise, data, folder)[0])


def train_counters(
    config: Crowd, net: nn.Net, data: dict[str, datasets.Scenes], folder: Path
) -> dict[str, Any]:
    """Parameters of U-Nets that have learnt counts and places of heads, each from its own scenes and seed."""

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
    for seed, (name, scenes) in enumerate(data.items()):
        key = jax.random.key(seed)
        arrays = scenes.images[..., None], scenes.counts.astype(np.float32), scenes.heads
        place = folder / name.replace(" ", "-")
        arrays = jax.tree.map(jnp.asarray, arrays)
        state = train.init(net.init(key), optimizer, key, len(scenes.images))
        state, _ = train.fit(run, state, arrays, config.counter_steps, place, chunk=chunk)
        params[name] = state.params
    return params


def make_rules(config: Crowd, generator: cf.Generator, counter: Partial) -> dict[str, cf.Search]:
    """The search in the flow's base, and among the images."""

    def rule(generator, rate):
        ascent = fixed_length(rate)
        return cf.Search(
            generator, counter, cf.interval(), ascent, config.steps, finish=images.stored
        )

    return {
        "base space": rule(generator, config.rate),
        "data space": rule(cf.data_space(), config.data_rate),
    }


def tasks(config: Crowd, test: datasets.Scenes) -> tuple[datasets.Scenes, np.ndarray, np.ndarray]:
    """Scenes to set out from, intervals of counts (n, 2) to reach, and which are of the way to few."""
    most = datasets.MOST_FIGURES - config.more
    many, few = (
        np.flatnonzero(mask)[: config.searched] for mask in (test.counts <= most, test.counts > 0)
    )
    index = np.concatenate([many, few])
    starts = jax.tree.map(lambda a: a[index], test)
    to_few = np.arange(len(index)) >= len(many)
    low = np.where(to_few, -math.inf, starts.counts + config.more)
    high = np.where(to_few, config.fewer, math.inf)
    return starts, np.stack([low, high], -1).astype(np.float32), to_few


def detected(x: np.ndarray) -> np.ndarray:
    """How many figures the detector sees in images (n, 32, 32, 1) in [0, 1]."""
    return np.array([len(p) for p in datasets.detect(255 * np.asarray(x)[..., 0])])


def quality(
    law: Law,
    counters: dict[str, Partial],
    test: datasets.Scenes,
    folder: Path,
) -> dict[str, Any]:
    """Errors of those who count, on test scenes and between twins; bits per dimension, counts of the flow's samples."""
    twins = datasets.moved(test, seed=3)
    scenes, others = (bin_centers(s.images[..., None]) for s in (test, twins))
    report: dict[str, Any] = train.circumstances()
    report["flow parameters"] = sum(leaf.size for leaf in jax.tree.leaves(law.params))
    report["counter parameters"] = sum(leaf.size for leaf in jax.tree.leaves(counters))
    report["counter parameters"] //= len(counters)
    report["error"], report["twins differ"] = {}, {}
    for name, count in [*((n, _counts(c)) for n, c in counters.items()), ("detector", detected)]:
        first, second = count(scenes), count(others)
        report["error"][name] = float(np.abs(first - test.counts).mean())
        report["twins differ"][name] = float(np.abs(first - second).mean())
    report["bits per dim"] = float(bits(law, scenes).mean())
    sample = jax.jit(
        lambda params: law.model.law(params).sample(
            seed=jax.random.key(1), sample_shape=len(test.counts)
        )
    )
    samples = np.clip(sample(law.params["flow"]), 0, 1)
    counts = detected(samples)
    report["samples' counts"] = np.bincount(counts).tolist()
    report["scenes' counts"] = np.bincount(test.counts).tolist()
    report["distance of counts"] = float(wasserstein_distance(counts, test.counts))
    panels = {"test scenes": scenes, "samples of the flow": samples}
    pictures.grids(
        folder / "samples.png",
        {title: coloured(x[:40]).reshape(5, 8, *x.shape[1:3], 3) for title, x in panels.items()},
    )
    return report


def coloured(x: Any) -> np.ndarray:
    """Grey images (..., 1) in three colours: to be shown as they are, not as ink on paper."""
    return np.repeat(x, 3, -1)


def _counts(counter: Partial) -> Callable[[Any], np.ndarray]:
    return lambda x: models.outputs(counter, x)


def measure(
    law: Law,
    counters: dict[str, Partial],
    starts: datasets.Scenes,
    found: images.Found,
) -> dict[str, np.ndarray]:
    """What the search has measured, how the counts have changed, and how far the images have, (n,) each."""
    change = np.abs(found.x - found.start)
    values = dict(found.measures)
    for name, counter in counters.items():
        values[name] = models.outputs(counter, found.x) - models.outputs(counter, found.start)
    values["detector"] = (detected(found.x) - detected(found.start)).astype(float)
    values["l2"] = np.sqrt(np.sum(change**2, (1, 2, 3)))
    # neither where figures were, nor where the detector sees one now
    now = [datasets.silhouettes(p) for p in datasets.detect(255 * found.x[..., 0])]
    outside = np.maximum(starts.figures, np.stack(now)) < 0.05
    values["outside figures"] = np.array(
        [255 * c[o, 0].mean() for c, o in zip(change, outside, strict=True)]
    )
    values["bits/dim"] = bits(law, found.x)
    return values


def rank_correlation(values: dict[str, np.ndarray], name: str, some: np.ndarray) -> float:
    """Spearman's, of the changes that the explained counter and another one see; NaN where one of them sees none."""
    if min(np.ptp(values[who][some]) for who in ("counter", name)) == 0:
        return math.nan
    return float(spearmanr(values["counter"][some], values[name][some]).statistic)


def tables(
    config: Crowd,
    report: dict[str, Any],
    measures: dict[str, dict[str, np.ndarray]],
    few: np.ndarray,
) -> str:
    """Who counts how well; what the searches have changed."""
    judges = [
        [name, report["error"][name], report["twins differ"][name]] for name in report["error"]
    ]
    ways = {f"towards {config.more} more": ~few, f"below {config.fewer:g}": few}
    rows = [
        [
            f"{name}, {way}",
            *(cell for cell in cf.evaluate.summary({"": _some(values, mask)})[1][0][1:]),
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
                for mask in (np.ones_like(few), few)
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
            "its twin with the same figures elsewhere:",
            train.markdown_table(["who counts", "error", "between twins"], judges),
            f"The flow: {report['flow parameters']} parameters, {report['bits per dim']:.3f} bits/dim; "
            f"its samples have 0, 1, 2, ... figures {counts} times by the detector; distance (Wasserstein-1) of this "
            f"from the scenes' counts {report['distance of counts']:.2f}.",
            "Searches; the counters' and the detector's columns are changes of the count, outside figures is the mean "
            "absolute change in grey levels of 255 where there is no figure before or after. Means ± standard error, "
            "shares with Wilson's interval:",
            train.markdown_table(["search", *_some(shown, few)], rows),
            "Rank correlation of the change that the explained counter sees with the change that others see:",
            train.markdown_table(["search", *header], correlations),
            f"{report['date'][:10]}, revision {str(report['revision'])[:7]}, "
            f"`python {' '.join(report['command'][1:])}`",
        ]
    )


def _some(values, mask):
    return {name: value[mask] for name, value in values.items()}


def draw(
    rules: dict[str, cf.Search],
    found: dict[str, images.Found],
    measures: dict[str, dict[str, np.ndarray]],
    starts: datasets.Scenes,
    goal: np.ndarray,
    few: np.ndarray,
    folder: Path,
) -> None:
    """Panels, the searches' way, and the spectrum of the flow's Jacobian."""
    base, data = found["base space"], found["data space"]
    shown = np.concatenate([np.flatnonzero(~few)[:4], np.flatnonzero(few)[:4]])
    change = measures["base space"]["counter"]
    captions = [f"{starts.counts[i]} figures\n{change[i]:+.1f} counted" for i in shown]
    columns = (coloured(x[shown]) for x in (base.start, base.x, data.x))
    pictures.panels(folder / "panels.png", *columns, captions)
    ways = np.array([np.flatnonzero(~few)[0], np.flatnonzero(few)[0]])
    rule = rules["base space"]
    z = images.encode(rule.generator, starts.images[ways][..., None])
    frames, steps = images.trajectories(rule, z, goal[ways])
    counts = models.outputs(rule.model, frames.reshape(-1, *frames.shape[2:])).reshape(steps.shape)
    captions = [
        [f"step {s}: {c:.1f}" for s, c in zip(*row, strict=True)]
        for row in zip(steps, counts, strict=True)
    ]
    pictures.strip(folder / "trajectories.png", coloured(frames), captions)
    ends = {
        "scenes": images.encode(rule.generator, starts.images[:3][..., None]),
        "counterfactuals": base.z[:3],
    }
    pictures.spectrum(
        folder / "spectrum.png", {name: images.spectra(rule, z) for name, z in ends.items()}
    )
