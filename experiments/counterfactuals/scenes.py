"""Generated scenes with a known number of people-like figures, to explain counters with.

A figure is a dark body with a bright head whose contrasts sum to zero: the number of figures cannot be told from the
brightness of a scene. Figures are larger the lower they stand, and do not overlap.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.ndimage import maximum_filter
from scipy.special import expit


SIDE = 32
MOST_FIGURES = 12  # figures in a scene
# In units of a figure's size: of the body its center below the figure's and its half axes, of the head the same.
_BODY, _BODY_AXES = 1.1, (2.0, 1.4)
_HEAD, _HEAD_RADIUS = -1.9, 1.25
_HALF = (3.15, 1.4)  # a figure's half height and half width
_CONTRAST = 0.22  # of the body
_NOISE = 0.01  # of the camera, standard deviation

_MARGIN = 9
_Y, _X = np.indices((SIDE, SIDE), np.float32)
_WINDOW = np.indices((17, 11), np.float32) - np.array([8, 5], np.float32)[:, None, None]


class Scenes(NamedTuple):
    """Scenes with up to 12 figures, and the truth about them; rows of figures that are not there are 0."""

    images: UInt8[np.ndarray, "n 32 32"]
    counts: Int[np.ndarray, " n"]
    position: Float[np.ndarray, "n 12 2"]
    """row and column of each figure's center, in pixels"""
    contrast: Float[np.ndarray, "n 12"]
    """of each figure, 1 on average; 0 where there is none"""
    light: Float[np.ndarray, " n"]
    """from the right, in [-1, 1]"""
    figures: Float[np.ndarray, "n 32 32"]
    """soft mask of all figures"""
    heads: Float[np.ndarray, "n 32 32"]
    """soft mask of their heads"""


def draw(n: int, seed: int = 0, most: int = MOST_FIGURES) -> Scenes:
    """Draw n scenes with 0..most figures, each number as likely; the same seed gives the same scenes.

    Raises ``ValueError`` unless n >= 1 and 0 <= most <= 12.
    """
    if n < 1 or not 0 <= most <= MOST_FIGURES:
        raise ValueError(f"draw: n >= 1 and 0 <= most <= {MOST_FIGURES} needed, got {n} and {most}")
    rng = np.random.default_rng(seed)
    count = rng.integers(0, most + 1, n)
    contrast = rng.uniform(0.8, 1.2, (n, MOST_FIGURES)) * (np.arange(MOST_FIGURES) < count[:, None])
    light = rng.uniform(-1, 1, n)
    return _render(_place(count, rng), contrast, light, rng)


def resampled_positions(found: Scenes, seed: int) -> Scenes:
    """The scenes with the positions alone drawn again: counts, contrasts and light are kept."""
    rng = np.random.default_rng(seed)
    return _render(_place(found.counts, rng), found.contrast, found.light, rng)


def background(light: Float[np.ndarray, "*n"] | float = 0.0) -> Float[np.ndarray, "*n 32 32"]:
    """The empty scene: a floor with a fixed pattern, darker at the back, and light from one side."""
    floor = 0.38 + 0.1 * _Y / SIDE + 0.03 * np.sin(2 * np.pi * _Y / 8) * np.sin(2 * np.pi * _X / 8)
    return floor + np.multiply.outer(light, 0.12 * (_X / (SIDE - 1) - 0.5))


def detect(images: np.ndarray) -> list[Float[np.ndarray, "count 2"]]:
    """The figures in images (n, 32, 32), 0..255: positions where a filter matched to a figure responds most.

    The response is the contrast of the figure that fits best, and more than half of the usual one counts. On scenes
    as they are drawn the number is right for all but a few in ten thousand. Light from a side does not matter, since
    figures are symmetric with contrasts that sum to zero.
    """
    rows, columns = _grid()
    residual = np.asarray(images, np.float32) / 255 - background()
    response = residual.reshape(len(residual), -1) @ _filters().T
    response = response.reshape(-1, len(rows), len(columns))
    peaks = (response == maximum_filter(response, (1, 7, 7))) & (response > 0.5)
    return [np.stack([rows[i], columns[j]], -1) for i, j in map(np.nonzero, peaks)]


def silhouettes(position: Float[np.ndarray, "k 2"]) -> Float[np.ndarray, "32 32"]:
    """Soft mask of figures at these positions."""
    body, head, pixels = _masks(np.asarray(position, np.float32).reshape(-1, 2))
    return _painted(1, np.zeros(len(body), int), pixels, body + head)[0].clip(0, 1)


