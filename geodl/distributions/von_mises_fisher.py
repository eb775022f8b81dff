"""The von Mises-Fisher distribution on the sphere of any dimension, at any concentration.

Mardia & Jupp, *Directional Statistics* (2000), 9.3.2. The angle from loc has density proportional to
exp(kappa cos(t)) sin(t)^(dim - 1): normalizer (otherwise a Bessel function), mean and samples all come from
quadrature of that around its mode.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Real

from geodl._core import display
from geodl._core.checks import aligned, check, float_dtype, with_axes
from geodl._core.reductions import dot, safe_sqrt
from geodl._core.special import even
from geodl.distributions import _quadrature
from geodl.distributions._base import OnManifold
from geodl.distributions._checks import as_points, check_no_column, points_on, zeros
from geodl.distributions.uniform import Uniform
from geodl.manifolds import Sphere, sphere


Scalar = Real[ArrayLike, "*#batch"]


def log_normalizer(concentration: Scalar, dim: int) -> Array:
    """log of the integral over S^dim of exp(kappa <loc, x>); relative error 1e-6 in float32."""
    kappa = _float(concentration)
    return kappa + _log_normalizer(kappa, dim)


def mean_resultant_length(concentration: Scalar, dim: int) -> Array:
    """|E x| = d log_normalizer / d kappa, in [0, 1)."""
    return _mean_length(_float(concentration), dim)


def _float(kappa):
    return jnp.asarray(kappa, jnp.promote_types(float_dtype(kappa), jnp.float32))


def _log_normalizer(kappa, dim):
    """log of the integral of exp(-kappa (1 - <loc, x>)): without the part that is kappa itself."""
    family = AngleFamily(dim - 1)
    return sphere.log_area(dim - 1) + family.log_peak(kappa) + _quadrature.log_mass(family, kappa)


def _circular_variance(kappa, dim):
    """E (1 - <loc, x>), one minus the mean resultant length."""
    return -jax.jvp(lambda k: _log_normalizer(k, dim), (kappa,), (jnp.ones_like(kappa),))[1]


def _mean_length(kappa, dim):
    """E <loc, x>: where it is small, by parts as kappa / dim E sin(t)^2, which is small by itself."""
    low = kappa < dim
    small = jnp.where(low, kappa, dim)
    square = _quadrature.mean(
        AngleFamily(dim - 1), lambda offset, mode: jnp.square(jnp.sin(mode + offset)), small
    )
    return jnp.where(low, small / dim * square, 1 - _circular_variance(kappa, dim))


def concentration_from_variance(variance: Scalar, dim: int, max_concentration: ArrayLike) -> Array:
    """The concentration, at most ``max_concentration``, of which 1 - mean_resultant_length is ``variance`` in [0, 1].

    It makes data most likely whose mean resultant length is 1 - variance. Newton-like: the slope is that of the
    close approximation of Banerjee et al. (2005), eq. 4.4, so that an error shrinks at least tenfold a step.
    """
    variance = _float(variance)
    limit = jnp.asarray(max_concentration, variance.dtype)

    def approximate(variance):
        length = 1 - variance
        return length * (dim + 1 - jnp.square(length)) / (variance * (2 - variance))

    target = approximate(jnp.maximum(variance, _circular_variance(limit, dim)))
    steps = 6 if variance.dtype.itemsize <= 4 else 12

    def step(_, kappa):
        return jnp.clip(kappa + target - approximate(_circular_variance(kappa, dim)), 0, limit)

    return lax.fori_loop(0, steps, step, jnp.clip(target, 0, limit))


class VonMisesFisher(OnManifold):
    """Density exp(kappa <loc, x>) / C with respect to the area of the unit sphere S^d, d >= 1.

    Samples have exact pathwise derivatives in loc and concentration, in closed form on S^2 and by
    implicit differentiation of the angle's quantile elsewhere. The turn of the samples about loc is that of
    the sphere's frame at loc (``sphere.from_frame``).

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from geodl.distributions import VonMisesFisher
        >>> q = VonMisesFisher(loc=jnp.array([0.0, 0.0, 1.0]), concentration=10.0)
        >>> jax.jit(lambda q: q.mean())(q).round(4)
        Array([0. , 0. , 0.9], dtype=float32)
    """

    def __init__(self, loc: ArrayLike, concentration: ArrayLike):
        """``loc`` (..., d + 1) unit vectors, ``concentration`` kappa >= 0 (...), leading axes broadcast.

        Raises ``ValueError`` for a last axis shorter than 2 and, where values are concrete, for a loc off the
        sphere or a negative concentration. Half precision becomes float32.
        """
        loc, concentration = jnp.asarray(loc), jnp.asarray(concentration)
        if loc.ndim == 0 or loc.shape[-1] < 2:
            raise ValueError(
                f"VonMisesFisher: loc must have shape (..., d + 1), d >= 1, got {loc.shape}"
            )
        check_no_column("VonMisesFisher", "concentration", concentration.shape, loc.shape[:-1])
        dtype = jnp.promote_types(float_dtype(loc, concentration), jnp.float32)
        valid = (concentration >= 0) & (concentration < jnp.inf)
        check(valid, "VonMisesFisher: concentration must be >= 0 and finite", concentration)
        super().__init__(Sphere(loc.shape[-1] - 1))
        points_on("VonMisesFisher: loc", self._manifold, loc)
        # the same number of batch axes in both, so that distributions stacked by vmap are a batch
        axes = max(loc.ndim - 1, concentration.ndim)
        self._loc = with_axes(loc.astype(dtype), axes + 1)
        kappa = jnp.where(valid, concentration.astype(dtype), jnp.nan)
        self._concentration = with_axes(kappa, axes)

    def __repr__(self) -> str:
        loc, concentration = display.kind(self._loc), display.kind(self._concentration)
        return f"VonMisesFisher(loc {loc}, concentration {concentration})"

    @property
    def loc(self) -> Array:
        """The mean direction."""
        return self._loc

    @property
    def concentration(self) -> Array:
        """kappa."""
        return self._concentration

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Broadcast leading axes of loc and concentration."""
        return jnp.broadcast_shapes(self._loc.shape[:-1], self._concentration.shape)

    def log_prob(self, value: ArrayLike) -> Array:
        """Log-density at unit vectors (..., d + 1): -kappa |x - loc|^2 / 2 - log C', no cancellation.

        Raises ``ValueError`` for another shape and, where values are concrete, for points off the sphere.
        """
        x, loc = aligned(points_on("VonMisesFisher", self._manifold, value), self._loc)
        w = x - loc
        return self._log_prob(dot(w, w) / 2)

    def _log_prob(self, one_minus_cos):
        one_minus_cos, kappa = aligned(one_minus_cos, self._concentration)
        return -kappa * one_minus_cos - _log_normalizer(kappa, self._manifold.dim)

    def _sample_n_and_log_prob(self, key, n):
        key_angle, key_turn = jax.random.split(key)
        batch, dim, loc = self.batch_shape, self._manifold.dim, self._loc
        angle = _sample_angle(key_angle, (n, *batch), self._concentration[None], dim)
        turn = sphere.project(jax.random.normal(key_turn, (n, *batch, dim), loc.dtype))
        x = sphere.expmap_frame(loc, angle[..., None] * turn)
        log_prob = self._log_prob(2 * jnp.square(jnp.sin(angle / 2)))
        return x, log_prob + zeros(loc, self.event_shape)[None]

    def mean(self) -> Array:
        """The mean in R^{d + 1}, mean_resultant_length(kappa) loc (not on the sphere)."""
        length = _mean_length(self._concentration, self._manifold.dim)
        return length[..., None] * self._loc

    def mode(self) -> Array:
        """loc."""
        return jnp.broadcast_to(self._loc, (*self.batch_shape, *self.event_shape))

    def entropy(self) -> Array:
        """log C - kappa E<loc, x>."""
        kappa = jnp.broadcast_to(self._concentration, self.batch_shape)
        return _log_normalizer(kappa, self._manifold.dim) + kappa * _circular_variance(
            kappa, self._manifold.dim
        )

    def kl_divergence(self, other_dist: "VonMisesFisher | Uniform", **kwargs: Any) -> Array:
        """KL(self || other) of another one, E[log p - log q], or of the uniform distribution, log area - entropy."""
        if isinstance(other_dist, Uniform):
            if other_dist.manifold != self._manifold:
                raise ValueError(
                    f"KL(VonMisesFisher || Uniform): on {self._manifold} and on {other_dist.manifold}"
                )
            return self._manifold.log_volume() - self.entropy()
        if not isinstance(other_dist, VonMisesFisher):
            return super().kl_divergence(other_dist, **kwargs)
        # E<loc_q, x> = A(kappa_p) <loc_p, loc_q>
        name = "KL(VonMisesFisher || VonMisesFisher)"
        loc, other = aligned(self.loc, as_points(name, self.event_shape, other_dist.loc))
        w, dim = loc - other, self._manifold.dim
        one_minus_cos, kappa, entropy = aligned(
            _circular_variance(self.concentration, dim), other_dist.concentration, self.entropy()
        )
        one_minus_cos = one_minus_cos + (1 - one_minus_cos) * dot(w, w) / 2
        return kappa * one_minus_cos + _log_normalizer(kappa, dim) - entropy


