"""Manifolds as a user would write them: from the textbook, with the base class and nothing private."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from geodl.manifolds import Manifold, Winding, register_record


def dot(u, v):
    return jnp.sum(u * v, -1)


def length(v):
    """Norm with gradient 0 at 0."""
    q = dot(v, v)
    return jnp.where(q == 0, 0.0, jnp.sqrt(jnp.where(q == 0, 1.0, q)))


@register_record
@dataclass(frozen=True)
class ClockTorus(Manifold):
    """Products of circles of circumference 1: coordinates in [0, 1), one for each circle."""

    dim: int = field(metadata={"static": True})

    winding = Winding("coordinates", 1.0)
    embedded = False
    frame_is_parallel = True

    @property
    def event_shape(self):
        return (self.dim,)

    def origin(self, dtype=None):
        return jnp.zeros(self.dim, dtype)

    def project(self, x):
        return x - jnp.floor(x)

    def expmap(self, x, v):
        return self.project(x + v)

    def logmap(self, x, y):
        return (y - x) - jnp.round(y - x)

    def inner(self, x, u, v):
        return dot(u + 0 * x, v)

    def transport(self, x, y, v):
        return v + 0 * (x + y)

    def project_tangent(self, x, v):
        return v + 0 * x

    def egrad_to_rgrad(self, x, g):
        return g + 0 * x

    def logdetexp(self, x, v):
        return 0 * (x + v)[..., 0]

    def from_frame(self, x, a):
        return a + 0 * x

    def to_frame(self, x, v):
        return v + 0 * x

    def log_volume(self):
        return 0.0

    def random_uniform(self, key, batch_shape=(), dtype=None):
        return jax.random.uniform(key, (*batch_shape, self.dim), dtype or float)

    def log_volume_element(self, x):
        return 0 * x[..., 0]

    def frame_divergence(self, x, a):
        return 0 * (x + a)[..., 0]

    def coordinates(self, x):
        return jnp.concatenate([jnp.cos(2 * np.pi * x), jnp.sin(2 * np.pi * x)], -1)


@register_record
@dataclass(frozen=True)
class HalfSpace(Manifold):
    """Hyperbolic space of curvature -1 as the half-space x_d > 0, metric |dx|^2 / x_d^2; by way of the hyperboloid.

    The origin is (0, ..., 0, 1), the frame at x is x_d times the unit vectors.
    """

    dim: int = field(metadata={"static": True})

    winding = Winding("none")
    embedded = False

    @property
    def event_shape(self):
        return (self.dim,)

    def curvature(self):
        return -1.0

    def origin(self, dtype=None):
        return jnp.zeros(self.dim, dtype).at[-1].set(1.0)

    def project(self, x):
        return x.at[..., -1].set(jnp.maximum(x[..., -1], 1e-20))

    def to_hyperboloid(self, x):
        """(X_0, X_horizontal, X_vertical) with X_0 + X_vertical = 1 / x_d."""
        horizontal, height = x[..., :-1], x[..., -1]
        plus, minus = 1 / height, height + dot(horizontal, horizontal) / height
        time, vertical = (plus + minus) / 2, (minus - plus) / 2
        return jnp.concatenate(
            [time[..., None], horizontal / height[..., None], vertical[..., None]], -1
        )

    def _from_hyperboloid(self, p):
        height = 1 / (p[..., 0] - p[..., -1])
        return jnp.concatenate([height[..., None] * p[..., 1:-1], height[..., None]], -1)

    def _push(self, x, v):
        """A tangent vector as one of the hyperboloid."""
        x, v = jnp.broadcast_arrays(x, v)
        return jax.jvp(self.to_hyperboloid, (x,), (v,))[1]

    def _pull(self, p, u):
        p, u = jnp.broadcast_arrays(p, u)
        return jax.jvp(self._from_hyperboloid, (p,), (u,))[1]

    def expmap(self, x, v):
        r = self.norm(x, v)[..., None]
        p, u = self.to_hyperboloid(x), self._push(x, v)
        sinhc = jnp.where(r == 0, 1.0, jnp.sinh(r) / jnp.where(r == 0, 1.0, r))
        return self._from_hyperboloid(jnp.cosh(r) * p + sinhc * u)

    def dist(self, x, y):
        chord = length(y - x) / (2 * jnp.sqrt(x[..., -1] * y[..., -1]))
        return 2 * jnp.arcsinh(chord)

    def logmap(self, x, y):
        r = self.dist(x, y)[..., None]
        p, q = self.to_hyperboloid(x), self.to_hyperboloid(y)
        ratio = jnp.where(r == 0, 1.0, r / jnp.sinh(jnp.where(r == 0, 1.0, r)))
        return self._pull(p, ratio * (q - jnp.cosh(r) * p))

    def inner(self, x, u, v):
        return dot(u, v) / x[..., -1] ** 2

    def transport(self, x, y, v):
        p, q, u = self.to_hyperboloid(x), self.to_hyperboloid(y), self._push(x, v)
        signs = jnp.ones(self.dim + 1, p.dtype).at[0].set(-1)
        carried = u + (dot(signs * q, u) / (1 - dot(signs * p, q)))[..., None] * (p + q)
        return self._pull(q, carried)

    def project_tangent(self, x, v):
        return v + 0 * x

    def egrad_to_rgrad(self, x, g):
        return g * x[..., -1:] ** 2

    def logdetexp(self, x, v):
        r = self.norm(x, v)
        return (self.dim - 1) * jnp.log(
            jnp.where(r == 0, 1.0, jnp.sinh(r) / jnp.where(r == 0, 1.0, r))
        )

    def from_frame(self, x, a):
        return x[..., -1:] * a

    def to_frame(self, x, v):
        return v / x[..., -1:]

    def log_volume_element(self, x):
        return -self.dim * jnp.log(x[..., -1])

    def frame_divergence(self, x, a):
        """e_i = x_d d_i, of volume element x_d^-dim: div e_i = (1 - dim) for i = d, else 0."""
        return (1 - self.dim) * a[..., -1] + 0 * x[..., -1]

    def coordinates(self, x):
        return self.normal_coordinates(x)


@register_record
@dataclass(frozen=True)
class Undeclared(ClockTorus):
    """A torus whose author has declared nothing."""

    winding = Manifold.winding
    embedded = Manifold.embedded
    log_volume = Manifold.log_volume
    random_uniform = Manifold.random_uniform
    log_volume_element = Manifold.log_volume_element
    frame_divergence = Manifold.frame_divergence
    coordinates = Manifold.coordinates
