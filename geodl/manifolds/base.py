"""The contract of a manifold: what each one must say, what follows from it, and what it may add.

A manifold is a frozen record of pure functions with its curvature bound. Code outside this package never asks
which class a manifold is: a space written by a user goes through every distribution, flow, VAE, optimizer and
search, or is refused by the name of what it does not say.
"""

import functools
import inspect
import math
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from geodl._core.checks import as_floats, as_shape, check_integer, float_dtype, is_shape
from geodl._core.reductions import safe_norm


# Arrays; a product's points and tangent vectors are tuples of its factors'.
Point: TypeAlias = Any
Tangent: TypeAlias = Any


class Winding(NamedTuple):
    """Which tangent vectors at a point have the same end under the exponential map.

    With ``kind`` "none" no two of them have. With "coordinates", those whose frame components differ by
    multiples of ``period`` (a torus); with "directions", those on one line whose lengths differ by multiples of
    ``period``, every geodesic being closed and of that length (spheres, SO(3)).
    """

    kind: Literal["none", "coordinates", "directions"]
    period: ArrayLike = 2 * np.pi


class _Undeclared:
    """An attribute that raises until a space declares it."""

    def __init__(self, what: str):
        self.what = what

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, manifold, owner=None):
        if manifold is None:
            return self
        raise manifold._does_not_say(self.what, self.name)