# ---------------------------------------------------------------------------------------------------
# The angle from loc
# ---------------------------------------------------------------------------------------------------


def _sample_angle(key, shape, kappa, dim):
    if dim != 2:
        family, score = AngleFamily(dim - 1), jax.random.normal(key, shape, kappa.dtype)
        return family.mode(kappa) + _quadrature.quantile(family, score, kappa)
    # On S^2, 1 - cos(angle) = -log(1 - u (1 - exp(-2 kappa))) / kappa, smooth also at kappa = 0.
    u = jax.random.uniform(key, shape, kappa.dtype, minval=jnp.finfo(kappa.dtype).tiny)
    one_minus_cos = 2 * u * _decay(2 * kappa) * _log_ratio(-u * jnp.expm1(-2 * kappa))
    return 2 * jnp.arctan2(safe_sqrt(one_minus_cos), safe_sqrt(2 - one_minus_cos))


_decay = even(  # (1 - exp(-z)) / z, as a function of z
    lambda r: -jnp.expm1(-r * r) / (r * r),
    tuple((-1) ** k / math.factorial(k + 1) for k in range(9)),
)
_log_ratio = even(  # -log(1 - z) / z, as a function of z
    lambda r: -jnp.log1p(-r * r) / (r * r), tuple(1 / k for k in range(1, 10))
)


