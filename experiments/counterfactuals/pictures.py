"""The pictures of the counterfactual experiments: from arrays to PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from experiments.counterfactuals import toys
from geodl import plotting


DPI = 150
COLORS = {
    "plain ascent": "#1f5fa8",
    "damped metric": "#3f9c7a",
    "Adam": "#d98a1f",
    "natural gradient": "#b3413b",
    "ascent in the data": "#555555",
}
STYLES = {"ascent in the data": "--"}


def exponents(
    file: Path, widths: Sequence[float], found: Mapping[str, Mapping[str, Any]], fit_below: float
) -> None:
    """Median distance to the data (with deciles) against their width, each curve with its exponent."""
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    ax = figure.subplots()
    ax.axvspan(min(widths) / 1.15, fit_below, color="0.95", lw=0)
    for name, result in found.items():
        style: dict[str, Any] = {"color": COLORS[name], "ls": STYLES.get(name, "-")}
        label = f"{name}: δ$^{{{result['exponent']:z.2f}}}$"
        ax.fill_between(widths, result["low"], result["high"], color=COLORS[name], alpha=0.15, lw=0)
        ax.plot(widths, result["distance"], "o", ms=4, label=label, **style)
    ax.set(
        xscale="log",
        yscale="log",
        xlim=(min(widths) / 1.15, max(widths) * 1.15),
        xlabel="width δ of the data",
        ylabel="distance of the counterfactuals to the data",
    )
    ax.set_title("exponents fitted in the shaded part", size="small")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize="small")
    figure.savefig(file, dpi=DPI)


def paths(file: Path, found: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Searches from one start: around the helix, and how far from it in the base."""
    figure = Figure(figsize=(9.6, 4.8), layout="constrained")
    space = figure.add_subplot(1, 2, 1, projection="3d")
    t = np.linspace(-3, 2.2, 400)
    space.plot(*np.asarray(toys.curve(jnp.asarray(t))).T, color="0.75", lw=5, zorder=0)
    base = figure.add_subplot(1, 2, 2)
    for name, path in found.items():
        style: dict[str, Any] = {"color": COLORS[name], "ls": STYLES.get(name, "-"), "lw": 1.8}
        space.plot(*path["x"].T, label=name, **style)
        space.scatter(*path["x"][-1], color=COLORS[name], s=24)
        if "z" in path:
            base.plot(path["z"][1:, 0], np.linalg.norm(path["z"][1:, 1:], axis=-1), **style)
    space.scatter(*next(iter(found.values()))["x"][0], color="black", s=30)
    space.set(xlabel="$x_1$", ylabel="$x_2$", zlabel="$x_3$", aspect="equal")
    space.set(xticks=[-1, 1], yticks=[-1, 1])
    space.view_init(12, -20)
    space.yaxis.labelpad = -6
    space.xaxis.labelpad = -6
    base.set(
        xlabel="$z_1$, along the helix",
        ylabel=r"$|(z_2, z_3)|$, across it, in widths",
        yscale="log",
    )
    base.spines[["top", "right"]].set_visible(False)
    base.legend(*space.get_legend_handles_labels(), loc="lower right", frameon=False)
    figure.savefig(file, dpi=DPI)


