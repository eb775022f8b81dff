"""Pairs of points of the Poincaré ball on which accuracy is measured, and tangent vectors at the first."""

from typing import NamedTuple

import numpy as np


CURVATURES = (0.1, 0.7, 1.0, 1.4, 2.0)
EDGE_GAPS = (1e-2, 1e-3, 1e-4, 1e-5)  # 1 - sqrt(c) |x|
KINDS = ("bulk", "near", "origin", "edge", "close")


class Cases(NamedTuple):
    """Points ``x``, ``y`` and vectors ``v`` (n, d), curvatures ``c`` (n,); ``kind`` (n,) indexes KINDS."""

    kind: np.ndarray
    x: np.ndarray
    y: np.ndarray
    v: np.ndarray
    c: np.ndarray

    def of(self, *kinds: str) -> np.ndarray:
        """Mask of the given kinds."""
        return np.isin(self.kind, [KINDS.index(k) for k in kinds])


def cases(d: int, dtype, bulk: int, few: int, seed: int = 0) -> Cases:
    """Five kinds of pairs in the unit ball, shrunk to radius 1/sqrt(c) and rounded to ``dtype``.

    - bulk: norms up to 0.9, ``bulk`` pairs;
    - near: norm 0.5, Euclidean distance 1e-6 to 1e-1;
    - origin: x = 0, y = 0, x = y, x = y = 0 in turn;
    - edge: both norms 1 - gap, independent directions;
    - close: both norms about 1 - gap, hyperbolic distance about 0.07 and down to 0.007.

    The other kinds have ``few`` pairs each. Tangent vectors have hyperbolic length up to 2.
    """
    rng = np.random.default_rng((seed, d))

    def directions(n):
        g = rng.standard_normal((n, d))
        return g / np.linalg.norm(g, axis=-1, keepdims=True)

    def column(a):
        return np.asarray(a, float)[:, None]

    radii = 0.9 * np.sqrt(rng.uniform(size=(2, bulk, 1)))
    x_bulk, y_bulk = radii[0] * directions(bulk), radii[1] * directions(bulk)

    x_near = 0.5 * directions(few)
    y_near = x_near + column(10 ** rng.uniform(-6, -1, few)) * directions(few)

    x_zero, y_zero = 0.9 * rng.uniform(size=(2, few, 1)) * directions(few)
    turn = np.arange(few) % 4
    x_zero = np.where(column(np.isin(turn, (0, 3))), 0, x_zero)
    y_zero = np.where(column(np.isin(turn, (1, 3))), 0, np.where(column(turn == 2), x_zero, y_zero))

    gap = column(np.resize(EDGE_GAPS, few))
    x_edge, y_edge = (1 - gap) * directions(few), (1 - gap) * directions(few)

    x_close = (1 - gap) * directions(few)
    y_close = x_close + column(rng.choice([0.07, 0.02, 0.007], few)) * gap * directions(few)

    x = np.concatenate([x_bulk, x_near, x_zero, x_edge, x_close])
    y = np.concatenate([y_bulk, y_near, y_zero, y_edge, y_close])
    kind = np.repeat(np.arange(len(KINDS)), [bulk, few, few, few, few])
    c = rng.choice(CURVATURES, len(x)).astype(dtype)
    radius = column(1 / np.sqrt(c.astype(float)))
    length = column(2 * rng.uniform(size=len(x))) * (1 - np.sum(x * x, -1, keepdims=True)) / 2
    v = length * directions(len(x)) * radius
    return Cases(kind, (x * radius).astype(dtype), (y * radius).astype(dtype), v.astype(dtype), c)
