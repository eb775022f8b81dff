"""A flow of handwritten digits: bits per dimension of the test images, and samples."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from experiments._images import Data, load, with_channels
from experiments._run import Run, date_and_revision, markdown_table, provenance
from experiments.counterfactuals import pictures
from experiments.counterfactuals.image_flows import FlowRecipe, TrainedFlow, train_flow
from geodl.flows import bin_centers


@dataclass(frozen=True)
class MnistFlow:
    """The defaults are for minutes on two cores."""

    name: str = "flow"
    data: Data = "auto"
    """auto: MNIST where its files are found, else scikit-learn's digits"""
    download: bool = False
    """fetch MNIST once from its public mirrors where GEODL_DATA does not hold it"""
    recipe: Annotated[FlowRecipe, tyro.conf.arg(name="")] = field(default_factory=FlowRecipe)
    root: str = "runs"


def run(config: MnistFlow) -> dict[str, Any]:
    """Train, score on all test images, draw samples; everything lands in the run's folder."""
    images, source = load(config.data, config.download)
    run = Run("cf-mnist-flow", config, data=source)
    print(f"{source}: {len(images.train_images)} training, {len(images.test_images)} test images")
    flow = train_flow(config.recipe, images.train_images, run.folder)
    scores = flow.bits(bin_centers(with_channels(images.test_images)), run.folder / "bits")
    result = {
        "coupling": config.recipe.coupling,
        "noise": config.recipe.noise,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(flow.params)),
        "steps": config.recipe.steps,
        "cpu_minutes": sum(record["cpu_seconds"] for record in flow.history) / 60,
        "bits_per_dim": float(scores.mean()),
        "standard_error": float(scores.std() / np.sqrt(len(scores))),
    }
    draw(flow, images.test_images, run.folder / "samples.png")
    run.finish(results_table(provenance() | result, source, len(scores)), result)
    return result


def results_table(result: dict[str, Any], source: str, count: int) -> str:
    """One row: the flow, what it has cost, its score."""
    row = {name: result[name] for name in ("coupling", "noise", "parameters", "steps")} | {
        "CPU minutes": f"{result['cpu_minutes']:.1f}",
        "bits/dim": f"{result['bits_per_dim']:.3f} ± {result['standard_error']:.3f}",
        **date_and_revision(result),
    }
    caption = (
        f"Bits per dimension of {count} test images of {source}, the noise of the training, one "
        "draw; mean ± its standard error over images:"
    )
    return f"{caption}\n\n{markdown_table([row])}"


def draw(flow: TrainedFlow, images: np.ndarray, path: Path) -> None:
    """Test images, and samples at two temperatures."""
    rows, columns = 8, 8

    @jax.jit
    def sample(params, key):
        distributions = (flow.model.distribution(params, temperature) for temperature in (1.0, 0.7))
        return [d.sample(seed=key, sample_shape=rows * columns) for d in distributions]

    panels = {"test images": images[: rows * columns] / 255}
    drawn = sample(flow.params["flow"], jax.random.key(1))
    for title, x in zip(("samples", "samples at temperature 0.7"), drawn, strict=True):
        panels[title] = np.clip(np.asarray(x)[..., 0], 0, 1)
    shown = {name: x.reshape(rows, columns, *x.shape[1:]) for name, x in panels.items()}
    pictures.grids(path, shown)
