"""Exact rotations of harmonic coefficients."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Float

from geodl._core.checks import check_integer
from geodl._core.records import register_record
from geodl._core.reductions import dot, safe_norm
from geodl.equivariant import _wigner
from geodl.equivariant._coefficients import (
    checked,
    compiled,
    rotation_pack,
    rotation_unpack,
    sphere_pack,
    sphere_unpack,
)
from geodl.equivariant._representations import check_orthogonal


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

    def sphere(self, coefficients: ArrayLike, rotation: ArrayLike) -> Float[Array, "*batch LL"]:
        """Coefficients of x -> f(R^-1 x), from those (..., L^2) of f; leading axes broadcast.

        Raises:
            ValueError: Not L^2 coefficients; or no rotation matrices (..., 3, 3) (under jit these give NaN).
        """
        c = checked("sphere", coefficients, (self.degrees**2,), self.quarter)
        return _sphere(self, *_broadcast("sphere", c, rotation))

    def left(self, coefficients: ArrayLike, rotation: ArrayLike) -> Float[Array, "*batch size"]:
        """Packed coefficients of Q -> f(R^-1 Q), a function on SO(3) with all orders; leading axes broadcast.

        Raises:
            ValueError: Not L (4 L^2 - 1) / 3 coefficients; or no rotation matrices (under jit these give NaN).
        """
        size = self.degrees * (4 * self.degrees**2 - 1) // 3
        c = checked("left", coefficients, (size,), self.quarter)
        return _left(self, *_broadcast("left", c, rotation))

    def rotate_left(
        self, x: Float[Array, "L N1 L 2 2 *rest"], rotation: ArrayLike
    ) -> Float[Array, "L N1 L 2 2 *rest"]:
        """:meth:`left` in the order of the computation, by matrices whose leading axes broadcast against the rest."""
        moved = jnp.moveaxis(x, (1, 4), (3, 4))
        return jnp.moveaxis(self.rotate(moved, rotation), (3, 4), (1, 4))

    def rotate(
        self, x: Float[Array, "L L 2 *rest"], rotation: ArrayLike
    ) -> Float[Array, "L L 2 *rest"]:
        """:meth:`sphere` in the order of the computation, by matrices whose leading axes broadcast against the rest."""
        rotation = jnp.asarray(rotation, x.dtype)
        return _rotated(jax.lax.stop_gradient(self.quarter), x, rotation)


@compiled
def _sphere(rotator, c, rotation):
    return sphere_pack(rotator.rotate(sphere_unpack(c, rotator.degrees), rotation))


@compiled
def _left(rotator, c, rotation):
    x = rotation_unpack(c, rotator.degrees, rotator.degrees - 1)
    return rotation_pack(rotator.rotate_left(x, rotation))


@jax.custom_jvp
def _rotated(quarter, x, rotation):
    return _by_angles(quarter, x, *euler_angles(rotation))


@partial(_rotated.defjvp, symbolic_zeros=True)
def _rotated_jvp(primals, tangents):
    """By the generators about the three axes, since Euler angles have no derivatives at the poles.

    With dR = hat(w) R it is sum_i w_i L_i D(R) x, where L_z is the derivative of Z, and L_y = Q L_z Q^-1 for a
    rotation Q of z to y.
    """
    (quarter, x, rotation), (_, dx, turning) = primals, tangents
    y = _rotated(quarter, x, rotation)
    change = jnp.zeros_like(y)
    if not isinstance(dx, SymbolicZero):
        change = change + _rotated(quarter, dx, rotation)
    if not isinstance(turning, SymbolicZero):
        turned = jnp.sum(turning[..., :, None, :] * rotation[..., None, :, :], -1)  # dR R^T
        skew = (turned - jnp.swapaxes(turned, -1, -2)) / 2
        right = np.pi / 2
        about_x = _by_angles(quarter, y, 0.0, -right, 0.0)
        about_x = _by_angles(quarter, _generator_z(about_x), 0.0, right, 0.0)
        about_y = _by_angles(quarter, y, 0.0, -right, -right)
        about_y = _by_angles(quarter, _generator_z(about_y), right, right, 0.0)
        change = change + skew[..., 2, 1] * about_x + skew[..., 0, 2] * about_y
        change = change + skew[..., 1, 0] * _generator_z(y)
    return y, change


def _by_angles(quarter, x, alpha, beta, gamma):
    x = _about_z(x, gamma - np.pi / 2)
    x = jnp.einsum("slnm,nls...->mls...", quarter, x, precision="highest")
    x = _about_z(x, beta)
    x = jnp.einsum("slmn,nls...->mls...", quarter, x, precision="highest")
    return _about_z(x, alpha + np.pi / 2)


def _generator_z(x):
    """The derivative of :func:`_about_z` in the angle, at 0."""
    m = jnp.arange(len(x), dtype=x.dtype).reshape(-1, 1, *(1,) * (x.ndim - 3))
    return jnp.stack([-m * x[:, :, 1], m * x[:, :, 0]], 2)


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
    check_integer("rotator: degrees", degrees)
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


def rotations(name: str, rotation: ArrayLike, dtype: DTypeLike) -> Array:
    """Rotation matrices (..., 3, 3) of a type; what is none raises, or is NaN where values are not known."""
    rotation = jnp.asarray(rotation, dtype)
    if rotation.shape[-2:] != (3, 3):
        raise ValueError(f"{name}: rotation matrices (..., 3, 3) are needed, got {rotation.shape}")
    check_orthogonal(f"{name}: a rotation", rotation, reflections=False)
    product = jnp.sum(rotation[..., :, None, :] * rotation[..., None, :, :], -1)
    off = jnp.max(jnp.abs(product - jnp.eye(3, dtype=dtype)), (-2, -1), keepdims=True)
    proper = dot(jnp.cross(rotation[..., 0, :], rotation[..., 1, :]), rotation[..., 2, :]) > 0
    near = off < 1e-2 + 8 * float(jnp.finfo(dtype).eps)
    return jnp.where(near & proper[..., None, None], rotation, jnp.nan)


def _broadcast(name, coefficients, rotation):
    """Coefficients and rotations with all leading axes."""
    rotation = rotations(name, rotation, coefficients.dtype)
    batch = jnp.broadcast_shapes(coefficients.shape[:-1], rotation.shape[:-2])
    coefficients = jnp.broadcast_to(coefficients, (*batch, coefficients.shape[-1]))
    return coefficients, jnp.broadcast_to(rotation, (*batch, 3, 3))


def euler_angles(rotation: ArrayLike) -> tuple[Array, Array, Array]:
    """Angles (alpha, beta, gamma) of rotations R_z(alpha) R_y(beta) R_z(gamma).

    gamma is alpha + gamma less alpha in the north, and alpha less alpha - gamma in the south, so that near the poles,
    where alpha and gamma are ill determined by themselves, the rotation is still right to rounding. At a pole alpha
    is 0, and the derivatives, which do not exist there, are finite; :class:`Rotator` does not need them.

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
