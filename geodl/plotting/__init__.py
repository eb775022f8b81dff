"""Matplotlib helpers. Each draws on an `ax` it is given; none touches pyplot or global state.

A *chart* (`Disk`, `Plane`) knows the geometry of one two-dimensional latent space; `latent` draws
on any chart, so that a hyperbolic and a Euclidean panel are drawn by the same lines of code.
"""

from geodl.plotting.disk import Disk as Disk
from geodl.plotting.images import image_grid as image_grid
from geodl.plotting.images import latent_grid as latent_grid
from geodl.plotting.images import quantile_lattice as quantile_lattice
from geodl.plotting.images import reconstructions as reconstructions
from geodl.plotting.images import square_lattice as square_lattice
from geodl.plotting.images import tile as tile
from geodl.plotting.latent import density as density
from geodl.plotting.latent import frame as frame
from geodl.plotting.latent import geodesics as geodesics
from geodl.plotting.latent import hyperplanes as hyperplanes
from geodl.plotting.latent import points as points
from geodl.plotting.plane import Plane as Plane
