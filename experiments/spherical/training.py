"""What the experiments share: cells of tables, pictures to learn from and to be tested by, training of one network."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from experiments import _devices
from experiments._training import on_minibatches
from experiments.spherical import data
from geodl import datasets, nn, train


@dataclass(frozen=True)
class Cell:
    """One trained network."""

    model: str
    rotated: bool
    seed: int

    @property
    def trained(self) -> str:
        return "rotated" if self.rotated else "unrotated"

    @property
    def folder(self) -> str:
        return f"{self.model}-{self.trained}-{self.seed}"


class Task(NamedTuple):
    """Pictures to learn from, and to be tested by, unrotated and rotated."""

    train: data.Sphere
    plain: data.Sphere
    rotated: data.Sphere


def task(
    images: datasets.Images,
    x: np.ndarray,
    size: int,
    pictures: int,
    cell: Cell,
    test: int = 0,
    digits: int = 1,
) -> Task:
    """Pictures standardized by those to learn from; the test pictures are the same for all sizes and seeds.

    Args:
        images: to be put on the sphere.
        x: where, unit vectors (*shape, 3).
        size: number of training images; 0: all.
        pictures: number of pictures of them, all images in turn.
        cell: whether each of these pictures is rotated, at random, and their seed.
        test: number of test images; 0: all.
        digits: on each sphere.
    """

    def make(key, images, labels, rotated):
        images = images / np.float32(255)
        return data.on_sphere(jax.random.key(key), images, labels, x, rotated, digits)

    rows = np.arange(pictures) % (size or len(images.train_images))
    of_test = images.test_images[: test or None], images.test_labels[: test or None]
    made = (
        make(cell.seed, images.train_images[rows], images.train_labels[rows], cell.rotated),
        make(99, *of_test, False),
        make(99, *of_test, True),
    )
    # Without the common mean, which is most of the mean over SO(3), the equivariant network learns in fewer steps.
    mean, scale = jnp.mean(made[0].images), jnp.std(made[0].images)
    return Task(*(p._replace(images=(p.images - mean) / scale) for p in made))


def fit(
    net: nn.Net,
    loss: Callable,
    rows: tuple[jax.Array, ...],
    steps: int,
    learning_rate: float,
    batch: int,
    cell: Cell,
    folder: Path,
) -> tuple[Partial, Any, float]:
    """Train by Adam with a rate that falls to 0 as a cosine: the network's function, parameters, CPU seconds.

    Args:
        net: the network.
        loss: of (apply, params, batch, key).
        rows: images, and what is to be said of them.
        steps: number of them.
        learning_rate: at the start.
        batch: pictures a step.
        cell: the network's kind, and the seed of the parameters and the batches.
        folder: of the checkpoints.
    """
    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))
    optimizer = _devices.optimizer(optimizer)
    key = jax.random.key(cell.seed)
    state = train.init(net.init(key), optimizer, jax.random.fold_in(key, 1), len(rows[0]))

    # The network's tables are data of the step, so that they are no constants of its program.
    def step(state, data):
        apply, rows = data
        of_batch = _devices.make_step(partial(loss, apply), optimizer)
        return on_minibatches(of_batch, batch)(state, rows)

    apply = net.apply if isinstance(net.apply, Partial) else Partial(net.apply)
    planar = cell.model == "planar"
    options: dict[str, Any] = {"chunk": max(1, steps // 10), "convolutional": planar}
    state, log = _devices.fit(step, state, (apply, rows), steps, folder, save_every=5, **options)
    # of all starts of the run
    return apply, state.params, sum(line["cpu_seconds"] for line in log)


def results(function: Callable, apply: Partial, params: Any, images: jax.Array) -> Iterator:
    """A compiled function of the network's results, a hundred images at a time."""
    compiled = jax.jit(lambda apply, params, x: function(apply(params, x)))
    for i in range(0, len(images), 100):
        yield compiled(apply, params, images[i : i + 100])


def accuracy(apply: Partial, params: Any, sphere: data.Sphere) -> float:
    """Share of the pictures whose class is found, in per cent."""
    classes = results(partial(jnp.argmax, axis=-1), apply, params, sphere.images)
    return 100 * float(jnp.mean(jnp.concatenate(list(classes)) == sphere.labels))
