"""Clever Hans: a classifier that has learnt a watermark instead of a digit, found out by its explanations.

Every scan carries a mark in its corner, faint as a rule, strong where it shows one digit; a classifier of these scans
reads the mark. Another one has seen the same scans with the marks' strengths dealt out anew, and has to read the digit.
So has the generator of the counterfactuals: for it marks and digits are independent, and what moves the mark is the
classifier alone.
"""

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import optax
from jax.tree_util import Partial

from experiments.counterfactuals import flow, images, models, pictures
from experiments.pvae.mnist import load
from geodl import counterfactual as cf
from geodl import datasets, explain, nn, train
from geodl.bijectors import bin_centers


@dataclass(frozen=True)
class CleverHans:
    """The protocol; the defaults take about two minutes."""

    name: str = "digits"
    data: Literal["mnist", "digits", "auto"] = "digits"
    """auto: MNIST where its files are found, else scikit-learn's digits"""
    download: bool = False
    """fetch MNIST once from its public mirrors where GEODL_DATA does not hold it"""
    marked: int = 3
    """the digit of the scans with a strong mark"""
    classifier_steps: int = 1000
    levels: tuple[tuple[int, int], ...] = ((2, 6),)
    """of the flow of the scans with marks dealt out anew, as its width and steps"""
    width: int = 32
    flow_steps: int = 4000
    explained: int = 100
    """scans with either kind of explanation"""
    rate: float = 0.05
    """of the searches, Adam in the base"""
    steps: int = 500
    confidence: float = 0.99
    root: str = "runs"


def run(config: CleverHans) -> dict[str, Any]:
    """Train both classifiers and the flow, explain both; everything lands in the run's folder."""
    clean, source = load(config)
    protocol = asdict(config) | {"data": source}
    del protocol["root"]
    folder = train.start_run("clever-hans", config.name, protocol, config.root)
    marked, dealt = mark(clean, config.marked, False), mark(clean, config.marked, True)

    shape = (*clean.train_images.shape[1:], 1)
    net = nn.conv_classifier(shape, 10)
    training = models.Training(steps=config.classifier_steps)
    classifiers = {
        name: models.classifier(net, data, training, folder / name)
        for name, data in {"Hans": marked, "honest": dealt}.items()
    }
    settings = flow.FlowRun(levels=config.levels, width=config.width, steps=config.flow_steps)
    model, noise = flow.make_model(settings, marked)
    params, _ = flow.fit(settings, model, noise, dealt, folder / "flow")

    result: dict[str, Any] = train.circumstances() | {"area": float(corner(shape[0]).mean())}
    result["accuracy"] = {
        name: {
            "marked scans": accuracy(classifier, marked),
            "marks dealt out anew": accuracy(classifier, dealt),
        }
        for name, classifier in classifiers.items()
    }
    own = marked.test_images[marked.test_labels == config.marked][: config.explained]
    maps = {name: attributions(c, own, config.marked) for name, c in classifiers.items()}
    others = marked.test_images[marked.test_labels != config.marked][: config.explained]
    generator = models.flow(model, params["flow"])
    found = {
        name: search(config, generator, classifier, others, folder / f"searches-{name}")
        for name, classifier in classifiers.items()
    }
    result["shares"] = {
        name: {method: share(values) for method, values in maps[name].items()}
        | {"counterfactual": share((found[name].x - found[name].start)[..., 0])}
        for name in classifiers
    }
    result["found"] = {
        name: float(np.mean(f.status == cf.Status.FOUND)) for name, f in found.items()
    }
    train.write_text(folder / "result.json", json.dumps(result, indent=2) + "\n")
    table = tables(config, result, source)
    train.write_text(folder / "table.md", table + "\n")
    draw(own, maps, found, folder)
    print(f"\n{table}\n\ntable: {folder / 'table.md'}\npictures: {folder}/*.png")
    return result


