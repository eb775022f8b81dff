"""Matplotlib helpers. Each draws on an ``ax`` it is given; none touches pyplot or global state.

A *chart* (``Disk``, ``Plane``) knows the geometry of one two-dimensional latent space; ``latent`` draws
on any chart, so that a hyperbolic and a Euclidean panel are drawn by the same lines of code. A map
(``Mollweide``, ``Orthographic``) is a chart of the sphere, for the ``sphere_`` functions.
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
from geodl.plotting.sphere import (
    Mollweide,
    Orthographic,
    sphere_colorbar,
    sphere_density,
    sphere_frame,
    sphere_paths,
    sphere_points,
)


__all__ = [
    "Disk",
    "Mollweide",
    "Orthographic",
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
    "sphere_colorbar",
    "sphere_density",
    "sphere_frame",
    "sphere_paths",
    "sphere_points",
    "square_lattice",
    "tile",
]
