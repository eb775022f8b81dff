"""The von Mises-Fisher law on the sphere of any dimension, at any concentration.

Mardia & Jupp, *Directional Statistics* (2000), 9.3.2. The angle from loc has density proportional to
exp(kappa cos(t)) sin(t)^(dim - 1): normaliser (otherwise a Bessel function), mean and samples all come from
quadrature of that around its mode.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Real

from geodl._core import distrax
from geodl._core.checks import aligned, check, float_dtype, with_axes
from geodl._core.reductions import dot, safe_sqrt
from geodl._core.special import even
from geodl.distributions import _quadrature
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
    law = AngleLaw(dim - 1)
    return sphere.log_area(dim - 1) + law.log_peak(kappa) + _quadrature.log_mass(law, kappa)


def _mean_gap(kappa, dim):
    """E (1 - <loc, x>)."""
    return -jax.jvp(lambda k: _log_normalizer(k, dim), (kappa,), (jnp.ones_like(kappa),))[1]


def _mean_length(kappa, dim):
    """E <loc, x>: where it is small, by parts as kappa / dim E sin(t)^2, which is small by itself."""
    low = kappa < dim
    small = jnp.where(low, kappa, dim)
    square = _quadrature.mean(
        AngleLaw(dim - 1), lambda offset, mode: jnp.square(jnp.sin(mode + offset)), small
    )
    return jnp.where(low, small / dim * square, 1 - _mean_gap(kappa, dim))


def concentration_from_gap(gap: Scalar, dim: int, max_concentration: ArrayLike) -> Array:
    """The concentration, at most ``max_concentration``, whose 1 - mean_resultant_length is ``gap`` in [0, 1].

    It makes data most likely whose mean resultant length is 1 - gap. Newton-like: the slope is that of the
    close approximation of Banerjee et al. (2005), eq. 4.4, so that an error shrinks at least tenfold a step.
    """
    gap = _float(gap)
    limit = jnp.asarray(max_concentration, gap.dtype)

    def approximate(gap):
        length = 1 - gap
        return length * (dim + 1 - jnp.square(length)) / (gap * (2 - gap))

    target = approximate(jnp.maximum(gap, _mean_gap(limit, dim)))
    steps = 6 if gap.dtype.itemsize <= 4 else 12

    def step(_, kappa):
        return jnp.clip(kappa + target - approximate(_mean_gap(kappa, dim)), 0, limit)

    return lax.fori_loop(0, steps, step, jnp.clip(target, 0, limit))


class VonMisesFisher(distrax.Distribution):
    """Density exp(kappa <loc, x>) / C with respect to the area of the unit sphere S^d, d >= 1.

    Samples have exact pathwise derivatives in loc and concentration, in closed form on S^2 and by
    implicit differentiation of the angle's quantile elsewhere. The turn of the samples about loc is that of
    the sphere's frame at loc (``sphere.from_frame``).
    """

    def __init__(self, loc: ArrayLike, concentration: ArrayLike):
        """``loc`` (..., d + 1) unit vectors, ``concentration`` kappa >= 0 (...), leading axes broadcast.

        Raises ``ValueError`` for a last axis shorter than 2 and, where values are concrete, for a loc off the
        sphere or a negative concentration. Half precision becomes float32.
        """
        super().__init__()
        loc, concentration = jnp.asarray(loc), jnp.asarray(concentration)
        if loc.ndim == 0 or loc.shape[-1] < 2:
            raise ValueError(
                f"VonMisesFisher: loc must have shape (..., d + 1), d >= 1, got {loc.shape}"
            )
        check_no_column("VonMisesFisher", "concentration", concentration.shape, loc.shape[:-1])
        dtype = jnp.promote_types(float_dtype(loc, concentration), jnp.float32)
        valid = (concentration >= 0) & (concentration < jnp.inf)
        check(valid, "VonMisesFisher: concentration must be >= 0 and finite", concentration)
        points_on("VonMisesFisher: loc", Sphere(loc.shape[-1] - 1), loc)
        # the same number of batch axes in both, so that laws stacked by vmap are a batch
        axes = max(loc.ndim - 1, concentration.ndim)
        self._loc = with_axes(loc.astype(dtype), axes + 1)
        kappa = jnp.where(valid, concentration.astype(dtype), jnp.nan)
        self._concentration = with_axes(kappa, axes)

    @property
    def loc(self) -> Array:
        """The mean direction."""
        return self._loc

    @property
    def concentration(self) -> Array:
        """kappa."""
        return self._concentration

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one point, (d + 1,)."""
        return self._loc.shape[-1:]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Broadcast leading axes of loc and concentration."""
        return jnp.broadcast_shapes(self._loc.shape[:-1], self._concentration.shape)

    @property
    def _dim(self):
        return self._loc.shape[-1] - 1

    def log_prob(self, value: ArrayLike) -> Array:
        """Log-density at unit vectors (..., d + 1): -kappa |x - loc|^2 / 2 - log C', no cancellation.

        Raises ``ValueError`` for another shape and, where values are concrete, for points off the sphere.
        """
        x, loc = aligned(points_on("VonMisesFisher", Sphere(self._dim), value), self._loc)
        w = x - loc
        return self._log_prob(dot(w, w) / 2)

    def _log_prob(self, gap):
        gap, kappa = aligned(gap, self._concentration)
        return -kappa * gap - _log_normalizer(kappa, self._dim)

    def _sample_n_and_log_prob(self, key, n):
        key_angle, key_turn = jax.random.split(key)
        batch, dim, loc = self.batch_shape, self._dim, self._loc
        angle = _sample_angle(key_angle, (n, *batch), self._concentration[None], dim)
        turn = sphere.project(jax.random.normal(key_turn, (n, *batch, dim), loc.dtype))
        x = sphere.expmap_frame(loc, angle[..., None] * turn)
        log_prob = self._log_prob(2 * jnp.square(jnp.sin(angle / 2)))
        return x, log_prob + zeros(loc, self.event_shape)[None]

    def _sample_n(self, key, n):
        return self._sample_n_and_log_prob(key, n)[0]

    def mean(self) -> Array:
        """The mean in R^{d + 1}, mean_resultant_length(kappa) loc (not on the sphere)."""
        length = _mean_length(self._concentration, self._dim)
        return length[..., None] * self._loc

    def mode(self) -> Array:
        """loc."""
        return jnp.broadcast_to(self._loc, (*self.batch_shape, *self.event_shape))

    def entropy(self) -> Array:
        """log C - kappa E<loc, x>."""
        kappa = jnp.broadcast_to(self._concentration, self.batch_shape)
        return _log_normalizer(kappa, self._dim) + kappa * _mean_gap(kappa, self._dim)

    def kl_divergence(self, other_dist: "VonMisesFisher | Uniform", **kwargs: Any) -> Array:
        """KL(self || other) of another one, E[log p - log q], or of the uniform distribution, log area - entropy."""
        if isinstance(other_dist, Uniform):
            if other_dist.manifold != Sphere(self._dim):
                raise ValueError(
                    f"KL(VonMisesFisher || Uniform): on S^{self._dim} and on {other_dist.manifold}"
                )
            return sphere.log_area(self._dim) - self.entropy()
        if not isinstance(other_dist, VonMisesFisher):
            return super().kl_divergence(other_dist, **kwargs)
        # E<loc_q, x> = A(kappa_p) <loc_p, loc_q>
        name = "KL(VonMisesFisher || VonMisesFisher)"
        loc, other = aligned(self.loc, as_points(name, self.event_shape, other_dist.loc))
        gap, kappa, entropy = aligned(
            _mean_gap(self.concentration, self._dim), other_dist.concentration, self.entropy()
        )
        w = loc - other
        gap = gap + (1 - gap) * dot(w, w) / 2
        return kappa * gap + _log_normalizer(kappa, self._dim) - entropy


# ---------------------------------------------------------------------------------------------------
# The angle from loc
# ---------------------------------------------------------------------------------------------------


def _sample_angle(key, shape, kappa, dim):
    if dim != 2:
        law, score = AngleLaw(dim - 1), jax.random.normal(key, shape, kappa.dtype)
        return law.mode(kappa) + _quadrature.quantile(law, score, kappa)
    # On S^2, 1 - cos(angle) = -log(1 - u (1 - exp(-2 kappa))) / kappa, smooth also at kappa = 0.
    u = jax.random.uniform(key, shape, kappa.dtype, minval=jnp.finfo(kappa.dtype).tiny)
    gap = 2 * u * _decay(2 * kappa) * _log_ratio(-u * jnp.expm1(-2 * kappa))
    return 2 * jnp.arctan2(safe_sqrt(gap), safe_sqrt(2 - gap))


_decay = even(  # (1 - exp(-z)) / z, as a function of z
    lambda r: -jnp.expm1(-r * r) / (r * r),
    (1, -1 / 2, 1 / 6, -1 / 24, 1 / 120, -1 / 720, 1 / 5040, -1 / 40320, 1 / 362880),
)
_log_ratio = even(  # -log(1 - z) / z, as a function of z
    lambda r: -jnp.log1p(-r * r) / (r * r), tuple(1 / k for k in range(1, 10))
)


@dataclass(frozen=True)
class AngleLaw:
    """The law of the angle t, kappa cos(t) + power log sin(t), in the offset from its mode; theta is kappa."""

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
