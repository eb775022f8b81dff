"""Functions on the sphere, drawn as they are seen from within, so that digits can be read."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize
from matplotlib.figure import Figure

from experiments._pictures import save
from experiments.spherical import data
from geodl.equivariant.harmonics import Grid
from geodl.plotting import Orthographic, sphere_density, sphere_frame


# No digit, and the ten digits.
_CLASSES = ListedColormap(["white", *colormaps["tab10"](range(10))])


def draw(
    path: Path,
    grid: Grid,
    images: np.ndarray,
    masks: Mapping[str, np.ndarray] | None = None,
    titles: Sequence[str] | None = None,
) -> None:
    """A column for each sphere: the image and below it which digit is where.

    Args:
        path: the PNG file; an SVG file lies beside it.
        grid: of the images and masks.
        images: (n, rings, longitudes); each sphere is seen from where its image is.
        masks: classes (n, rings, longitudes), 0 or 1 + a digit, and what they are.
        titles: one a sphere.
    """
    n, masks = len(images), masks or {}
    height = 1.6 * (1 + len(masks))
    figure = Figure(figsize=(1.6 * n + 1, height + 0.3), layout="constrained")
    axes = figure.subplots(1 + len(masks), n, squeeze=False)
    images = images - images.min()
    gray = {"norm": Normalize(0, images.max(), clip=True), "cmap": "gray_r"}
    classes = {
        "norm": BoundaryNorm(np.arange(12) - 0.5, 11),
        "cmap": _CLASSES,
        "interpolation": "nearest",
    }
    rows = [("image", images, gray), *((name, mask, classes) for name, mask in masks.items())]
    x = data.points(grid)
    for i in range(n):
        view = _from_above(x, images[i])
        for ax, (name, values, style) in zip(axes[:, i], rows, strict=True):
            sphere_density(ax, view, partial(_nearest, grid, values[i]), 150, **style)
            sphere_frame(ax, view)
            ax.invert_xaxis()
            if i == 0:
                ax.text(1.15, 0, name, rotation=90, ha="right", va="center", fontsize=9)
        axes[0, i].set_title(titles[i] if titles else "", fontsize=9)
    if masks:
        bar = figure.colorbar(ScalarMappable(classes["norm"], _CLASSES), ax=axes, label="digit")
        bar.set_ticks(list(range(11)), labels=["none", *map(str, range(10))])
    save(figure, path)


def _from_above(x, weights):
    """The view with the middle of the weights in its own."""
    middle = np.tensordot(weights, x, 2)
    latitude = np.arctan2(middle[2], np.linalg.norm(middle[:2]))
    return Orthographic(
        float(np.degrees(latitude)), float(np.degrees(np.arctan2(middle[1], middle[0])))
    )


def _nearest(grid, values, x):
    """Values (rings, longitudes) of the pixels in which unit vectors (m, 3) lie."""
    betas = np.asarray(grid.betas)
    row = np.searchsorted((betas[1:] + betas[:-1]) / 2, np.arccos(np.clip(x[:, 2], -1, 1)))
    turn = np.arctan2(x[:, 1], x[:, 0]) / (2 * np.pi)
    column = np.round(turn * grid.longitudes).astype(int) % grid.longitudes
    return values[row, column]
