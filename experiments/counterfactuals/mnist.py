"""Counterfactuals of handwritten digits, and what held-out classifiers make of them.

The training images are split in two. The explained classifier and the generator see one half; the held-out
classifiers, the neighbors and a second flow see the other. What is explained are test images that the classifier
classifies correctly, the classes to reach are drawn in advance, and a result counts as it would be stored, clipped and
rounded to 8 bits.
"""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import jax
import numpy as np
import tyro
from jax.tree_util import Partial

from experiments._images import Data, load, split_in_two, with_channels
from experiments._run import Run
from experiments.counterfactuals import models, searches
from experiments.counterfactuals.held_out import (
    HeldOut,
    Task,
    accuracies,
    make_held_out,
    make_task,
    measure,
    nearest,
)
from experiments.counterfactuals.image_flows import FlowRecipe, TrainedFlow, train_flow
from experiments.counterfactuals.mnist_report import NAMES, draw, draw_fours, report
from experiments.counterfactuals.rules import Rule, ablation, in_data, make_rule
from experiments.counterfactuals.searches import Found
from geodl import counterfactual as cf
from geodl import datasets, nn, train
from geodl.flows import bin_centers


Measures = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Mnist:
    """The protocol; runs of one name share it and add to one table, whatever ``generator`` they ask for."""

    name: str = "paper"
    data: Data = "auto"
    """auto: MNIST where its files are found, else scikit-learn's digits"""
    download: bool = False
    """fetch MNIST once from its public mirrors where GEODL_DATA does not hold it"""
    generator: Literal["flow", "vae", "gan", "pvae"] = "flow"
    samples: int = 1000
    """test images to explain"""
    ablation_samples: int = 200
    """of them, for the ablation of the search's settings; 0 leaves that out"""
    batch: int = 250
    """searches that are kept at a time"""
    rule: Annotated[Rule, tyro.conf.arg(name="")] = field(default_factory=Rule)
    classifier: models.Training = field(default_factory=lambda: models.Training(steps=1500))
    """of the explained one; the ablation has another one, with noise and weight decay"""
    flow: FlowRecipe = field(default_factory=FlowRecipe)
    """trained twice, on either half"""
    decoder: models.Decoder = field(default_factory=models.Decoder)
    """of the other generators"""
    svm_images: int = 10_000
    """training images of the support vector machines"""
    root: str = "runs"


def scaled(config: Mnist, source: str) -> Mnist:
    """The protocol itself for MNIST; for scikit-learn's digits, small and few, less of everything."""
    if source == "mnist":
        return config
    return replace(
        config,
        samples=min(config.samples, 100),
        ablation_samples=min(config.ablation_samples, 50),
        classifier=replace(config.classifier, steps=min(config.classifier.steps, 800)),
        flow=replace(config.flow, steps=min(config.flow.steps, 2000)),
        decoder=replace(config.decoder, steps=min(config.decoder.steps, 1500)),
    )


def run(config: Mnist) -> Measures:
    """Train what is not trained yet, search, measure; tables and pictures land in the run's folder."""
    images, source = load(config.data, config.download)
    config = scaled(config, source)
    run = Run("cf-mnist", config, free=("generator",), data=source)
    folder = run.folder / config.generator
    half, other = split_in_two(images)
    gray = with_channels(half.train_images)
    flow = train_flow(config.flow, half.train_images, run.folder / "generator-flow")
    other_flow = train_flow(config.flow, other.train_images, run.folder / "held-out-flow")
    net = nn.conv_classifier(gray.shape[1:], 10)
    explained = models.classifier(net, half, config.classifier, run.folder / "classifier")
    task = make_task(images, explained, config.samples)
    bits = {"bits/dim": flow.bits, "bits/dim, held-out flow": other_flow.bits}
    held_out = make_held_out(other, config.classifier, config.svm_images, bits, run.folder)
    generator = make_generator(config, flow, gray, run.folder)
    notes = [accuracies(explained, held_out, images)]
    starts = {}
    if not generator.exact:
        task, starts["base space"], note = invertible_part(task, generator, config, folder)
        notes.append(note)
    rules = make_rules(config, explained, generator, gray, flow)
    found = searches.search_all(rules, task.images, task.goal, folder, config.batch, starts)
    rows = evaluate(config, task, held_out, other, found)
    ablated: Measures = {}
    if config.generator == "flow" and config.ablation_samples:
        training = replace(config.classifier, noise=0.6, weight_decay=0.01)
        noisy = models.classifier(net, half, training, run.folder / "classifier-noisy")
        some = slice(config.ablation_samples)
        task_of_some = first_of(task, some)
        tried = run_ablation(config, task_of_some, generator, noisy, folder)
        tried["ours"] = jax.tree.map(lambda a: a[some], found["base space"])
        ablated = measures_of(task_of_some, held_out, tried)
    draw(NAMES[config.generator], task, rules, found, folder)
    draw_fours(task, rules, config.batch, folder)
    text = report(NAMES[config.generator], config.rule, source, rows, ablated, notes)
    run.finish(text, {"rows": rows}, folder)
    whole = [path.read_text() for path in sorted(run.folder.glob("*/table.md"))]
    train.write_text(run.folder / "tables.md", "\n".join(whole))
    return rows


