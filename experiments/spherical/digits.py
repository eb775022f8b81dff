"""Classes of digits on the sphere: trained unrotated or rotated, tested both ways; equivariant against planar."""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import _devices, _grid, _images
from experiments._run import Run, markdown_table, mean_and_error
from experiments._training import by_batches, on_minibatches
from experiments.spherical import data, models
from geodl import equivariant, nn, train
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
    copies: int = 1
    """of each training image, each with a rotation of its own"""
    seeds: tuple[int, ...] = (0,)
    bands: tuple[int, ...] = (30, 10, 6)
    channels: tuple[int, ...] = (1, 20, 40)
    widths: tuple[int, ...] = (16, 32, 64)
    """channels of the planar network"""
    hidden: int = 64
    """units of its dense layer"""
    epochs: int = 40
    batch: int = 32
    learning_rate: float = 5e-3
    test: int = 0
    """number of test images; 0: all"""
    root: str = "runs"


QUICK = Digits()
MNIST = Digits(name="paper", data="mnist", epochs=20, seeds=(0, 1, 2), sizes=(1000, 6000, 0))


@dataclass(frozen=True)
class Cell:
    """One trained network."""

    model: Model
    rotated: bool
    size: int
    seed: int

    @property
    def folder(self) -> str:
        trained = "rotated" if self.rotated else "unrotated"
        return f"{self.model}-{trained}-{self.size or 'all'}-{self.seed}"


def cells(config: Digits) -> list[Cell]:
    """Every network asked for; rotated images make no difference to one whose coefficients are."""
    return [
        Cell(model, rotated, size, seed)
        for size in config.sizes
        for model in config.models
        for rotated in config.rotated
        for seed in config.seeds
        if not (model == "turned" and rotated)
    ]


def run(config: Digits) -> dict[Cell, dict[str, Any]]:
    """Train and score every cell; the table lands in the run's folder."""
    images, found = _images.load(config.data, config.download)
    run = Run("spherical", config, ("models", "rotated", "sizes", "seeds"), data=found)
    scored = _grid.fill(
        run, cells(config), partial(score, config, images), shown="rotated_accuracy"
    )
    run.finish(table(config, scored))
    return scored


class Task(NamedTuple):
    """Pictures to learn from, and to be tested by, unrotated and rotated."""

    train: data.Sphere
    plain: data.Sphere
    rotated: data.Sphere


def task(config: Digits, images, cell: Cell) -> Task:
    """The pictures of a cell, standardized by those to learn from; the test pictures are the same in all cells."""
    grid = harmonics.gauss_legendre(config.bands[0])
    of_train, of_test = jax.random.key(cell.seed), jax.random.key(99)
    size = cell.size or len(images.train_images)
    x, labels = (np.concatenate([a[:size]] * config.copies) for a in images[:2])
    test, test_labels = (a[: config.test or None] for a in images[2:])

    def make(key, images, labels, rotated):
        return data.on_sphere(key, images / np.float32(255), labels, grid, rotated)

    pictures = (
        make(of_train, x, labels, cell.rotated),
        make(of_test, test, test_labels, False),
        make(of_test, test, test_labels, True),
    )
    # Without the common mean, which is most of the mean over SO(3), the equivariant network learns in fewer steps.
    mean, scale = jnp.mean(pictures[0].images), jnp.std(pictures[0].images)
    return Task(*(p._replace(images=(p.images - mean) / scale) for p in pictures))


def network(config: Digits, model: Model) -> nn.Net:
    """Of one kind."""
    if model != "planar":
        betas = [np.pi / 8] * (len(config.bands) - 1)
        return equivariant.spherical_classifier(10, config.bands, config.channels, betas)
    grid = harmonics.gauss_legendre(config.bands[0])
    return nn.conv_classifier((*grid.shape, 1), 10, config.widths, config.hidden)


def score(config: Digits, images, cell: Cell, folder: Path) -> dict[str, Any]:
    """Train one network and test it both ways, in per cent."""
    net, pictures = network(config, cell.model), task(config, images, cell)
    rows = (pictures.train.images, pictures.train.labels)
    total = config.epochs * train.steps_per_epoch(len(rows[0]), config.batch)
    optimizer = optax.adam(optax.cosine_decay_schedule(config.learning_rate, total))
    if cell.model == "planar":
        optimizer = optax.adam(optax.cosine_decay_schedule(config.learning_rate / 5, total))
    optimizer = _devices.optimizer(optimizer)
    key = jax.random.key(cell.seed)
    state = train.init(net.init(key), optimizer, jax.random.fold_in(key, 1), len(rows[0]))

    # The network's tables are data of the step, so that they are no constants of its program.
    def step(state, data):
        apply, rows = data
        of_batch = _devices.make_step(partial(loss, apply, cell.model == "turned"), optimizer)
        return on_minibatches(of_batch, config.batch)(state, rows)

    start = time.process_time()
    convolutional = cell.model == "planar"
    apply = jax.tree_util.Partial(net.apply) if cell.model == "planar" else net.apply
    chunk = max(1, total // config.epochs)
    options: dict[str, Any] = {"chunk": chunk, "save_every": 5, "convolutional": convolutional}
    state, _ = _devices.fit(step, state, (apply, rows), total, folder, **options)
    seconds = time.process_time() - start
    predict = jax.jit(lambda apply, params, x: jnp.argmax(apply(params, x), -1))

    def accuracy(sphere):
        found = by_batches(lambda x, _: predict(apply, state.params, x), sphere.images, 100)
        return 100 * float(np.mean(found == np.asarray(sphere.labels)))

    gap = equivariant.equivariance_gap(
        jax.tree_util.Partial(_applied, apply, state.params), pictures.plain.images[:32], key
    )
    return {
        "parameters": models.count(net),
        "unrotated_accuracy": accuracy(pictures.plain),
        "rotated_accuracy": accuracy(pictures.rotated),
        "gap": float(gap.mean[-1]),
        "flips": 100 * float(gap.flips[-1]),
        "cpu_seconds": round(seconds, 1),
    }


def _applied(apply, params, x):
    return apply(params, x)


def loss(apply, turned, params, batch, key):
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
    for key in sorted({(c.size, c.model, c.rotated) for c in scored}):
        size, model, rotated = key
        group = [r for c, r in scored.items() if (c.size, c.model, c.rotated) == key]

        def mean(name, group=group):
            return mean_and_error([r[name] for r in group])

        name = {"turned": "equivariant, coefficients rotated"}.get(model, model)
        rows.append(
            {
                "network": name,
                "parameters": group[0]["parameters"],
                "trained": "rotated" if rotated else "unrotated",
                "images": size or "all",
                "tested unrotated": mean("unrotated_accuracy"),
                "tested rotated": mean("rotated_accuracy"),
                "flips": mean("flips"),
                "CPU s": mean("cpu_seconds"),
            }
        )
    for name, (plain, both, crossed) in PUBLISHED.items():
        blank = dict.fromkeys(rows[0]) | {"network": name, "images": "MNIST"}
        unrotated = {"trained": "unrotated", "tested unrotated": plain, "tested rotated": crossed}
        rows += [blank | unrotated, blank | {"trained": "rotated", "tested rotated": both}]
    return markdown_table(rows)
