"""The pictures of the Poincaré VAE experiments: from plain arrays to PNG and SVG files."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps, patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments._pictures import save
from experiments._run import standard_error
from geodl import plotting
from geodl.plotting import Disk, Plane


PRIOR, HYPERPLANE, EDGE = "#7f9bbd", "#c2571a", "#30343b"
MODELS = {"N-VAE": "#30343b", "wrapped": "#33708f", "Riemannian": "#c2571a"}
# Paul Tol's muted scheme and black: ten classes that the color-blind can tell apart
DIGITS = "#332288 #88ccee #44aa99 #117733 #999933 #ddbb55 #cc6677 #882255 #aa4499 #000000".split()


class Latents(NamedTuple):
    """One model's two-dimensional latent space of a tree of n nodes and m data points."""

    title: str
    chart: Disk | Plane
    nodes: np.ndarray  # (n, 2) the noiseless nodes, by posterior means where the model has them
    points: np.ndarray  # (m, 2) the data, likewise
    hyperplanes: tuple[np.ndarray, np.ndarray] | None = None
    """of the decoder's first layer: hyperplane k is normal to w_k and passes through expmap0(w_k b_k), (h, 2), (h,)"""
    prior: Callable[[np.ndarray], np.ndarray] | None = None  # density (k, 2) -> (k,)


def draw_tree(ax: Axes, latents: Latents, tree: Any, owners: np.ndarray) -> None:
    """Draw one panel: prior and decoder hyperplanes where there are such, data, the tree on top."""
    chart, depths = latents.chart, tree.depths
    colors = depth_colors(depths.max())
    plotting.frame(ax, chart)
    if latents.prior:
        plotting.density(ax, chart, latents.prior)
    if latents.hyperplanes:
        faint = {"linewidth": 0.45, "alpha": 0.16}
        plotting.hyperplanes(ax, chart, *latents.hyperplanes, color=HYPERPLANE, **faint)
    plotting.points(ax, chart, latents.points, s=7, c=colors[depths[owners]], alpha=0.45)
    child = np.flatnonzero(depths)
    ends = latents.nodes[tree.parents[child]], latents.nodes[child]
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


def tree_figure(path: Path, tree: Any, owners: np.ndarray, panels: Sequence[Latents]) -> Path:
    """Save the latent spaces of several models of one tree, side by side.

    Args:
        path: the PNG file; an SVG file lies beside it.
        tree: with the ``parents`` (n,) and the ``depths`` (n,) of its nodes, 0 for the root.
        owners: (m,) node that each data point is a noisy sibling of.
        panels: one record a model, left to right.

    Returns:
        The path.
    """
    figure = Figure(figsize=(5.6 * len(panels), 6.15))
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.1)
    for ax, latents in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw_tree(ax, latents, tree, owners)
    deepest = tree.depths.max()
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
    save(figure, path)
    return path


def reconstructions(folder: Path, originals: np.ndarray, decoded: np.ndarray) -> None:
    """Images (n, height, width) in [0, 1], n a multiple of 10, above what they decode to: ``reconstructions.png``."""
    rows = 2 * len(originals) // 10
    figure = Figure(figsize=(7.0, 0.72 * rows + 0.35), layout="constrained")
    ax = figure.subplots()
    plotting.reconstructions(ax, originals, decoded)
    ax.set_title("test images, and below each its reconstruction", fontsize=10)
    save(figure, folder / "reconstructions.png")


def latent_grid(
    folder: Path, chart: Disk | Plane, decode: Callable[[np.ndarray], np.ndarray], cells: int = 24
) -> None:
    """What latents (k, 2) on a grid, so many along a side, decode to, (k, height, width): ``latent_grid.png``."""
    figure = Figure(figsize=(8.0, 8.0), layout="constrained")
    ax = figure.subplots()
    plotting.latent_grid(ax, decode, plotting.square_lattice(chart, cells), chart)
    plotting.frame(ax, chart)
    save(figure, folder / "latent_grid.png")


def digits(folder: Path, chart: Disk | Plane, latents: np.ndarray, labels: np.ndarray) -> None:
    """Latents (m, 2) by digit (m,), each digit named at the median of its latents: ``latents.png``."""
    figure = Figure(figsize=(7.0, 7.0), layout="constrained")
    ax = figure.subplots()
    plotting.frame(ax, chart)
    style = {"c": np.array(DIGITS)[labels], "alpha": 0.6, "rasterized": True}
    plotting.points(ax, chart, latents, s=5, **style)
    outline = [patheffects.withStroke(linewidth=3, foreground="white")]
    for digit in np.unique(labels):
        x, y = np.median(latents[labels == digit], axis=0)
        place = {"ha": "center", "va": "center", "zorder": 7, "path_effects": outline}
        ax.text(x, y, str(digit), color=DIGITS[digit], fontsize=19, fontweight="bold", **place)
    save(figure, folder / "latents.png")


def likelihoods(
    path: Path, ours: Mapping[Any, Sequence[float]], paper: Mapping[Any, float]
) -> None:
    """Test likelihoods against the curvature, a panel for each dimension.

    Args:
        path: the PNG file; an SVG file lies beside it.
        ours: of each model, named by its ``kind``, ``dim`` and ``c`` (None: flat), nats of each seed.
        paper: of each model, nats.
    """
    dims = sorted({cell.dim for cell in ours})
    curvatures = sorted({cell.c for cell in (*ours, *paper) if cell.c})
    figure = Figure(figsize=(3.4 * len(dims), 4.0), layout="constrained")
    for ax, dim in zip(figure.subplots(1, len(dims), squeeze=False)[0], dims, strict=True):
        top = 1.2 * min(np.mean(losses) for cell, losses in ours.items() if cell.dim == dim)
        for k, (kind, color) in enumerate(MODELS.items()):
            for name, found, style in (("ours", ours, "o-"), ("paper", paper, "s:")):
                own = {c.c: np.ravel(found[c]) for c in found if (c.dim, c.kind) == (dim, kind)}
                means = {c: nats.mean() for c, nats in own.items()}
                errors = {c: standard_error(nats) for c, nats in own.items()}
                look = {"color": color, "label": f"{kind}, {name}"}
                if None in means:  # flat: the same at every curvature
                    ax.axhline(means[None], ls=style[1], lw=1.2, **look)
                    low, high = means[None] - errors[None], means[None] + errors[None]
                    if low < high:
                        ax.axhspan(low, high, color=color, alpha=0.12)
                    continue
                at = [c for c in curvatures if c in means]
                x = [curvatures.index(c) + 0.06 * (k - 1.5) for c in at]
                y, bars = [means[c] for c in at], [errors[c] for c in at]
                ax.errorbar(x, y, bars, fmt=style, ms=4.5, lw=1.2, capsize=2.5, **look)
                for i, value in zip(x, y, strict=True):
                    if value > top:
                        ax.text(i, 0.99 * top, f"{value:.1f} ↑", color=color, ha="right")
        ax.set_ylim(top=min(top, ax.get_ylim()[1]))
        ax.set_xticks(range(len(curvatures)), map(str, curvatures))
        ax.set(title=f"d = {dim}", xlabel="curvature parameter c")
    figure.axes[0].set_ylabel("−log p(x), IWAE (nats per test image)")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    save(figure, path)
