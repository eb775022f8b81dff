"""The distribution of the radius of the Riemannian normal on hyperbolic space of dimension ``dim``, curvature -c.

    rho(r) = exp(-r^2 / 2 scale^2) (sinh(sqrt(c) r) / sqrt(c))^(dim - 1) / Z,    r >= 0

(Mathieu et al., *Continuous Hierarchical Representations with Poincaré Variational Auto-Encoders*, 2019,
appendix B.) In x = r / scale the distribution depends on ``kappa2 = c scale^2`` only; it is log-concave, at most one
``scale`` wide, and is the chi distribution at c -> 0. The paper's alternating sum of error functions cancels
catastrophically in high dimension; here all is positive quadrature around the mode, for any ``dim``.

``scale`` > 0 and ``c`` >= 0 are floats or arrays that broadcast (c < 0 gives NaN); derivatives in both, and in r,
are exact, in c at 0 one-sided.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.special import ndtri
from jax.typing import ArrayLike
from jaxtyping import Real

from geodl._core.checks import aligned, float_dtype
from geodl._core.special import log_sinhc, log_sinhc_slope, sinhc
from geodl.distributions import _quadrature


Scalar = Real[ArrayLike, "*#batch"]


def log_normalizer(scale: Scalar, c: Scalar, dim: int) -> Array:
    """log Z; relative error 1e-5 in float32 and 1e-9 in float64 for dim to 1000, c scale^2 to 75."""
    scale, c = _floats(scale, c)
    family, kappa2 = RadiusFamily(dim - 1), _kappa2(scale, c)
    return jnp.log(scale) + family.log_peak(scale, kappa2) + _quadrature.log_mass(family, kappa2)


def log_density(r: Scalar, scale: Scalar, c: Scalar, dim: int) -> Array:
    """log rho(r); formed as a difference to the mode, so no large numbers are subtracted."""
    r, scale, c = _floats(r, scale, c)
    family, kappa2 = RadiusFamily(dim - 1), _kappa2(scale, c)
    mode = family.mode(kappa2)
    relative = family.log_density(r / scale - mode, mode, kappa2)
    return relative - _quadrature.log_mass(family, kappa2) - jnp.log(scale)


def cdf(r: Scalar, scale: Scalar, c: Scalar, dim: int) -> Array:
    """Probability of a radius at most r."""
    r, scale, c = _floats(r, scale, c)
    family, kappa2 = RadiusFamily(dim - 1), _kappa2(scale, c)
    return _quadrature.cdf(family, r / scale - family.mode(kappa2), kappa2)


def quantile(u: Scalar, scale: Scalar, c: Scalar, dim: int) -> Array:
    """Radius with distribution function u; in float32 u is clipped at 6e-9 from either end."""
    u, scale, c = _floats(u, scale, c)
    return quantile_of_score(ndtri(u), scale, c, dim)


def sample(key: Array, shape: tuple[int, ...], scale: Scalar, c: Scalar, dim: int) -> Array:
    """Radii of shape (*shape, *batch), batch that of scale and c; no rejection, differentiable in both."""
    scale, c = _floats(scale, c)
    batch = jnp.broadcast_shapes(scale.shape, c.shape)
    score = jax.random.normal(key, (*shape, *batch), jnp.result_type(scale, c))
    return quantile_of_score(score, scale, c, dim)


def quantile_of_score(score: Scalar, scale: Scalar, c: Scalar, dim: int) -> Array:
    """Radius whose distribution function is that of a standard normal at ``score``."""
    score, scale, c = _floats(score, scale, c)
    family, kappa2 = RadiusFamily(dim - 1), _kappa2(scale, c)
    return scale * (family.mode(kappa2) + _quadrature.quantile(family, score, kappa2))


def _floats(*arrays: ArrayLike) -> tuple[Array, ...]:
    dtype = jnp.promote_types(float_dtype(*arrays), jnp.float32)
    return aligned(*(jnp.asarray(a, dtype) for a in arrays))


def _kappa2(scale, c):
    return jnp.where(c >= 0, c, jnp.nan) * jnp.square(scale)


@dataclass(frozen=True)
class RadiusFamily:
    """The density of x = r / scale with ``power`` = dim - 1, in the offset y = x - mode; theta is kappa2.

    log-density - x^2/2 + power log(sinh(kappa x) / kappa).
    """

    power: int

    def mode(self, kappa2: Array) -> Array:
        """x = power kappa coth(kappa x), a constant for differentiation.

        Newton's method on t tanh(t) = power kappa^2 (t = kappa x), which is convex, from the right.
        """
        a = jnp.maximum(lax.stop_gradient(self.power * kappa2), jnp.finfo(kappa2.dtype).tiny)
        t = jnp.sqrt(a * (1 + a))
        for _ in range(4 if kappa2.dtype.itemsize <= 4 else 5):
            tanh = jnp.tanh(t)
            t = t - (t * tanh - a) / (tanh + t * (1 - tanh) * (1 + tanh))
        return jnp.sqrt(self.power * t / jnp.tanh(t))

    def log_peak(self, scale: Array, kappa2: Array) -> Array:
        """Log-density at the mode of the radius, power log(scale) included."""
        x = self.mode(kappa2)
        if self.power == 0:
            return -jnp.square(x) / 2
        log_sinh = jnp.log(scale * x) + log_sinhc(kappa2 * jnp.square(x))
        return self.power * log_sinh - jnp.square(x) / 2

    def support(self, x: Array, kappa2: Array) -> tuple[Array, Array]:
        """The log-density has curvature -1 or stronger, and at the mode's left at least that of the mode."""
        reach = 6.5 if kappa2.dtype.itemsize <= 4 else 9.0
        curvature = jnp.asarray(1.0, x.dtype)
        if self.power:
            curvature += self.power / jnp.square(x * sinhc(kappa2 * jnp.square(x)))
        return jnp.maximum(-x, -reach * lax.rsqrt(curvature)), jnp.full_like(x, reach)

    def log_density(self, offset: Array, mode: Array, kappa2: Array) -> Array:
        """-y^2/2 + power (log sinh(kappa x)/sinh(kappa mode) - y kappa coth(kappa mode))."""
        gauss = -jnp.square(offset) / 2
        if self.power == 0:
            return gauss
        return gauss + self.power * _log_sinh_excess(offset, mode, kappa2)


