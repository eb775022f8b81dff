"""Pictures of fields on surfaces, and of errors against the number of points."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from scipy.spatial import ConvexHull

from experiments._pictures import save
from geodl.equivariant import TriangleMesh


EYE = np.array([1.0, -1.4, 1.1])  # where surfaces are seen from, z up


def vectors_on(
    path: Path, mesh: TriangleMesh, values: np.ndarray, panels: Mapping[str, np.ndarray]
) -> None:
    """A scalar (n,) in color on a mesh and tangent vectors in space (n, 3) as arrows, a panel for each.

    Args:
        path: of the picture.
        mesh: the surface, drawn from its hind triangles to the foremost.
        values: of the scalar at the vertices.
        panels: by title, vectors; the longest arrow is as long as two edges.
    """
    front = EYE / np.linalg.norm(EYE)
    right = np.cross([0, 0, 1.0], front)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(front, right)])
    corners = mesh.vertices[mesh.faces]
    order = np.argsort(corners.mean(1) @ front)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    light = 0.65 + 0.35 * np.clip(normals @ front, 0, 1)
    largest = np.abs(values).max()
    colors = colormaps["RdBu_r"](0.5 + 0.4 * values[mesh.faces].mean(1) / largest)
    colors[:, :3] *= light[:, None]
    of_vertices = np.cross(*np.moveaxis(mesh.frames, 1, 0))
    seen = np.flatnonzero(of_vertices @ front > 0.2)
    longest = max(np.linalg.norm(v[seen] @ axes.T, axis=-1).max() for v in panels.values())
    size = 2.2 * np.sqrt(mesh.areas.mean()) / longest
    columns = len(panels) if len(panels) <= 4 else 3
    shape = -(-len(panels) // columns), columns
    figure = Figure(figsize=(4 * shape[1], 3.6 * shape[0]), layout="constrained")
    grid = np.ravel(figure.subplots(*shape))
    for ax in grid:
        ax.set_axis_off()
    for ax, (title, vectors) in zip(grid, panels.items(), strict=False):
        flat = (corners @ axes.T)[order]
        ax.add_collection(PolyCollection(list(flat), facecolors=colors[order], edgecolors="none"))
        xy, uv = mesh.vertices[seen] @ axes.T, size * vectors[seen] @ axes.T
        ax.quiver(*xy.T, *uv.T, angles="xy", scale_units="xy", scale=1, width=0.004)
        ax.set_title(title, fontsize=10)
        ax.set_aspect("equal")
        ax.autoscale_view()
    save(figure, path)


def hull(x: np.ndarray) -> TriangleMesh:
    """Unit vectors (n, 3) joined by the triangles of their convex hull."""
    faces = ConvexHull(x).simplices
    outward = np.linalg.det(x[faces]) > 0
    return TriangleMesh(x, np.where(outward[:, None], faces, faces[:, ::-1]))


def orders(path: Path, found: Mapping[str, Sequence[Mapping[str, Any]]], radius: float) -> None:
    """Isometry errors against the number of points, a line for each space."""
    figure = Figure(figsize=(6.5, 4.5), layout="constrained")
    ax = figure.subplots()
    for name, rows in found.items():
        ax.loglog(
            *np.transpose([(r["points"], r["isometry"]) for r in rows]), "o-", ms=4, label=name
        )
    n = np.array(ax.get_xlim())
    start = max(rows[0]["isometry"] for rows in found.values())
    ax.loglog(
        n, start * (n / n[0]) ** -1.5, ":", color="#888888", label="third order in the spacing"
    )
    ax.plot(3072, 2e-4, "kx", label="2e-4 at 3,072 points")
    ax.set(xlabel="points", ylabel=f"isometry error of a convolution, radius {radius:g}")
    ticks = sorted({r["points"] for rows in found.values() for r in rows})
    ax.set_xticks(ticks, [f"{n:,}" for n in ticks], rotation=45)
    ax.minorticks_off()
    ax.grid(alpha=0.25, linewidth=0.5)
    ax.legend(frameon=False)
    save(figure, path)
