"""Kernels of convolutions on the sphere and on SO(3): taps close to the identity, and their spectra."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from geodl._core.checks import check_integer
from geodl._core.records import register_record
from geodl.equivariant import _wigner, harmonics


_STEP = 8  # degrees that share one padded product of matrices


@register_record
@dataclass(frozen=True)
class SphereKernel:
    """Kernels on the sphere, weights (betas, alphas, in, out) of taps about the pole; by :func:`sphere_kernel`."""

    table: Array
    of_alpha: Array
    betas: tuple[float, ...] = field(metadata={"static": True})

    def init(self, key: Array, channels_in: int, channels_out: int) -> Array:
        """Standard normal parameters of the weights.

        Args:
            key: of the random numbers.
            channels_in: number of channels of the functions that are convolved.
            channels_out: number of channels of the result.

        Returns:
            Parameters (betas, alphas, in, out).
        """
        taps = (len(self.betas), self.of_alpha.shape[-1])
        return jax.random.normal(key, (*taps, channels_in, channels_out), self.table.dtype)

    def spectrum(self, parameters: Float[Array, "betas alphas n k"]) -> Float[Array, "L L 2 n k"]:
        """sum_i w_i Y_ln(x_i), by (n, l, t, in, out)."""
        x = jnp.moveaxis(
            _wigner.matmul(self.of_alpha, jnp.swapaxes(_scaled(parameters), 0, 1)), 0, 2
        )
        x = _wigner.batched(self.table[:, None], x[:, None], 3)[:, 0]
        return x * _wigner.along(harmonics.orthonormal(len(x)), x, 1)


def sphere_kernel(
    degrees: int,
    max_beta: float,
    betas: int = 3,
    alphas: int = 8,
    dtype: DTypeLike | None = None,
) -> SphereKernel:
    """Taps on rings about the north pole, for :func:`lift`.

    Args:
        degrees: L, of the functions that are convolved.
        max_beta: colatitude of the outermost ring; the rings are equally far apart.
        betas: number of rings.
        alphas: taps on a ring.
        dtype: of the weights, by default JAX's default.

    Returns:
        The kernels' taps and tables; their weights are parameters, (betas, alphas, in, out).

    Raises:
        ValueError: ``degrees`` below 1, or ``max_beta`` is not in (0, pi].
    """
    check_integer("sphere_kernel: degrees", degrees)
    rings = _rings(max_beta, betas)
    table = _wigner.tabulated(degrees, 0, rings)[:, 0]
    dtype = _wigner.default_dtype(dtype)
    return SphereKernel(
        jnp.asarray(table, dtype), _wigner.fourier(degrees, alphas, dtype), tuple(rings)
    )


def _rings(max_beta, betas):
    if not 0 < max_beta <= np.pi:
        raise ValueError(f"the kernel's max_beta must be in (0, pi], got {max_beta}")
    return max_beta * np.arange(1, betas + 1) / betas


def _scaled(parameters):
    """Weights of parameters of order 1 (*taps, in, out): they keep the mean square of positive features (He 2015)."""
    return parameters * np.sqrt(2 / np.prod(parameters.shape[:-1])).astype(parameters.dtype)


@register_record
@dataclass(frozen=True)
class RotationKernel:
    """Kernels on SO(3): weights (betas, alphas, gammas, in, out) of taps; made by :func:`rotation_kernel`."""

    plus: Array  # the small d of (m, n) at the taps' beta, and of (m, -n)
    minus: Array
    of_alpha: Array
    of_gamma: Array
    betas: tuple[float, ...] = field(metadata={"static": True})

    @property
    def degrees(self) -> int:
        """L."""
        return self.plus.shape[2]

    def init(self, key: Array, channels_in: int, channels_out: int) -> Array:
        """Standard normal parameters of the weights.

        Args:
            key: of the random numbers.
            channels_in: number of channels of the functions that are convolved.
            channels_out: number of channels of the result.

        Returns:
            Parameters (betas, alphas, gammas, in, out).
        """
        taps = (len(self.betas), self.of_alpha.shape[-1], self.of_gamma.shape[-1])
        return jax.random.normal(key, (*taps, channels_in, channels_out), self.plus.dtype)

    def spectrum(self, parameters: Float[Array, "betas alphas gammas n k"]) -> tuple[Array, ...]:
        """sum_i w_i D^l_nk(R_i) as :func:`convolve` needs it: (l, (t, k, in), (s, n, out)) by blocks of degrees."""
        waves = _wigner.sines(jnp.moveaxis(_scaled(parameters), 0, 2), self.of_alpha, self.of_gamma)
        u, v = _wigner.split(waves)
        blocks = []
        for low, high in steps(self.degrees):
            cut = np.s_[:high, : min(high, self.plus.shape[1])]
            tables = self.plus[cut][:, :, low:high], self.minus[cut][:, :, low:high]
            x = _wigner.join(*map(_wigner.batched, tables, (u[cut], v[cut]), (3, 3)))
            x = jnp.transpose(x, (2, 4, 1, 5, 3, 0, 6))  # (l, t, k, in, s, n, out)
            blocks.append(x.reshape(high - low, 2 * x.shape[2] * x.shape[3], -1))
        return tuple(blocks)

    def column(
        self, parameters: Float[Array, "betas alphas gammas n k"]
    ) -> Float[Array, "N1 L 2 n k"]:
        """sum_i w_i sum_n v_n D^l_nk(R_i), by (k, l, t, in, out), as :func:`to_sphere` needs it.

        v_0 = 1, v_n = sqrt(2) for even n > 0: the sum over the even orders, which for complex coefficients too is the
        real one (Gerken et al. 2022).
        """
        waves = _wigner.sines(jnp.moveaxis(_scaled(parameters), 0, 2), self.of_alpha, self.of_gamma)
        even = slice(0, None, 2)
        factors = np.where(np.arange(0, len(self.plus), 2) == 0, 1, np.sqrt(2))
        sums = []
        for table, x in zip((self.plus, self.minus), _wigner.split(waves), strict=True):
            x = x[even] * _wigner.along(factors, x[even], 0)
            sums.append(jnp.einsum("nkli,nkitab->kltab", table[even], x, precision="highest"))
        u, v = sums
        return jnp.stack([u[:, :, 0] + v[:, :, 0], v[:, :, 1] - u[:, :, 1]], 2)


def rotation_kernel(
    degrees: int,
    max_beta: float,
    orders: int | None = None,
    betas: int = 3,
    alphas: int = 8,
    gammas: int = 8,
    dtype: DTypeLike | None = None,
) -> RotationKernel:
    """Taps R_z(alpha) R_y(beta) R_z(gamma) with small beta, for :func:`convolve` and :func:`to_sphere`.

    The angles alpha and gamma are equally spaced, so that alpha + gamma, by which a tap of small beta differs from
    the identity, takes each value as often.

    Args:
        degrees: L, of the functions that are convolved.
        max_beta: the largest beta; the values are equally far apart.
        orders: N, of the functions, by default L - 1.
        betas: number of values of beta.
        alphas: number of values of alpha.
        gammas: number of values of gamma.
        dtype: of the weights, by default JAX's default.

    Returns:
        The kernels' taps and tables; their weights are parameters, (betas, alphas, gammas, in, out).

    Raises:
        ValueError: ``degrees`` below 1, the orders are not 0 to L - 1, or ``max_beta`` is not in (0, pi].
    """
    check_integer("rotation_kernel: degrees", degrees)
    rings = _rings(max_beta, betas)
    orders = degrees - 1 if orders is None else orders
    if not 0 <= orders < degrees:
        raise ValueError(f"rotation_kernel: orders must be 0 to {degrees - 1}, got {orders}")
    rows = slice(None, orders + 1)
    plus = _wigner.tabulated(degrees, orders, rings)[rows]
    minus = _wigner.mirrored(_wigner.tabulated(degrees, orders, np.pi - rings))[rows]
    dtype = _wigner.default_dtype(dtype)
    return RotationKernel(
        jnp.asarray(plus, dtype),
        jnp.asarray(minus, dtype),
        _wigner.fourier(orders + 1, alphas, dtype),
        _wigner.fourier(orders + 1, gammas, dtype),
        tuple(rings),
    )


def steps(degrees):
    return [(low, min(low + _STEP, degrees)) for low in range(0, degrees, _STEP)]
