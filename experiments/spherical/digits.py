"""Classes of digits on the sphere: trained unrotated or rotated, tested both ways; equivariant against planar."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from experiments import _grid, _images
from experiments._run import Run, markdown_table, mean_and_error
from experiments.spherical import data, models, pictures, training
from geodl import equivariant, nn
from geodl.equivariant import harmonics
from geodl.manifolds import SO3


# "turned": the equivariant network, its input's coefficients rotated at random in each batch
Model = Literal["equivariant", "turned", "planar"]

# Per cent, NR/NR, R/R, NR/R: Cohen et al. (2018) as cited since; Esteves et al. (2020), Cobb et al. (2021)
PUBLISHED = {
    "S2CNN (Cohen et al. 2018)": (95.59, 94.62, 93.40),
    "spin-weighted (Esteves et al. 2020)": (99.37, 99.37, 99.08),
    "efficient generalized (Cobb et al. 2021)": (99.35, 99.38, 99.34),
}


@dataclass(frozen=True)
class Digits:
    """The protocol. Runs of one name share what is done already."""

    name: str = "quick"
    data: _images.Data = "digits"
    download: bool = False
    models: tuple[Model, ...] = ("equivariant", "turned", "planar")
    rotated: tuple[bool, ...] = (False, True)
    """whether the training images are rotated, each at random"""
    sizes: tuple[int, ...] = (0,)
    """numbers of training images; 0: all"""
    pictures: int = 8192
    """to learn from, all training images in turn; rotated, each has a rotation of its own"""
    seeds: tuple[int, ...] = (0,)
    bands: tuple[int, ...] = (16, 8, 5)
    channels: tuple[int, ...] = (1, 16, 32)
    orders: int | None = None
    """spins of the equivariant network's features; by default all"""
    betas: tuple[float, ...] = (np.pi / 4, np.pi / 3)
    """size of the equivariant network's kernels"""
    widths: tuple[int, ...] = (16, 32, 64)
    """channels of the planar network"""
    hidden: int = 64
    """units of the last dense layer but one, of either"""
    steps: int = 400
    planar_steps: int = 7000
    """more, as each costs less"""
    batch: int = 32
    learning_rate: float = 1e-2
    planar_learning_rate: float = 3e-3
    test: int = 0
    """number of test images; 0: all"""
    finer: float | None = None
    """test the equivariant networks also with ReLU on grids of so many rings by the band: parameters are of no grid"""
    validate: bool = False
    """to choose settings: the last sixth of the training images (MNIST: 10,000) is held out and stands for the test"""
    root: str = "runs"


QUICK = Digits()
MNIST = Digits(
    name="paper",
    data="mnist",
    sizes=(1000, 6000, 0),
    pictures=60_000,
    seeds=(0, 1, 2),
    bands=(30, 16, 10, 6),
    channels=(1, 16, 32, 48),
    orders=2,
    betas=(np.pi / 8, np.pi / 6, np.pi / 4),
    steps=24_000,
    planar_steps=24_000,
    finer=2.0,
)


@dataclass(frozen=True)
class Cell(training.Cell):
    """One network, trained with so many images."""

    size: int

    @property
    def folder(self) -> str:
        return f"{self.model}-{self.trained}-{self.size or 'all'}-{self.seed}"


def cells(config: Digits) -> list[Cell]:
    """Every network asked for."""
    return [
        Cell(model, rotated, seed, size)
        for seed in config.seeds
        for size in config.sizes
        for model in config.models
        for rotated in config.rotated
    ]


def run(config: Digits) -> dict[Cell, dict[str, Any]]:
    """Train and score every cell; the table lands in the run's folder."""
    images, found = _images.load(config.data, config.download, config.validate)
    run = Run("spherical", config, ("models", "rotated", "sizes", "seeds"), data=found)
    scored = _grid.fill(
        run, cells(config), partial(score, config, images), shown="rotated_accuracy"
    )
    run.finish(table(config, scored))
    return scored


def network(config: Digits, model: str, oversampling: float = 1.0) -> nn.Net:
    """Of one kind."""
    if model == "planar":
        grid = harmonics.gauss_legendre(config.bands[0])
        return nn.conv_classifier((*grid.shape, 1), 10, config.widths, config.hidden)
    return equivariant.spherical_classifier(
        10,
        config.bands,
        config.channels,
        config.betas,
        orders=config.orders,
        oversampling=oversampling,
        normalized=True,
        hidden=config.hidden,
    )