@jax.custom_jvp
def _log_sinh_excess(y: Array, mode: Array, kappa2: Array) -> Array:
    """log(sinh(kappa (mode + y)) / sinh(kappa mode)) - y kappa coth(kappa mode).

    The value is formed without the linear terms, which are large and cancel. The mode and the last slope
    are constants of the density, so the derivative in kappa2 is that of the first term alone.
    """
    kappa = jnp.sqrt(kappa2)
    below = mode * _decay(2 * kappa * mode)
    growth = jnp.exp(-2 * kappa * jnp.minimum(mode, mode + y)) * y * _decay(2 * kappa * jnp.abs(y))
    return jnp.log1p(growth / below) - jnp.exp(-2 * kappa * mode) * y / below


@_log_sinh_excess.defjvp
def _log_sinh_excess_jvp(primals, tangents):
    (y, mode, kappa2), (dy, _, dkappa2) = primals, tangents
    x = mode + y
    at_x, at_mode = (jnp.square(t) * log_sinhc_slope(kappa2 * jnp.square(t)) for t in (x, mode))
    slope = (
        1 / x + 2 * kappa2 * at_x / x - lax.stop_gradient(1 / mode + 2 * kappa2 * at_mode / mode)
    )
    return _log_sinh_excess(y, mode, kappa2), slope * dy + (at_x - at_mode) * dkappa2


def _decay(z):
    """(1 - exp(-z)) / z; no series, as its derivative is never taken."""
    zero = z == 0
    return jnp.where(zero, 1, -jnp.expm1(-z) / jnp.where(zero, 1, z))
