"""Harmonic analysis on the sphere and on SO(3): transforms, and rotations of coefficients.

A function on S^2 is f(x) = sum_lm f_lm Y_lm(x) with the real orthonormal harmonics Y_lm, |m| <= l < L; a function on
SO(3) is f(R) = sum_l (2l + 1) sum_mn F^l_mn D^l_mn(R) with the real Wigner matrices D^l, so that F^l_mn is the mean
of f D^l_mn over the group. Everything is real: a rotation of a function, (Q f)(x) = f(Q^-1 x), multiplies the column
f_l, or the matrix F^l from the left, by D^l(Q), and a convolution over SO(3) is one real product of matrices for each
degree.

Conventions. x has colatitude beta and longitude alpha; rotations are R = R_z(alpha) R_y(beta) R_z(gamma). With
scipy's complex harmonics y = ``sph_harm_y(l, m, beta, alpha)``, m > 0: Y_lm = (-1)^m sqrt(2) Re y, Y_l,-m = (-1)^m
sqrt(2) Im y, Y_l0 = y. Hence Y_1 = sqrt(3 / 4 pi) (y, z, x). D^l(R) is the matrix with Y_l(R^-1 x) = D^l(R)^T Y_l(x),
D^l_m0(R) = sqrt(4 pi / (2l + 1)) Y_lm(R e_z), and D^1 is R itself in the order (y, z, x).

Packed coefficients are degree after degree: f_lm at l^2 + l + m, the matrices F^l row by row behind sum_{j < l} (2j +
1)^2.

Numerics. Over the polar angle the transforms are real products of matrices with Wigner's small d, which is tabulated
once in double precision by its three-term recurrence in the degree, stable at every order (orders m, n >= 0 only; the
others are mirror images, d_m,-n(beta) = (-1)^(l + m) d_mn(pi - beta)). Over the angles they are products with real
Fourier matrices: as fast as FFTs up to the 256 points of L = 128 (measured), and without complex numbers. Above L =
64 the table of SO(3) is made anew, by the same recurrence, in blocks of 16 degrees inside of a scan. The transforms
are records of arrays: pass them to a jitted function as arguments.

Sources: Driscoll & Healy, *Computing Fourier transforms and convolutions on the 2-sphere* (1994); Kostelec &
Rockmore, *FFTs on the rotation group* (2008), for the recurrence; Gorski et al., *HEALPix* (2005).
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Float

from geodl._core.checks import check_integer
from geodl._core.records import register_record
from geodl.equivariant import _wigner
from geodl.equivariant._coefficients import (
    checked,
    compiled,
    rotation_pack,
    rotation_rows,
    rotation_unpack,
    sphere_pack,
    sphere_unpack,
)
from geodl.equivariant._grids import (
    Grid,
    driscoll_healy,
    gauss_legendre,
    healpix_centers,
    healpix_rings,
)
from geodl.equivariant._rotator import Rotator, euler_angles, rotator
from geodl.equivariant._wigner import along, default_dtype, wigner_d


__all__ = [
    "Grid",
    "HealpixTransform",
    "RotationTransform",
    "Rotator",
    "SphereTransform",
    "driscoll_healy",
    "euler_angles",
    "gauss_legendre",
    "healpix_centers",
    "healpix_transform",
    "rotation_pack",
    "rotation_transform",
    "rotation_unpack",
    "rotator",
    "sphere_pack",
    "sphere_transform",
    "sphere_unpack",
    "wigner_d",
]

# -------------------------------------------------------------------------------------------------
# The sphere
# -------------------------------------------------------------------------------------------------


@register_record
@dataclass(frozen=True)
class SphereTransform:
    """The spherical-harmonic transform of degrees below L on a grid; made by :func:`sphere_transform`.

    Attributes:
        grid: where functions are sampled.
        degrees: L.
    """

    table: _wigner.DenseTable | _wigner.BlockTable
    fourier: Array
    grid: Grid = field(metadata={"static": True})
    degrees: int = field(metadata={"static": True})

    @compiled
    def analysis(self, f: ArrayLike) -> Float[Array, "*batch LL"]:
        """The coefficients (..., L^2) of a function (..., rings, longitudes): exact for one of degrees below L.

        Raises:
            ValueError: Not an image on the grid; or its type is not the tables'.
        """
        f = checked("analysis", f, self.grid.shape, self.fourier)
        return sphere_pack(self.analyze(jnp.moveaxis(f, (-1, -2), (0, 1))))

    @compiled
    def synthesis(self, coefficients: ArrayLike) -> Float[Array, "*batch rings longitudes"]:
        """The function (..., rings, longitudes) with these coefficients (..., L^2).

        Raises:
            ValueError: Not L^2 coefficients; or their type is not the tables'.
        """
        x = checked("synthesis", coefficients, (self.degrees**2,), self.fourier)
        return jnp.moveaxis(self.synthesize(sphere_unpack(x, self.degrees)), (0, 1), (-1, -2))

    def analyze(self, f: Float[Array, "longitudes rings *rest"]) -> Float[Array, "L L 2 *rest"]:
        """:meth:`analysis` in the order of the computation: (m, l, cosine or sine, ...) of (longitudes, rings, ...)."""
        weights = np.asarray(self.grid.weights) * (2 * np.pi / self.grid.longitudes)
        f = f * along(weights, f, 1)
        x = _wigner.matmul(self.fourier, f)  # (2, m, beta, ...)
        x = self.table.to_degrees(jnp.moveaxis(x, 0, 2)[:, None])[:, 0]
        return x * along(orthonormal(self.degrees), x, 1)

    def synthesize(self, x: Float[Array, "L L 2 *rest"]) -> Float[Array, "longitudes rings *rest"]:
        """:meth:`synthesis` in the order of the computation."""
        x = x * along(orthonormal(self.degrees), x, 1)
        x = jnp.moveaxis(self.table.to_betas(x[:, None])[:, 0], 2, 0)
        return _wigner.matmul(self.fourier, x, transposed=True)


def sphere_transform(
    degrees: int, grid: Grid | None = None, dtype: DTypeLike | None = None
) -> SphereTransform:
    """The transform between functions on S^2 and their coefficients of degrees below L.

    Args:
        degrees: L.
        grid: of the samples, by default Gauss and Legendre's L rings of 2L points.
        dtype: of the functions that it takes, by default JAX's default.

    Returns:
        The transform, whose ``analysis`` gives coefficients (..., L^2) and ``synthesis`` functions (..., rings,
        longitudes).

    Raises:
        ValueError: The grid does not carry the degrees.

    Reference:
        Driscoll & Healy, *Computing Fourier transforms and convolutions on the 2-sphere* (1994).
    """
    grid, dtype = _grid("sphere_transform", degrees, grid), default_dtype(dtype)
    table = _wigner.table_of(degrees, 0, grid.betas, dtype)
    return SphereTransform(table, _wigner.fourier(degrees, grid.longitudes, dtype), grid, degrees)


def _grid(name, degrees, grid):
    check_integer(f"{name}: degrees", degrees)
    grid = gauss_legendre(degrees) if grid is None else grid
    if grid.degrees < degrees:
        raise ValueError(f"{name}: the grid carries {grid.degrees} degrees, asked for {degrees}")
    return grid


def orthonormal(degrees):
    """What makes harmonics Y_lm of the table's functions: 2 sqrt((2l + 1) / 4 pi)."""
    return np.sqrt((2 * np.arange(degrees) + 1) / np.pi)