@dataclass(frozen=True)
class AngleFamily:
    """The log-density kappa cos(t) + power log sin(t) of the angle t, in the offset from its mode; theta is kappa."""

    power: int

    def mode(self, kappa: Array) -> Array:
        """kappa sin(t)^2 = power cos(t), a constant for differentiation."""
        if self.power == 0:
            return jnp.zeros_like(kappa)
        kappa = lax.stop_gradient(kappa)
        total = self.power + jnp.hypot(2 * kappa, self.power)
        return jnp.arctan2(jnp.sqrt(2 * self.power / total), 2 * kappa / total)

    def log_peak(self, kappa: Array) -> Array:
        """Log-density at the mode, less kappa."""
        mode = self.mode(kappa)
        peak = -2 * kappa * jnp.square(jnp.sin(mode / 2))
        return peak + self.power * jnp.log(jnp.sin(mode)) if self.power else peak

    def support(self, mode: Array, kappa: Array) -> tuple[Array, Array]:
        """To the left the log-density lies below its parabola at the mode, to both sides, as
        log(1 + u) <= u, below -2 (kappa cos(mode) + power) sin(offset/2)^2.
        """
        depth = 21.0 if kappa.dtype.itemsize <= 4 else 41.0
        tiny = jnp.finfo(kappa.dtype).tiny
        fall = 2 * (kappa * jnp.cos(mode) + self.power)
        right = 2 * jnp.arcsin(jnp.sqrt(depth / jnp.maximum(fall, depth)))
        end = np.pi * (1 - 2 * jnp.finfo(kappa.dtype).eps)  # sin(end) > 0
        curvature = kappa * jnp.cos(mode) + (self.power + jnp.hypot(2 * kappa, self.power)) / 2
        left = jnp.sqrt(2 * depth / jnp.maximum(curvature, tiny))
        return jnp.maximum(-mode, -left), jnp.minimum(end - mode, right)

    def log_density(self, offset: Array, mode: Array, kappa: Array) -> Array:
        """kappa (cos t - cos mode) + power log(sin t / sin mode), by half angles."""
        sin = jnp.sin(offset / 2)
        peak = -2 * kappa * jnp.sin(mode + offset / 2) * sin
        if self.power == 0:
            return peak
        ratio = 2 * sin * (jnp.cos(offset / 2) / jnp.tan(mode) - sin)
        return peak + self.power * jnp.log1p(ratio)
