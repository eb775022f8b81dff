"""Pictures of trees in the disk and of distortion against the length of an edge."""

from pathlib import Path

import numpy as np
from matplotlib import colormaps, patheffects
from matplotlib.figure import Figure

from experiments._pictures import save
from experiments.trees.data import Taxonomy
from geodl import plotting


def taxonomy(path: Path, title: str, points: np.ndarray, tree: Taxonomy, hyperbolic: bool) -> None:
    """Nodes in the plane, edges from child to parent along geodesics, the names with most below them written out."""
    chart = plotting.Disk(1.0) if hyperbolic else plotting.Plane(1.05 * float(np.abs(points).max()))
    levels = np.bincount(tree.pairs[:, 0], minlength=len(points))
    below = np.bincount(tree.pairs[:, 1], minlength=len(points))
    colors = colormaps["viridis"](0.9 * levels / max(1, levels.max()))
    figure = Figure(figsize=(9, 9), layout="constrained")
    ax = figure.subplots()
    plotting.frame(ax, chart)
    child, parent = tree.edges.T
    ends = _inside(points, hyperbolic)
    plotting.geodesics(
        ax, chart, ends[child], ends[parent], colors="#30343b", linewidths=0.35, alpha=0.45
    )
    order = np.argsort(below)
    plotting.points(
        ax, chart, points[order], s=6 + 60 * np.sqrt(below[order] / below.max()), c=colors[order]
    )
    outline = [patheffects.withStroke(linewidth=2.5, foreground="white")]
    for node in order[::-1][:24]:
        style = {
            "ha": "center",
            "va": "bottom",
            "fontsize": 8,
            "zorder": 8,
            "path_effects": outline,
        }
        ax.annotate(
            tree.names[node], tuple(points[node]), (0, 4), textcoords="offset points", **style
        )
    ax.set_title(title)
    save(figure, path)


def _inside(points: np.ndarray, hyperbolic: bool) -> np.ndarray:
    """Points whose geodesics can be drawn: not on the rim of float32."""
    if not hyperbolic:
        return points
    norm = np.linalg.norm(points, axis=-1, keepdims=True)
    return points * np.minimum(1, 0.9999 / np.maximum(norm, 1e-12))


def distortions(
    path: Path, plane: dict[str, list[dict[str, float]]], flat: dict[str, list[dict[str, float]]]
) -> None:
    """Mean distortion: of the construction against the length of an edge, and of Euclidean space against dimension."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for k, (name, rows) in enumerate(plane.items()):
        left.loglog(*_curve(rows, "length"), "o-", color=f"C{k}", label=name, markersize=4)
        if name in flat:
            right.loglog(*_curve(flat[name], "dimension"), "s-", color=f"C{k}", markersize=4)
    left.set(xlabel="length of an edge in the hyperbolic plane", ylabel="mean distortion")
    left.legend(frameon=False)
    right.set(xlabel="dimension of Euclidean space, least stress")
    for ax in (left, right):
        ax.grid(alpha=0.25, which="both", linewidth=0.5)
    save(figure, path)


def _curve(rows, key):
    return np.array([(row[key], row["mean"]) for row in rows]).T


def drawing(path: Path, title: str, points: np.ndarray, edges: np.ndarray) -> None:
    """The construction's nodes that fit into the disk, with their edges."""
    chart, figure = plotting.Disk(1.0), Figure(figsize=(7, 7), layout="constrained")
    ax = figure.subplots()
    plotting.frame(ax, chart)
    ends = _inside(points, True)
    plotting.geodesics(
        ax, chart, ends[edges[:, 0]], ends[edges[:, 1]], colors="#30343b", linewidths=0.6
    )
    plotting.points(ax, chart, points, s=8, c="#44aa99")
    ax.set_title(title)
    save(figure, path)
