"""Digits on the sphere at scattered points: a gauge network beside a planar one, tested unrotated and rotated."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jax.tree_util import Partial

from experiments import _grid, _images
from experiments._run import Run, markdown_table, mean_and_error
from experiments.gauge.points import fibonacci
from experiments.spherical import data, models, training
from geodl import nn, train
from geodl.equivariant import FieldType, Gated, harmonics, neighborhoods, stencil
from geodl.equivariant.gauge import GaugeConv, Stencil
from geodl.equivariant.groups import so2
from geodl.equivariant.steerable import invariants
from geodl.manifolds import SO3, Sphere


Model = Literal["gauge", "planar"]


@dataclass(frozen=True)
class Digits:
    """The protocol. Runs of one name share what is done already."""

    name: str = "default"
    data: _images.Data = "digits"
    download: bool = False
    models: tuple[Model, ...] = ("gauge", "planar")
    rotated: tuple[bool, ...] = (False, True)
    """whether the training images are rotated, each at random"""
    seeds: tuple[int, ...] = (0,)
    points: tuple[int, ...] = (600, 200, 80, 40)
    """of the picture, and behind each convolution"""
    radii: tuple[float, ...] = (0.4, 0.75, 1.3)
    """of the convolutions"""
    fields: tuple[int, ...] = (8, 8, 16)
    """of each frequency 0, 1, 2 behind each convolution"""
    widths: tuple[int, ...] = (16, 32)
    """channels of the planar network"""
    hidden: int = 64
    """units of its dense layer"""
    epochs: int = 20
    batch: int = 32
    learning_rate: float = 5e-3
    test: int = 0
    """number of test images; 0: all"""
    root: str = "runs"


@dataclass(frozen=True)
class Cell:
    """One trained network."""

    model: Model
    rotated: bool
    seed: int

    @property
    def folder(self) -> str:
        return f"{self.model}-{'rotated' if self.rotated else 'unrotated'}-{self.seed}"


def run(config: Digits) -> dict[Cell, dict[str, Any]]:
    """Train and score every cell; the table lands in the run's folder."""
    images, found = _images.load(config.data, config.download)
    run = Run("gauge-digits", config, ("models", "rotated", "seeds"), data=found)
    cells = [Cell(m, r, s) for m in config.models for r in config.rotated for s in config.seeds]
    scored = _grid.fill(run, cells, partial(score, config, images), shown="rotated_accuracy")
    run.finish(table(scored))
    return scored


def pictures(key: Array, images: np.ndarray, x: np.ndarray, rotated: bool) -> Array:
    """Images (n, height, width) in [0, 1] at unit vectors x (m, 3): (n, m), each rotated or not."""
    at = jnp.asarray(x, jnp.float32)

    @jax.jit
    def draw(row):
        key, canvas = row
        return data.project(canvas, at @ SO3().random_uniform(key) if rotated else at)

    keys = jax.random.split(key, len(images))
    return jax.lax.map(draw, (keys, jnp.asarray(images, jnp.float32)), batch_size=256)


class GaugeClassifier(nnx.Module):
    """Convolutions to ever fewer points, then the mean of invariants over the last ones and a linear layer."""

    def __init__(self, types: Sequence[FieldType], classes: int, table: Stencil, rngs: nnx.Rngs):
        self.activations = nnx.List([Gated(to, rngs) for to in types])
        ofs = [FieldType([(types[0].group.trivial, 1)]), *types[:-1]]
        self.convs = nnx.List(
            [
                GaugeConv(of, activation.of, table.radial, table.degree, rngs)
                for of, activation in zip(ofs, self.activations, strict=True)
            ]
        )
        self.to = types[-1]
        self.logits = nnx.Linear(self.to.count, classes, rngs=rngs)

    def __call__(self, tables, x):
        for conv, activation, table in zip(self.convs, self.activations, tables, strict=True):
            x = activation(conv(table, x))
        return self.logits(jnp.mean(invariants(self.to, x), -2))


