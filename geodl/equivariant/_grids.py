"""Grids of the sphere: rings of equally spaced points, and HEALPix's pixels."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from geodl._core.checks import check_integer


@dataclass(frozen=True)
class Grid:
    """Rings of points on the sphere: colatitudes, quadrature weights, and longitudes 2 pi j / n on each of them.

    Attributes:
        name: of the kind of grid.
        degrees: L, for which it is exact: products of two functions of degrees below L are integrated without error.
        betas: colatitudes of the rings, symmetric about the equator.
        weights: of the rings, with sum 2 (they integrate over cos beta).
        longitudes: n, the number of points on a ring.
    """

    name: str
    degrees: int
    betas: tuple[float, ...]
    weights: tuple[float, ...]
    longitudes: int

    @property
    def shape(self) -> tuple[int, int]:
        """Of an image on the grid, (rings, longitudes)."""
        return len(self.betas), self.longitudes


def gauss_legendre(degrees: int, rings: int | None = None) -> Grid:
    """The grid of L Gauss-Legendre rings of 2 L points, half as many as Driscoll and Healy's, and as exact.

    Args:
        degrees: L.
        rings: more rings than L, each of 2 ``rings`` points, for what is not linear (ReLU on the grid aliases less).

    Returns:
        The grid, of shape (L, 2 L), or (``rings``, 2 ``rings``).

    Raises:
        ValueError: Fewer rings than degrees.
    """
    check_integer("gauss_legendre: degrees", degrees)
    rings = degrees if rings is None else rings
    if rings < degrees:
        raise ValueError(f"gauss_legendre: {degrees} degrees need as many rings, got {rings}")
    z, weights = _legendre_nodes(rings)
    return Grid("gauss_legendre", degrees, _tuple(np.arccos(z)), _tuple(weights), 2 * rings)


def driscoll_healy(degrees: int) -> Grid:
    """The equiangular grid of 2 L rings at (2k + 1) pi / 4L, of 2 L points each (Driscoll & Healy 1994).

    Args:
        degrees: L.

    Returns:
        The grid, exact for degrees below L.
    """
    check_integer("driscoll_healy: degrees", degrees)
    b = degrees
    betas = (2 * np.arange(2 * b) + 1) * np.pi / (4 * b)
    odd = 2 * np.arange(b) + 1
    weights = (2 / b) * np.sin(betas) * (np.sin(np.outer(betas, odd)) / odd).sum(-1)
    return Grid("driscoll_healy", degrees, _tuple(betas), _tuple(weights), 2 * b)


def _tuple(values):
    return tuple(map(float, values))


def _legendre_nodes(n):
    """Nodes cos beta from the north on, and weights; in extended precision, which weights next to the poles need."""
    z = np.polynomial.legendre.leggauss(n)[0][::-1].astype(np.longdouble)
    for _ in range(2):
        p, before = _legendre(n, z)
        z = z - p * (1 - z * z) / (n * (before - z * p))
    z = (z - z[::-1]) / 2
    return z, 2 * (1 - z * z) / (n * _legendre(n, z)[1]) ** 2


def _legendre(n, z):
    """P_n and P_(n-1)."""
    before, p = np.ones_like(z), z
    for l in range(1, n):
        before, p = p, ((2 * l + 1) * z * p - l * before) / (l + 1)
    return p, before


def healpix_centers(
    nside: int,
) -> tuple[Float[np.ndarray, " pixels"], Float[np.ndarray, " pixels"]]:
    """Where the centers of HEALPix's pixels are, in ring order (Gorski et al. 2005, section 4).

    Args:
        nside: pixels along the edge of one of the twelve large ones.

    Returns:
        Colatitudes (12 nside^2,) and longitudes (12 nside^2,).
    """
    betas, starts, counts = healpix_rings(nside)
    j = np.concatenate([np.arange(count) for count in counts])
    alphas = np.repeat(starts, counts) + 2 * np.pi * j / np.repeat(counts, counts)
    return np.repeat(betas, counts), alphas


def healpix_rings(nside):
    """Colatitude, first longitude and number of the pixels of each ring."""
    check_integer("healpix: nside", nside)
    i = np.arange(1, 4 * nside)
    north = np.minimum(i, 4 * nside - i)  # a ring's number from its own pole
    cap = north < nside
    counts = 4 * np.minimum(north, nside)
    z = np.where(cap, 1 - north**2 / (3 * nside**2), (4 - 2 * north / nside) / 3)
    shifted = cap | ((i - nside) % 2 == 0)
    return np.arccos(np.where(i <= 2 * nside, z, -z)), np.pi / counts * shifted, counts
