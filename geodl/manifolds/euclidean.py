"""Euclidean space R^d, boxes in it, and the functions that other spaces inherit from flat coordinates.

The functions take points and tangent vectors (..., d); leading axes broadcast, also where a formula ignores the point.
The records take points of any shape, as images are: :class:`Euclidean` and :class:`Box`.
"""

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from geodl._core.checks import as_shape, check_integer, primitive
from geodl._core.records import register_record
from geodl._core.reductions import dot, safe_norm, safe_sqrt, scale, zero_of
from geodl.manifolds.base import ModuleManifold, Winding, check_ends_in


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
    """|x - y|, gradient 0 at x = y.

    Squares must be floats: distances from 1e-19 to 1e19 in float32.
    """
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


# -------------------------------------------------------------------------------------------------
# Records: one point may be an array of any shape
# -------------------------------------------------------------------------------------------------


def _of_any_shape(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method of points (..., *event_shape), made from that of vectors (..., d)."""
    signature = inspect.signature(method)
    names = list(signature.parameters)[1:]
    # else the result is numbers or frame components
    to_points = signature.return_annotation is not Scalar and method.__name__ != "to_frame"

    @functools.wraps(method)
    def of_any_shape(self, *args, **kwargs):
        if len(self.event_shape) == 1:
            return method(self, *args, **kwargs)
        named = dict(zip(names, args, strict=False)) | kwargs
        rows = {k: a if k in ("a", "t") else self._row(k, a) for k, a in named.items()}
        result = method(self, **rows)
        if to_points:
            return result.reshape(*result.shape[:-1], *self.event_shape)
        return result

    return of_any_shape


class _Flat(ModuleManifold):
    """A flat space whose points are arrays of ``event_shape``; frame components are the entries, in a row."""

    shape: Any
    embedded = True
    frame_is_parallel = True

    def __post_init__(self):
        shape = self.shape if isinstance(self.shape, tuple | list) else (self.shape,)
        for n in shape:
            check_integer(f"{type(self).__name__}: dim", n)
        object.__setattr__(self, "shape", tuple(int(n) for n in shape))

    @property
    def dim(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        """The number of entries of a point."""
        return math.prod(self.shape)

    @property
    def event_shape(self):
        return self.shape

    @property
    def _array_shape(self):
        return (self.dim,)  # rows

    def frame_divergence(self, x, a):
        return self.logdetexp(x, self.from_frame(x, a))

    def logdetexp_frame(self, x, a):
        return self.logdetexp(x, self.from_frame(x, a))

    def _row(self, name, x):
        x = jnp.asarray(x)
        check_ends_in(self, name, x, self.shape)
        return x.reshape(*x.shape[: x.ndim - len(self.shape)], self.dim)


for _name, _method in list(vars(_Flat).items()):
    if hasattr(_method, "is_primitive"):
        setattr(_Flat, _name, _of_any_shape(_method))


@register_record
@dataclass(frozen=True, repr=False)
class Euclidean(_Flat):
    """R^n as a :class:`~geodl.manifolds.base.Manifold`, n = ``dim`` the number of entries of a point.

    Args:
        shape: of one point: ``Euclidean(2)`` for vectors, ``Euclidean((28, 28, 1))`` for images.
    """

    shape: int | tuple[int, ...] = field(metadata={"static": True})

    winding = Winding("none")

    def __repr__(self):
        return f"Euclidean({self.dim if len(self.event_shape) == 1 else self.event_shape})"

    def curvature(self):
        return 0.0

    def origin(self, dtype=None):
        return jnp.zeros(self.event_shape, dtype)


@jax.custom_jvp
def _clip(x, low, high):
    return jnp.clip(x, low, high)


@_clip.defjvp
def _clip_jvp(primals, tangents):
    # A pixel on the bound must be able to leave it, so the derivative is that of the identity.
    return _clip(*primals), tangents[0]


@register_record
@dataclass(frozen=True)
class Box(_Flat):
    """The box [low, high]^n in R^n, as pixels within bounds are; geodesics that would leave it stop at its faces.

    Derivatives pass through the faces unchanged. Up to them it is R^n: no winding and no curvature is declared, and
    wrapped normals refuse it, since they would lose what lies outside.

    Args:
        low: the least value of an entry.
        high: the largest.
        shape: of one point, an integer for vectors.

    Raises:
        ValueError: unless low < high, both finite.
    """

    low: float = field(metadata={"static": True})
    high: float = field(metadata={"static": True})
    shape: int | tuple[int, ...] = field(metadata={"static": True})

    def __post_init__(self):
        super().__post_init__()
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(
                f"Box: low must be below high, both finite, got {self.low} and {self.high}"
            )

    def project(self, x):
        """The nearest point of the box."""
        return _clip(super().project(x), self.low, self.high)

    def expmap(self, x, v):
        """x + v, clipped to the box."""
        return self.project(super().expmap(x, v))

    def expmap_frame(self, x, a):
        """x + a, clipped to the box."""
        return self.project(super().expmap_frame(x, a))

    def geodesic(self, t, x, y):
        """x + t (y - x), clipped to the box."""
        return self.project(super().geodesic(t, x, y))

    def origin(self, dtype=None):
        """The middle."""
        return jnp.full(self.event_shape, (self.low + self.high) / 2, dtype)

    def random_uniform(self, key, batch_shape=(), dtype=None):
        """Uniform on the box."""
        shape = (*as_shape(batch_shape), *self.event_shape)
        return jax.random.uniform(key, shape, dtype, minval=self.low, maxval=self.high)

    def log_volume(self):
        """dim log(high - low)."""
        return self.dim * math.log(self.high - self.low)