class Seen(NamedTuple):
    """A network, and the points (..., 3) at which it sees a picture."""

    net: nn.Net
    points: np.ndarray


def network(config: Digits, model: Model) -> Seen:
    """Of one kind, as functions of pictures (..., points)."""
    if model == "planar":
        grid = harmonics.gauss_legendre(16)
        net = nn.conv_classifier((*grid.shape, 1), 10, config.widths, config.hidden)

        def on_grid(params, x):
            return net.apply(params, x.reshape(*x.shape[:-1], *grid.shape, 1))

        return Seen(nn.Net(net.init, Partial(on_grid)), data.points(grid).reshape(-1, 3))
    group, levels = so2(), [fibonacci(n) for n in config.points]
    tables = []
    for i, radius in enumerate(config.radii):
        x, centers = (jnp.asarray(level, jnp.float32) for level in levels[i : i + 2])
        near = neighborhoods(Sphere(2), x, 4 * np.pi / len(x), radius, centers)
        tables.append(stencil(near, group, radius))
    types = [FieldType([(group.irrep(m), n) for m in range(3)]) for n in config.fields]
    net = nn.functional(lambda rngs: GaugeClassifier(types, 10, tables[0], rngs))
    return Seen(nn.Net(net.init, Partial(_on_points, Partial(net.apply), tables)), levels[0])


def _on_points(apply, tables, params, x):
    return apply(params, tables, x[..., None])


def score(config: Digits, images, cell: Cell, folder: Path) -> dict[str, Any]:
    """Train one network and test it both ways, in per cent."""
    net, x = network(config, cell.model)
    of_train, of_test = jax.random.key(cell.seed), jax.random.key(99)
    test, labels = (a[: config.test or None] for a in images[2:])
    learned = pictures(of_train, images.train_images / np.float32(255), x, cell.rotated)
    mean, scale = jnp.mean(learned), jnp.std(learned)
    rows = ((learned - mean) / scale, jnp.asarray(images.train_labels, jnp.int32))
    planar = cell.model == "planar"
    apply, params, seconds = training.fit(
        net,
        loss,
        rows,
        config.epochs * train.steps_per_epoch(len(rows[0]), config.batch),
        config.learning_rate / (5 if planar else 1),
        config.batch,
        cell.seed,
        folder,
        planar,
    )

    @jax.jit
    def predict(apply, params, x):
        return jax.lax.map(lambda x: jnp.argmax(apply(params, x), -1), x, batch_size=100)

    def accuracy(rotated):
        seen = (pictures(of_test, test / np.float32(255), x, rotated) - mean) / scale
        return 100 * float(np.mean(predict(apply, params, seen) == labels))

    return {
        "parameters": models.count(net),
        "unrotated_accuracy": accuracy(False),
        "rotated_accuracy": accuracy(True),
        "cpu_seconds": round(seconds, 1),
    }


def loss(apply, params, batch, key):
    """Cross-entropy."""
    x, labels = batch.data
    losses = optax.softmax_cross_entropy_with_integer_labels(apply(params, x), labels)
    return jnp.sum(batch.weight * losses) / jnp.sum(batch.weight), {}


def table(scored: dict[Cell, dict[str, Any]]) -> str:
    """Accuracies in per cent, mean over seeds ± standard error."""
    rows = []
    for key in dict.fromkeys((c.model, c.rotated) for c in scored):
        group = [r for c, r in scored.items() if (c.model, c.rotated) == key]

        def mean(name, group=group):
            return mean_and_error([r[name] for r in group])

        rows.append(
            {
                "network": {"gauge": "gauge-equivariant"}.get(*key[:1], key[0]),
                "parameters": group[0]["parameters"],
                "trained": "rotated" if key[1] else "unrotated",
                "tested unrotated": mean("unrotated_accuracy"),
                "tested rotated": mean("rotated_accuracy"),
                "CPU s": mean("cpu_seconds"),
            }
        )
    return markdown_table(rows)
