"""What counterfactuals are worth: how many, how far, and which other classifiers agree.

Metrics are dictionaries of arrays (n,), one entry per sample: booleans, of which the mean is a share, or numbers.
Held-out classifiers and neighbors should not have seen the data of the explained model.

    metrics = search_metrics(manifold, state) | data_metrics(state.best.x, start, classes, held_out, neighbors)
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.spatial.distance import cdist

from geodl.counterfactual.search import State, Status
from geodl.manifolds import Manifold


class Neighbors(NamedTuple):
    """Labeled data to look for neighbors in, by the Euclidean distance of all axes (of pixels, or of features)."""

    x: Any
    """(m, ...)"""
    labels: Any
    """(m,) integers"""
    k: int = 10
    """how many neighbors"""


def search_metrics(manifold: Manifold, state: State) -> dict[str, np.ndarray]:
    """What became of each sample, its steps, and the geodesic distance in the base from its start to its best point.

    Returns:
        ``found`` (bool), ``steps`` (int) and ``base distance``, each (n,).
    """
    return {
        "found": np.asarray(state.status == Status.FOUND),
        "steps": np.asarray(state.steps),
        "base distance": np.asarray(jax.vmap(manifold.dist)(state.start.z, state.best.z)),
    }


def data_metrics(
    x: Any,
    start: Any,
    goal: Any,
    held_out: Mapping[str, Callable[[Array], Any]] | None = None,
    neighbors: Neighbors | None = None,
) -> dict[str, np.ndarray]:
    """Distances from the starts, and whether held-out classifiers and neighbors see the goal.

    Args:
        x: counterfactuals (n, ...), of any dtype. One that is not finite convinces no classifier (its share is 0), and
            its distances are NaN.
        start: what they are counterfactuals of, of the same shape.
        goal: classes (n,).
        held_out: classifiers by name, from a batch (n, ...) to classes (n,).
        neighbors: labeled data.

    Returns:
        By name arrays (n,): l1, l2, l∞; for each classifier whether it sees the goal; with neighbors the share of them
        that do, and whether that is the strict plurality.

    Raises:
        ValueError: shapes that do not fit, a classifier that does not give one class per sample, neighbors that are
            not finite.
    """
    x, start, goal = np.asarray(x), np.asarray(start), np.asarray(goal)
    n = len(x)
    if x.shape != start.shape or goal.shape != (n,):
        raise ValueError(
            f"data_metrics: starts of shape {x.shape} and goals ({n},) are needed, got {start.shape} and {goal.shape}"
        )
    flat = _rows(x)
    valid = np.all(np.isfinite(flat), axis=-1)
    change = np.abs(np.where(valid[:, None], flat, np.nan) - _rows(start))
    metrics = {"l1": change.sum(-1), "l2": np.sqrt(np.sum(change**2, -1)), "l∞": change.max(-1)}
    # scikit-learn's classifiers refuse a batch with a NaN in it
    clean = jnp.asarray(np.where(valid.reshape(n, *[1] * (x.ndim - 1)), x, x.dtype.type(0)))
    for name, classifier in (held_out or {}).items():
        seen = np.asarray(classifier(clean))
        if seen.shape != (n,):
            raise ValueError(
                f"classifier {name}: classes of shape ({n},) are needed, got {seen.shape}"
            )
        metrics[name] = (seen == goal) & valid
    if neighbors is not None:
        share, majority = knn_agreement(x, goal, neighbors)
        metrics[f"{neighbors.k}-NN share"] = np.where(valid, share, 0)
        metrics[f"{neighbors.k}-NN majority"] = majority
    return metrics


def knn_agreement(x: Any, goal: Any, neighbors: Neighbors) -> tuple[np.ndarray, np.ndarray]:
    """k-NN agreement with the goal.

    Args:
        x: points (n, ...).
        goal: classes (n,).
        neighbors: labeled data of as many entries.

    Returns:
        share: float (n,), of the k neighbors with that label; NaN where x is not finite.
        majority: bool (n,), whether it is the strict plurality.

    Raises:
        ValueError: fewer than k neighbors, data of another size than x, or that are not finite.
    """
    x, index, labels = np.asarray(x), np.asarray(neighbors.x), np.asarray(neighbors.labels)
    k, size = neighbors.k, math.prod(x.shape[1:])
    if not 1 <= k <= len(index) or math.prod(index.shape[1:]) != size:
        raise ValueError(
            f"knn_agreement: 1 to {len(index)} neighbors of {size} entries each are needed, got k = {k} of data "
            f"{index.shape}"
        )
    if labels.shape != (len(index),):
        raise ValueError(f"knn_agreement: labels ({len(index)},) are needed, got {labels.shape}")
    x, index = _rows(x), index.reshape(len(index), size)
    spoiled = np.flatnonzero(~np.isfinite(index).all(-1))
    if len(spoiled):
        raise ValueError(f"knn_agreement: finite data are needed, row {spoiled[0]} is not")
    valid = np.all(np.isfinite(x), axis=-1)
    seen = labels[_nearest(x[valid], index, k)]
    mine = seen == np.asarray(goal)[valid, None]
    # votes for the class of each neighbor that is not the goal's
    votes = np.where(~mine, (seen[:, :, None] == seen[:, None]).sum(-1), 0)
    share, majority = np.full(len(x), np.nan), np.zeros(len(x), bool)
    share[valid] = mine.mean(-1)
    majority[valid] = mine.sum(-1) > votes.max(-1)
    return share, majority


def _rows(x):
    """In double precision, an axis for all entries of a sample."""
    return np.asarray(x, np.float64).reshape(len(x), math.prod(x.shape[1:]))


def _nearest(x, index, k):
    """The rows of the k nearest of the index (n, k), nearest first; of equally near ones the first."""
    parts = np.array_split(x, len(x) // 16 + 1)  # in memory for as many rows of distances
    distances = (cdist(part, index, "sqeuclidean") for part in parts)
    return np.concatenate([np.argsort(d, -1, kind="stable")[:, :k] for d in distances])
