"""The pictures of the Poincaré VAE experiments: from plain arrays to PNG files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps, patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from geodl import plotting
from geodl.plotting import Disk, Plane


DPI = 150
PRIOR, HYPERPLANE, EDGE = "#7f9bbd", "#c2571a", "#30343b"
# Paul Tol's muted scheme and black: ten classes that the color-blind can tell apart
DIGITS = "#332288 #88ccee #44aa99 #117733 #999933 #ddbb55 #cc6677 #882255 #aa4499 #000000".split()


class Hyperplanes(NamedTuple):
    """Hyperplane k is normal to ``weights[k]`` and passes through expmap0(w_k b_k).

    A linear layer <w, z> + beta has b = -beta / |w|^2.
    """

    weights: np.ndarray  # (h, 2)
    offsets: np.ndarray  # (h,)


class Latents(NamedTuple):
    """One model's two-dimensional latent space of a tree of n nodes and m data points."""

    title: str
    chart: Disk | Plane
    nodes: np.ndarray  # (n, 2) the noiseless nodes, by posterior means where the model has them
    points: np.ndarray  # (m, 2) the data, likewise
    hyperplanes: Hyperplanes | None = None  # of the decoder's first layer
    prior: Callable[[np.ndarray], np.ndarray] | None = None  # density (k, 2) -> (k,)


def node_depths(parents: np.ndarray) -> np.ndarray:
    """Depth of every node of a tree (n,) from its parent (n,), -1 for the root, parents first."""
    depths = np.zeros(len(parents), int)
    for node, parent in enumerate(parents):
        if parent >= node:
            raise ValueError(f"node {node} has parent {parent}; expected a smaller number")
        depths[node] = depths[parent] + 1 if parent >= 0 else 0
    return depths


def draw_tree(ax: Axes, latents: Latents, parents: np.ndarray, owners: np.ndarray) -> None:
    """Draw one panel: prior and decoder hyperplanes where there are such, data, the tree on top."""
    chart, depths = latents.chart, node_depths(parents)
    colors = depth_colors(depths.max())
    plotting.frame(ax, chart)
    if latents.prior:
        plotting.density(ax, chart, latents.prior)
    if latents.hyperplanes:
        faint = {"linewidth": 0.45, "alpha": 0.16}
        plotting.hyperplanes(ax, chart, *latents.hyperplanes, color=HYPERPLANE, **faint)
    plotting.points(ax, chart, latents.points, s=7, c=colors[depths[owners]], alpha=0.45)
    child = np.flatnonzero(parents >= 0)
    ends = latents.nodes[parents[child]], latents.nodes[child]
    # thick near the root, as a tree is
    width = np.interp(depths[child], [1, depths.max()], [1.8, 0.6])
    plotting.geodesics(ax, chart, *ends, colors=EDGE, linewidths=width)
    order = np.argsort(-depths)  # the root on top
    size = np.interp(depths, [0, depths.max()], [95, 17])
    style = {"edgecolors": "white", "linewidths": 0.5, "zorder": 6}
    plotting.points(
        ax, chart, latents.nodes[order], s=size[order], c=colors[depths[order]], **style
    )
    ax.set_title(latents.title, fontsize=13, pad=8)


def depth_colors(deepest: int) -> np.ndarray:
    """Colors (deepest + 1, 4) by depth, dark at the root; even in lightness, color-blind safe."""
    return colormaps["viridis"](np.linspace(0.0, 0.9, deepest + 1))


