"""The report of the digits' experiment: tables, panels, spectra."""

import math
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from experiments._run import citation, markdown_table, metric_rows, provenance
from experiments.counterfactuals import pictures, searches
from experiments.counterfactuals.held_out import Task
from experiments.counterfactuals.rules import Rule
from experiments.counterfactuals.searches import Found
from geodl import counterfactual as cf
from geodl.flows import bin_centers


NAMES = {
    "flow": "flow",
    "vae": "convolutional VAE",
    "gan": "GAN",
    "pvae": "Poincaré VAE",
}
COMPARED = ("linear SVM", "RBF SVM", "CNN", "MLP", "10-NN share", "10-NN share, features")


def report(
    generator: str,
    config: Rule,
    source: str,
    rows: Mapping[str, Mapping[str, np.ndarray]],
    ablated: Mapping[str, Mapping[str, np.ndarray]],
    notes: list[str],
) -> str:
    """Tables in Markdown, with what they show and where they come from."""
    count = len(rows["originals"]["l2"])
    method = (
        f"steps of length {config.length:g} in the base, its log-density weighted by {config.prior:g}, until p ≥ "
        f"{config.confidence:g} or for {config.steps} steps; in data space of length {config.length_in_data:g}"
    )
    parts = [
        f"### Generator: {generator}",
        f"{citation(provenance())}. {count} test images of {source}; "
        f"{method}. Shares with 95 % intervals, means ± standard errors, over images: all nets were trained once.",
        *notes,
        table(rows),
        "By how much the base space is ahead (means of paired differences ± standard errors):",
        advantages(rows),
    ]
    if ablated:
        parts += [
            f"Ablation, on {len(ablated['ours']['l2'])} of the images: rows differ from the first in what "
            "they name, and the last has all of our settings.",
            table(ablated),
        ]
    return "\n\n".join(parts)


def table(rows: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """A row for each method."""
    hidden = ("found", "l∞", "10-NN majority, features")
    shown = {
        name: {k: v for k, v in measures.items() if k not in hidden}
        for name, measures in rows.items()
    }
    return markdown_table(metric_rows(shown))


def advantages(rows: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """How many more of the images the held-out classifiers accept than of each rival's."""
    base, table = rows["base space"], []
    for name in rows:
        if name.startswith(("base space, ", "principal components", "data space")):
            row = {"base space against": name}
            for measure in COMPARED:
                gap = 1.0 * base[measure] - rows[name][measure]
                row[measure] = f"{gap.mean():+z.3f} ± {gap.std() / math.sqrt(len(gap)):.3f}"
            table.append(row)
    return markdown_table(table)


def draw(
    generator: str,
    task: Task,
    rules: Mapping[str, cf.Search],
    found: Mapping[str, Found],
    folder: Path,
) -> None:
    """Panels of the first images, and spectra."""
    base, data = found["base space"], found["data space"]
    first = np.arange(min(24, len(task.images)))
    names = [f"{a} → {b}" for a, b in zip(task.labels, task.goal, strict=True)]
    shown = base.start[first], base.x[first], data.x[first], [names[i] for i in first]
    pictures.panels(folder / "panels.png", *shown)
    some, linear = slice(min(8, len(task.images))), "principal components"
    spectra = {
        generator: searches.spectra(rules["base space"], base.z[some]),
        linear: searches.spectra(rules[linear], found[linear].z[:1]),
    }
    pictures.spectrum(folder / "spectrum.png", spectra)


def draw_fours(task: Task, rules: Mapping[str, cf.Search], batch: int, folder: Path) -> None:
    """Fours that become nines: the searches' paths, and panels."""
    rule, attack = rules["base space"], rules["data space"]
    fours = np.flatnonzero(task.labels == 4)[:8]
    if not len(fours):
        return
    nines = np.full(len(fours), 9, np.int32)
    if rule.generator.exact:
        z = searches.encode(rule.generator, task.images[fours])
    else:
        z = searches.inverted(rule.generator, task.images[fours], folder / "inverse-fours")[0]
    frames, logits, steps = searches.trajectories(rule, z, nines)
    chance = np.asarray(jax.nn.softmax(logits))[..., 9]
    some = frames[:4], "step {}, p = {:.2g}", steps[:4], chance[:4]
    pictures.strip(folder / "paths.png", *some)
    attacked = searches.search(
        attack, bin_centers(task.images[fours]), nines, folder / "fours", batch
    )
    pictures.panels(
        folder / "fours.png", frames[:, 0], frames[:, -1], attacked.x, ["4 → 9"] * len(fours)
    )