def panels(
    file: Path,
    originals: np.ndarray,
    counterfactuals: np.ndarray,
    adversarials: np.ndarray,
    captions: Sequence[str],
) -> None:
    """A row for each image: original, counterfactual, their difference, adversarial example; (n, h, w, c) in [0, 1].

    Differences counterfactual - original are means over the channels, on the scale [-1, 1] that is drawn below.
    """
    difference = (counterfactuals - originals).mean(-1)
    # several blocks side by side, as wide as high
    count = len(originals)
    blocks = max(1, round((count / 4) ** 0.5))
    rows = -(-count // blocks)
    figure = Figure(figsize=(4.2 * blocks, 0.95 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, 5 * blocks, squeeze=False, width_ratios=[0.6, 1, 1, 1, 1] * blocks)
    for ax in axes.flat:
        ax.set_axis_off()
    signed = None
    titles = ("", "original", "counterfactual", "difference", "adversarial")
    for i in range(count):
        block, row = divmod(i, rows)
        label, *shown = axes[row, 5 * block : 5 * block + 5]
        label.text(1, 0.5, captions[i], ha="right", va="center", transform=label.transAxes)
        images = originals[i], counterfactuals[i], difference[i], adversarials[i]
        for ax, image in zip(shown, images, strict=True):
            if image.ndim == 2:
                signed = _show_signed(ax, image)
            else:
                _show(ax, image)
        if row == 0:
            for ax, title in zip((label, *shown), titles, strict=True):
                ax.set_title(title, size="small")
    what = "ink" if originals.shape[-1] == 1 else "light"
    _scale(figure, axes, signed, f"difference: less {what} (blue), more {what} (red)")
    figure.savefig(file, dpi=DPI)


def strip(file: Path, frames: np.ndarray, captions: Sequence[Sequence[str]]) -> None:
    """Searches from left to right, (n, frames, h, w, c) in [0, 1], with a caption under each image."""
    rows, columns = frames.shape[:2]
    figure = Figure(figsize=(1.15 * columns, 1.4 * rows), layout="constrained")
    for ax, image, caption in zip(
        figure.subplots(rows, columns, squeeze=False).flat,
        frames.reshape(-1, *frames.shape[2:]),
        np.asarray(captions).ravel(),
        strict=True,
    ):
        _show(ax, image)
        ax.set_title(caption, size="x-small", y=-0.2)
    figure.savefig(file, dpi=DPI)


def spectrum(file: Path, values: Mapping[str, np.ndarray]) -> None:
    """Singular values (n, k) of generators' Jacobians, median and deciles over the n points, largest first."""
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    ax = figure.subplots()
    for color, (name, s) in zip(COLORS.values(), values.items(), strict=False):
        index = np.arange(1, s.shape[-1] + 1)
        low, median, high = np.quantile(s, (0.1, 0.5, 0.9), axis=0)
        ax.fill_between(index, low, high, color=color, alpha=0.15, lw=0)
        ax.plot(index, median, color=color, label=name)
    ax.set(
        yscale="log",
        xlabel="index",
        ylabel="singular value of the Jacobian, in pixel units",
        xlim=(1, max(s.shape[-1] for s in values.values())),
    )
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize="small")
    figure.savefig(file, dpi=DPI)


def gallery(file: Path, columns: Mapping[str, np.ndarray], sign: str) -> None:
    """A row for each of n images: images (n, h, w, c) in [0, 1], signed maps (n, h, w) on a scale of its own each.

    The scale is drawn below, in units of the largest value of each map; ``sign`` says what is positive.
    """
    rows = len(next(iter(columns.values())))
    figure = Figure(figsize=(1.2 * len(columns), 1.2 * rows + 0.9), layout="constrained")
    axes = figure.subplots(rows, len(columns), squeeze=False)
    signed = None
    for ax, (title, shown) in zip(axes.T, columns.items(), strict=True):
        ax[0].set_title(title, size="x-small")
        for cell, image in zip(ax, shown, strict=True):
            cell.set_axis_off()
            if image.ndim == 3:
                _show(cell, image)
            else:
                signed = _show_signed(cell, image / (np.abs(image).max() or 1))
    if signed is not None:
        _scale(figure, axes, signed, f"{sign},\nby each map's largest value")
    figure.savefig(file, dpi=DPI)


def grids(file: Path, images: Mapping[str, np.ndarray]) -> None:
    """Grids of images (rows, columns, h, w[, 3]) in [0, 1] side by side, under their names."""
    figure = Figure(figsize=(4.6 * len(images), 3.3), layout="constrained")
    for ax, (title, shown) in zip(figure.subplots(1, len(images)), images.items(), strict=True):
        plotting.image_grid(ax, shown)
        ax.set_title(title, size="small")
    figure.savefig(file, dpi=DPI)


def _show(ax, image):
    """An image (h, w, c): ink on paper where it is gray."""
    gray = image.shape[-1] == 1
    plotting.image_grid(ax, np.clip(image[..., 0] if gray else image, 0, 1)[None, None])


def _show_signed(ax, image):
    """A map (h, w) of values in [-1, 1], blue below and red above 0."""
    return ax.imshow(image, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")


def _scale(figure, axes, image, label):
    """What the colors of signed maps mean, below all axes."""
    style = {"orientation": "horizontal", "shrink": 0.5, "aspect": 40, "pad": 0.02}
    bar = figure.colorbar(image, ax=axes, ticks=(-1, 0, 1), **style)
    bar.set_label(label, size="x-small")
    bar.ax.tick_params(labelsize="x-small")
    bar.outline.set_linewidth(0.5)
