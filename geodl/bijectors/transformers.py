"""Transformers of coupling layers (affine, rational-quadratic spline, mixture of logistics) and binary masks.

A :class:`Transformer` makes an elementwise bijector of n coordinates from an unconstrained array (..., n * outputs),
the output of a network. It is used with distrax's couplings:

    distrax.MaskedCoupling(checkerboard_mask(shape), conditioner, transformer.bijector)
    distrax.SplitCoupling(channels // 2, 3, conditioner, transformer.bijector)
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from geodl._core import distrax
from geodl._core.platform import cpu_barrier


BOUND = 2.0  # of a log-scale
_VECTOR = 16  # numbers that the widest processors take at once


class Transformer(NamedTuple):
    """An elementwise bijector with unconstrained parameters.

    ``bijector(raw)`` acts on (..., n) and takes ``outputs`` numbers for each coordinate: raw (..., n outputs).
    """

    outputs: int
    bijector: Callable[[Array], distrax.Bijector]


def affine() -> Transformer:
    """x exp(log_scale) + shift, |log_scale| < 2 by a tanh; the identity at raw = 0 (Dinh et al. 2017).

    Returns:
        The transformer, of two outputs.
    """

    def bijector(raw):
        shift, log_scale = jnp.split(raw, 2, -1)
        return _Affine(shift, _bounded(log_scale))

    return Transformer(2, bijector)


def spline(bins: int = 8, box: float = 5.0) -> Transformer:
    """Rational-quadratic spline of [-box, box], the identity beyond, and then :func:`affine`.

    It is the identity at raw = 0. Its slopes are bounded for any raw, between the knots too, so that float32 can invert
    it everywhere: the slopes of the bins lie in [1/3, 3], those of the knots within a factor of two of the harmonic
    mean of the two bins beside them.

    Returns:
        The transformer, of 3 ``bins`` + 3 outputs.

    Raises:
        ValueError: bins or box is not positive.

    Reference:
        Durkan, Bekasov, Murray & Papamakarios (2019).
    """
    if bins < 1 or box <= 0:
        raise ValueError(f"spline: bins and box must be positive, got {bins} and {box}")
    outputs = 3 * bins + 1

    def bijector(raw):
        n = raw.shape[-1] // (outputs + 2)
        knots = raw[..., 2 * n :].reshape(*raw.shape[:-1], n, outputs)
        curve = distrax.RationalQuadraticSpline(
            _gentle(knots, bins), -box, box, "identity", min_bin_size=_NONE, min_knot_slope=_NONE
        )
        return distrax.Chain([affine().bijector(raw[..., : 2 * n]), curve])

    return Transformer(outputs + 2, bijector)


_STEEP = math.log(3.0)  # log-slopes of the bins of a spline, in absolute value
_NONE = 1e-12  # distrax's own bounds, which must be positive
_NARROW = 0.1  # the smallest width of a bin, of the mean one


def _gentle(raw, bins):
    """distrax's raw parameters (..., 3 bins + 1) of the spline of bounded slopes that ours stand for."""
    widths, slopes, knots = jnp.split(raw, [bins, 2 * bins], -1)
    width = (1 - _NARROW) * jax.nn.softmax(widths, -1) + _NARROW / bins
    height = width * jnp.exp(_within(_STEEP / 2, slopes))
    height = height / jnp.sum(height, -1, keepdims=True)
    slope = height / width
    harmonic = 2 / (1 / slope[..., 1:] + 1 / slope[..., :-1])
    inner = harmonic * jnp.exp(_within(math.log(2.0), knots[..., 1:-1]))
    knot = jnp.concatenate([knots[..., :1], jnp.log(jnp.expm1(inner)), knots[..., -1:]], -1)
    return jnp.concatenate([jnp.log(width), jnp.log(height), knot - math.log(math.e - 1)], -1)


def _within(bound, raw):
    """raw, bent to (-bound, bound) by a tanh."""
    return bound * jnp.tanh(raw / bound)


def logistic_mixture(components: int = 8) -> Transformer:
    """:class:`LogisticMixture`, and then :func:`affine`.

    At raw = 0 the components are spaced evenly in [-2, 2], so that their gradients differ. A tenth of the identity is
    mixed in, so that float32 can invert the curve between components that are far apart.

    Returns:
        The transformer, of 3 ``components`` + 2 outputs.

    Raises:
        ValueError: There is no component.

    Reference:
        Ho, Chen, Srinivas, Duan & Abbeel (2019), section 3.2.
    """
    if components < 1:
        raise ValueError(f"logistic_mixture: at least one component is needed, got {components}")

    def bijector(raw):
        n = raw.shape[-1] // (3 * components + 2)
        mixture = raw[..., 2 * n :].reshape(*raw.shape[:-1], 3, components, n)
        logits, loc, log_scale = jnp.moveaxis(mixture, (-3, -2), (0, 1))
        start = jnp.linspace(-2, 2, components, dtype=raw.dtype)
        loc = loc + start.reshape(-1, *[1] * (loc.ndim - 1))
        return distrax.Chain(
            [
                affine().bijector(raw[..., : 2 * n]),
                LogisticMixture(logits, loc, _bounded(log_scale), 0.1),
            ]
        )

    return Transformer(3 * components + 2, bijector)


def _bounded(log_scale):
    return BOUND * _of_few_channels(jnp.tanh, log_scale / BOUND)


