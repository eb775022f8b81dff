"""Clever Hans: a classifier that has learned a watermark instead of a digit, found out by its explanations.

Every scan carries a mark in its corner, faint as a rule, strong where it shows one digit; a classifier of these scans
reads the mark. The control has seen the same scans with the marks' strengths shuffled, and has to read the digit.
So has the generator of the counterfactuals: for it marks and digits are independent, and what moves the mark is the
classifier alone.
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from jax.tree_util import Partial

from experiments._images import Data, load
from experiments._run import Run, citation, markdown_table, provenance, standard_error
from experiments.counterfactuals import models, pictures, searches
from experiments.counterfactuals.image_flows import FlowRecipe, train_flow
from geodl import counterfactual as cf
from geodl import datasets, explain, nn
from geodl.flows import bin_centers


@dataclass(frozen=True)
class CleverHans:
    """The protocol; the defaults take about two minutes."""

    name: str = "digits"
    data: Data = "digits"
    """auto: MNIST where its files are found, else scikit-learn's digits"""
    download: bool = False
    """fetch MNIST once from its public mirrors where GEODL_DATA does not hold it"""
    marked: int = 3
    """the digit of the scans with a strong mark"""
    classifier_steps: int = 1000
    flow: FlowRecipe = field(
        default_factory=lambda: FlowRecipe(levels=((2, 6),), width=32, steps=4000)
    )
    """of the scans with shuffled marks"""
    explained: int = 100
    """scans with either kind of explanation"""
    rate: float = 0.05
    """of the searches, Adam in the base"""
    steps: int = 500
    confidence: float = 0.99
    root: str = "runs"


def run(config: CleverHans) -> dict[str, Any]:
    """Train both classifiers and the flow, explain both; everything lands in the run's folder."""
    clean, source = load(config.data, config.download)
    run = Run("cf-clever-hans", config, data=source)
    folder = run.folder
    marked, shuffled = mark(clean, config.marked, False), mark(clean, config.marked, True)

    shape = (*clean.train_images.shape[1:], 1)
    net = nn.conv_classifier(shape, 10)
    training = models.Training(steps=config.classifier_steps)
    flow = train_flow(config.flow, shuffled.train_images, folder / "flow")
    generator = flow.generator()
    own = marked.test_images[marked.test_labels == config.marked][: config.explained]
    others = marked.test_images[marked.test_labels != config.marked][: config.explained]
    z, goal = searches.encode(generator, others[..., None]), np.full(len(others), config.marked)
    settings = cf.confidence(config.confidence), optax.adam(config.rate), config.steps

    result: dict[str, Any] = provenance() | {"area": float(corner(shape[0]).mean())}
    result |= {"accuracy": {}, "shares": {}, "found": {}}
    scans = {"marked scans": marked, "marks shuffled": shuffled}
    maps, found = {}, {}
    for name, seen in {"watermarked": marked, "control": shuffled}.items():
        classifier = models.classifier(net, seen, training, folder / name)
        classes = models.classes(classifier)
        result["accuracy"][name] = {of: models.accuracy(classes, x) for of, x in scans.items()}
        maps[name] = attributions(classifier, own, config.marked)
        rule = cf.Search(generator, classifier, *settings, postprocess=searches.as_8bit)
        found[name] = searches.search(rule, z, goal, folder / f"searches-{name}")
        result["found"][name] = float(np.mean(found[name].status == cf.Status.FOUND))
        changes = {"counterfactual": (found[name].x - found[name].start)[..., 0]}
        result["shares"][name] = {of: share(m) for of, m in (maps[name] | changes).items()}
    table = tables(config, result, source)
    draw(own, maps, found, folder)
    run.finish(table, result)
    return result


