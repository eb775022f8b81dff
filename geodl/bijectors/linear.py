"""Linear bijectors of an image's channels, the same at every pixel, and bijectors of some of the channels.

Events are (height, width, channels), and (channels,) where ``event_ndims`` = 1.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax import Array
from jax.typing import ArrayLike

from geodl._core import distrax
from geodl._core.checks import aligned


class ActNorm(distrax.Bijector):
    """y = shift + exp(log_scale) x for each channel, from base to data (Kingma & Dhariwal 2018, 3.1); or each pixel.

    An image whose parts have places, such as a centered digit, has other means and variances in every pixel.
    """

    def __init__(self, shift: ArrayLike, log_scale: ArrayLike, event_ndims: int = 3):
        """
        Args:
            shift, log_scale: (channels,) each, or of an event's whole shape.
            event_ndims: Number of axes of one event.
        """
        super().__init__(event_ndims_in=event_ndims, is_constant_jacobian=True)
        self._shift, self._log_scale = jnp.asarray(shift), jnp.asarray(log_scale)

    def forward_and_log_det(self, x: ArrayLike) -> tuple[Array, Array]:
        """Scaled and shifted values, and the log-determinant (...).

        Raises:
            ValueError: another shape.
        """
        x = _event("ActNorm", x, self._shift.shape, self.event_ndims_in)
        x, log_scale, shift = aligned(x, self._log_scale, self._shift)
        return x * jnp.exp(log_scale) + shift, self._log_det(x)

    def inverse_and_log_det(self, y: ArrayLike) -> tuple[Array, Array]:
        """The values before, and minus the log-determinant.

        Raises:
            ValueError: another shape.
        """
        y = _event("ActNorm", y, self._shift.shape, self.event_ndims_in)
        y, log_scale, shift = aligned(y, self._log_scale, self._shift)
        return (y - shift) * jnp.exp(-log_scale), -self._log_det(y)

    def _log_det(self, x):
        return _at_every_pixel(self._log_scale, x, self.event_ndims_in)


class InvertibleConv(distrax.Bijector):
    """Invertible 1 x 1 convolution, W = P L (U + diag(sign exp(log_scale))) from data to base (ibid., 3.2).

    L has a unit diagonal, U a zero one; of the arrays that are passed only those triangles are read. From base to
    data by W^-1, made of triangular solves when the bijector is made: a loop over one bijector does not repeat it.
    """

    def __init__(
        self,
        permutation: ArrayLike,
        lower: ArrayLike,
        upper: ArrayLike,
        sign: ArrayLike,
        log_scale: ArrayLike,
        event_ndims: int = 3,
    ):
        """
        Args:
            permutation, lower, upper: P, L and U, each (channels, channels). P is a constant.
            sign, log_scale: (channels,) each; signs are 1 and -1, constants: derivatives with respect to them are 0.
            event_ndims: Number of axes of one event.
        """
        super().__init__(event_ndims_in=event_ndims, is_constant_jacobian=True)
        self._log_scale = jnp.asarray(log_scale)
        p, sign = (
            jax.lax.stop_gradient(jnp.asarray(a, self._log_scale.dtype))
            for a in (permutation, sign)
        )
        identity = jnp.eye(self._log_scale.shape[-1], dtype=self._log_scale.dtype)
        lower = jnp.tril(jnp.asarray(lower), -1) + identity
        upper = jnp.triu(jnp.asarray(upper), 1) + identity * (sign * jnp.exp(self._log_scale))[None]
        self._weight = _matmul(p, _matmul(lower, upper))
        solve = jax.scipy.linalg.solve_triangular
        self._inverse_weight = solve(upper, solve(lower, p.T, lower=True, unit_diagonal=True))

    def forward_and_log_det(self, x: ArrayLike) -> tuple[Array, Array]:
        """W^-1 x at every pixel, and the log-determinant (...).

        Raises:
            ValueError: another number of channels.
        """
        x = _event("InvertibleConv", x, self._log_scale.shape, self.event_ndims_in)
        return _matmul(x, self._inverse_weight.T), -self._inverse_log_det(x)

    def inverse_and_log_det(self, y: ArrayLike) -> tuple[Array, Array]:
        """W y at every pixel, and its log-determinant.

        Raises:
            ValueError: another number of channels.
        """
        y = _event("InvertibleConv", y, self._log_scale.shape, self.event_ndims_in)
        return _matmul(y, self._weight.T), self._inverse_log_det(y)

    def _inverse_log_det(self, y):
        return _at_every_pixel(self._log_scale, y, self.event_ndims_in)


def plu_of_rotation(rng: np.random.Generator, channels: int) -> dict[str, np.ndarray]:
    """Arguments of :class:`InvertibleConv` for a random rotation (or reflection), in float32.

    By NumPy, so that the "permutation" and the "sign", which are not to be trained, can be made with an architecture.

    Returns:
        Arrays by name, to be passed as ``InvertibleConv(**arrays)``.
    """
    rotation, _ = np.linalg.qr(rng.normal(size=(channels, channels)))
    p, lower, upper = scipy.linalg.lu(rotation)  # type: ignore[misc]
    diagonal = np.diag(upper)
    arrays = {
        "permutation": p,
        "lower": np.tril(lower, -1),
        "upper": np.triu(upper, 1),
        "sign": np.sign(diagonal),
        "log_scale": np.log(np.abs(diagonal)),
    }
    return {name: a.astype(np.float32) for name, a in arrays.items()}


class PartialChannels(distrax.Bijector):
    """A bijector applied to the first ``channels`` channels; the others stay.

    It makes the multi-scale architecture (Dinh et al. 2017, 3.6), with latents that have the image's own shape:
    ``distrax.Chain([*steps, coupling, PartialChannels(rest, n)])`` where ``coupling`` is a
    ``distrax.SplitCoupling(n, ...)`` with affine inner bijector. Its inverse factors z = (y - mean(rest)) / sd(rest)
    out: N(0, I) is the base distribution in every coordinate, also under Glow's learned priors of the parts.
    """

    def __init__(self, bijector: distrax.Bijector, channels: int):
        """``bijector`` maps events (..., ``channels``) to events of the same shape."""
        super().__init__(event_ndims_in=bijector.event_ndims_in)
        self._bijector, self._channels = bijector, channels

    def forward_and_log_det(self, x: ArrayLike) -> tuple[Array, Array]:
        """All channels, and the log-determinant (...).

        Raises:
            ValueError: there are too few channels.
        """
        return self._apply(self._bijector.forward_and_log_det, x)

    def inverse_and_log_det(self, y: ArrayLike) -> tuple[Array, Array]:
        """All channels, and minus the log-determinant.

        Raises:
            ValueError: there are too few channels.
        """
        return self._apply(self._bijector.inverse_and_log_det, y)

    def _apply(self, function, x):
        x = jnp.asarray(x)
        if x.ndim < self.event_ndims_in or x.shape[-1] < self._channels:
            raise ValueError(
                f"PartialChannels: at least {self._channels} channels are needed, got {x.shape}"
            )
        first, log_det = function(x[..., : self._channels])
        return jnp.concatenate([first, x[..., self._channels :]], -1), jnp.asarray(log_det)


def _event(name, x, shape, event_ndims):
    x = jnp.asarray(x)
    if x.ndim < event_ndims or x.shape[x.ndim - len(shape) :] != shape:
        *pixels, channels = shape
        raise ValueError(
            f"{name}: events of {event_ndims} axes and {channels} channels are needed"
            f"{f', of shape {shape}' if pixels else ''}, got {x.shape}"
        )
    return x


def _at_every_pixel(log_scale, x, event_ndims):
    """The log-determinant of exp(log_scale), which has the last axes of an event of x."""
    batch, pixels = x.shape[: x.ndim - event_ndims], x.shape[x.ndim - event_ndims :]
    repeats = math.prod(pixels[: len(pixels) - log_scale.ndim])
    return jnp.broadcast_to(repeats * jnp.sum(log_scale), batch)


def _matmul(a, b):
    return jnp.matmul(a, b, precision="highest")
