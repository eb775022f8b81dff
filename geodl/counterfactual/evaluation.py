"""What counterfactuals are worth: how many, how far, and which other classifiers agree.

Metrics are dictionaries of arrays (n,), one entry per sample: booleans are shares with Wilson's interval, numbers are
means with their standard error. Held-out classifiers and neighbors should not have seen the data of the explained
model.

    metrics = search_metrics(manifold, state) | data_metrics(state.best.x, start, classes, held_out, neighbors)
    header, rows = markdown_rows({"base": metrics, "data": others})
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

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
    """Found (bool), steps (int), and the geodesic distance in the base from the start to the best point, each (n,)."""
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
            f"knn_agreement: k = {k} of at least {k} data of {size} entries needed, got shape {index.shape}"
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


def _nearest(x, index, k, batch_size=64):
    """The rows of the k nearest of the index (n, k), nearest first; of equally near ones the first.

    The expanded square |y|^2 - 2 x.y loses digits, but it is one matrix product: within its error it says who may be
    among the nearest, and differences decide between these.
    """
    center = index.mean(0, dtype=np.float64)
    nearest = np.empty((len(x), k), int)
    with np.errstate(over="ignore", invalid="ignore"):  # then all are among them
        single = (index - center).astype(np.float32)
        squares = np.sum(single**2, -1)
        for first in range(0, len(x), batch_size):
            rows = x[first : first + batch_size]
            moved = (rows - center).astype(np.float32)
            rough = squares - 2 * moved @ single.T
            reach = np.linalg.norm(moved, axis=-1) + math.sqrt(squares.max())
            error = (x.shape[1] + 8) * np.finfo(np.float32).eps * reach**2
            limit = np.partition(rough, k - 1)[:, k - 1] + 2 * error
            for i, row in enumerate(rows):
                near = np.flatnonzero(~(rough[i] > limit[i]))
                exact = np.sum((index[near] - row) ** 2, -1)
                nearest[first + i] = near[np.argsort(exact, kind="stable")[:k]]
    return nearest


def wilson(successes: int, n: int, quantile: float = 1.959964) -> tuple[float, float]:
    """Wilson's interval (p + q/2 ± sqrt(q p (1 - p) + q^2/4)) / (1 + q), p = successes / n, q = quantile^2 / n.

    Args:
        successes: how many.
        n: of how many.
        quantile: of the standard normal, by default for 95 %.

    Returns:
        The bounds of the share.

    Raises:
        ValueError: unless 0 <= successes <= n and n >= 1.

    Reference:
        Wilson 1927.
    """
    if not (n >= 1 and 0 <= successes <= n):
        raise ValueError(f"wilson: 0 <= successes <= n and n >= 1 needed, got {successes} of {n}")
    p, q = successes / n, quantile**2 / n
    half = quantile * math.sqrt(p * (1 - p) / n + q / (4 * n))
    low, high = ((p + q / 2 + side) / (1 + q) for side in (-half, half))
    return max(low, 0.0), min(high, 1.0)  # rounding


def markdown_rows(
    methods: Mapping[str, Mapping[str, np.ndarray]],
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a Markdown table, a row per method: shares with Wilson's interval, means ± standard error.

    Means are over the finite entries. A metric that a method lacks is left blank.
    """
    names = list(dict.fromkeys(name for metrics in methods.values() for name in metrics))
    rows = [
        [method, *(_cell(metrics[name]) if name in metrics else "" for name in names)]
        for method, metrics in methods.items()
    ]
    return ["method", *names], rows


def _cell(values):
    values = np.asarray(values)
    if len(values) == 0:
        return "none"
    if values.dtype == bool:
        low, high = wilson(int(values.sum()), len(values))
        return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return "none finite"
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{values.mean():.3g} ± {error:.2g}"