# -------------------------------------------------------------------------------------------------
# HEALPix
# -------------------------------------------------------------------------------------------------


@register_record
@dataclass(frozen=True)
class HealpixTransform:
    """The spherical-harmonic transform of degrees below L on HEALPix's pixels; made by :func:`healpix_transform`.

    Synthesis is exact. Pixels of equal weight are no exact quadrature, so analysis is the least-squares fit, by the
    method of conjugate gradients from that quadrature on.
    """

    table: _wigner.DenseTable | _wigner.BlockTable
    # cosines and sines (rings, 2 m, pixels of the longest ring), 0 beyond a ring's end
    fourier: Array
    nside: int = field(metadata={"static": True})
    degrees: int = field(metadata={"static": True})

    @compiled
    def analysis(self, f: ArrayLike) -> Float[Array, "*batch LL"]:
        """The coefficients (..., L^2) whose function is nearest to f (..., 12 nside^2), in ring order.

        Raises:
            ValueError: Not as many pixels; or their type is not the tables'.
        """
        f = checked("analysis", f, (12 * self.nside**2,), self.fourier)
        adjoint = jax.linear_transpose(
            self.synthesis, jnp.zeros((*f.shape[:-1], self.degrees**2), f.dtype)
        )

        def normal(c):
            return adjoint(self.synthesis(c))[0] * area

        area = 4 * np.pi / (12 * self.nside**2)
        start = adjoint(f)[0] * area
        tol = float(jnp.finfo(f.dtype).eps)
        return jax.scipy.sparse.linalg.cg(normal, start, start, tol=tol, maxiter=40)[0]

    @compiled
    def synthesis(self, coefficients: ArrayLike) -> Float[Array, "*batch pixels"]:
        """The function (..., 12 nside^2) at the centers, in ring order, with these coefficients (..., L^2).

        Raises:
            ValueError: Not L^2 coefficients; or their type is not the tables'.
        """
        c = checked("synthesis", coefficients, (self.degrees**2,), self.fourier)
        x = sphere_unpack(c, self.degrees)
        x = x * along(orthonormal(self.degrees), x, 1)
        waves = jnp.moveaxis(self.table.to_betas(x[:, None])[:, 0], (1, 2), (0, 1))
        flat = waves.reshape(*self.fourier.shape[:2], -1)
        y = _wigner.product(self.fourier, flat, ((1,), (1,)), ((0,), (0,)))
        counts = healpix_rings(self.nside)[2]
        rows = np.concatenate([r * 4 * self.nside + np.arange(n) for r, n in enumerate(counts)])
        y = y.reshape(-1, *waves.shape[3:])[rows]
        return jnp.moveaxis(y, 0, -1)


