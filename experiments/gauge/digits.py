"""Digits on the sphere at scattered points: a gauge network beside a spherical and a planar CNN, rotated or not."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.tree_util import Partial

from experiments import _grid, _images
from experiments._run import Run, markdown_table, mean_and_error
from experiments.gauge.points import fibonacci
from experiments.spherical import data, models, training
from experiments.spherical import digits as spherical
from experiments.spherical.training import Cell
from geodl import nn
from geodl.equivariant import FieldType, Gated, harmonics, neighborhoods, stencil
from geodl.equivariant.gauge import GaugeConv, Stencil
from geodl.equivariant.groups import so2
from geodl.equivariant.steerable import invariants
from geodl.manifolds import Sphere


Model = Literal["gauge", "spherical", "planar"]

NAMES = {"gauge": "gauge-equivariant", "spherical": "spherical CNN", "planar": "planar CNN"}
OTHERS = spherical.QUICK  # the spherical and the planar network, and how they are trained


@dataclass(frozen=True)
class Digits:
    """The protocol. Runs of one name share what is done already."""

    name: str = "default"
    data: _images.Data = "digits"
    download: bool = False
    models: tuple[Model, ...] = ("gauge", "spherical", "planar")
    rotated: tuple[bool, ...] = (False, True)
    """whether the training images are rotated, each at random"""
    seeds: tuple[int, ...] = (0, 1, 2)
    pictures: int = OTHERS.pictures
    """to learn from, all training images in turn; rotated, each has a rotation of its own"""
    points: tuple[int, ...] = (600, 200, 80, 40)
    """of the picture, and behind each convolution"""
    radii: tuple[float, ...] = (0.4, 0.75, 1.3)
    """of the convolutions"""
    fields: tuple[int, ...] = (8, 8, 16)
    """of each frequency 0, 1, 2 behind each convolution"""
    steps: int = OTHERS.steps
    """of the gauge and of the spherical network"""
    planar_steps: int = OTHERS.planar_steps
    """more, as each costs less"""
    batch: int = OTHERS.batch
    learning_rate: float = 1e-2
    """of the gauge network"""
    test: int = 0
    """number of test images; 0: all"""
    root: str = "runs"


def run(config: Digits) -> dict[Cell, dict[str, Any]]:
    """Train and score every cell; the table lands in the run's folder."""
    images, found = _images.load(config.data, config.download)
    run = Run("gauge-digits", config, ("models", "rotated", "seeds"), data=found)
    cells = [Cell(m, r, s) for s in config.seeds for m in config.models for r in config.rotated]
    scored = _grid.fill(run, cells, partial(score, config, images), shown="rotated_accuracy")
    run.finish(table(scored))
    return scored


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


def network(config: Digits, model: str) -> tuple[nn.Net, np.ndarray]:
    """Of one kind, and the unit vectors (*shape, 3) where it sees pictures (..., *shape, 1)."""
    if model != "gauge":
        net = spherical.network(OTHERS, "planar" if model == "planar" else "equivariant")
        return net, data.points(harmonics.gauss_legendre(OTHERS.bands[0]))
    group, levels = so2(), [fibonacci(n) for n in config.points]
    tables = []
    for i, radius in enumerate(config.radii):
        x, centers = (jnp.asarray(level, jnp.float32) for level in levels[i : i + 2])
        near = neighborhoods(Sphere(2), x, 4 * np.pi / len(x), radius, centers)
        tables.append(stencil(near, group, radius))
    types = [FieldType([(group.irrep(m), n) for m in range(3)]) for n in config.fields]
    net = nn.functional(lambda rngs: GaugeClassifier(types, 10, tables[0], rngs))
    return nn.Net(net.init, Partial(_on_points, Partial(net.apply), tables)), levels[0]


def _on_points(apply, tables, params, x):
    return apply(params, tables, x)


def score(config: Digits, images, cell: Cell, folder: Path) -> dict[str, Any]:
    """Train one network and test it both ways, in per cent."""
    net, x = network(config, cell.model)
    pictures = training.task(images, x, 0, config.pictures, cell, config.test)
    rates = {
        "gauge": config.learning_rate,
        "spherical": OTHERS.learning_rate,
        "planar": OTHERS.planar_learning_rate,
    }
    planar = cell.model == "planar"
    apply, params, seconds = training.fit(
        net,
        partial(spherical.loss, False),
        (pictures.train.images, pictures.train.labels),
        config.planar_steps if planar else config.steps,
        rates[cell.model],
        config.batch,
        cell,
        folder,
    )
    return {
        "parameters": models.count(net),
        "unrotated_accuracy": training.accuracy(apply, params, pictures.plain),
        "rotated_accuracy": training.accuracy(apply, params, pictures.rotated),
        "cpu_seconds": round(seconds, 1),
    }


def table(scored: dict[Cell, dict[str, Any]]) -> str:
    """Accuracies in per cent, mean over seeds ± standard error."""
    rows = []
    for (model, trained), of in _grid.grouped(scored, "model", "trained").items():
        rows.append(
            {
                "network": NAMES[model],
                "parameters": of["parameters"][0],
                "trained": trained,
                "tested unrotated": mean_and_error(of["unrotated_accuracy"]),
                "tested rotated": mean_and_error(of["rotated_accuracy"]),
                "CPU s": mean_and_error(of["cpu_seconds"]),
            }
        )
    return markdown_table(rows)
