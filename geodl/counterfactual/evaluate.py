"""What counterfactuals are worth: how many, how far, and who else believes them.

Measures are dictionaries of arrays (n,), one entry per sample: booleans are shares with Wilson's interval, numbers are
means with their standard error. Judges and neighbours should not have seen the data of the explained model.

    measures = search_measures(manifold, state) | data_measures(state.best.x, start, classes, judges, neighbours)
    header, rows = summary({"base": measures, "data": others})
"""

import functools
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
        x: counterfactuals (n, ...). One that is not finite convinces nobody, and its distances are NaN.
        start: what they are counterfactuals of, of the same shape.
        goal: classes (n,).
        judges: from a batch (n, ...) to classes (n,), as other classifiers.
        neighbours: labelled data.

    Raises:
        ValueError: shapes that do not fit, a judge that does not give one class per sample.
    """
    n = len(x)
    if x.shape != start.shape or goal.shape != (n,):
        raise ValueError(
            f"data_measures: starts of shape {x.shape} and goals ({n},) are needed, got {start.shape} and {goal.shape}"
        )
    goal, flat = np.asarray(goal), np.asarray(x).reshape(n, -1)
    change = np.abs(flat - np.asarray(start).reshape(n, -1))
    measures = {"l1": change.sum(-1), "l2": np.sqrt(np.sum(change**2, -1)), "l∞": change.max(-1)}
    valid = np.all(np.isfinite(flat), -1)
    # scikit-learn's judges refuse a batch with a NaN in it
    clean = jnp.asarray(np.where(np.expand_dims(valid, 1), flat, 0).reshape(x.shape))
    for name, judge in (judges or {}).items():
        verdict = np.asarray(judge(clean))
        if verdict.shape != (n,):
            raise ValueError(
                f"judge {name}: classes of shape ({n},) are needed, got {verdict.shape}"
            )
        measures[name] = (verdict == goal) & valid
    if neighbours is not None:
        share, majority = agreement(clean, goal, neighbours)
        measures[f"{neighbours.k}-NN share"] = share * valid
        measures[f"{neighbours.k}-NN majority"] = majority & valid
    return measures


def agreement(x: Any, goal: Any, neighbours: Neighbours) -> tuple[np.ndarray, np.ndarray]:
    """The share (n,) of the nearest neighbours that are of the goal's class, and whether no class has as many (n,).

    Raises ``ValueError`` for fewer than k neighbours, or data of another size than x.
    """
    index = jnp.asarray(neighbours.x)
    if len(index) < neighbours.k or index[0].size != x[0].size:
        raise ValueError(
            f"agreement: at least {neighbours.k} data of {x[0].size} entries needed, got shape {index.shape}"
        )
    nearest = _nearest(x.reshape(len(x), -1), index.reshape(len(index), -1), neighbours.k)
    labels = np.asarray(neighbours.labels)[np.asarray(nearest)]
    mine = labels == np.asarray(goal)[:, None]
    own = mine.sum(-1)
    # votes for the class of each neighbour that is not the goal's
    votes = np.where(~mine, (labels[:, :, None] == labels[:, None]).sum(-1), 0)
    return own / neighbours.k, own > votes.max(-1)


@functools.partial(jax.jit, static_argnums=2)
def _nearest(x, index, k):
    squares = jnp.sum(index**2, -1)

    def one(row):
        products = jnp.matmul(index, row, precision="highest")
        return jax.lax.top_k(2 * products - squares, k)[1]

    return jax.lax.map(one, x, batch_size=64)


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
    if values.dtype == bool:
        low, high = wilson(int(values.sum()), len(values))
        return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return "none finite"
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{values.mean():.3g} ± {error:.2g}"