def healpix_transform(degrees: int, nside: int, dtype: DTypeLike | None = None) -> HealpixTransform:
    """The transform between functions at HEALPix's pixels and their coefficients of degrees below L.

    Args:
        degrees: L, at most 2 nside: there, and not far above, the fit is well conditioned.
        nside: pixels along the edge of one of the twelve large ones.
        dtype: of the functions that it takes, by default JAX's default.

    Returns:
        The transform, whose ``analysis`` gives coefficients (..., L^2) and ``synthesis`` functions (..., 12 nside^2).

    Raises:
        ValueError: More than 2 nside degrees.

    Reference:
        Gorski et al., *HEALPix: a framework for high-resolution discretization* (2005).
    """
    check_integer("healpix_transform: degrees", degrees)
    betas, starts, counts = healpix_rings(nside)
    if degrees > 2 * nside:
        raise ValueError(
            f"healpix_transform: nside {nside} carries {2 * nside} degrees, asked for {degrees}"
        )
    j = np.arange(4 * nside)
    alphas = starts[:, None] + 2 * np.pi * j / counts[:, None]
    angles = np.arange(degrees)[:, None] * alphas[:, None]
    waves = np.concatenate([np.cos(angles), np.sin(angles)], 1) * (j < counts[:, None])[:, None]
    dtype = default_dtype(dtype)
    return HealpixTransform(
        _wigner.table_of(degrees, 0, betas, dtype), jnp.asarray(waves, dtype), nside, degrees
    )


# -------------------------------------------------------------------------------------------------
# The rotation group
# -------------------------------------------------------------------------------------------------