class Manifold(ABC):
    """A Riemannian manifold as a record of pure functions, curvature bound.

    Points and tangent vectors are arrays with coordinates on the last axes (``event_shape`` is the shape of one
    point); leading axes broadcast. Frame components are those in an orthonormal frame at the point, which depends
    on it smoothly where the manifold allows that.

    A new manifold is a frozen dataclass with :func:`register_record`, whose fields with metadata ``static`` are
    structure and whose others (a curvature) are arrays that can be learned. It defines the abstract methods. The
    methods after them have general formulas, to be overridden where the space has better ones. The capabilities at
    the end raise ``NotImplementedError`` until the space declares them; what needs one says so.
    """

    # --- required -----------------------------------------------------------------------------------------------

    dim: int
    """intrinsic dimension"""

    @property
    @abstractmethod
    def event_shape(self) -> tuple:
        """Shape of one point's array (a tuple of shapes on a product)."""

    @abstractmethod
    def expmap(self, x: Point, v: Tangent) -> Point:
        """The geodesic from x with velocity v, at time 1."""

    @abstractmethod
    def logmap(self, x: Point, y: Point) -> Tangent:
        """The velocity v at x of the shortest geodesic that reaches y at time 1."""

    @abstractmethod
    def inner(self, x: Point, u: Tangent, v: Tangent) -> Array:
        """Riemannian inner product of two tangent vectors at x.

        Args:
            x: Points (..., *event_shape).
            u, v: Tangent vectors at x.

        Returns:
            Numbers (...).
        """

    @abstractmethod
    def transport(self, x: Point, y: Point, v: Tangent) -> Tangent:
        """Parallel transport of v along the shortest geodesic from x to y.

        Args:
            x, y: Points (..., *event_shape).
            v: Tangent vectors at x.

        Returns:
            Tangent vectors at y.
        """

    @abstractmethod
    def project(self, x: Point) -> Point:
        """Nearest point (in the coordinates) of the manifold."""

    @abstractmethod
    def project_tangent(self, x: Point, v: Tangent) -> Tangent:
        """Orthogonal projection of a vector in the coordinates to the tangent space at x."""

    @abstractmethod
    def egrad_to_rgrad(self, x: Point, g: Tangent) -> Tangent:
        """Riemannian gradient from the gradient with respect to the coordinates."""

    @abstractmethod
    def logdetexp(self, x: Point, v: Tangent) -> Array:
        """Log-determinant of the differential of expmap at v, between orthonormal frames."""

    @abstractmethod
    def from_frame(self, x: Point, a: ArrayLike) -> Tangent:
        """Tangent vector at x with components a (..., dim) in the orthonormal frame at x."""

    @abstractmethod
    def to_frame(self, x: Point, v: Tangent) -> Array:
        """Components (..., dim) of v in the orthonormal frame at x."""

    @abstractmethod
    def origin(self, dtype: DTypeLike | None = None) -> Point:
        """The distinguished point, by default in the default float type."""

    # --- derived: general formulas, which a space overrides where it has better ones -------------------------------

    def norm(self, x: Point, v: Tangent) -> Array:
        """Riemannian norm of a tangent vector at x, gradient 0 at 0."""
        return safe_norm(self.to_frame(x, v))

    def dist(self, x: Point, y: Point) -> Array:
        """Geodesic distance, gradient 0 at coincident points."""
        return self.norm(x, self.logmap(x, y))

    def sqdist(self, x: Point, y: Point) -> Array:
        """Squared geodesic distance, smooth at coincident points."""
        return jnp.sum(jnp.square(self.to_frame(x, self.logmap(x, y))), -1)

    def geodesic(self, t: ArrayLike, x: Point, y: Point) -> Point:
        """Point at time t of the shortest geodesic with x at time 0 and y at time 1.

        Args:
            t: Times (...).
            x, y: Points (..., *event_shape).

        Returns:
            Points (..., *event_shape).
        """
        a = self.to_frame(x, self.logmap(x, y))
        return self.expmap_frame(x, jnp.asarray(t, a.dtype)[..., None] * a)

    def expmap_frame(self, x: Point, a: ArrayLike) -> Point:
        """expmap of the tangent vector at x with frame components a (..., dim)."""
        return self.expmap(x, self.from_frame(x, a))

    def logmap_frame(self, x: Point, y: Point) -> Array:
        """Frame components (..., dim) of logmap(x, y): inverse of expmap_frame."""
        return self.to_frame(x, self.logmap(x, y))

    def transport_frame(self, x: Point, y: Point, a: ArrayLike) -> Array:
        """Parallel transport along the shortest geodesic from x to y, in frame components.

        Args:
            x, y: Points (..., *event_shape).
            a: Components (..., dim) of a tangent vector at x.

        Returns:
            Its components (..., dim) at y: a, rotated.
        """
        return self.to_frame(y, self.transport(x, y, self.from_frame(x, a)))

    def logdetexp_frame(self, x: Point, a: ArrayLike) -> Array:
        """logdetexp at the tangent vector with frame components a (..., dim)."""
        return self.logdetexp(x, self.from_frame(x, a))

    def tangent_basis(self, x: Point) -> Tangent:
        """The orthonormal frame at x, shape (..., dim, *event_shape)."""
        rows = jax.tree.map(
            lambda p, shape: jnp.expand_dims(p, jnp.ndim(p) - len(shape)), x, self.event_shape
        )
        return self.from_frame(rows, jnp.eye(self.dim, dtype=jnp.result_type(*jax.tree.leaves(x))))

    def normal_coordinates(self, x: Point) -> Array:
        """Frame components (..., dim) of log_0(x), 0 the origin: inverse of ``expmap_frame(origin, a)``."""
        origin = self.origin(float_dtype(*jax.tree.leaves(x)))
        return self.logmap_frame(origin, x)

    def batch_shape(self, x: Point) -> tuple[int, ...]:
        """Shape of an array of points x without the axes of a point, broadcast over a product's factors."""
        shapes = jax.tree.leaves(self.event_shape, is_leaf=is_shape)
        pairs = zip(jax.tree.leaves(x), shapes, strict=True)
        return np.broadcast_shapes(*(p.shape[: p.ndim - len(shape)] for p, shape in pairs))

    def by_factor(self, x: Point, *components: ArrayLike) -> tuple[tuple, ...]:
        """(factor, its part of the point x, its parts of frame components...) for each factor of a product.

        Any other manifold is its own only factor.
        """
        return ((self, x, *components),)

    frame_is_parallel: bool = False
    """whether transport keeps frame components, as in flat space; optimizers then need carry no frame"""

    # --- capabilities: they raise until a space declares them -----------------------------------------------------

    winding: Winding = _Undeclared("which tangent vectors share an end")  # type: ignore[assignment]
    """which tangent vectors share an end: wrapped distributions sum over them"""
    embedded: bool = _Undeclared("whether it lies in a flat space or is a chart")  # type: ignore[assignment]
    """True where points and tangent vectors are those of a flat surrounding space and of the metric that it induces (up
    to a constant factor), False for a chart, whose coordinates are the manifold's own"""

    def log_volume(self) -> float:
        """Log of the Riemannian volume, where that is finite."""
        raise self._does_not_say("a finite volume", "log_volume")

    def random_uniform(
        self, key: Array, batch_shape: int | tuple[int, ...] = (), dtype: DTypeLike | None = None
    ) -> Point:
        """Random points, uniform in the Riemannian volume where that is finite.

        Args:
            key: Random key.
            batch_shape: How many, an integer or a shape.
            dtype: Of the points, by default the default float type.

        Returns:
            Points (*batch_shape, *event_shape).
        """
        raise self._does_not_say("how uniform points are drawn", "random_uniform")

    def curvature(self) -> Any:
        """The sectional curvature (a number or an array), where it is constant."""
        raise self._does_not_say("a constant sectional curvature", "curvature")

    def log_volume_element(self, x: Point) -> Array:
        """log sqrt|det G| (...) of the metric in the coordinates of a chart; 0 on an embedded space."""
        if self.embedded:
            shapes = jax.tree.leaves(self.event_shape, is_leaf=is_shape)
            parts = zip(jax.tree.leaves(as_floats(x)), shapes, strict=True)
            zeros = [jnp.sum(0 * p, tuple(range(-len(s), 0))) for p, s in parts]  # NaN of NaN
            return functools.reduce(jnp.add, zeros)
        raise self._does_not_say("the volume element of its chart", "log_volume_element")

    def frame_divergence(self, x: Point, a: ArrayLike) -> Array:
        """sum_i a_i div e_i (...) of the orthonormal frame e_i at x, for components a (..., dim)."""
        raise self._does_not_say("the divergence of its frame", "frame_divergence")

    def killing(self, x: Point, a: ArrayLike) -> Tangent:
        """The Killing field sum_k a_k K_k at x, for coefficients a (..., dim (dim + 1) / 2)."""
        raise self._does_not_say("a basis of Killing fields", "killing")

    def coordinates(self, x: Point) -> Array:
        """Coordinates (..., n) of points that are smooth all over the manifold, for networks to read."""
        if self.embedded:
            x = jnp.asarray(x)
            return x.reshape(*self.batch_shape(x), math.prod(self.event_shape))
        raise self._does_not_say("in which coordinates a network reads a point", "coordinates")

    def to_hyperboloid(self, x: Point) -> Array:
        """Isometry to the hyperboloid of the same curvature, for layers on hyperbolic space."""
        raise self._does_not_say("an isometry to the hyperboloid", "to_hyperboloid")

    def _does_not_say(self, what: str, name: str) -> NotImplementedError:
        return NotImplementedError(
            f"{type(self).__name__} does not say {what}: define {name} to use it here"
        )