def make_generator(
    config: Mnist, flow: TrainedFlow, gray: np.ndarray, folder: Path
) -> cf.Generator:
    """The generator that is asked for, of the images that the explained classifier has seen."""
    shape, folder = gray.shape[1:], folder / f"generator-{config.generator}"
    match config.generator:
        case "flow":
            return flow.generator()
        case "gan":
            return models.gan_generator(gray, replace(config.decoder, dim=64), folder)
        case "vae":
            model = models.convolutional_vae(shape, config.decoder.dim)
        case "pvae":
            model = models.poincare_vae(shape, config.decoder.dim)
    return models.vae_generator(model, gray, config.decoder, folder)


def invertible_part(
    task: Task, generator: cf.Generator, config: Mnist, folder: Path
) -> tuple[Task, np.ndarray, str]:
    """Those images whose reconstruction is still classified correctly, their base points, and what was left out."""
    z, error = searches.inverted(generator, task.images, folder / "inverse", config.batch)
    x = searches.decoded(generator, z, config.batch)
    kept = models.classes(task.explained)(x) == task.labels
    if not kept.any():
        raise ValueError(f"the {NAMES[config.generator]} keeps the class of no image")
    low, median, high = np.quantile(error, (0.1, 0.5, 0.9))
    note = (
        f"Reconstructions by the {NAMES[config.generator]}: mean squared error {error.mean():.4f} "
        f"(deciles {low:.4f}, {median:.4f}, {high:.4f}); {np.sum(~kept)} of {len(kept)} images left "
        "out, whose reconstruction the explained classifier takes for another class."
    )
    return first_of(task, kept), z[kept], note


def first_of(task: Task, index: slice | np.ndarray) -> Task:
    """The task of some of the images."""
    return Task(task.images[index], task.labels[index], task.goal[index], task.explained)


def make_rules(
    config: Mnist, explained: Partial, generator: cf.Generator, gray: np.ndarray, flow: TrainedFlow
) -> dict[str, cf.Search]:
    """Every method's search."""
    rule, components = config.rule, models.pca(gray)
    rules = {"base space": make_rule(rule, explained, generator)}
    if config.generator == "flow":
        untrained = flow.model.generator(models.untrained(flow.model, gray))
        rules["base space, untrained flow"] = make_rule(rule, explained, untrained)
    rules["principal components"] = make_rule(rule, explained, components, penalty=None)
    if rule.prior:
        rules["principal components, prior"] = make_rule(rule, explained, components)
    return rules | {"data space": in_data(rule, explained, gray.shape[1:])}


def evaluate(
    config: Mnist,
    task: Task,
    held_out: HeldOut,
    other: datasets.Images,
    found: dict[str, Found],
) -> Measures:
    """The rows of the table: every measure of every method's images."""
    original, base = np.asarray(bin_centers(task.images)), found["base space"]
    distance = np.sqrt(np.sum((base.x - base.start) ** 2, (1, 2, 3)))
    endless = in_data(
        config.rule, task.explained, task.images.shape[1:], target=cf.margin(math.inf)
    )
    matched = searches.matched_distance(endless, task.images, task.goal, distance, config.batch)
    real = nearest(original, task.goal, other)
    rows = {
        "originals": measure(task, held_out, original, original),
        "reconstructions": measure(task, held_out, base.start, original),
        "nearest real image of the class": measure(task, held_out, real, original),
    }
    renamed = {"data space": "data space, same confidence"}
    rows |= measures_of(task, held_out, {renamed.get(name, name): f for name, f in found.items()})
    return rows | {"data space, same l2": measure(task, held_out, matched, original)}


def measures_of(task: Task, held_out: HeldOut, found: dict[str, Found]) -> Measures:
    """Every measure of what searches have found, with those of the searches themselves."""
    return {name: measure(task, held_out, f.x, f.start) | f.measures for name, f in found.items()}


def run_ablation(
    config: Mnist, task: Task, generator: cf.Generator, noisy: Partial, folder: Path
) -> dict[str, Found]:
    """One search per changed setting, from the published ones on."""
    noise = 0.3 * jax.random.normal(jax.random.key(2), (8, *task.images.shape[1:]))
    rules = ablation(config.rule, task.explained, generator, noisy, noise)
    return searches.search_all(rules, task.images, task.goal, folder / "ablation", config.batch)
