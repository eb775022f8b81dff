"""Held-out classifiers, trained on images that the explained classifier has not seen, and what they say of others.

With them the nearest neighbors among their images, and bits per dimension under two flows.
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from experiments._images import with_channels
from experiments.counterfactuals import models
from geodl import counterfactual as cf
from geodl import datasets, nn
from geodl.flows import bin_centers


CONFIDENT = 0.99


class Task(NamedTuple):
    """What is explained."""

    images: np.ndarray
    """uint8 (n, height, width, 1)"""
    labels: np.ndarray
    goal: np.ndarray
    explained: Partial


class HeldOut(NamedTuple):
    """What measures the explanations."""

    classifiers: Mapping[str, Callable[[Any], np.ndarray]]
    neighbors: cf.evaluation.Neighbors
    features: Callable[[Any], np.ndarray]
    feature_neighbors: cf.evaluation.Neighbors
    bits: Mapping[str, Callable[[Any], np.ndarray]]
    """bits per dimension of images under flows"""


def make_task(images: datasets.Images, explained: Partial, samples: int) -> Task:
    """Test images that the classifier classifies correctly, and the classes to reach.

    Order and classes are drawn before anything is known of the classifier: another classifier meets the same pairs.
    """
    rng = np.random.default_rng(1)
    test, labels = with_channels(images.test_images), images.test_labels.astype(np.int32)
    goals = ((labels + rng.integers(1, 10, len(labels))) % 10).astype(np.int32)
    order = rng.permutation(len(labels))
    right = models.classes(explained)(bin_centers(test[order])) == labels[order]
    chosen = order[right][:samples]
    return Task(test[chosen], labels[chosen], goals[chosen], explained)


def make_held_out(
    images: datasets.Images,
    config: models.Training,
    svm_images: int,
    bits: Mapping[str, Callable[[Any], np.ndarray]],
    folder: Path,
) -> HeldOut:
    """Classifiers of the held-out half, and its neighbors.

    Args:
        images: the half of the training images that the explained classifier has not seen.
        config: of the networks, but for their noise and weight decay.
        svm_images: training images of the support vector machines.
        bits: scores of images by flows.
        folder: gets a folder for each network.
    """
    x = with_channels(images.train_images)
    training = replace(config, noise=0.0, weight_decay=0.0, seed=1)
    settings: dict[str, Any] = {"widths": (8, 16, 32), "hidden": 100, "kernel": 5}
    cnn = models.classifier(
        nn.conv_classifier(x.shape[1:], 10, **settings), images, training, folder / "held-out-cnn"
    )
    mlp = models.classifier(mlp_net(x.shape[1:]), images, training, folder / "held-out-mlp")
    net = nn.conv_features(x.shape[1:], **settings)
    features = functools.partial(models.outputs, Partial(net.apply, cnn.args[0]["features"]))
    vectors = functools.partial(models.support_vectors, images=images, items=svm_images)
    return HeldOut(
        {
            "linear SVM": vectors("linear", C=0.05),
            "RBF SVM": vectors("rbf", C=5.0),
            "CNN": models.classes(cnn),
            "MLP": models.classes(mlp),
        },
        cf.evaluation.Neighbors(bin_centers(x), images.train_labels),
        features,
        cf.evaluation.Neighbors(features(bin_centers(x)), images.train_labels),
        bits,
    )


def mlp_net(shape: tuple[int, ...]) -> nn.Net:
    """A perceptron of images, two hidden layers."""
    net = nn.mlp([math.prod(shape), 256, 128, 10])
    return net._replace(apply=lambda params, x: net.apply(params, x.reshape(*x.shape[:-3], -1)))


def accuracies(explained: Partial, held_out: HeldOut, images: datasets.Images) -> str:
    """Of all classifiers and of the nearest neighbors, on the test images."""
    classifiers = {"explained classifier": models.classes(explained), **held_out.classifiers}
    found = {name: models.accuracy(c, images) for name, c in classifiers.items()}
    some = np.asarray(bin_centers(with_channels(images.test_images[:1000])))
    labels = images.test_labels[:1000]
    for name, known, shown in (
        ("10-NN majority", held_out.neighbors, some),
        ("10-NN majority in features", held_out.feature_neighbors, held_out.features(some)),
    ):
        found[name] = cf.evaluation.knn_agreement(jnp.asarray(shown), labels, known)[1].mean()
    return f"Test accuracy: {', '.join(f'{name} {a:.3f}' for name, a in found.items())}."


def measure(
    task: Task, held_out: HeldOut, x: np.ndarray, start: np.ndarray
) -> dict[str, np.ndarray]:
    """Whether the explained classifier is confident, distances, held-out classifiers, neighbors, flows."""
    valid = np.all(np.isfinite(x), (1, 2, 3))
    clean = jnp.asarray(np.where(valid[:, None, None, None], x, 0))
    chance = np.asarray(jax.nn.softmax(models.outputs(task.explained, clean)))
    share, majority = cf.evaluation.knn_agreement(
        jnp.asarray(held_out.features(clean)), task.goal, held_out.feature_neighbors
    )
    return (
        {f"p ≥ {CONFIDENT}": valid & (chance[np.arange(len(x)), task.goal] >= CONFIDENT)}
        | cf.evaluation.data_metrics(x, start, task.goal, held_out.classifiers, held_out.neighbors)
        | {"10-NN share, features": share * valid, "10-NN majority, features": majority & valid}
        | {name: score(x) for name, score in held_out.bits.items()}
    )


def nearest(x: np.ndarray, goal: np.ndarray, real: datasets.Images) -> np.ndarray:
    """Of each image the nearest real one of the class to reach, by l2."""
    from sklearn.neighbors import NearestNeighbors

    known, best = np.asarray(bin_centers(with_channels(real.train_images))), x.copy()
    for label in np.unique(goal):
        some = known[real.train_labels == label]
        index = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(models.flat(some))
        of = goal == label
        best[of] = some[index.kneighbors(models.flat(x[of]), return_distance=False)[:, 0]]
    return best