def _size(row):
    return 0.85 + 0.4 * row / (SIDE - 1)


def _place(count, rng):
    """Positions (n, 12, 2) without overlap, by rejection; scenes that fill up are begun anew."""
    n, tries = len(count), 32
    position = np.zeros((n, MOST_FIGURES, 2), np.float32)
    todo = np.arange(n)
    while len(todo):
        placed = np.zeros((len(todo), MOST_FIGURES, 2), np.float32)
        good = np.ones(len(todo), bool)
        for k in range(MOST_FIGURES):
            candidate = rng.uniform(0, SIDE - 1, (len(todo), tries, 2)).astype(np.float32)
            size = _size(candidate[..., 0])
            half = size[..., None] * np.asarray(_HALF, np.float32)
            inside = np.all((candidate >= half) & (candidate <= SIDE - 1 - half), -1)
            other = placed[:, None, :k]
            reach = half[:, :, None] + _size(other[..., :1]) * np.asarray(_HALF, np.float32) + 1.5
            apart = np.any(np.abs(candidate[:, :, None] - other) >= reach, -1).all(-1)
            fits = inside & apart
            good &= fits.any(-1) | (k >= count[todo])
            placed[:, k] = candidate[np.arange(len(todo)), fits.argmax(-1)]
        position[todo[good]] = placed[good]
        todo = todo[~good]
    return position * (np.arange(MOST_FIGURES) < count[:, None])[..., None]


def _masks(position):
    """Soft masks of bodies and heads (k, 17, 11) of figures at positions (k, 2), in windows around them.

    With the rows and columns (k, 17, 11) of these windows in a scene that has a margin.
    """
    row, column = position[:, 0, None, None], position[:, 1, None, None]
    size = _size(row)
    rows, columns = np.floor(row) + _WINDOW[0], np.floor(column) + _WINDOW[1]
    down, right = (rows - row) / size, (columns - column) / size
    ellipse = np.sqrt(((down - _BODY) / _BODY_AXES[0]) ** 2 + (right / _BODY_AXES[1]) ** 2)
    body = expit((1 - ellipse) * _BODY_AXES[1] * size / 0.5)
    head = expit((_HEAD_RADIUS - np.sqrt((down - _HEAD) ** 2 + right**2)) * size / 0.5)
    return body * (1 - head), head, (rows.astype(int) + _MARGIN, columns.astype(int) + _MARGIN)


def _figure(body, head):
    """What a figure of contrast 1 adds to the background; it sums to 0."""
    balance = body.sum((-2, -1)) / head.sum((-2, -1))
    return _CONTRAST * (balance[:, None, None] * head - body)


def _painted(n, scene, pixels, windows):
    """Scenes (n, 32, 32) that are the sums of the windows (k, 17, 11), each at its pixels in its scene."""
    canvas = np.zeros((n, SIDE + 2 * _MARGIN, SIDE + 2 * _MARGIN), np.float32)
    np.add.at(canvas, (scene[:, None, None], *pixels), windows)
    return canvas[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]


def _render(position, contrast, light, rng):
    n = len(position)
    position, contrast, light = (np.asarray(a, np.float32) for a in (position, contrast, light))
    scene, which = np.nonzero(contrast)
    body, head, pixels = _masks(position[scene, which])
    drawn = contrast[scene, which][:, None, None] * _figure(body, head)
    noise = _NOISE * rng.standard_normal((n, SIDE, SIDE), np.float32)
    images = background(light) + _painted(n, scene, pixels, drawn) + noise
    return Scenes(
        np.round(255 * np.clip(images, 0, 1)).astype(np.uint8),
        np.sum(contrast > 0, -1),
        position,
        contrast,
        light,
        _painted(n, scene, pixels, body + head).clip(0, 1),
        _painted(n, scene, pixels, head).clip(0, 1),
    )


def _grid():
    """Rows and columns, half a pixel apart, at which a figure may stand."""
    return tuple(np.arange(2 * h, 2 * (SIDE - h) - 1) / 2 for h in (3, 2))


def _filters():
    """For each point of the grid the filter (32 * 32) whose response to the figure there is its contrast."""
    rows, columns = _grid()
    position = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).astype(np.float32)
    body, head, pixels = _masks(position.reshape(-1, 2))
    figure = _painted(len(body), np.arange(len(body)), pixels, _figure(body, head))
    return figure.reshape(len(body), -1) / np.sum(figure**2, (1, 2))[:, None]
