"""The wrapped normal: a normal distribution in the tangent space at loc, carried to the manifold by expmap."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp
from jax.typing import ArrayLike

from geodl._core.checks import aligned, check, with_axes
from geodl._core.platform import cpu_once
from geodl._core.reductions import safe_norm
from geodl.distributions._checks import points_on, zeros
from geodl.distributions._location_scale import LocationScale
from geodl.manifolds import Manifold


class WrappedNormal(LocationScale):
    """The distribution of expmap(loc, v), v normal with standard deviations ``scale`` in the frame at loc.

    ``log_prob`` is with respect to the Riemannian volume (Nagano et al. 2019; Mathieu et al. 2019,
    appendix B), log N(v; 0, scale^2) - logdetexp(loc, v), v = logmap(loc, z). Samples have exact
    pathwise derivatives in loc, scale and curvature, and their densities come from v itself, so that
    they are right also where the float coordinates of a far point are not.

    On sphere, SO(3) and torus infinitely many v reach z, and all of them count. On circle and torus the sum
    over turns is exact at any scale (for wide ones as a Fourier series). On spheres of dim >= 2 and SO(3) up
    to WINDINGS turns either way are summed, so a scale may be at most :func:`widest_scale`, 3.8 on S^2: the
    mass left out is then below 2e-8. There the exact density is infinite at loc (from full turns) and at
    the cut locus; the value here is finite everywhere: closer than 1e-6 to loc the weight of the turns is
    held at its value there.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from geodl.distributions import WrappedNormal
        >>> from geodl.manifolds import PoincareBall
        >>> q = WrappedNormal(PoincareBall(2), loc=jnp.zeros((5, 2)), scale=0.4)
        >>> draw = jax.jit(lambda q, key: q.sample_and_log_prob(seed=key, sample_shape=3))
        >>> z, log_q = draw(q, jax.random.key(0))
        >>> z.shape, log_q.shape
        ((3, 5, 2), (3, 5))
    """

    def __init__(self, manifold: Manifold, loc: ArrayLike | tuple, scale: ArrayLike):
        """
        Args:
            manifold: Any that declares its winding.
            loc: The center (..., *event_shape), on a product a tuple with a point for each factor.
            scale: Standard deviations: a scalar, or of shape (..., 1) or (..., dim): per point or per tangent
                direction.

        Raises:
            ValueError: wrong shapes and, where values are concrete, a scale that is not positive or above
                :func:`widest_scale`, or a loc off the manifold. Under jit densities of such scales are NaN.
        """
        super().__init__(manifold, loc, scale, widths=(1, manifold.dim))
        for factor, _, scales in self._manifold.by_factor(self._loc, self._scales):
            widest = widest_scale(factor)
            check(
                scales <= widest,
                f"WrappedNormal: on {factor} scale can be at most {widest!s:.5}",
                scales,
            )

    @property
    def _scales(self):
        """One for each direction, (..., dim)."""
        return jnp.broadcast_to(self._scale, (*self._scale.shape[:-1], self._manifold.dim))

    def log_prob(self, value: ArrayLike | tuple) -> Array:
        """Log-density at points (..., *event_shape) that broadcast against the batch."""
        manifold, loc = self._manifold, self._loc
        value = points_on(type(self).__name__, manifold, value)
        return _log_density(manifold, loc, manifold.logmap_frame(loc, value), self._scales)

    def _tangent_n(self, key, n):
        shape = (n, *self.batch_shape, self._manifold.dim)
        # Once, or XLA:CPU draws again for each use of a component.
        return self._scale[None] * cpu_once(jax.random.normal(key, shape, self._scale.dtype))

    def _sample_n(self, key, n):
        return self._manifold.expmap_frame(self._loc, self._tangent_n(key, n))

    def _sample_n_and_log_prob(self, key, n):
        manifold, loc, a = self._manifold, self._loc, self._tangent_n(key, n)
        log_prob = _log_density(manifold, loc, _unwind(manifold, loc, a), self._scales)
        return manifold.expmap_frame(loc, a), log_prob + zeros(loc, self.event_shape)[None]


# ---------------------------------------------------------------------------------------------------
# The density from the frame components a of logmap(loc, z)
# ---------------------------------------------------------------------------------------------------

WINDINGS = 4  # turns either way on sphere and SO(3)
TURNS = 3  # on the circle, and terms of its Fourier series: either leaves out 1e-16 at the scale where they meet
WIDE = 2.5


def widest_scale(manifold: Manifold) -> ArrayLike:
    """The largest scale of a wrapped normal on a manifold that is no product.

    Where geodesics in all directions close (spheres of dim >= 2, SO(3)), (WINDINGS + 1/2) period / (sqrt(dim) + 6):
    a standard normal vector is longer than sqrt(dim) + 6 with a probability below exp(-18). Elsewhere infinity.
    """
    if _winds(manifold) != "directions":
        return np.inf
    return (WINDINGS + 0.5) * manifold.winding.period / (np.sqrt(manifold.dim) + 6)


def _winds(manifold):
    """The kind of winding; on a circle both are the same."""
    kind = manifold.winding.kind
    return "coordinates" if kind == "directions" and manifold.dim == 1 else kind


def _log_density(manifold, loc, a, scale) -> Array:
    parts = manifold.by_factor(loc, a, scale)
    return functools.reduce(jnp.add, (_log_density_of_factor(*part) for part in parts))


def _log_density_of_factor(manifold, loc, a, scale) -> Array:
    kind, period = _winds(manifold), manifold.winding.period
    a, scale = aligned(a, scale)
    if kind == "coordinates":
        normal = jnp.sum(_log_wound_circle(a, scale, period), -1)
    elif kind == "directions":
        scale = jnp.where(scale <= widest_scale(manifold), scale, jnp.nan)
        normal = _log_wound(a, scale, period)
    else:
        normal = jnp.sum(_log_normal(a, scale), -1)
    return normal - manifold.logdetexp_frame(loc, a)


def _log_normal(a, scale):
    return -jnp.square(a / scale) / 2 - jnp.log(scale) - np.log(2 * np.pi).astype(a.dtype) / 2


def _log_wound_circle(a, scale, period):
    """log sum_k N(a + k period), of wide ones by the Fourier series

    (1 + 2 sum_m exp(-m^2 s^2 / 2) cos(m t)) / period,  s and t the scale and a in radians.
    """
    turns = period * np.arange(-TURNS, TURNS + 1).astype(a.dtype)
    turns = with_axes(turns, a.ndim + 1)
    narrow = logsumexp(_log_normal(a[..., None] + turns, scale[..., None]), -1)
    s, t = 2 * np.pi / period * scale, 2 * np.pi / period * a
    wide = s > WIDE
    q = jnp.exp(-jnp.square(jnp.where(wide, s, WIDE)) / 2)
    ripple = sum(q ** (m * m) * jnp.cos(m * t) for m in range(1, TURNS + 1))
    return jnp.where(wide, jnp.log1p(2 * ripple) - jnp.log(jnp.asarray(period, a.dtype)), narrow)


def _log_wound(a, scale, period):
    """log sum_k N(v_k) |v_k|^(d-1) / |v|^(d-1) over v_k = v (1 + period k / |v|), all with the same end.

    |det d exp| at v is |s(|v|) / |v||^(d-1), with the same |s| for all v_k.
    """
    r = safe_norm(a)[..., None]
    floor = jnp.maximum(r, 1e-6)
    first = jnp.eye(1, a.shape[-1], dtype=a.dtype)[0]  # direction of the turns at v = 0
    unit = jnp.where(r < floor, first, a / floor)
    precision = jnp.sum(jnp.square(unit / scale), -1, keepdims=True)
    turns = np.delete(np.arange(-WINDINGS, WINDINGS + 1), WINDINGS).astype(a.dtype)
    length = r + period * with_axes(turns, r.ndim)
    jacobian = (a.shape[-1] - 1) * jnp.log(jnp.abs(length) / floor)
    turns = logsumexp(jacobian - precision * jnp.square(length) / 2, -1)
    constant = jnp.sum(_log_normal(jnp.zeros_like(a), scale), -1)
    return constant + jnp.logaddexp(-jnp.sum(jnp.square(a / scale), -1) / 2, turns)


def _unwind(manifold, loc, a):
    """The shortest components with the same end."""
    return jnp.concatenate([_unwind_factor(f, a) for f, _, a in manifold.by_factor(loc, a)], -1)


def _unwind_factor(manifold, a):
    kind, period = _winds(manifold), manifold.winding.period
    if kind == "coordinates":
        return a - period * jnp.round(a / period)
    if kind == "directions":
        r = safe_norm(a)[..., None]
        return a * (1 - period * jnp.round(r / period) / jnp.where(r > 0, r, 1))
    return a
