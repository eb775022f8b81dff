"""Turned images, and how much turning changes."""

import numpy as np


COPIES = 4


def orbit(x: np.ndarray) -> np.ndarray:
    """All turned images (4, n, height, width)."""
    return np.stack([np.rot90(x, k, (1, 2)) for k in range(COPIES)])


def canonical(x: np.ndarray) -> np.ndarray:
    """Each image turned so that its brightest quarter is at the upper left."""
    half = x.shape[1] // 2
    turned = orbit(x)
    best = turned[:, :, :half, :half].sum((2, 3)).argmax(0)
    return turned[best, np.arange(len(x))]


def disagreement(outputs: np.ndarray) -> float:
    """Standard deviation over the orientations of outputs (4, tests, 10): the root of its mean square."""
    return float(np.sqrt(np.mean(np.var(outputs, 0))))
