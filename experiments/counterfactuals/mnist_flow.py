"""A flow of handwritten digits: bits per dimension of the test images, and samples."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from matplotlib.figure import Figure

from experiments._images import Data, image_shape, load, with_channels
from experiments._run import Run, date_and_revision, markdown_table, provenance
from experiments.counterfactuals import image_flows
from experiments.counterfactuals.image_flows import FlowRecipe
from geodl import flows, plotting, train


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
    model, noise = image_flows.make_model(config.recipe, image_shape(images.train_images))
    params, history = image_flows.fit(config.recipe, model, noise, images.train_images, run.folder)
    scores = evaluate(model, noise, params, images.test_images, run.folder)
    result = {
        "coupling": config.recipe.coupling,
        "noise": config.recipe.noise,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "steps": config.recipe.steps,
        "cpu_minutes": sum(record["cpu_seconds"] for record in history) / 60,
        "bits_per_dim": float(scores.mean()),
        "standard_error": float(scores.std() / np.sqrt(len(scores))),
    }
    draw(model, params["flow"], images.test_images, run.folder / "samples.png")
    run.finish(results_table(provenance() | result, source, len(scores)), result)
    return result


def evaluate(
    model: flows.InvertibleNet,
    noise: flows.LearnedNoise,
    params: Any,
    images: np.ndarray,
    folder: Path,
):
    """Bits per dimension of each image; by chunks that a killed run keeps."""

    @jax.jit
    def score(params, images, first):
        key = jax.random.fold_in(jax.random.key(0), first)
        return {"bits": image_flows.bits(model, noise, params, with_channels(images), key)}

    size = 500
    chunks = [(images[i : i + size], np.int32(i)) for i in range(0, len(images), size)]
    parts = train.cached_map(
        lambda chunk: score(params, *chunk), chunks, folder / "bits", depends=params
    )
    return np.concatenate([part["bits"] for part in parts]).astype(float)


def results_table(result: dict[str, Any], source: str, count: int) -> str:
    """One row: the flow, what it has cost, its score."""
    header = "coupling, noise, parameters, steps, CPU minutes, bits/dim, date, revision"
    row = [
        result["coupling"],
        result["noise"],
        result["parameters"],
        result["steps"],
        f"{result['cpu_minutes']:.1f}",
        f"{result['bits_per_dim']:.3f} ± {result['standard_error']:.3f}",
        *date_and_revision(result),
    ]
    caption = (
        f"Bits per dimension of {count} test images of {source}, the noise of the training, one "
        "draw; mean ± its standard error over images:"
    )
    return f"{caption}\n\n{markdown_table(header.split(', '), [row])}"


def draw(model: flows.InvertibleNet, params: Any, images: np.ndarray, path: Path) -> None:
    """Test images, and samples at two temperatures."""
    rows, columns = 8, 8

    @jax.jit
    def sample(params, key):
        distributions = (model.distribution(params, temperature) for temperature in (1.0, 0.7))
        return [d.sample(seed=key, sample_shape=rows * columns) for d in distributions]

    panels = {"test images": images[: rows * columns] / 255}
    drawn = sample(params, jax.random.key(1))
    for title, x in zip(("samples", "samples at temperature 0.7"), drawn, strict=True):
        panels[title] = np.clip(np.asarray(x)[..., 0], 0, 1)
    figure = Figure(figsize=(4.0 * len(panels), 4.3), layout="constrained")
    for ax, (title, shown) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        plotting.image_grid(ax, shown.reshape(rows, columns, *shown.shape[1:]))
        ax.set_title(title)
    figure.savefig(path, dpi=150)
