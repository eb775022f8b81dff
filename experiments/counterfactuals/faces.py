"""Faces: what has to change for a classifier to see an attribute, as fair hair (CelebA, which the user downloads).

The training images are split in two: classifier and flow see one half, the held-out classifier the other.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from experiments._images import split_in_two
from experiments._run import Run, citation, markdown_table, metric_rows, provenance
from experiments.counterfactuals import models, pictures, searches
from experiments.counterfactuals.celeba import celeba
from experiments.counterfactuals.image_flows import FlowRecipe, train_flow
from geodl import counterfactual as cf
from geodl import nn
from geodl.flows import bin_centers


@dataclass(frozen=True)
class Faces:
    """The protocol; the defaults want an accelerator."""

    name: str = "faces"
    attribute: str = "Blond_Hair"
    """to be seen in those who do not have it"""
    side: int = 64
    max_images: int | None = 40_000
    """of the training and of the test part"""
    flow: FlowRecipe = field(
        default_factory=lambda: FlowRecipe(
            levels=((2, 8), (2, 8), (2, 8)),
            conditioner="conv",  # 32 x 32 positions at first
            width=128,
            steps=30_000,
            noise="uniform",
            alpha=0.05,
        )
    )
    classifier_widths: tuple[int, ...] = (32, 64, 128)
    held_out_widths: tuple[int, ...] = (24, 48, 96, 96)
    classifier_steps: int = 4000
    explained: int = 100
    confidence: float = 0.99
    rate: float = 0.5
    """length of a step in the base, in all coordinates together"""
    data_rate: float = 0.1
    """likewise among the images"""
    steps: int = 500
    batch: int = 50
    """searches at a time"""
    root: str = "runs"


def run(config: Faces) -> dict[str, dict[str, np.ndarray]]:
    """Train flow and classifiers, search, measure; table and pictures land in the run's folder."""
    data = celeba(config.attribute, side=config.side, most=config.max_images)
    run = Run("cf-faces", config)
    folder = run.folder
    half, other = split_in_two(data)

    def classifier_of(images, widths, seed, name):
        net = nn.conv_classifier(data.test_images.shape[1:], 2, widths)
        training = models.Training(steps=config.classifier_steps, seed=seed)
        return models.classifier(net, images, training, folder / name)

    classifier = classifier_of(half, config.classifier_widths, 0, "classifier")
    held_out = classifier_of(other, config.held_out_widths, 1, "held-out-classifier")
    flow = train_flow(config.flow, half.train_images, folder / "flow")
    named = {"classifier": classifier, "held-out classifier": held_out}
    accuracy = {name: models.accuracy(models.classes(c), data) for name, c in named.items()}
    without = data.test_images[data.test_labels == 0]
    right = models.classes(classifier)(bin_centers(without)) == 0
    starts = without[right][: config.explained]
    if not len(starts):
        raise ValueError(f"the classifier sees {config.attribute} in every test image without it")
    goal = np.ones(len(starts), np.int32)
    target, lengths = cf.confidence(config.confidence), (config.rate, config.data_rate)
    rules = searches.in_both_spaces(
        flow.generator(), starts.shape[1:], classifier, target, config.steps, lengths
    )
    found = searches.search_all(rules, starts, goal, folder / "searches", config.batch)
    others = {"held-out classifier": models.classes(held_out)}
    rows = {
        name: f.measures
        | cf.evaluation.data_metrics(f.x, f.start, goal, others)
        | {"bits/dim": flow.bits(f.x)}
        for name, f in found.items()
    }
    table = report(config, accuracy, rows)
    draw(rules["base space"], found, starts, goal, folder)
    run.finish(table, {"accuracy": accuracy, "rows": rows})
    return rows


def report(
    config: Faces, accuracy: dict[str, float], rows: dict[str, dict[str, np.ndarray]]
) -> str:
    """What the searches have found, and where it comes from."""
    count = len(next(iter(rows.values()))["l2"])
    named = ", ".join(f"{name} {share:.3f}" for name, share in accuracy.items())
    caption = (
        f"{citation(provenance())}. Towards {config.attribute}, from {count} test faces without it; accuracy on "
        f"test faces: {named}. Shares with 95 % intervals, means ± standard errors."
    )
    return f"{caption}\n\n{markdown_table(metric_rows(rows))}"


def draw(
    rule: cf.Search,
    found: dict[str, searches.Found],
    starts: np.ndarray,
    goal: np.ndarray,
    folder: Path,
) -> None:
    """Panels, the searches' way, and the flow's spectrum, its largest hundred of 12288 values."""
    base, data = found["base space"], found["data space"]
    some = slice(0, 8)
    captions = [cf.Status(int(s)).name.lower() for s in base.status[some]]
    pictures.panels(folder / "panels.png", base.start[some], base.x[some], data.x[some], captions)
    first = slice(0, 3)
    z = searches.encode(rule.generator, starts[first])
    frames, logits, steps = searches.trajectories(rule, z, goal[first])
    log_odds = logits[..., 1] - logits[..., 0]
    pictures.strip(folder / "paths.png", frames, "step {}: {:.1f}", steps, log_odds)
    pictures.spectrum(
        folder / "spectrum.png", {"faces": searches.spectra(rule, z[:1], min(100, z[0].size))}
    )