def tree_figure(
    path: str | Path, parents: np.ndarray, owners: np.ndarray, panels: Sequence[Latents]
) -> Path:
    """Save the latent spaces of several models of one tree, side by side.

    Args:
        path: the PNG file; its folder is made.
        parents: (n,) parent of each node, -1 for the root, parents before their children.
        owners: (m,) node that each data point is a noisy sibling of.
        panels: one record a model, left to right.

    Returns:
        The path.
    """
    figure = Figure(figsize=(5.6 * len(panels), 6.15))
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.1)
    for ax, latents in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw_tree(ax, latents, parents, owners)
    deepest = node_depths(parents).max()
    dot: dict[str, Any] = {"marker": "o", "linestyle": "none", "mec": "white"}
    depths = [
        Line2D([], [], color=color, markersize=9 - 4 * depth / deepest, label=str(depth), **dot)
        for depth, color in enumerate(depth_colors(deepest))
    ]
    lines = [
        Line2D([], [], color=EDGE, linewidth=1.4, label="tree edges (geodesics)"),
        Line2D([], [], color="#6c7a89", markersize=3, alpha=0.7, label="data", **{**dot, "mew": 0}),
    ]
    if any(latents.hyperplanes for latents in panels):
        style = {"color": HYPERPLANE, "linewidth": 0.9, "alpha": 0.6}
        lines.append(Line2D([], [], label="decoder hyperplanes", **style))
    if any(latents.prior for latents in panels):
        lines.append(Line2D([], [], color=PRIOR, linewidth=1.2, label="prior at 1, 2, 3 σ"))
    handles = [Line2D([], [], linestyle="none", label="depth"), *depths, *lines]
    legend = {"frameon": False, "fontsize": 9.5, "handletextpad": 0.4, "columnspacing": 1.1}
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), **legend)
    return save(figure, path)


def mnist_figures(
    folder: str | Path,
    originals: np.ndarray,
    decoded: np.ndarray,
    chart: Disk | Plane,
    latents: np.ndarray,
    labels: np.ndarray,
    decode: Callable[[np.ndarray], np.ndarray],
    cells: int = 24,
) -> dict[str, Path]:
    """Save ``reconstructions.png``, ``latent_grid.png`` and ``latents.png`` of a model with d = 2.

    Args:
        folder: where to; made if missing.
        originals: (n, height, width) images in [0, 1], n a multiple of 10.
        decoded: their reconstructions, same shape.
        chart: the latent space.
        latents: (m, 2) posterior means of test images.
        labels: (m,) their digits.
        decode: maps latents (k, 2) to mean images (k, height, width).
        cells: images along one side of the latent grid.

    Returns:
        Name to path.
    """
    folder = Path(folder)
    rows = 2 * len(originals) // 10
    figure = Figure(figsize=(7.0, 0.72 * rows + 0.35), layout="constrained")
    ax = figure.subplots()
    plotting.reconstructions(ax, originals, decoded)
    ax.set_title("test images, and below each its reconstruction", fontsize=10)
    paths = {"reconstructions": save(figure, folder / "reconstructions.png")}

    figure = Figure(figsize=(8.0, 8.0), layout="constrained")
    ax = figure.subplots()
    plotting.latent_grid(ax, decode, plotting.square_lattice(chart, cells), chart)
    plotting.frame(ax, chart)
    paths["latent_grid"] = save(figure, folder / "latent_grid.png")

    figure = Figure(figsize=(7.0, 7.0), layout="constrained")
    draw_digits(figure.subplots(), chart, latents, labels)
    paths["latents"] = save(figure, folder / "latents.png")
    return paths


def draw_digits(ax: Axes, chart: Disk | Plane, latents: np.ndarray, labels: np.ndarray) -> None:
    """Scatter latents (m, 2) by digit (m,), and name each digit at the median of its latents."""
    plotting.frame(ax, chart)
    plotting.points(ax, chart, latents, s=5, c=np.array(DIGITS)[labels], alpha=0.6)
    outline = [patheffects.withStroke(linewidth=3, foreground="white")]
    for digit in np.unique(labels):
        x, y = np.median(latents[labels == digit], axis=0)
        style = {"ha": "center", "va": "center", "zorder": 7, "path_effects": outline}
        ax.text(x, y, str(digit), color=DIGITS[digit], fontsize=19, fontweight="bold", **style)


def save(figure: Figure, path: str | Path) -> Path:
    """Write the figure as PNG, making its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    return path