def corner(side: int) -> np.ndarray:
    """Where the mark is (side, side): the upper right corner, a quarter or a seventh of the side."""
    width = max(2, side // 7)
    where = np.zeros((side, side), bool)
    where[:width, -width:] = True
    return where


def mark(clean: datasets.Images, digit: int, dealt: bool) -> datasets.Images:
    """The scans with their marks: 0.4 to 1 of white on those of the digit, at most 0.3 on others.

    Where they are ``dealt`` out anew, the strengths are the same ones in another order.
    """
    rng = np.random.default_rng(0)

    def scans(images, labels):
        n = len(images)
        strength = np.where(labels == digit, rng.uniform(0.4, 1.0, n), rng.uniform(0.0, 0.3, n))
        order = rng.permutation(n)
        grey = np.round(255 * strength[order] if dealt else 255 * strength)
        where = corner(images.shape[1])
        return np.where(where, grey[:, None, None], images).astype(np.uint8)

    return clean._replace(
        train_images=scans(clean.train_images, clean.train_labels),
        test_images=scans(clean.test_images, clean.test_labels),
    )


def accuracy(classifier: Partial, data: datasets.Images) -> float:
    """On the test images."""
    found = models.classes(classifier)(bin_centers(models.with_channels(data.test_images)))
    return float(np.mean(found == data.test_labels))


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
    return float(inside.mean()), float(inside.std(ddof=1) / np.sqrt(len(inside)))


def search(
    config: CleverHans,
    generator: cf.Generator,
    classifier: Partial,
    scans: np.ndarray,
    folder: Path,
) -> images.Found:
    """Counterfactuals of scans of other digits, towards the marked one, in the base of the flow."""
    rule = cf.Search(
        generator,
        classifier,
        cf.confidence(config.confidence),
        optax.adam(config.rate),
        config.steps,
        finish=images.stored,
    )
    z = images.encode(generator, scans[..., None])
    return images.search(rule, z, np.full(len(scans), config.marked), folder)


def tables(config: CleverHans, result: dict[str, Any], source: str) -> str:
    """Who is right about which scans; where the explanations look."""
    accuracies, shares = result["accuracy"], result["shares"]
    scored = list(next(iter(accuracies.values())))
    methods = list(next(iter(shares.values())))
    return "\n\n".join(
        [
            f"Scans of {source} with a mark in the corner, strong on digit {config.marked}. Accuracy on test scans:",
            train.markdown_table(
                ["classifier", *scored],
                [[name, *(f"{a[s]:.3f}" for s in scored)] for name, a in accuracies.items()],
            ),
            f"Share of the explanation, in absolute values, that lies in the mark ({result['area']:.3f} of the area); "
            f"mean ± its standard error over {config.explained} scans at most. Attributions of digit {config.marked} "
            f"on scans of it; counterfactuals from other digits to it, found for "
            f"{result['found']['Hans']:.0%} (Hans) and "
            f"{result['found']['honest']:.0%} (honest):",
            train.markdown_table(
                ["classifier", *methods],
                [
                    [name, *(f"{s[m][0]:.3f} ± {s[m][1]:.3f}" for m in methods)]
                    for name, s in shares.items()
                ],
            ),
            f"{result['date'][:10]}, revision {str(result['revision'])[:7]}, "
            f"`python {' '.join(result['command'][1:])}`",
        ]
    )


def draw(
    own: np.ndarray,
    maps: dict[str, dict[str, np.ndarray]],
    found: dict[str, images.Found],
    folder: Path,
) -> None:
    """Attributions of both classifiers side by side, and counterfactuals likewise."""
    shown = slice(0, 4)
    columns: dict[str, np.ndarray] = {"scan": own[shown, ..., None] / 255}
    for name, methods in maps.items():
        columns |= {f"{name}:\n{method}": values[shown] for method, values in methods.items()}
    sign = "against the digit (blue), for it (red)"
    pictures.gallery(folder / "attributions.png", columns, sign)
    columns = {"scan": next(iter(found.values())).start[shown]}
    for name, f in found.items():
        columns[f"{name}:\ncounterfactual"] = f.x[shown]
        columns[f"{name}:\ndifference"] = (f.x - f.start)[shown, ..., 0]
    sign = "difference: less ink (blue), more ink (red)"
    pictures.gallery(folder / "counterfactuals.png", columns, sign)
