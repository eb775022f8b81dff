"""Layers on the sphere and on SO(3), of coefficients in the order of the transforms' computation."""

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from geodl.equivariant._sphere_kernels import steps
from geodl.equivariant._wigner import along
from geodl.equivariant.harmonics import RotationTransform
from geodl.nn.conv import relu


def lift(f: Array, spectrum: Array) -> Array:
    """From the sphere to SO(3): F^l_mn = f_lm psi_ln / (2l + 1), the coefficients of sum_i w_i f(R x_i).

    Args:
        f: coefficients (m, l, s, batch, in).
        spectrum: of the kernel, :meth:`SphereKernel.spectrum`, of as many degrees; its first N + 1 orders where the
            result shall have no more.

    Returns:
        Coefficients (m, n, l, s, t, batch, out).

    Raises:
        ValueError: The kernel is of other degrees or channels.
    """
    _check_kernel("lift", (f.shape[1], f.shape[-1]), (spectrum.shape[1], spectrum.shape[-2]))
    f = f / along(2 * np.arange(len(f)) + 1, f, 1)
    return jnp.einsum("mlsbi,nltio->mnlstbo", f, spectrum, precision="highest")


def convolve(f: Array, spectrum: tuple[Array, ...]) -> Array:
    """From SO(3) to SO(3): Z^l = F^l (Psi^l)^T, the coefficients of sum_i w_i f(R R_i).

    Args:
        f: coefficients (m, n, l, s, t, batch, in).
        spectrum: of the kernel, :meth:`RotationKernel.spectrum`, of as many degrees and orders.

    Returns:
        Coefficients (m, n, l, s, t, batch, out).

    Raises:
        ValueError: The kernel is of other degrees, orders or channels.
    """
    parts, degrees = [], sum(len(psi) for psi in spectrum)
    orders = min(len(f), f.shape[1])
    found = degrees, spectrum[-1].shape[1] / (2 * orders)
    _check_kernel(f"convolve: of features of {orders} orders", (len(f), f.shape[-1]), found)
    for (low, high), psi in zip(steps(len(f)), spectrum, strict=True):
        x = _rows(f, low, high)
        z = jnp.matmul(x, psi, precision="highest")
        n = min(high, f.shape[1])
        z = z.reshape(high - low, f.shape[5], high, 2, 2, n, psi.shape[-1] // (2 * n))
        z = jnp.transpose(z, (2, 5, 0, 3, 4, 1, 6))
        parts.append(jnp.pad(z, [(0, len(f) - high), (0, f.shape[1] - n), *[(0, 0)] * 5]))
    return jnp.concatenate(parts, 2)


def to_sphere(f: Array, column: Array) -> Array:
    """From SO(3) to the sphere: f_lm = sqrt(4 pi (2l + 1)) sum_k F^l_mk c^l_k, the form of all maps that commute.

    Args:
        f: coefficients (m, n, l, s, t, batch, in).
        column: c (n, l, t, in, out), as :meth:`RotationKernel.column`.

    Returns:
        Coefficients (m, l, s, batch, out).

    Raises:
        ValueError: The kernel is of other degrees or channels.
    """
    _check_kernel("to_sphere", (len(f), f.shape[-1]), (column.shape[1], column.shape[3]))
    parts = []
    for low, high in steps(len(f)):
        x = _rows(f, low, high)
        c = jnp.transpose(column[: min(high, f.shape[1]), low:high], (1, 2, 0, 3, 4))
        z = jnp.matmul(x, c.reshape(high - low, x.shape[-1], -1), precision="highest")
        z = z.reshape(high - low, f.shape[5], high, 2, column.shape[-1])
        z = jnp.transpose(z, (2, 0, 3, 1, 4))
        parts.append(jnp.pad(z, [(0, len(f) - high), *[(0, 0)] * 4]))
    z = jnp.concatenate(parts, 1)
    return z * along(np.sqrt(4 * np.pi * (2 * np.arange(len(f)) + 1)), z, 1)


def _check_kernel(name, features, kernel):
    if features != kernel:
        raise ValueError(
            f"{name}: features of {features[0]} degrees and {features[1]} channels need such a kernel, got one of "
            f"{kernel[0]} degrees and {kernel[1]:g} channels"
        )


def _rows(f, low, high):
    """Coefficients of the degrees from low to high as matrices (l, (batch, m, s), (t, n, in)).

    The batch comes first, or it could not be split over devices.
    """
    x = f[:high, : min(high, f.shape[1]), low:high]
    x = jnp.transpose(x, (2, 5, 0, 3, 4, 1, 6))
    return x.reshape(high - low, f.shape[5] * high * 2, math.prod(x.shape[4:]))


def pointwise(
    transform: RotationTransform, f: Array, function: Callable[[Array], Array], degrees: int
) -> Array:
    """A function of the values: sampled on the grid, and back.

    Args:
        transform: of a grid that carries the degrees of f, and ``degrees``.
        f: coefficients (m, n, l, s, t, batch, channel).
        function: of arrays whose last axis is the channel.
        degrees: of the result.

    Returns:
        Coefficients (m, n, l, s, t, batch, channel) of the result.
    """
    values = function(transform.below(len(f)).synthesize(f))
    return transform.below(degrees).analyze(values)


def magnitudes(transform: RotationTransform, f: Array, bias: Array, degrees: int) -> Array:
    """f_n -> relu(|f_n| + b_n) f_n / |f_n| of each spin n > 0, and relu(f_0 + b_0) of spin 0, at each point.

    Spins are kept apart and gamma is not sampled: functions of spins up to N are a field of N + 1 pairs on the sphere,
    and what the nonlinearity adds beyond the grid's reach is over alpha and beta only.

    Args:
        transform: of a grid that carries the degrees of f, and ``degrees``.
        f: coefficients (m, n, l, s, t, batch, channel).
        bias: b (n, channel).
        degrees: of the result.

    Returns:
        Coefficients (m, n, l, s, t, batch, channel) of the result.

    Reference:
        Esteves, Makadia & Daniilidis, *Spin-weighted spherical CNNs* (2020), section 4.3.
    """
    spins = transform.below(len(f)).synthesize_spins(f)  # (alpha, t, n, beta, batch, channel)
    bias = bias[: spins.shape[2], None, None]
    scalar = relu(spins[:, :, :1] + bias[:1]) * along([1, 0], spins, 1)
    vectors = spins[:, :, 1:]
    # 1e-6: the direction is continued smoothly through 0
    size = jnp.sqrt(jnp.sum(jnp.square(vectors), 1, keepdims=True) + 1e-6)
    vectors = relu(size + bias[1:]) / size * vectors
    transform = transform.below(degrees)
    spins = jnp.concatenate([scalar, vectors], 2)[:, :, : transform.orders + 1]
    return transform.analyze_spins(spins)


def integrate(f: Array) -> Array:
    """Means over SO(3), which no rotation changes.

    Args:
        f: coefficients (m, n, l, s, t, batch, channel).

    Returns:
        Means (batch, channel).
    """
    return f[0, 0, 0, 0, 0]


def powers(f: Array) -> Array:
    """Norms of the coefficients of each degree, (2l + 1) sum_mn (F^l_mn)^2 rooted, which no rotation changes.

    Args:
        f: coefficients (m, n, l, s, t, batch, channel).

    Returns:
        Norms (batch, channel, l).
    """
    return jnp.moveaxis(jnp.sqrt(_squares(f) + 1e-6), 0, -1)  # 1e-6: smooth at 0


def _squares(f):
    """Of a function on SO(3) the mean square of each degree's part, (l, batch, channel)."""
    squares = jnp.sum(jnp.square(f), (0, 1, 3, 4))
    return squares * along(2 * np.arange(len(squares)) + 1, squares, 0)


def normalized(f):
    """Features by their root mean square over SO(3) and channels, which no rotation changes."""
    square = jnp.mean(jnp.sum(_squares(f), 0), -1, keepdims=True)
    return f * lax.rsqrt(square + 1e-6)