def corner(side: int) -> np.ndarray:
    """Where the mark is (side, side): the upper right corner, a quarter or a seventh of the side."""
    width = max(2, side // 7)
    where = np.zeros((side, side), bool)
    where[:width, -width:] = True
    return where


def mark(clean: datasets.Images, digit: int, shuffled: bool) -> datasets.Images:
    """The scans with their marks: 0.4 to 1 of white on those of the digit, at most 0.3 on others.

    Where they are ``shuffled``, the strengths are the same ones in another order.
    """
    rng = np.random.default_rng(0)

    def scans(images, labels):
        n = len(images)
        strength = np.where(labels == digit, rng.uniform(0.4, 1.0, n), rng.uniform(0.0, 0.3, n))
        order = rng.permutation(n)
        gray = np.round(255 * strength[order] if shuffled else 255 * strength)
        where = corner(images.shape[1])
        return np.where(where, gray[:, None, None], images).astype(np.uint8)

    return clean._replace(
        train_images=scans(clean.train_images, clean.train_labels),
        test_images=scans(clean.test_images, clean.test_labels),
    )


def attributions(classifier: Partial, scans: np.ndarray, digit: int) -> dict[str, np.ndarray]:
    """By every method the maps (n, height, width) of what speaks for the digit."""
    window = (max(2, scans.shape[1] // 7),) * 2
    key = jax.random.key(0)
    methods = {
        "saliency": explain.saliency,
        "integrated gradients": explain.integrated_gradients,
        "SmoothGrad": partial(explain.smooth_grad, key=key, scale=0.1),
        "occlusion": partial(explain.occlusion, window=window),
    }

    @jax.jit
    def explained(classifier, x):
        return {
            name: jax.vmap(lambda x, m=method: m(lambda x: classifier(x)[digit], x))(x)
            for name, method in methods.items()
        }

    found = explained(classifier, bin_centers(scans[..., None]))
    return {name: np.asarray(found[name])[..., 0] for name in methods}


def share(maps: np.ndarray) -> tuple[float, float]:
    """Of the absolute values of maps (n, side, side) how much lies in the mark: mean and its standard error."""
    size = np.abs(maps)
    inside = size[:, corner(maps.shape[1])].sum(-1) / np.maximum(size.sum((1, 2)), 1e-12)
    return float(inside.mean()), float(standard_error(inside))


def tables(config: CleverHans, result: dict[str, Any], source: str) -> str:
    """Accuracies; which share of the explanations lies in the mark."""
    accuracies = [
        {"classifier": name, **{scans: f"{share:.3f}" for scans, share in of.items()}}
        for name, of in result["accuracy"].items()
    ]
    shares = [
        {"classifier": name, **{method: f"{m:.3f} ± {e:.3f}" for method, (m, e) in of.items()}}
        for name, of in result["shares"].items()
    ]
    return "\n\n".join(
        [
            f"Scans of {source} with a mark in the corner, strong on digit {config.marked}. Accuracy on test scans:",
            markdown_table(accuracies),
            f"Share of the explanation, in absolute values, that lies in the mark ({result['area']:.3f} of the area); "
            f"mean ± its standard error over {config.explained} scans at most. Attributions of digit {config.marked} "
            f"on scans of it; counterfactuals from other digits to it, found for "
            f"{result['found']['watermarked']:.0%} (watermarked) and "
            f"{result['found']['control']:.0%} (control):",
            markdown_table(shares),
            citation(result),
        ]
    )


def draw(
    own: np.ndarray,
    maps: dict[str, dict[str, np.ndarray]],
    found: dict[str, searches.Found],
    folder: Path,
) -> None:
    """Attributions of both classifiers side by side, and counterfactuals likewise."""

    def signed(maps):
        return maps / np.maximum(np.abs(maps).max((1, 2), keepdims=True), 1e-12)

    shown, captions = slice(0, 4), [""] * min(4, len(own))
    columns: dict[str, np.ndarray] = {"scan": own[shown, ..., None] / 255}
    for name, methods in maps.items():
        columns |= {
            f"{name}:\n{method}": signed(values[shown]) for method, values in methods.items()
        }
    scale = "by each map's largest value"
    sign = f"against the digit (blue), for it (red),\n{scale}"
    pictures.gallery(folder / "attributions.png", columns, captions, sign)
    columns = {"scan": next(iter(found.values())).start[shown]}
    for name, f in found.items():
        columns[f"{name}:\ncounterfactual"] = f.x[shown]
        columns[f"{name}:\ndifference"] = signed((f.x - f.start)[shown, ..., 0])
    sign = f"difference: less ink (blue), more ink (red),\n{scale}"
    pictures.gallery(folder / "counterfactuals.png", columns, captions, sign)
