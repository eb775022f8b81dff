"""Which digit each point of the sphere belongs to: an equivariant network beside planar ones with augmentation."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import optax

from experiments import _grid, _images
from experiments._run import Run, markdown_table, mean_and_error
from experiments.spherical import data, models, pictures, training
from experiments.spherical.models import Size
from experiments.spherical.training import Cell
from geodl import equivariant, nn
from geodl.equivariant import harmonics


Model = Literal["equivariant", "planar"]
CLASSES = 11  # background, then the digits


@dataclass(frozen=True)
class Segments:
    """The protocol. Runs of one name share what is done already."""

    name: str = "default"
    data: _images.Data = "auto"
    download: bool = False
    models: tuple[Model, ...] = ("equivariant", "planar")
    rotated: tuple[bool, ...] = (True,)
    """whether the training images are rotated, each at random"""
    size: int = 0
    """number of training images; 0: all"""
    pictures: int = 20_000
    """to learn from, all training images in turn; rotated, each has a rotation of its own"""
    digits: int = 1
    """on each sphere, 1 to 4"""
    seeds: tuple[int, ...] = (0,)
    bands: tuple[int, ...] = (24, 20, 12, 20, 24)
    channels: tuple[int, ...] = (1, 16, 24, 16, CLASSES)
    orders: int | None = 2
    """spins of the equivariant network's features; by default all"""
    betas: tuple[float, ...] = (np.pi / 8, np.pi / 6, np.pi / 6, np.pi / 8)
    planar: Literal["unet"] | Size = "unet"
    """the U-Net, or one of Gerken et al. (2022), for bands of 50"""
    steps: int = 2500
    planar_steps: int = 8000
    batch: int = 16
    learning_rate: float = 1e-2
    planar_learning_rate: float = 1e-3
    test: int = 0
    """number of test images; 0: all"""
    validate: bool = False
    """to choose settings: the last sixth of the training images (MNIST: 10,000) is held out and stands for the test"""
    root: str = "runs"


def run(config: Segments) -> dict[Cell, dict[str, Any]]:
    """Train and score every cell; the table lands in the run's folder."""
    images, found = _images.load(config.data, config.download, config.validate)
    run = Run("spherical-segments", config, ("models", "rotated", "seeds"), data=found)
    cells = [
        Cell(model, rotated, seed)
        for seed in config.seeds
        for model in config.models
        for rotated in config.rotated
    ]
    scored = _grid.fill(run, cells, partial(score, config, images), shown="rotated_iou")
    run.finish(table(scored))
    return scored


def network(config: Segments, model: str, grid: harmonics.Grid) -> nn.Net:
    """Of one kind."""
    if model == "planar":
        if config.planar == "unet":
            return models.unet(classes=CLASSES)
        return models.conv_segmenter(config.planar, CLASSES, grid.longitudes)
    return equivariant.spherical_segmenter(
        config.bands,
        config.channels,
        config.betas,
        skips=True,
        normalized=True,
        grid=grid,
        orders=config.orders,
    )


def score(config: Segments, images, cell: Cell, folder: Path) -> dict[str, Any]:
    """Train one network and test it both ways, in per cent."""
    grid = harmonics.driscoll_healy(config.bands[0])  # square, as the planar networks are
    net, planar = network(config, cell.model, grid), cell.model == "planar"
    spheres = training.task(
        images,
        data.points(grid),
        config.size,
        config.pictures,
        cell,
        config.test,
        config.digits,
    )
    apply, params, seconds = training.fit(
        net,
        loss,
        (spheres.train.images, spheres.train.masks),
        config.planar_steps if planar else config.steps,
        config.planar_learning_rate if planar else config.learning_rate,
        config.batch,
        cell,
        folder,
    )
    scores = {"parameters": models.count(net), "cpu_seconds": round(seconds, 1)}
    areas = np.repeat(np.array(grid.weights)[:, None], grid.longitudes, 1)
    for name, sphere in (("unrotated", spheres.plain), ("rotated", spheres.rotated)):
        found = training.results(partial(jnp.argmax, axis=-1), apply, params, sphere.images)
        found, masks = np.concatenate(list(found)), np.array(sphere.masks)
        scores[f"{name}_iou"] = 100 * iou(confusion(masks, found, np.ones_like(areas)))
        scores[f"{name}_area_iou"] = 100 * iou(confusion(masks, found, areas))
    shown = {"true": masks[:6], "found": found[:6]}  # of the rotated ones
    pictures.draw(folder / "segments.png", grid, np.array(sphere.images[:6, ..., 0]), shown)
    return scores


def loss(apply, params, batch, key):
    """Cross-entropy of all pixels."""
    images, masks = batch.data
    logits = apply(params, images)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, masks)
    mean = jnp.sum(batch.weight * jnp.mean(losses, (1, 2))) / jnp.sum(batch.weight)
    return mean, {}


def confusion(masks: np.ndarray, found: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weights of the pixels (n, rings, longitudes) by class and by what was found (classes, classes)."""
    pairs = (masks * CLASSES + found).ravel()
    weights = np.broadcast_to(weights, masks.shape).ravel()
    return np.bincount(pairs, weights, CLASSES**2).reshape(CLASSES, CLASSES)


def iou(confusion: np.ndarray) -> float:
    """Intersection over union, the mean over the classes without the background (Gerken et al. 2022)."""
    both = np.diag(confusion)
    return float(np.mean((both / (confusion.sum(0) + confusion.sum(1) - both))[1:]))


def table(scored: dict[Cell, dict[str, Any]]) -> str:
    """Mean intersection over union in per cent, mean over seeds ± standard error; by pixels and by area."""
    rows = []
    groups = _grid.grouped(scored, "model", "rotated", "trained")
    for (model, _, trained), of in sorted(groups.items()):
        rows.append(
            {
                "network": model,
                "parameters": of["parameters"][0],
                "trained": trained,
                "tested unrotated": mean_and_error(of["unrotated_iou"]),
                "tested rotated": mean_and_error(of["rotated_iou"]),
                "by area": mean_and_error(of["rotated_area_iou"]),
                "CPU s": mean_and_error(of["cpu_seconds"]),
            }
        )
    return markdown_table(rows)
