"""The wrapped normal: a normal law in the tangent space at loc, carried to the manifold by expmap."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp
from jax.typing import ArrayLike

from geodl.distributions._location_scale import LocationScale
from geodl.manifolds import Manifold
from geodl.manifolds._numerics import safe_norm


class WrappedNormal(LocationScale):
    """The law of expmap(loc, v), v normal with standard deviations ``scale`` in the frame at loc.

    ``log_prob`` is with respect to the Riemannian volume (Nagano et al. 2019; Mathieu et al. 2019,
    appendix B), log N(v; 0, scale^2) - logdetexp(loc, v), v = logmap(loc, z). Samples have exact
    pathwise derivatives in loc, scale and curvature, and their densities come from v itself, so that
    they are right also where the float coordinates of a far point are not.

    On sphere, SO(3) and torus infinitely many v reach z. All those up to WINDINGS turns either way count,
    so the density is that of the samples; the mass left out, P(|v| > (2 WINDINGS + 1) pi), is below
    1e-18 for scales up to pi and 7e-6 at 2 pi (one dimension). On sphere and SO(3) the exact density is
    infinite at loc (from full turns) and at the cut locus; the value here is finite everywhere: closer
    than 1e-3 to loc the weight of the turns is held at its value there.
    """

    def __init__(self, manifold: Manifold, loc: ArrayLike | tuple, scale: ArrayLike):
        """``scale`` is a scalar, or of shape (..., 1) or (..., dim): per point or per tangent direction.

        ``loc`` is (..., *event_shape), on a product a tuple with a point for each factor. Raises
        ``ValueError`` for wrong shapes and, where values are concrete, for a scale that is not positive or a
        loc off the manifold.
        """
        super().__init__(manifold, loc, scale, widths=(1, manifold.dim))

    def log_prob(self, value: ArrayLike | tuple) -> Array:
        """Log-density at points (..., *event_shape) that broadcast against the batch."""
        return self._log_prob(self._manifold.logmap_frame(self._loc, value))

    def _log_prob(self, a):
        scale = jnp.broadcast_to(self._scale, (*self._scale.shape[:-1], self._manifold.dim))
        return _log_density(self._manifold, self._loc, a, scale)

    def _tangent_n(self, key, n):
        shape = (n, *self.batch_shape, self._manifold.dim)
        return self._scale * jax.random.normal(key, shape, self._scale.dtype)

    def _at(self, a):
        return self._manifold.expmap_frame(self._loc, a)

    def _sample_n(self, key, n):
        return self._at(self._tangent_n(key, n))

    def _sample_n_and_log_prob(self, key, n):
        a = self._tangent_n(key, n)
        return self._at(a), self._log_prob(_unwind(self._manifold, self._loc, a))


# ---------------------------------------------------------------------------------------------------
# The density from the frame components a of logmap(loc, z)
# ---------------------------------------------------------------------------------------------------

WINDINGS = 4


def _log_density(manifold, loc, a, scale) -> Array:
    parts = manifold.by_factor(loc, a, scale)
    return functools.reduce(jnp.add, (_log_density_of_factor(*part) for part in parts))


def _log_density_of_factor(manifold, loc, a, scale) -> Array:
    winding = manifold.winding
    if winding.kind == "coordinates":
        turns = winding.period * np.arange(-WINDINGS, WINDINGS + 1).astype(a.dtype)
        normal = jnp.sum(logsumexp(_log_normal(a[..., None] + turns, scale[..., None]), -1), -1)
    elif winding.kind == "directions":
        normal = _log_wound(a, scale, winding.period)
    else:
        normal = jnp.sum(_log_normal(a, scale), -1)
    return normal - manifold.logdetexp_frame(loc, a)


def _log_normal(a, scale):
    return -jnp.square(a / scale) / 2 - jnp.log(scale) - np.log(2 * np.pi).astype(a.dtype) / 2


def _log_wound(a, scale, period):
    """log sum_k N(v_k) |v_k|^(d-1) / |v|^(d-1) over v_k = v (1 + period k / |v|), all with the same end.

    |det d exp| at v is |s(|v|) / |v||^(d-1), with the same |s| for all v_k.
    """
    r = safe_norm(a)[..., None]
    floor = jnp.maximum(r, 1e-3)
    first = jnp.arange(a.shape[-1]) == 0  # direction of the turns at v = 0
    unit = jnp.where(r < floor, first, a / floor)
    precision = jnp.sum(jnp.square(unit / scale), -1, keepdims=True)
    turns = np.delete(np.arange(-WINDINGS, WINDINGS + 1), WINDINGS).astype(a.dtype)
    length = r + period * turns
    jacobian = (a.shape[-1] - 1) * jnp.log(jnp.abs(length) / floor)
    turns = logsumexp(jacobian - precision * jnp.square(length) / 2, -1)
    constant = jnp.sum(_log_normal(jnp.zeros_like(a), scale), -1)
    return constant + jnp.logaddexp(-jnp.sum(jnp.square(a / scale), -1) / 2, turns)


def _unwind(manifold, loc, a):
    """The shortest components with the same end."""
    return jnp.concatenate([_unwind_factor(f, a) for f, _, a in manifold.by_factor(loc, a)], -1)


def _unwind_factor(manifold, a):
    kind, period = manifold.winding
    if kind == "coordinates":
        return a - period * jnp.round(a / period)
    if kind == "directions":
        r = safe_norm(a)[..., None]
        return a * (1 - period * jnp.round(r / period) / jnp.where(r > 0, r, 1))
    return a
