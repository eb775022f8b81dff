"""Euclidean space R^d: the flat case, and the functions that other spaces inherit from flat
coordinates.

Points and tangent vectors are arrays (..., d); leading axes broadcast, also where a formula ignores
the point.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from geodl._core.checks import as_shape, check_dim, primitive
from geodl._core.records import register_record
from geodl._core.reductions import dot, safe_norm, safe_sqrt, scale, zero_of
from geodl.manifolds.base import ModuleManifold, Winding


Vector = Float[Array, "*#batch d"]
Scalar = Float[Array, "*#batch"]


def _at(x, v):
    """v for every point x, NaN where x is."""
    return v + 0 * x


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
    """|x - y|, gradient 0 at x = y. Squares must be floats: from 1e-19 to 1e19 in float32."""
    return safe_norm(y - x)


@primitive("x", "y")
def sqdist(x: Vector, y: Vector) -> Scalar:
    """|x - y|^2."""
    return dot(y - x, y - x)


@primitive("x", "u", "v")
def inner(x: Vector, u: Vector, v: Vector) -> Scalar:
    """<u, v> in the coordinates."""
    return dot(u, v) + zero_of(x)


@primitive("x", "v")
def norm(x: Vector, v: Vector) -> Scalar:
    """|v| in the coordinates, gradient 0 at 0."""
    return safe_sqrt(dot(v, v) + zero_of(x))


@primitive("x", "y")
def geodesic(t: Scalar, x: Vector, y: Vector) -> Vector:
    """x + t (y - x)."""
    return x + scale(t, y - x)


@primitive("x", "y", "v")
def transport(x: Vector, y: Vector, v: Vector) -> Vector:
    """v itself."""
    return _at(x, _at(y, v))


@primitive("x")
def project(x: Vector) -> Vector:
    """x itself."""
    return x


@primitive("x", "v")
def project_tangent(x: Vector, v: Vector) -> Vector:
    """v itself: every vector is tangent."""
    return _at(x, v)


@primitive("x", "g")
def egrad_to_rgrad(x: Vector, g: Vector) -> Vector:
    """g itself: the metric is that of the coordinates."""
    return _at(x, g)


@primitive("x", "v")
def logdetexp(x: Vector, v: Vector) -> Scalar:
    """0: expmap is a translation."""
    return zero_of(x + v)


@primitive("x", "a")
def from_frame(x: Vector, a: Vector) -> Vector:
    """a itself: the frame is that of the coordinates."""
    return _at(x, a)


@primitive("x", "v")
def to_frame(x: Vector, v: Vector) -> Vector:
    """v itself: the frame is that of the coordinates."""
    return _at(x, v)


@primitive("x", "a")
def expmap_frame(x: Vector, a: Vector) -> Vector:
    """x + a."""
    return x + a


@primitive("x")
def tangent_basis(x: Vector) -> Float[Array, "*batch d d"]:
    """The unit vectors, in rows."""
    return _at(x[..., None, :], jnp.eye(x.shape[-1], dtype=x.dtype))


def origin(dim: int, dtype: DTypeLike | None = None) -> Float[Array, " d"]:
    """The point 0."""
    return jnp.zeros(dim, dtype)


def random_uniform(
    key: Array, shape: int | tuple[int, ...], dtype: DTypeLike | None = None
) -> Array:
    """Points of the given full shape (..., d), uniform on [-1, 1]^d (R^d has infinite volume)."""
    return jax.random.uniform(key, as_shape(shape), dtype, minval=-1.0, maxval=1.0)


@register_record
@dataclass(frozen=True)
class Euclidean(ModuleManifold):
    """R^dim as a :class:`~geodl.manifolds.base.Manifold`."""

    dim: int = field(metadata={"static": True})

    winding = Winding("none")
    embedded = True
    frame_is_parallel = True

    def __post_init__(self):
        check_dim("Euclidean", self.dim)

    @property
    def event_shape(self):
        return (self.dim,)

    def curvature(self):
        return 0.0

    def origin(self, dtype=None):
        return origin(self.dim, dtype)

    def random_uniform(self, key, batch_shape=(), dtype=None):
        return random_uniform(key, (*as_shape(batch_shape), self.dim), dtype)

    def frame_divergence(self, x, a):
        return logdetexp(x, a)
