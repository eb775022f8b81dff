"""How well distances tell of a graph: each figure by one definition, whatever the space.

- MAP (Sala et al. 2018; that of Nickel & Kiela 2017 where the neighbors of a node are its ancestors): for a node a with
  neighbors N, the mean over b in N of |N & R| / |R|, where R are the nodes no farther from a than b; then over nodes.
- Rank (Nickel & Kiela 2017): for a and b in N, 1 + the number of nodes outside N that are nearer to a than b; the mean.
- Distortion: worst is max / min of d / d_graph over pairs; mean is that of |d / (s d_graph) - 1|, with s the length of
  an edge where there is one, or else the s that makes it least in the squares.

A distance that is NaN makes them NaN.
"""

from typing import NamedTuple

import numpy as np


class Ranking(NamedTuple):
    """Sums over nodes: of the average precision, of ranks, and of what they are means over."""

    precision: float
    nodes: int
    ranks: float
    neighbors: int

    def __add__(self, other):  # type: ignore[override]
        return Ranking(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def map(self) -> float:
        return self.precision / self.nodes

    @property
    def rank(self) -> float:
        return self.ranks / self.neighbors + 0 * self.precision


def ranking(distances: np.ndarray, neighbors: np.ndarray, own: np.ndarray) -> Ranking:
    """Of some nodes: distances and neighbors (k, n) to all, own (k,) the columns that are the nodes themselves."""
    distances = distances.copy()
    distances[np.arange(len(own)), own] = np.inf
    total = Ranking(0.0, 0, 0.0, 0)
    for row, near in zip(distances, neighbors, strict=True):
        if near.any():
            mine, all_sorted = np.sort(row[near]), np.sort(row)
            inside = np.searchsorted(mine, mine, "right")
            precision = np.mean(inside / np.searchsorted(all_sorted, mine, "right"))
            precision = np.nan if np.isnan(row).any() else precision  # they are sorted last
            others = np.searchsorted(np.sort(row[~near]), mine, "left")
            total += Ranking(float(precision), 1, float(np.sum(1 + others)), len(mine))
    return total


class Distortion(NamedTuple):
    """Of pairs: the extremes of d / d_graph, and sums for the mean of |d / (s d_graph) - 1|."""

    largest: float
    smallest: float
    deviation: float
    pairs: int

    def __add__(self, other):  # type: ignore[override]
        return Distortion(
            float(np.maximum(self.largest, other.largest)),
            float(np.minimum(self.smallest, other.smallest)),
            self.deviation + other.deviation,
            self.pairs + other.pairs,
        )

    @property
    def worst(self) -> float:
        return float("inf") if self.smallest == 0 else self.largest / self.smallest

    @property
    def mean(self) -> float:
        return self.deviation / self.pairs


def distortion(distances: np.ndarray, graph: np.ndarray, scale: float | None = None) -> Distortion:
    """Of the pairs with a graph distance above 0, in arrays of one shape."""
    apart = graph > 0
    ratio = distances[apart].astype(np.float64) / graph[apart]
    best = np.sum(np.square(ratio)) / np.sum(ratio) if scale is None else scale
    deviation = np.sum(np.abs(ratio / best - 1))
    return Distortion(float(ratio.max()), float(ratio.min()), float(deviation), ratio.size)
