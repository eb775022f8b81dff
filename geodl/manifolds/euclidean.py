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
from geodl.manifolds.base import ModuleManifold, Winding


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
class Euclidean(ModuleManifold):
    """R^dim as a :class:`~geodl.manifolds.base.Manifold`."""

    dim: int = field(metadata={"static": True})

    winding = Winding("none")
    embedded = True
    frame_is_parallel = True

    @property
    def event_shape(self):
        return (self.dim,)

    def curvature(self):
        return 0.0

    def origin(self):
        return origin(self.dim)

    def random_uniform(self, key, batch_shape=()):
        return random_uniform(key, (*batch_shape, self.dim))

    def frame_divergence(self, x, a):
        return logdetexp(x, a)
