"""Pictures of all experiments: how they are saved, and the plane or disk that they show of a manifold."""

from pathlib import Path

from jax import Array
from matplotlib import rc_context
from matplotlib.figure import Figure

from geodl.manifolds import Hyperboloid, Manifold, poincare


def save(figure: Figure, path: Path) -> None:
    """A figure as a PNG file, and as an SVG file beside it, which is the same at every run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    with rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(path.with_suffix(".svg"), dpi=150, metadata={"Date": None})


def from_picture(manifold: Manifold, z: Array) -> Array:
    """Points of the disk (or plane) that pictures show, in the coordinates of the manifold."""
    return poincare.to_hyperboloid(z, manifold.c) if isinstance(manifold, Hyperboloid) else z


def to_picture(manifold: Manifold, z: Array) -> Array:
    """Inverse of :func:`from_picture`."""
    return manifold.to_ball(z) if isinstance(manifold, Hyperboloid) else z