@register_record
@dataclass(frozen=True)
class RotationTransform:
    """The Wigner transform of degrees below L and orders |n| <= N on a grid; made by :func:`rotation_transform`.

    Attributes:
        grid: of the first two angles; the third has the points 2 pi k / n_gamma.
        degrees: L.
        orders: N, the largest |n|.
        turns: n_gamma, the points in the third angle.
    """

    table: _wigner.DenseTable | _wigner.BlockTable
    of_alpha: Array
    of_gamma: Array
    grid: Grid = field(metadata={"static": True})
    degrees: int = field(metadata={"static": True})
    orders: int = field(metadata={"static": True})
    turns: int = field(metadata={"static": True})

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a function on the grid, (rings, longitudes, turns)."""
        return (*self.grid.shape, self.turns)

    def below(self, degrees: int) -> "RotationTransform":
        """The transform of fewer degrees on the same grid.

        Raises:
            ValueError: More degrees than this one has.
        """
        if degrees == self.degrees:
            return self
        if not 1 <= degrees < self.degrees:
            raise ValueError(
                f"RotationTransform.below: 1 to {self.degrees} degrees are possible, got {degrees}"
            )
        orders = min(self.orders, degrees - 1)
        return RotationTransform(
            self.table.below(degrees),
            self.of_alpha[:, :degrees],
            self.of_gamma[:, : orders + 1],
            self.grid,
            degrees,
            orders,
            self.turns,
        )

    @property
    def size(self) -> int:
        """Number of packed coefficients."""
        return len(rotation_rows(self.degrees, self.orders))

    @compiled
    def analysis(self, f: ArrayLike) -> Float[Array, "*batch size"]:
        """Packed coefficients F^l_mn (..., size) of a function (..., rings, longitudes, turns).

        Exact for a function of degrees below L, and of orders |n| <= N.

        Raises:
            ValueError: Not a function on the grid; or its type is not the tables'.
        """
        f = checked("analysis", f, self.shape, self.of_alpha)
        return rotation_pack(self.analyze(jnp.moveaxis(f, (-2, -1, -3), (0, 1, 2))))

    @compiled
    def synthesis(self, coefficients: ArrayLike) -> Float[Array, "*batch rings longitudes turns"]:
        """The function (..., rings, longitudes, turns) with these coefficients.

        Raises:
            ValueError: Not as many coefficients; or their type is not the tables'.
        """
        x = checked("synthesis", coefficients, (self.size,), self.of_alpha)
        f = self.synthesize(rotation_unpack(x, self.degrees, self.orders))
        return jnp.moveaxis(f, (0, 1, 2), (-2, -1, -3))

    def analyze(
        self, f: Float[Array, "longitudes turns rings *rest"]
    ) -> Float[Array, "L N1 L 2 2 *rest"]:
        """:meth:`analysis` in the order of the computation: functions by (alpha, gamma, beta, ...).

        Returns:
            Coefficients by (m, n, l, s, t, ...) with m, n >= 0: F^l of order m, or -m where s = 1, and n, or -n where
            t = 1.
        """
        weights = np.asarray(self.grid.weights) / (2 * self.grid.longitudes * self.turns)
        f = f * along(weights, f, 2)
        return self._to_degrees(_wigner.sines(f, self.of_alpha, self.of_gamma))

    def analyze_spins(
        self, f: Float[Array, "longitudes 2 N1 rings *rest"]
    ) -> Float[Array, "L N1 L 2 2 *rest"]:
        """:meth:`analyze` of sum_n f_0n cos(n gamma) + f_1n sin(n gamma), f by (alpha, t, n, beta, ...)."""
        weights = np.asarray(self.grid.weights) / (2 * self.grid.longitudes)
        means = np.where(np.arange(self.orders + 1) == 0, 1, 0.5)  # of cos^2
        f = f * along(weights, f, 3) * along(means, f, 2)
        return self._to_degrees(_wigner.matmul(self.of_alpha, f))

    def _to_degrees(self, waves):
        u, v = _wigner.split(waves)
        v = jnp.flip(v, 2)  # the grid is its own mirror image
        x = self.table.to_degrees(jnp.stack([u, v], 3))
        return _wigner.join(x[:, :, :, 0], _wigner.mirrored(x[:, :, :, 1]))

    def synthesize(
        self, x: Float[Array, "L N1 L 2 2 *rest"]
    ) -> Float[Array, "longitudes turns rings *rest"]:
        """:meth:`synthesis` in the order of the computation."""
        return _wigner.sines_transposed(self._to_waves(x), self.of_alpha, self.of_gamma)

    def synthesize_spins(
        self, x: Float[Array, "L N1 L 2 2 *rest"]
    ) -> Float[Array, "longitudes 2 N1 rings *rest"]:
        """The spin-weighted parts of :meth:`synthesize`: f of sum_n f_0n cos(n gamma) + f_1n sin(n gamma).

        The pair (f_0n, f_1n) is a field of spin n on the sphere: where the frame turns by an angle, it turns by n times
        that angle.

        Returns:
            The parts by (alpha, t, n, beta, ...).
        """
        return _wigner.matmul(self.of_alpha, self._to_waves(x), transposed=True)

    def _to_waves(self, x):
        u, v = _wigner.join_transposed(x * along(2 * np.arange(self.degrees) + 1, x, 2))
        y = self.table.to_betas(jnp.stack([u, _wigner.mirrored(v)], 3))
        return _wigner.split_transposed(y[:, :, :, 0], jnp.flip(y[:, :, :, 1], 2))


def rotation_transform(
    degrees: int,
    orders: int | None = None,
    grid: Grid | None = None,
    turns: int | None = None,
    dtype: DTypeLike | None = None,
) -> RotationTransform:
    """The transform between functions on SO(3) and their coefficients of degrees below L, and orders |n| <= N.

    A function is sampled at R_z(alpha) R_y(beta) R_z(gamma). Its memory is O(L^3), or O(L^2 N) where N is small:
    functions with few orders are the spin-weighted functions of spins up to N.

    Args:
        degrees: L.
        orders: N, by default L - 1: all.
        grid: of beta and alpha, by default Gauss and Legendre's.
        turns: points in gamma, by default 2 N + 2.
        dtype: of the functions that it takes, by default JAX's default.

    Returns:
        The transform, whose ``analysis`` gives packed coefficients (..., size) and ``synthesis`` functions (...,
        rings, longitudes, turns).

    Raises:
        ValueError: The orders are not 0 to L - 1, the grid does not carry the degrees, or the turns not the orders.

    Reference:
        Kostelec & Rockmore, *FFTs on the rotation group* (2008).
    """
    grid, dtype = _grid("rotation_transform", degrees, grid), default_dtype(dtype)
    orders = degrees - 1 if orders is None else orders
    if not 0 <= orders < degrees:
        raise ValueError(f"rotation_transform: orders must be 0 to {degrees - 1}, got {orders}")
    turns = 2 * orders + 2 if turns is None else turns
    if turns < 2 * orders + 1:
        raise ValueError(
            f"rotation_transform: orders to {orders} need {2 * orders + 1} turns, got {turns}"
        )
    return RotationTransform(
        _wigner.table_of(degrees, orders, grid.betas, dtype),
        _wigner.fourier(degrees, grid.longitudes, dtype),
        _wigner.fourier(orders + 1, turns, dtype),
        grid,
        degrees,
        orders,
        turns,
    )