def score(config: Digits, images, cell: Cell, folder: Path) -> dict[str, Any]:
    """Train one network and test it both ways, in per cent."""
    net, grid = network(config, cell.model), harmonics.gauss_legendre(config.bands[0])
    spheres = training.task(
        images,
        data.points(grid),
        cell.size,
        config.pictures,
        cell,
        config.test,
    )
    planar = cell.model == "planar"
    apply, params, seconds = training.fit(
        net,
        partial(loss, cell.model == "turned"),
        (spheres.train.images, spheres.train.labels),
        config.planar_steps if planar else config.steps,
        config.planar_learning_rate if planar else config.learning_rate,
        config.batch,
        cell,
        folder,
    )

    result = {"parameters": models.count(net), "cpu_seconds": round(seconds, 1)}
    result |= tested(net, params, spheres, config.bands[0], cell.seed)
    images, labels = spheres.rotated.images[:8], spheres.rotated.labels[:8]
    found = next(training.results(partial(jnp.argmax, axis=-1), apply, params, images))
    titles = [f"{i} read as {j}" for i, j in zip(labels, found, strict=True)]
    pictures.draw(folder / "digits.png", grid, np.array(images[..., 0]), titles=titles)
    if config.finer and not planar:
        net = network(config, cell.model, config.finer)
        again = tested(net, params, spheres, config.bands[0], cell.seed)
        result |= {f"finer_{name}": value for name, value in again.items()}
    return result


def tested(
    net: nn.Net, params: Any, spheres: training.Task, degrees: int, seed: int
) -> dict[str, float]:
    """Accuracies on unrotated and on rotated pictures, and what exact rotations of pictures change."""
    gap = equivariant.equivariance_gap(
        Partial(net.apply, params),
        spheres.plain.images[:32],
        jax.random.key(seed),
        degrees=[degrees],
    )
    return {
        "unrotated_accuracy": training.accuracy(Partial(net.apply), params, spheres.plain),
        "rotated_accuracy": training.accuracy(Partial(net.apply), params, spheres.rotated),
        "gap": float(gap.mean[-1]),
        "flips": 100 * float(gap.flips[-1]),
    }


def loss(turned, apply, params, batch, key):
    """Cross-entropy; where asked for, of the batch rotated at random in its coefficients."""
    images, labels = batch.data
    logits = apply(params, images, SO3().random_uniform(key)) if turned else apply(params, images)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    hits = jnp.argmax(logits, -1) == labels
    total = jnp.sum(batch.weight)
    return jnp.sum(batch.weight * losses) / total, {
        "accuracy": jnp.sum(batch.weight * hits) / total
    }


def table(config: Digits, scored: dict[Cell, dict[str, Any]]) -> str:
    """Accuracies in per cent, mean over seeds ± standard error; published ones of MNIST beside them."""
    rows = []
    groups = _grid.grouped(scored, "size", "model", "rotated", "trained")
    for (size, model, _, trained), of in sorted(groups.items()):
        name = "equivariant, coefficients rotated" if model == "turned" else model
        for grids, note in ("", ""), ("finer_", ", tested on finer grids"):
            if f"{grids}flips" in of:
                rows.append(
                    {
                        "network": name + note,
                        "parameters": of["parameters"][0],
                        "trained": trained,
                        "images": size or "all",
                        "tested unrotated": mean_and_error(of[f"{grids}unrotated_accuracy"]),
                        "tested rotated": mean_and_error(of[f"{grids}rotated_accuracy"]),
                        "flips": mean_and_error(of[f"{grids}flips"]),
                        "CPU s": mean_and_error(of["cpu_seconds"]),
                    }
                )
    for name, (plain, both, crossed) in PUBLISHED.items():
        blank = dict.fromkeys(rows[0]) | {"network": name, "images": "MNIST"}
        unrotated = {"trained": "unrotated", "tested unrotated": plain, "tested rotated": crossed}
        rows += [blank | unrotated, blank | {"trained": "rotated", "tested rotated": both}]
    return markdown_table(rows)
