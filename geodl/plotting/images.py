"""Grids of images: samples, reconstructions, and the image of a lattice of latents."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike
from scipy.special import ndtri

from geodl.plotting import _checks, _style
from geodl.plotting.chart import Chart, clip


def tile(images: ArrayLike, border: int = 1, fill: float = 1.0) -> Float[np.ndarray, "H W *rgb"]:
    """One picture of a grid of images, a border of ``border`` pixels of value ``fill`` between them.

    Args:
        images: (rows, columns, height, width) gray or (rows, columns, height, width, 3) color, in
            [0, 1]; NaN stays NaN, which ``imshow`` leaves transparent.
        border: width in pixels.
        fill: gray value of the border.

    Returns:
        The picture (H, W), or (H, W, 3).

    Raises:
        ValueError: if the shape is neither of the two.
    """
    images = np.asarray(images, dtype=np.float64)
    if images.ndim not in (4, 5) or (images.ndim == 5 and images.shape[-1] != 3):
        expected = "(rows, columns, height, width) or (rows, columns, height, width, 3)"
        raise ValueError(f"images has shape {images.shape}; expected {expected}")
    rows, columns, height, width = images.shape[:4]
    around = [(0, 0), (0, 0), (0, border), (0, border)] + [(0, 0)] * (images.ndim - 4)
    padded = np.pad(images, around, constant_values=fill).swapaxes(1, 2)
    size = (rows * (height + border), columns * (width + border), *images.shape[4:])
    picture = padded.reshape(size)
    return picture[: size[0] - border, : size[1] - border]


def image_grid(ax: Axes, images: ArrayLike, border: int = 1, **style: Any) -> AxesImage:
    """Show a grid of images; gray images in ink on paper, 0 white and 1 black.

    Args:
        ax: axes to draw on.
        images: as :func:`tile` takes them.
        border: pixels between images.
        **style: goes to ``ax.imshow``.

    Returns:
        The image.
    """
    return _show(ax, tile(images, border, fill=0.35), style)


def reconstructions(
    ax: Axes, originals: ArrayLike, decoded: ArrayLike, columns: int = 10, **style: Any
) -> AxesImage:
    """Originals above their reconstructions, in bands of two rows with a gap between the bands.

    Args:
        ax: axes to draw on.
        originals: (n, height, width) in [0, 1], n a multiple of ``columns``.
        decoded: the same shape.
        columns: pairs in a band.
        **style: goes to ``ax.imshow``.

    Returns:
        The image.

    Raises:
        ValueError: if the shapes differ or n is not a multiple of ``columns``.
    """
    originals = _checks.shape(originals, (None, None, None), "originals")
    decoded = _checks.shape(decoded, originals.shape, "decoded")
    n, height, width = originals.shape
    if n == 0 or n % columns:
        raise ValueError(f"there are {n} images; expected a positive multiple of columns={columns}")
    pairs = np.stack([originals, decoded]).reshape(2, n // columns, columns, height, width)
    bands = [tile(band, border=1, fill=np.nan) for band in pairs.swapaxes(0, 1)]
    gap = np.full((height // 3, bands[0].shape[1]), np.nan)
    picture = np.concatenate([row for band in bands for row in (band, gap)][:-1])
    return _show(ax, picture, style)


def _show(ax: Axes, picture: np.ndarray, style: dict[str, Any]) -> AxesImage:
    defaults = {"cmap": "gray_r", "vmin": 0.0, "vmax": 1.0, "interpolation": "nearest"}
    image = ax.imshow(picture, **_style.over(AxesImage, defaults, style))
    ax.set_axis_off()
    return image


def quantile_lattice(n: int, scale: float = 1.0) -> Float[np.ndarray, "n n 2"]:
    """Latents at the mid-quantiles of N(0, scale^2 I): equal prior mass per cell, top row first.

    Returns:
        Latents (n, n, 2).
    """
    ticks = scale * ndtri((np.arange(n) + 0.5) / n)
    return np.stack(np.meshgrid(ticks, ticks[::-1]), axis=-1)


def square_lattice(chart: Chart, n: int) -> Float[np.ndarray, "n n 2"]:
    """Centers of the n x n cells of the chart's window, top row first; some lie outside a disk.

    Returns:
        Latents (n, n, 2).
    """
    ticks = chart.limit * (2 * (np.arange(n) + 0.5) / n - 1)
    return np.stack(np.meshgrid(ticks, ticks[::-1]), axis=-1)


def latent_grid(
    ax: Axes,
    decode: Callable[[np.ndarray], ArrayLike],
    latents: ArrayLike,
    chart: Chart | None = None,
    **style: Any,
) -> AxesImage:
    """The decoder's image of a lattice of latents: the data manifold at a glance.

    Args:
        ax: axes to draw on; with a chart, call ``frame`` first for its boundary.
        decode: maps latents (m, 2) to images (m, height, width) in [0, 1].
        latents: (rows, columns, 2), from ``quantile_lattice`` or ``square_lattice``.
        chart: where given, each image of ``square_lattice`` lies at its latent's place, and latents
            outside the chart stay blank.
        **style: goes to ``ax.imshow``.

    Returns:
        The image.

    Raises:
        ValueError: if ``latents`` is not (rows, columns, 2) or ``decode`` gives no image per latent.
    """
    latents = _checks.shape(latents, (None, None, 2), "latents")
    inside = np.ones(latents.shape[:2], bool) if chart is None else chart.contains(latents)
    kept = latents[inside]
    decoded = _checks.shape(decode(kept), (len(kept), None, None), "the decoded")
    images = np.full((*inside.shape, *decoded.shape[1:]), np.nan)
    images[inside] = decoded
    if chart is None:
        return image_grid(ax, images, border=0, **style)
    box = (-chart.limit, chart.limit, -chart.limit, chart.limit)
    return clip(ax, chart.boundary(), image_grid(ax, images, border=0, extent=box, **style))
