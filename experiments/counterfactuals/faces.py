"""Faces: what has to change for a classifier to see an attribute, as fair hair (CelebA, which the user downloads).

The training images are in two halves: classifier and flow see A, the judge sees B.
"""

import functools
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.counterfactuals import flow as image_flows
from experiments.counterfactuals import images, models, pictures
from experiments.counterfactuals.data import halves
from experiments.counterfactuals.mnist import Law, bits, fixed_length
from geodl import counterfactual as cf
from geodl import datasets, nn, train
from geodl.flows import bin_centers


@dataclass(frozen=True)
class Faces:
    """The protocol; the defaults want an accelerator."""

    name: str = "faces"
    attribute: str = "Blond_Hair"
    """to be seen in those who do not have it"""
    side: int = 64
    most: int | None = 40_000
    """images of the training and of the test part at most"""
    levels: tuple[tuple[int, int], ...] = ((2, 8), (2, 8), (2, 8))
    """of the flow, as its width and steps"""
    width: int = 128
    flow_steps: int = 30_000
    classifier_widths: tuple[int, ...] = (32, 64, 128)
    judge_widths: tuple[int, ...] = (24, 48, 96, 96)
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
    """Train flow and classifiers, search, judge; table and pictures land in the run's folder."""
    data = datasets.celeba(config.attribute, side=config.side, most=config.most)
    protocol = asdict(config)
    del protocol["root"]
    folder = train.start_run("faces-counterfactual", config.name, protocol, config.root)
    parts = halves(data)
    classifier, judge = (
        models.classifier(
            nn.conv_classifier((config.side, config.side, 3), 2, widths),
            parts[half],
            models.Training(steps=config.classifier_steps, seed=seed),
            folder / name,
        )
        for seed, (name, half, widths) in enumerate(
            [("classifier", "A", config.classifier_widths), ("judge", "B", config.judge_widths)]
        )
    )
    law = train_flow(config, parts["A"], folder / "flow")
    accuracy = {
        name: float(np.mean(models.classes(c)(bin_centers(data.test_images)) == data.test_labels))
        for name, c in {"classifier": classifier, "judge": judge}.items()
    }
    without = data.test_images[data.test_labels == 0]
    right = models.classes(classifier)(bin_centers(without)) == 0
    starts = without[right][: config.explained]
    if not len(starts):
        raise ValueError(f"the classifier sees {config.attribute} in every test image without it")
    goal = np.ones(len(starts), np.int32)
    rules = make_rules(config, models.flow(law.model, law.params["flow"]), classifier)
    found = images.search_all(rules, starts, goal, folder / "searches", config.batch)
    judges = {"judge": models.classes(judge)}
    rows = {
        name: f.measures
        | cf.evaluate.data_measures(f.x, f.start, goal, judges)
        | {"bits/dim": bits(law, f.x)}
        for name, f in found.items()
    }
    table = report(config, accuracy, rows)
    train.write_text(folder / "table.md", table + "\n")
    figures = {row: {k: v.tolist() for k, v in m.items()} for row, m in rows.items()}
    result = train.circumstances() | {"accuracy": accuracy, "rows": figures}
    train.write_text(folder / "result.json", json.dumps(result) + "\n")
    draw(rules["base space"], found, starts, goal, folder)
    print(f"\n{table}\n\ntable: {folder / 'table.md'}\npictures: {folder}/*.png")
    return rows


def train_flow(config: Faces, data: datasets.Images, folder: Path) -> Law:
    """The flow of the faces that the classifier has seen."""
    settings = image_flows.FlowRun(
        levels=config.levels,
        conditioner="conv",  # 32 x 32 positions at first
        width=config.width,
        steps=config.flow_steps,
        noise="uniform",
        alpha=0.05,
    )
    model, noise = image_flows.make_model(settings, data)
    return Law(model, noise, image_flows.fit(settings, model, noise, data, folder)[0])


def make_rules(config: Faces, generator: cf.Generator, classifier: Any) -> dict[str, cf.Search]:
    """The search in the flow's base, and among the images."""
    rule = functools.partial(
        cf.Search,
        model=classifier,
        target=cf.confidence(config.confidence),
        steps=config.steps,
        finish=images.stored,
    )
    return {
        "base space": rule(generator, optimizer=fixed_length(config.rate)),
        "data space": rule(cf.data_space(), optimizer=fixed_length(config.data_rate)),
    }


def report(
    config: Faces, accuracy: dict[str, float], rows: dict[str, dict[str, np.ndarray]]
) -> str:
    """What the searches have found, with its circumstances."""
    now, count = train.circumstances(), len(next(iter(rows.values()))["l2"])
    named = ", ".join(f"{name} {share:.3f}" for name, share in accuracy.items())
    caption = (
        f"`python {' '.join(now['command'][1:])}`, {now['date'][:10]}, revision "
        f"{str(now['revision'])[:7]}. Towards {config.attribute}, from {count} test faces without it; accuracy on "
        f"test faces: {named}. Shares with 95 % intervals, means ± standard errors."
    )
    return f"{caption}\n\n{train.markdown_table(*cf.evaluate.summary(rows))}"


def draw(
    rule: cf.Search,
    found: dict[str, images.Found],
    starts: np.ndarray,
    goal: np.ndarray,
    folder: Path,
) -> None:
    """Panels, the searches' way, and the flow's spectrum, its largest hundred of 12288 values."""
    base, data = found["base space"], found["data space"]
    some = slice(0, 8)
    captions = [cf.Status(int(s)).name.lower() for s in base.status[some]]
    pictures.panels(folder / "panels.png", base.start[some], base.x[some], data.x[some], captions)
    few = slice(0, 3)
    z = images.encode(rule.generator, starts[few])
    frames, steps = images.trajectories(rule, z, goal[few])
    logits = models.outputs(rule.model, frames.reshape(-1, *frames.shape[2:]))
    log_odds = (logits[:, 1] - logits[:, 0]).reshape(steps.shape)
    captions = [
        [f"step {s}: {odds:.1f}" for s, odds in zip(*row, strict=True)]
        for row in zip(steps, log_odds, strict=True)
    ]
    pictures.strip(folder / "paths.png", frames, captions)
    pictures.spectrum(
        folder / "spectrum.png", {"faces": images.spectra(rule, z[:1], min(100, z[0].size))}
    )
