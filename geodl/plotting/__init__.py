"""Matplotlib helpers. Each draws on an `ax` it is given; none touches pyplot or global state.

A *chart* (`Disk`, `Plane`) knows the geometry of one two-dimensional latent space; `latent` draws
on any chart, so that a hyperbolic and a Euclidean panel are drawn by the same lines of code.
"""

from geodl.plotting.disk import Disk
from geodl.plotting.images import (
    image_grid,
    latent_grid,
    quantile_lattice,
    reconstructions,
    square_lattice,
    tile,
)
from geodl.plotting.latent import density, frame, geodesics, hyperplanes, points
from geodl.plotting.plane import Plane


__all__ = [
    "Disk",
    "Plane",
    "density",
    "frame",
    "geodesics",
    "hyperplanes",
    "image_grid",
    "latent_grid",
    "points",
    "quantile_lattice",
    "reconstructions",
    "square_lattice",
    "tile",
]
