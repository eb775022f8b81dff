"""Exact rotations of harmonic coefficients."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Float

from geodl._core.checks import check_dim
from geodl._core.records import register_record
from geodl._core.reductions import safe_norm
from geodl.equivariant import _wigner
from geodl.equivariant._coefficients import (
    checked,
    compiled,
    rotation_pack,
    rotation_unpack,
    sphere_pack,
    sphere_unpack,
)


@register_record
@dataclass(frozen=True)
class Rotator:
    """Rotations of coefficients of degrees below L, exact; made by :func:`rotator`.

    With J = D^l of the quarter turn about y, and diagonal Z about z:
    D(alpha, beta, gamma) = Z(alpha + pi/2) J Z(beta) J^T Z(gamma - pi/2), every factor orthogonal.
    """

    quarter: Array  # J of the cosines, and of the sines: (2, l, m, n)

    @property
    def degrees(self) -> int:
        """L."""
        return self.quarter.shape[1]

    @compiled
    def sphere(self, coefficients: ArrayLike, rotation: ArrayLike) -> Float[Array, "*batch LL"]:
        """Coefficients of x -> f(R^-1 x), from those (..., L^2) of f; leading axes broadcast.

        Raises:
            ValueError: Not L^2 coefficients.
        """
        c = checked("sphere", coefficients, (self.degrees**2,), self.quarter)
        c, angles = _broadcast(c, rotation)
        return sphere_pack(self.rotate(sphere_unpack(c, self.degrees), angles))

    @compiled
    def left(self, coefficients: ArrayLike, rotation: ArrayLike) -> Float[Array, "*batch size"]:
        """Packed coefficients of Q -> f(R^-1 Q), a function on SO(3) with all orders; leading axes broadcast.

        Raises:
            ValueError: Not L (4 L^2 - 1) / 3 coefficients.
        """
        degrees = self.degrees
        size = degrees * (4 * degrees**2 - 1) // 3
        c, angles = _broadcast(checked("left", coefficients, (size,), self.quarter), rotation)
        x = rotation_unpack(c, degrees, degrees - 1)
        return rotation_pack(self.rotate_left(x, angles))

    def rotate_left(
        self, x: Float[Array, "L N1 L 2 2 *rest"], angles: tuple[Array, Array, Array]
    ) -> Float[Array, "L N1 L 2 2 *rest"]:
        """:meth:`left` in the order of the computation, by Euler angles that broadcast against the rest."""
        moved = jnp.moveaxis(x, (1, 4), (3, 4))
        return jnp.moveaxis(self.rotate(moved, angles), (3, 4), (1, 4))

    def rotate(
        self, x: Float[Array, "L L 2 *rest"], angles: tuple[Array, Array, Array]
    ) -> Float[Array, "L L 2 *rest"]:
        """:meth:`sphere` in the order of the computation, by Euler angles that broadcast against the rest."""
        alpha, beta, gamma = angles
        x = _about_z(x, gamma - np.pi / 2)
        x = jnp.einsum("slnm,nls...->mls...", self.quarter, x, precision="highest")
        x = _about_z(x, beta)
        x = jnp.einsum("slmn,nls...->mls...", self.quarter, x, precision="highest")
        return _about_z(x, alpha + np.pi / 2)


def rotator(degrees: int, dtype: DTypeLike | None = None) -> Rotator:
    """The tables with which coefficients of degrees below L are rotated.

    Args:
        degrees: L.
        dtype: of the coefficients that it takes, by default JAX's default.

    Returns:
        The rotator, for coefficients of functions on the sphere or on SO(3).

    Reference:
        Pinchon & Hoggan, *Rotation matrices for real spherical harmonics* (2007).
    """
    check_dim("rotator: degrees", degrees)
    table = _wigner.tabulated(degrees, degrees - 1, [np.pi / 2])
    d = np.moveaxis(table[..., 0], 2, 0)  # (l, m, n)
    mirror = _wigner.sign(sum(np.ogrid[:degrees, :degrees, :degrees])) * d
    quarter = np.stack([d + mirror, d - mirror])
    return Rotator(jnp.asarray(quarter, _wigner.default_dtype(dtype)))


def _about_z(x, angle):
    """Rotation about z of coefficients (m, l, s, ...) by an angle that broadcasts against the rest."""
    angle = jnp.asarray(angle, x.dtype)
    turns = jnp.arange(len(x), dtype=x.dtype).reshape(-1, 1, *(1,) * (x.ndim - 3)) * angle
    c, s = jnp.cos(turns), jnp.sin(turns)
    return jnp.stack([c * x[:, :, 0] - s * x[:, :, 1], s * x[:, :, 0] + c * x[:, :, 1]], 2)


def _broadcast(coefficients, rotation):
    """Coefficients and Euler angles with all leading axes."""
    rotation = jnp.asarray(rotation, coefficients.dtype)
    batch = jnp.broadcast_shapes(coefficients.shape[:-1], rotation.shape[:-2])
    coefficients = jnp.broadcast_to(coefficients, (*batch, coefficients.shape[-1]))
    alpha, beta, gamma = (jnp.broadcast_to(a, batch) for a in euler_angles(rotation))
    return coefficients, (alpha, beta, gamma)


def euler_angles(rotation: ArrayLike) -> tuple[Array, Array, Array]:
    """Angles (alpha, beta, gamma) of rotations R_z(alpha) R_y(beta) R_z(gamma).

    gamma is alpha + gamma less alpha in the north, and alpha less alpha - gamma in the south, so that near the poles,
    where alpha and gamma are ill determined by themselves, the rotation is still right to rounding. At a pole alpha
    is 0.

    Args:
        rotation: matrices (..., 3, 3).

    Returns:
        alpha, beta and gamma, each (...), with 0 <= beta <= pi.
    """
    r = jnp.asarray(rotation)
    x, y, z = r[..., 0, 2], r[..., 1, 2], r[..., 2, 2]
    alpha = _atan2(y, x)
    beta = jnp.arctan2(safe_norm(jnp.stack([x, y], -1)), z)
    both = _atan2(r[..., 1, 0] - r[..., 0, 1], r[..., 0, 0] + r[..., 1, 1])
    difference = _atan2(-r[..., 1, 0] - r[..., 0, 1], r[..., 1, 1] - r[..., 0, 0])
    return alpha, beta, jnp.where(z >= 0, both - alpha, alpha - difference)


def _atan2(y, x):
    """arctan2, with derivative 0 and not NaN at the origin."""
    origin = (x == 0) & (y == 0)
    return jnp.arctan2(jnp.where(origin, 0.0, y), jnp.where(origin, 1.0, x))
