"""Euclidean space R^d: the flat case, and the functions that other spaces inherit from flat
coordinates.

Points and tangent vectors are arrays (..., d); leading axes broadcast, also where a formula ignores
the point.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from geodl.manifolds._numerics import dot, primitive, safe_norm, scale
from geodl.manifolds._record import register_record


Vector = Float[Array, "*#batch d"]
Scalar = Float[Array, "*#batch"]


@primitive("x", "v")
def expmap(x: Vector, v: Vector) -> Vector:
    """x + v."""
    return x + v


@primitive("x", "y")
def logmap(x: Vector, y: Vector) -> Vector:
    """y - x."""
    return y - x


@primitive("x", "y")
def dist(x: Vector, y: Vector) -> Scalar:
    """|x - y|, gradient 0 at x = y."""
    return safe_norm(y - x)


@primitive("x", "y")
def sqdist(x: Vector, y: Vector) -> Scalar:
    """|x - y|^2."""
    return dot(y - x, y - x)


@primitive("x", "u", "v")
def inner(x: Vector, u: Vector, v: Vector) -> Scalar:
    """<u, v> in the coordinates."""
    _, u, v = jnp.broadcast_arrays(x, u, v)
    return dot(u, v)


@primitive("x", "v")
def norm(x: Vector, v: Vector) -> Scalar:
    """|v| in the coordinates, gradient 0 at 0."""
    return safe_norm(jnp.broadcast_arrays(x, v)[1])


@primitive("x", "y")
def geodesic(t: Scalar, x: Vector, y: Vector) -> Vector:
    """x + t (y - x)."""
    return x + scale(t, y - x)


@primitive("x", "y", "v")
def transport(x: Vector, y: Vector, v: Vector) -> Vector:
    """v itself."""
    return jnp.broadcast_arrays(x, y, v)[2]


@primitive("x")
def project(x: Vector) -> Vector:
    """x itself."""
    return x


@primitive("x", "v")
def project_tangent(x: Vector, v: Vector) -> Vector:
    """v itself: every vector is tangent."""
    return jnp.broadcast_arrays(x, v)[1]


@primitive("x", "g")
def egrad_to_rgrad(x: Vector, g: Vector) -> Vector:
    """g itself: the metric is that of the coordinates."""
    return jnp.broadcast_arrays(x, g)[1]


@primitive("x", "v")
def logdetexp(x: Vector, v: Vector) -> Scalar:
    """0: expmap is a translation."""
    return jnp.zeros_like((x + v)[..., 0])


@primitive("x", "a")
def from_frame(x: Vector, a: Vector) -> Vector:
    """a itself: the frame is that of the coordinates."""
    return jnp.broadcast_arrays(x, a)[1]


@primitive("x", "v")
def to_frame(x: Vector, v: Vector) -> Vector:
    """v itself: the frame is that of the coordinates."""
    return jnp.broadcast_arrays(x, v)[1]


@primitive("x", "a")
def expmap_frame(x: Vector, a: Vector) -> Vector:
    """x + a."""
    return x + a


@primitive("x")
def tangent_basis(x: Vector) -> Float[Array, "*batch d d"]:
    """The unit vectors, in rows."""
    return jnp.broadcast_to(jnp.eye(x.shape[-1], dtype=x.dtype), (*x.shape, x.shape[-1]))


def origin(dim: int) -> Float[Array, " d"]:
    """The point 0."""
    return jnp.zeros(dim)


def random_uniform(key: Array, shape: tuple[int, ...]) -> Array:
    """Points of the given full shape (..., d), uniform on [-1, 1]^d (R^d has infinite volume)."""
    return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)


@register_record
@dataclass(frozen=True)
class Euclidean:
    """R^dim as a :class:`~geodl.manifolds.base.Manifold`."""

    dim: int = field(metadata={"static": True})

    @property
    def event_shape(self):
        return (self.dim,)

    def expmap(self, x, v):
        return expmap(x, v)

    def logmap(self, x, y):
        return logmap(x, y)

    def dist(self, x, y):
        return dist(x, y)

    def sqdist(self, x, y):
        return sqdist(x, y)

    def inner(self, x, u, v):
        return inner(x, u, v)

    def norm(self, x, v):
        return norm(x, v)

    def geodesic(self, t, x, y):
        return geodesic(t, x, y)

    def transport(self, x, y, v):
        return transport(x, y, v)

    def project(self, x):
        return project(x)

    def project_tangent(self, x, v):
        return project_tangent(x, v)

    def egrad_to_rgrad(self, x, g):
        return egrad_to_rgrad(x, g)

    def logdetexp(self, x, v):
        return logdetexp(x, v)

    def from_frame(self, x, a):
        return from_frame(x, a)

    def to_frame(self, x, v):
        return to_frame(x, v)

    def expmap_frame(self, x, a):
        return expmap_frame(x, a)

    def tangent_basis(self, x):
        return tangent_basis(x)

    def origin(self):
        return origin(self.dim)

    def random_uniform(self, key, batch_shape=()):
        return random_uniform(key, (*batch_shape, self.dim))
