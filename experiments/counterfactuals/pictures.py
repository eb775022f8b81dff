"""The pictures of the counterfactual experiments: from arrays to PNG and SVG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from experiments._pictures import save
from experiments.counterfactuals import helix
from geodl import plotting


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
    _finish(figure, ax, file)


def paths(file: Path, found: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Searches from one start: around the helix, and how far from it in the base."""
    figure = Figure(figsize=(9.6, 4.8), layout="constrained")
    space = figure.add_subplot(1, 2, 1, projection="3d")
    t = np.linspace(-3, 2.2, 400)
    space.plot(*np.asarray(helix.curve(jnp.asarray(t))).T, color="0.75", lw=5, zorder=0)
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
    _finish(figure, base, file, handles=space.get_legend_handles_labels()[0], loc="lower right")


def panels(
    file: Path,
    originals: np.ndarray,
    counterfactuals: np.ndarray,
    adversarials: np.ndarray,
    captions: Sequence[str],
) -> None:
    """A row for each image: original, counterfactual, their difference, adversarial example; (n, h, w, c) in [0, 1].

    Differences counterfactual - original are means over the channels.
    """
    columns = {
        "original": originals,
        "counterfactual": counterfactuals,
        "difference": (counterfactuals - originals).mean(-1),
        "adversarial": adversarials,
    }
    what = "ink" if originals.shape[-1] == 1 else "light"
    gallery(file, columns, captions, f"difference: less {what} (blue), more {what} (red)")


def gallery(
    file: Path, columns: Mapping[str, np.ndarray], captions: Sequence[str], sign: str
) -> None:
    """A row for each of n images: images (n, h, w, c) in [0, 1], signed maps (n, h, w) in [-1, 1].

    Their scale is drawn below; ``sign`` says what is positive. Many rows stand in blocks side by side, as wide as high.
    """
    count, width = len(captions), 1 + len(columns)
    blocks = max(1, round((count / 4) ** 0.5))
    rows = -(-count // blocks)
    ratios = [0.6] + [1] * len(columns)
    size = sum(ratios) * blocks, rows + 0.9
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, width * blocks, squeeze=False, width_ratios=ratios * blocks)
    for ax in axes.flat:
        ax.set_axis_off()
    signed: Any = None
    for i, caption in enumerate(captions):
        block, row = divmod(i, rows)
        label, *cells = axes[row, width * block : width * (block + 1)]
        label.text(1, 0.5, caption, ha="right", va="center", transform=label.transAxes)
        for ax, (title, shown) in zip(cells, columns.items(), strict=True):
            if shown.ndim == 3:
                signed = ax.imshow(shown[i], cmap="RdBu_r", vmin=-1, vmax=1)
            else:
                _show(ax, shown[i])
            if row == 0:
                ax.set_title(title, size="x-small")
    style: dict[str, Any] = {"orientation": "horizontal", "shrink": 0.5, "aspect": 40, "pad": 0.02}
    bar = figure.colorbar(signed, ax=axes, ticks=(-1, 0, 1), **style)
    bar.set_label(sign, size="x-small")
    bar.ax.tick_params(labelsize="x-small")
    save(figure, file)


def strip(file: Path, frames: np.ndarray, caption: str, *values: np.ndarray) -> None:
    """Searches from left to right, (n, frames, h, w, c) in [0, 1]; under each image ``caption``, of its values."""
    rows, columns = frames.shape[:2]
    figure = Figure(figsize=(1.15 * columns, 1.4 * rows), layout="constrained")
    axes: Any = figure.subplots(rows, columns, squeeze=False)
    for i in np.ndindex(rows, columns):
        _show(axes[i], frames[i])
        axes[i].set_title(caption.format(*(value[i] for value in values)), size="x-small", y=-0.2)
    save(figure, file)


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
    _finish(figure, ax, file)


def grids(file: Path, images: Mapping[str, np.ndarray]) -> None:
    """Grids of images (rows, columns, h, w[, 3]) in [0, 1] side by side, under their names."""
    rows, columns = next(iter(images.values())).shape[:2]
    size = 4.6 * len(images), 4.4 * rows / columns + 0.5
    figure = Figure(figsize=size, layout="constrained")
    for ax, (title, shown) in zip(figure.subplots(1, len(images)), images.items(), strict=True):
        plotting.image_grid(ax, shown)
        ax.set_title(title, size="small")
    save(figure, file)


def _show(ax, image):
    """An image (h, w, c): ink on paper where it is gray."""
    gray = image.shape[-1] == 1
    plotting.image_grid(ax, np.clip(image[..., 0] if gray else image, 0, 1)[None, None])


def _finish(figure, ax, file, **legend):
    """Open axes, a legend without a frame."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize="small", **legend)
    save(figure, file)
