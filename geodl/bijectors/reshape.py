"""Between images and R^d: logits, and space to depth. Images are (..., height, width, channels)."""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from geodl._core import distrax
from geodl._core.checks import as_float, check


class Logit(distrax.Bijector):
    """R to pixels, x = (sigmoid(y) - alpha) / (1 - 2 alpha), elementwise (Dinh, Sohl-Dickstein & Bengio 2017, 4.1).

    With alpha > 0 the logits of [0, 1] are bounded (|y| <= 2.94 for 0.05), and an extreme y is a pixel that lies
    beyond [0, 1] by at most alpha / (1 - 2 alpha).
    """

    def __init__(self, alpha: float = 0.05, event_ndims: int = 0):
        """
        Args:
            alpha: Distance of the images of 0 and 1 from the ends of the unit interval.
            event_ndims: Number of axes of one event, over which the log-determinant is summed.

        Raises:
            ValueError: alpha is not in [0, 1/2).
        """
        super().__init__(event_ndims_in=event_ndims)
        if not 0 <= alpha < 0.5:
            raise ValueError(f"Logit: alpha must be in [0, 1/2), got {alpha}")
        self._alpha = alpha

    def forward_and_log_det(self, x: ArrayLike) -> tuple[Array, Array]:
        """Pixels of logits, and the log-determinant of dx/dy."""
        y = as_float(x)
        self._check_forward_input_shape(y)
        pixels = (jax.nn.sigmoid(y) - self._alpha) / (1 - 2 * self._alpha)
        return pixels, self._log_det(jax.nn.log_sigmoid(y), jax.nn.log_sigmoid(-y))

    def inverse_and_log_det(self, y: ArrayLike) -> tuple[Array, Array]:
        """Logits of pixels, and the log-determinant of dy/dx.

        Raises ``ValueError`` where concrete pixels are not in [0, 1], up to what ``forward`` may give; those of
        traced values are NaN. The last bits before its ends are finite: of the logits of the nearest number inside.
        """
        x = as_float(y)
        self._check_inverse_input_shape(x)
        share = self._alpha + (1 - 2 * self._alpha) * x
        eps = float(jnp.finfo(x.dtype).eps)
        inside = (share >= -eps) & (share <= 1 + eps)
        check(inside, "Logit: pixels must be in [0, 1]", x)
        share = jnp.where(inside, jnp.clip(share, eps, 1 - eps), jnp.nan)
        log_share, log_rest = jnp.log(share), jnp.log1p(-share)
        return log_share - log_rest, -self._log_det(log_share, log_rest)

    def _log_det(self, log_share, log_rest):
        """Summed apart: the sum of an expression takes XLA ten times as long on the CPU as that of an array."""
        first = log_share.ndim - self.event_ndims_in
        axes = tuple(range(first, log_share.ndim))
        stretch = math.prod(log_share.shape[first:]) * math.log1p(-2 * self._alpha)
        return jnp.sum(log_share, axes) + jnp.sum(log_rest, axes) - stretch


class Squeeze(distrax.Bijector):
    """Space to depth: (h, w, c) to (h / factor, w / factor, factor^2 c), a permutation (Dinh et al. 2017, 3.6).

    Channel (i factor + j) c + k of the result is channel k of the pixels in row i, column j of each square.
    """

    def __init__(self, factor: int = 2):
        """Raises ``ValueError`` for a factor below 1."""
        super().__init__(event_ndims_in=3, is_constant_jacobian=True)
        if factor < 1:
            raise ValueError(f"Squeeze: factor must be at least 1, got {factor}")
        self._factor = factor

    def forward_and_log_det(self, x: ArrayLike) -> tuple[Array, Array]:
        """Squeezed images, and zeros.

        Raises:
            ValueError: the factor does not divide height and width.
        """
        x, f = jnp.asarray(x), self._factor
        self._check_forward_input_shape(x)
        *batch, h, w, c = x.shape
        if h % f or w % f:
            raise ValueError(f"Squeeze: height and width must be multiples of {f}, got {h} x {w}")
        squares = x.reshape(*batch, h // f, f, w // f, f, c).swapaxes(-4, -3)
        return squares.reshape(*batch, h // f, w // f, f * f * c), jnp.zeros(batch, x.dtype)

    def inverse_and_log_det(self, y: ArrayLike) -> tuple[Array, Array]:
        """Images of squeezed ones, and zeros.

        Raises:
            ValueError: factor^2 does not divide their channels.
        """
        y, f = jnp.asarray(y), self._factor
        self._check_inverse_input_shape(y)
        *batch, h, w, c = y.shape
        if c % (f * f):
            raise ValueError(f"Squeeze: channels must be a multiple of {f * f}, got {c}")
        rows = y.reshape(*batch, h, w, f, f, c // (f * f)).swapaxes(-4, -3)
        return rows.reshape(*batch, h * f, w * f, c // (f * f)), jnp.zeros(batch, y.dtype)
