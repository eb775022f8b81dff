"""What counterfactuals are worth: how many, how far, and who else believes them.

Measures are dictionaries of arrays (n,), one entry per sample: booleans are shares with Wilson's interval, numbers are
means with their standard error. Judges and neighbours should not have seen the data of the explained model.

    measures = search_measures(manifold, state) | data_measures(state.best.x, start, classes, judges, neighbours)
    header, rows = summary({"base": measures, "data": others})
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from geodl.counterfactual.generator import Flat
from geodl.counterfactual.search import State, Status
from geodl.manifolds import Manifold


class Neighbours(NamedTuple):
    """Labelled data to look for neighbours in, by the Euclidean distance of all axes (of pixels, or of features)."""

    x: Any
    """(m, ...)"""
    labels: Any
    """(m,) integers"""
    k: int = 10
    """how many neighbours"""


def search_measures(manifold: Manifold | Flat, state: State) -> dict[str, np.ndarray]:
    """Found, steps, and the geodesic distance in the base from the start to the best point."""
    return {
        "found": np.asarray(state.status == Status.FOUND),
        "steps": np.asarray(state.steps),
        "base distance": np.asarray(jax.vmap(manifold.dist)(state.start.z, state.best.z)),
    }


def data_measures(
    x: Any,
    start: Any,
    goal: Any,
    judges: Mapping[str, Callable[[Array], Any]] | None = None,
    neighbours: Neighbours | None = None,
) -> dict[str, np.ndarray]:
    """Distances from the starts, and whether judges and neighbours see the goal.

    Args:
        x: counterfactuals (n, ...), of any dtype. One that is not finite convinces nobody (its share is 0), and its
            distances are NaN.
        start: what they are counterfactuals of, of the same shape.
        goal: classes (n,).
        judges: from a batch (n, ...) to classes (n,), as other classifiers.
        neighbours: labelled data.

    Raises:
        ValueError: shapes that do not fit, a judge that does not give one class per sample, neighbours that are not
            finite.
    """
    x, start, goal = np.asarray(x), np.asarray(start), np.asarray(goal)
    n = len(x)
    if x.shape != start.shape or goal.shape != (n,):
        raise ValueError(
            f"data_measures: starts of shape {x.shape} and goals ({n},) are needed, got {start.shape} and {goal.shape}"
        )
    flat = _rows(x)
    valid = np.all(np.isfinite(flat), axis=-1)
    change = np.abs(np.where(valid[:, None], flat, np.nan) - _rows(start))
    measures = {"l1": change.sum(-1), "l2": np.sqrt(np.sum(change**2, -1)), "l∞": change.max(-1)}
    # scikit-learn's judges refuse a batch with a NaN in it
    clean = jnp.asarray(np.where(valid.reshape(n, *[1] * (x.ndim - 1)), x, x.dtype.type(0)))
    for name, judge in (judges or {}).items():
        verdict = np.asarray(judge(clean))
        if verdict.shape != (n,):
            raise ValueError(
                f"judge {name}: classes of shape ({n},) are needed, got {verdict.shape}"
            )
        measures[name] = (verdict == goal) & valid
    if neighbours is not None:
        share, majority = agreement(x, goal, neighbours)
        measures[f"{neighbours.k}-NN share"] = np.where(valid, share, 0)
        measures[f"{neighbours.k}-NN majority"] = majority
    return measures


def agreement(x: Any, goal: Any, neighbours: Neighbours) -> tuple[np.ndarray, np.ndarray]:
    """The share (n,) of the nearest neighbours that are of the goal's class, and whether no class has as many (n,).

    Of x that are not finite the share is NaN, and there is no majority.

    Raises ``ValueError`` for fewer than k neighbours, data of another size than x, or that are not finite.
    """
    x, index, labels = np.asarray(x), np.asarray(neighbours.x), np.asarray(neighbours.labels)
    k, size = neighbours.k, math.prod(x.shape[1:])
    if not 1 <= k <= len(index) or math.prod(index.shape[1:]) != size:
        raise ValueError(
            f"agreement: k = {k} of at least {k} data of {size} entries needed, got shape {index.shape}"
        )
    if labels.shape != (len(index),):
        raise ValueError(f"agreement: labels ({len(index)},) are needed, got {labels.shape}")
    x, index = _rows(x), index.reshape(len(index), size)
    spoiled = np.flatnonzero(~np.isfinite(index).all(-1))
    if len(spoiled):
        raise ValueError(f"agreement: finite data are needed, row {spoiled[0]} is not")
    valid = np.all(np.isfinite(x), axis=-1)
    seen = labels[_nearest(x[valid], index, k)]
    mine = seen == np.asarray(goal)[valid, None]
    # votes for the class of each neighbour that is not the goal's
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
    """Wilson's interval of a share (95 % by default). Raises ``ValueError`` unless 0 <= successes <= n and n >= 1."""
    if not (n >= 1 and 0 <= successes <= n):
        raise ValueError(f"wilson: 0 <= successes <= n and n >= 1 needed, got {successes} of {n}")
    p, q = successes / n, quantile**2 / n
    half = quantile * math.sqrt(p * (1 - p) / n + q / (4 * n))
    low, high = ((p + q / 2 + side) / (1 + q) for side in (-half, half))
    return max(low, 0.0), min(high, 1.0)  # rounding


def summary(
    methods: Mapping[str, Mapping[str, np.ndarray]],
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a Markdown table, a row per method: shares with Wilson's interval, means ± standard error.

    Means are over the finite entries. A measure that a method lacks is left blank.
    """
    names = list(dict.fromkeys(name for measures in methods.values() for name in measures))
    rows = [
        [method, *(_cell(measures[name]) if name in measures else "" for name in names)]
        for method, measures in methods.items()
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