# ---------------------------------------------------------------------------------------------------------------
# Records whose methods are the functions of their module
# ---------------------------------------------------------------------------------------------------------------


class ModuleManifold(Manifold):
    """A record with the public functions of its module as methods, the arguments that are fields (a curvature) bound.

    Docstrings and annotations are those of the functions, which get sections on their arguments and results here: the
    names mean the same on every space. What the class, or one that it inherits from, defines itself stays.
    """

    _module: ClassVar[Any]

    if TYPE_CHECKING:  # the methods are made when a class is
        expmap: Any
        logmap: Any
        inner: Any
        transport: Any
        project: Any
        project_tangent: Any
        egrad_to_rgrad: Any
        logdetexp: Any
        from_frame: Any
        to_frame: Any

        def __getattr__(self, name: str) -> Any: ...

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        module = cls._module = sys.modules[cls.__module__]
        for name, function in list(vars(module).items()):
            formula = inspect.isfunction(function) and hasattr(function, "is_primitive")
            if formula and getattr(cls, name, None) in (None, getattr(Manifold, name, None)):
                setattr(cls, name, _method(function, _fields(cls, function)))
            if formula or name in ("origin", "random_uniform"):
                function.__doc__ = _with_sections(function, inspect.signature(function))

    def __post_init__(self):
        check_integer(f"{type(self).__name__}: dim", self.dim)

    @property
    def event_shape(self) -> tuple:
        """Shape of one point's array, by default (dim,)."""
        return (self.dim,)

    @property
    def _array_shape(self):
        """Of the arrays that the module's functions take."""
        return self.event_shape

    def origin(self, dtype: DTypeLike | None = None) -> Array:
        return self._module.origin(self.dim, dtype)

    def random_uniform(
        self, key: Array, batch_shape: int | tuple[int, ...] = (), dtype: DTypeLike | None = None
    ) -> Array:
        function = getattr(self._module, "random_uniform", None)
        if function is None:
            return super().random_uniform(key, batch_shape, dtype)
        bound = {name: getattr(self, name) for name in _fields(type(self), function)}
        bound |= {"shape": (*as_shape(batch_shape), *self.event_shape), "dtype": dtype}
        return function(key, **bound)


