"""The Riemannian normal on hyperbolic space: the maximum-entropy distribution of given mean squared distance."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from geodl._core.checks import aligned, check
from geodl.distributions import radial
from geodl.distributions._checks import points_on, zeros
from geodl.distributions._location_scale import LocationScale
from geodl.manifolds import Manifold, Point, sphere


class RiemannianNormal(LocationScale):
    """Density exp(-dist(loc, z)^2 / 2 scale^2) / Z with respect to the Riemannian volume.

    Mathieu et al. (2019), section 3.2. A draw is r > 0 along a uniform direction, r by the distribution of
    :mod:`~geodl.distributions.radial`; samples have exact pathwise derivatives in loc, scale and the
    curvature. Densities of samples come from r itself, so that they are right also where the float
    coordinates of a far point are not (on the ball; prefer the hyperboloid there).

    Example:
        >>> import jax
        >>> from geodl.distributions import RiemannianNormal
        >>> from geodl.manifolds import PoincareBall
        >>> ball = PoincareBall(2)
        >>> q = RiemannianNormal(ball, ball.origin(), scale=0.5)
        >>> jax.jit(lambda q, z: q.log_prob(z))(q, ball.origin()).round(3)
        Array(-0.536, dtype=float32)
    """

    def __init__(self, manifold: Manifold, loc: ArrayLike | tuple, scale: ArrayLike):
        """
        Args:
            manifold: Simply connected and of constant curvature -c <= 0; c = 0 gives the normal distribution of flat
                space.
            loc: The mean (..., *event_shape).
            scale: A scalar or of shape (..., 1), one for each point, as a geodesic length.

        Raises:
            ValueError: another manifold, wrong shapes and, where values are concrete, a scale that is not positive or a
                loc off the manifold.
        """
        kind = manifold.winding.kind
        if kind != "none":
            raise ValueError(
                f"RiemannianNormal: the manifold must be simply connected, got {manifold}"
            )
        curvature = manifold.curvature()
        check(curvature <= 0, "RiemannianNormal: the curvature must be at most 0", curvature)
        super().__init__(manifold, loc, scale, widths=(1,))

    @property
    def _c(self):
        return -self._manifold.curvature()

    @property
    def _sigma(self):
        return self._scale[..., 0]

    def log_prob(self, value: ArrayLike | tuple) -> Array:
        """Log-density at points (..., *event_shape) that broadcast against the batch."""
        value = points_on(type(self).__name__, self._manifold, value)
        return self._log_prob(self._manifold.sqdist(self._loc, value))

    def _log_prob(self, sqdist):
        dim = self._manifold.dim
        sqdist, sigma, c = aligned(sqdist, self._sigma, jnp.asarray(self._c))
        log_z = sphere.log_area(dim - 1) + radial.log_normalizer(sigma, c, dim)
        return -sqdist / (2 * jnp.square(sigma)) - log_z

    def _sample_n_and_log_prob(self, key, n):
        key_radius, key_direction = jax.random.split(key)
        batch, dim, loc = self.batch_shape, self._manifold.dim, self._loc
        sigma = jnp.broadcast_to(self._sigma, batch)
        r = radial.sample(key_radius, (n,), sigma, self._c, dim)
        direction = sphere.project(jax.random.normal(key_direction, (n, *batch, dim), r.dtype))
        z = self._manifold.expmap_frame(loc, r[..., None] * direction)
        return z, self._log_prob(jnp.square(r)) + zeros(loc, self.event_shape)[None]

    def mode(self) -> Point:
        """loc."""
        return self.mean()
