"""The contract that every manifold record fulfils."""

from typing import Protocol, TypeAlias, runtime_checkable

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike


Point: TypeAlias = (
    Array | tuple
)  # a product's points and tangent vectors are tuples of its factors'
Tangent: TypeAlias = Point


@runtime_checkable
class Manifold(Protocol):
    """A Riemannian manifold as a record of pure functions, curvature bound.

    Records are frozen dataclasses registered as pytrees; their methods forward to the functions of the
    module of the same space. Points and tangent vectors are arrays with coordinates on the last axes
    (``event_shape`` is the shape of one point); leading axes broadcast.
    """

    @property
    def dim(self) -> int:
        """Intrinsic dimension."""
        ...

    @property
    def event_shape(self) -> tuple:
        """Shape of one point's array (a tuple of shapes on a product)."""
        ...

    def expmap(self, x: Point, v: Tangent) -> Point:
        """The geodesic from x with velocity v, at time 1."""
        ...

    def logmap(self, x: Point, y: Point) -> Tangent:
        """The velocity v at x of the shortest geodesic that reaches y at time 1."""
        ...

    def dist(self, x: Point, y: Point) -> Array:
        """Geodesic distance."""
        ...

    def sqdist(self, x: Point, y: Point) -> Array:
        """Squared geodesic distance, smooth at coincident points."""
        ...

    def inner(self, x: Point, u: Tangent, v: Tangent) -> Array:
        """Riemannian inner product of two tangent vectors at x."""
        ...

    def norm(self, x: Point, v: Tangent) -> Array:
        """Riemannian norm of a tangent vector at x."""
        ...

    def geodesic(self, t: ArrayLike, x: Point, y: Point) -> Point:
        """Point at time t of the shortest geodesic with x at time 0 and y at time 1."""
        ...

    def transport(self, x: Point, y: Point, v: Tangent) -> Tangent:
        """Parallel transport of v along the shortest geodesic from x to y."""
        ...

    def project(self, x: Point) -> Point:
        """Nearest point (in the ambient coordinates) of the manifold."""
        ...

    def project_tangent(self, x: Point, v: Tangent) -> Tangent:
        """Orthogonal projection of an ambient vector to the tangent space at x."""
        ...

    def egrad_to_rgrad(self, x: Point, g: Tangent) -> Tangent:
        """Riemannian gradient from the gradient with respect to the coordinates."""
        ...

    def logdetexp(self, x: Point, v: Tangent) -> Array:
        """Log-determinant of the differential of expmap at v, between orthonormal frames."""
        ...

    def origin(self) -> Point:
        """The distinguished point."""
        ...

    def from_frame(self, x: Point, a: Array) -> Tangent:
        """Tangent vector at x with components a (..., dim) in the orthonormal frame at x."""
        ...

    def to_frame(self, x: Point, v: Tangent) -> Array:
        """Components (..., dim) of v in the orthonormal frame at x."""
        ...

    def expmap_frame(self, x: Point, a: Array) -> Point:
        """expmap of the tangent vector at x with frame components a (..., dim), without forming it."""
        ...

    def tangent_basis(self, x: Point) -> Tangent:
        """The orthonormal frame at x, shape (..., dim, *event_shape)."""
        ...

    def random_uniform(self, key: Array, batch_shape: tuple[int, ...] = ()) -> Point:
        """Random points; uniform in the Riemannian volume where that is finite."""
        ...


def normal_coordinates(manifold: Manifold, x: Point) -> Array:
    """Frame components (..., dim) of log_0(x), 0 the origin: inverse of ``expmap_frame(origin, a)``."""
    origin = manifold.origin()
    return manifold.to_frame(origin, manifold.logmap(origin, x))


def leading_axes(x: Point, event_shape: tuple) -> tuple[int, ...]:
    """What is left of the shapes of points x before the axes of a point, broadcast over a product's factors."""
    shapes = jax.tree.leaves(event_shape, is_leaf=_is_shape)
    pairs = zip(jax.tree.leaves(x), shapes, strict=True)
    return np.broadcast_shapes(*(p.shape[: p.ndim - len(shape)] for p, shape in pairs))


def _is_shape(x):
    return isinstance(x, tuple) and all(isinstance(n, int) for n in x)