def _fields(cls: type, function: Callable[..., Any]) -> list[str]:
    """The arguments of the function that are fields of the record."""
    fields = {name for base in cls.__mro__ for name in vars(base).get("__annotations__", {})}
    return [name for name in inspect.signature(function).parameters if name in fields]


def check_ends_in(space: Manifold, name: str, value: Any, shape: tuple[int, ...]) -> None:
    """Raise unless the last axes of an array are those of the space's points."""
    if np.shape(value)[-len(shape) :] != shape:
        ends = ", ".join(map(str, shape))
        raise ValueError(f"{space}: {name} has shape (..., {ends}), got {np.shape(value)}")


_LIKE_POINTS = frozenset("xyuvg")  # points, and vectors in their coordinates


def _method(function: Callable[..., Any], bound: list[str]) -> Callable[..., Any]:
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.name not in bound]
    names = [p.name for p in parameters]

    def method(self, *args, **kwargs):
        shape = self._array_shape
        for name, value in (*zip(names, args, strict=False), *kwargs.items()):
            if name in _LIKE_POINTS:
                check_ends_in(self, name, value, shape)
        return function(*args, **kwargs, **{name: getattr(self, name) for name in bound})

    functools.update_wrapper(method, function)
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__signature__ = signature.replace(parameters=[this, *parameters])  # type: ignore[attr-defined]
    doc = _with_sections(function, signature.replace(parameters=parameters))
    method.__doc__ = doc.split("\n\nExample:")[0]  # that is the function's
    return method


_ARGUMENTS = {
    "t": "Times, 0 at x and 1 at y",
    "r": "Factors",
    **dict.fromkeys("xy", "Points"),
    "p": "Stereographic coordinates",
    **dict.fromkeys("uv", "Tangent vectors"),
    "a": "Components in the orthonormal frame at x",
    "m": "Matrices",
    "w": "Vectors",
    "g": "Gradients with respect to the coordinates",
    "c": "Minus the sectional curvature",
    "kappa": "Sectional curvature",
    "dim": "Dimension of the space",
    "key": "Random key",
    "shape": "Of the result, the last axes that of a point",
    "dtype": "Of the result, by default the default float type",
}


def _with_sections(function: Callable[..., Any], signature: inspect.Signature) -> str:
    """The docstring with sections on arguments and result, where it has none, their shapes from the annotations."""
    doc = inspect.getdoc(function) or ""
    if "Args:" in doc:
        listed = re.findall(r"\n    (\w+): .*", doc.split("Returns:")[0])
        gone = [name for name in listed if name not in signature.parameters]
        return re.sub(rf"\n    ({'|'.join(gone)}): .*", "", doc) if gone else doc
    named = {n: p.annotation for n, p in signature.parameters.items() if n in _ARGUMENTS}
    arguments = [f"    {n}: {_ARGUMENTS[n]}{_shape(a)}." for n, a in named.items()]
    result = f"    Array{_shape(signature.return_annotation)}."
    text, *example = doc.split("\n\nExample:")
    sections = "\n".join(["", "", "Args:", *arguments, "", "Returns:", result])
    return "\n\nExample:".join([text + sections, *example])


def _shape(annotation: Any) -> str:
    """(..., d) for ``Float[Array, "*#batch d"]``, nothing for what has no such shape."""
    axes = getattr(annotation, "dim_str", "").split()
    names = ["..." if axis.startswith("*") else axis for axis in axes]
    return f" ({', '.join(names)})" if names else ""