def _of_few_channels(function, x):
    """An elementwise function of x; on the CPU as of one row, along which XLA vectorizes: six times as fast."""
    if x.shape[-1] >= _VECTOR:
        return function(x)
    row = cpu_barrier(x.reshape(-1))
    return cpu_barrier(function(row)).reshape(x.shape)


class _Affine(distrax.Bijector):
    """x exp(log_scale) + shift, elementwise."""

    def __init__(self, shift: Array, log_scale: Array):
        super().__init__(event_ndims_in=0, is_constant_jacobian=True)
        self._shift, self._log_scale = shift, log_scale

    def forward_and_log_det(self, x):
        return x * _of_few_channels(jnp.exp, self._log_scale) + self._shift, self._log_scale

    def inverse_and_log_det(self, y):
        return (y - self._shift) * _of_few_channels(jnp.exp, -self._log_scale), -self._log_scale


class LogisticMixture(distrax.Bijector):
    """y with (1 - straight) logit F(y) + straight y = x, F the distribution function of a mixture of logistics.

    Elementwise. The inverse is closed; between components that are far apart logit F is flat, and ``straight``, in
    [0, 1), is the least slope. The forward direction is found by bisection and Newton's method between x and the
    quantiles of the components, its derivatives, of any order, by the implicit function theorem.
    """

    def __init__(
        self, logits: ArrayLike, loc: ArrayLike, log_scale: ArrayLike, straight: float = 0.0
    ):
        """
        Args:
            logits, loc, log_scale: Of the components, each (components, *shape); weights are softmax(logits).
            straight: Share of the identity, in [0, 1).
        """
        super().__init__(event_ndims_in=0)
        mixture = tuple(jnp.asarray(a) for a in (logits, loc, log_scale))
        self._mixture, self._straight = mixture, straight

    def forward_and_log_det(self, x: ArrayLike) -> tuple[Array, Array]:
        """y and log dy/dx at x (*batch, *shape)."""
        x = jnp.asarray(x)
        mixture = self._before(x)
        y = _quantile(self._straight, mixture, x)
        return y, -_curve(self._straight, mixture, y)[1]

    def inverse_and_log_det(self, y: ArrayLike) -> tuple[Array, Array]:
        """x and log dx/dy at y (*batch, *shape)."""
        y = jnp.asarray(y)
        return _curve(self._straight, self._before(y), y)

    def _before(self, x):
        """The parameters, with room for x's batch axes behind that of the components."""
        return tuple(
            a.reshape(len(a), *[1] * (x.ndim + 1 - a.ndim), *a.shape[1:]) for a in self._mixture
        )


def _logit_cdf(mixture, y):
    """logit F(y) and the logarithm of its derivative, stable in both tails."""
    logits, loc, log_scale = mixture
    u = (y[None] - loc) * jnp.exp(-log_scale)
    log_weight = jax.nn.log_softmax(logits, 0)
    below, above = jax.nn.log_sigmoid(u), jax.nn.log_sigmoid(-u)
    log_cdf = jax.nn.logsumexp(log_weight + below, 0)
    log_survival = jax.nn.logsumexp(log_weight + above, 0)
    log_density = jax.nn.logsumexp(log_weight + below + above - log_scale, 0)
    return log_cdf - log_survival, log_density - log_cdf - log_survival


def _curve(straight, mixture, y):
    """logit F(y), mixed with y, and the logarithm of its derivative."""
    value, log_slope = _logit_cdf(mixture, y)
    if not straight:
        return value, log_slope
    bent = 1 - straight
    return bent * value + straight * y, jnp.log(bent * jnp.exp(log_slope) + straight)


BISECTIONS, NEWTON_STEPS = 16, 4


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _quantile(straight, mixture, x):
    """y where the curve is x: between x and the quantiles of the components alone."""
    _, loc, log_scale = mixture
    candidates = loc + jnp.exp(log_scale) * x[None]

    def bisect(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        beyond = _curve(straight, mixture, middle)[0] > x
        return jnp.where(beyond, low, middle), jnp.where(beyond, middle, high)

    def newton(_, y):
        value, log_slope = _curve(straight, mixture, y)
        return jnp.clip(y - (value - x) * jnp.exp(-log_slope), low, high)

    low, high = jnp.min(candidates, 0), jnp.max(candidates, 0)
    if straight:
        low, high = jnp.minimum(low, x), jnp.maximum(high, x)
    low, high = jax.lax.fori_loop(0, BISECTIONS, bisect, (low, high))
    return jax.lax.fori_loop(0, NEWTON_STEPS, newton, (low + high) / 2)


@_quantile.defjvp
def _quantile_jvp(straight, primals, tangents):
    (mixture, x), (mixture_dot, x_dot) = primals, tangents
    y = _quantile(straight, mixture, x)
    log_slope = _curve(straight, mixture, y)[1]
    moved = jax.jvp(lambda m: _curve(straight, m, y)[0], (mixture,), (mixture_dot,))[1]
    return y, (x_dot - moved) * jnp.exp(-log_slope)


def checkerboard_mask(shape: tuple[int, int, int], odd: bool = False) -> Array:
    """Where row + column is even (or ``odd``), the same for all channels.

    Returns:
        Booleans (height, width, 1).
    """
    h, w, _ = shape
    parity = (jnp.arange(h)[:, None, None] + jnp.arange(w)[None, :, None]) % 2
    return parity == int(odd)


def channel_mask(channels: int, second: bool = False) -> Array:
    """The first half of the channels, or the second.

    Returns:
        Booleans (channels,).
    """
    return (jnp.arange(channels) < channels // 2) != second
