"""What makes a formula a public function: types, shapes, checks of what is concrete."""

import functools
import inspect
import operator
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer
from jax.typing import ArrayLike


T = TypeVar("T")
AnyArray = TypeVar("AnyArray", Array, np.ndarray)


def is_concrete(*arrays) -> bool:
    """True when every array holds values that Python may look at (not inside jit, vmap or grad)."""
    return not any(isinstance(a, Tracer) for a in arrays)


def check(ok: ArrayLike, message: str, value) -> None:
    """Raise ``ValueError(message + offending value)`` where concrete values break a condition.

    Inside jit, vmap and grad nothing is checked: values are not known there, and each function documents
    what it does with bad ones.
    """
    # NumPy: under jit, jnp traces concrete values too
    if is_concrete(ok, value) and not np.all(ok):
        values, oks = np.broadcast_arrays(value, ok)
        raise ValueError(f"{message}, got {values[~oks].ravel()[0]}")


def check_points(name: str, manifold, points) -> None:
    """Raise where concrete points do not lie on a concrete manifold."""
    if is_concrete(*jax.tree.leaves((manifold, points))):
        try:
            manifold.project_tangent(points, points)  # a cheap function that looks at its point
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None


def check_positive(name: str, value) -> None:
    """Raise where a concrete number is not a finite positive one."""
    if is_concrete(value):
        value = _numbers(name, value)
        check((value > 0) & (value < np.inf), f"{name} must be positive", value)


def check_integer(name: str, value, least: int = 1) -> None:
    """Raise where a size is not an integer of at least so much: ``check_integer("PoincareBall: dim", dim)``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        wanted = "a positive integer" if least == 1 else f"an integer of at least {least}"
        raise ValueError(f"{name} must be {wanted}, got {value!r}")


def check_count(name: str, count) -> None:
    """Raise where a number of things is below 1."""
    if count < 1:
        raise ValueError(f"{name} must be at least 1, got {count}")


def check_nonnegative(name: str, value) -> None:
    """Raise where a concrete number is not a finite one >= 0."""
    if is_concrete(value):
        value = _numbers(name, value)
        check((value >= 0) & (value < np.inf), f"{name} must be at least 0", value)


def _numbers(name, value):
    value = np.asarray(value)
    if not jnp.issubdtype(value.dtype, np.number):
        raise ValueError(f"{name} must be a number, got {value}")
    return value


def primitive(
    *points: str,
    validate: Callable[..., None] | None = None,
    store: Callable[..., Array] | None = None,
    static: tuple[str, ...] = (),
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Make a formula a public function: one dtype inside, the inputs' dtype outside, clear errors.

    ``points`` names the arguments whose last axis holds coordinates: their lengths must agree. Inputs are
    promoted to one floating dtype; half precision is computed in float32 and returned as it came.
    ``validate(**arguments)`` sees them as NumPy arrays when all are concrete. ``store(result, dtype, **arguments)``,
    where given, rounds the result to the inputs' dtype. ``static`` names arguments that are no arrays.
    """

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        signature = inspect.signature(function)
        # Operation by operation an eager call takes milliseconds; inside a traced function nothing is left of it.
        compiled = jax.jit(function, inline=True, static_argnames=static)

        @functools.wraps(function)
        def wrapper(*args, **kwargs) -> T:
            arguments = signature.bind(*args, **kwargs).arguments
            fixed = {name: arguments.pop(name) for name in static}
            arrays = {name: jnp.asarray(a) for name, a in arguments.items()}
            _check_last_axes(function.__name__, {n: arrays[n] for n in points if n in arrays})
            dtype = jnp.result_type(float_dtype(*arrays.values()))
            inside = jnp.float32 if dtype.itemsize < 4 else dtype
            arrays = {n: lax.convert_element_type(a, inside) for n, a in arrays.items()}
            if validate is not None and is_concrete(*arrays.values()):
                validate(**{n: np.asarray(a) for n, a in arrays.items()}, **fixed)
            with jax.numpy_rank_promotion("allow"):  # leading axes broadcast in any mode
                result = compiled(**arrays, **fixed)
                if store is not None:
                    return store(result, dtype, **arrays)  # type: ignore
            return jax.tree.map(lambda a: lax.convert_element_type(a, dtype), result)  # type: ignore

        wrapper.is_primitive = True  # type: ignore[attr-defined]
        return wrapper

    return decorate


def as_shape(shape: int | Iterable[int]) -> tuple[int, ...]:
    """A shape as NumPy takes it: the integer n means (n,)."""
    return tuple(shape) if isinstance(shape, Iterable) else (operator.index(shape),)


def is_shape(node: Any) -> bool:
    """Whether it is a tuple of integers: a leaf of a product's ``event_shape``."""
    return isinstance(node, tuple) and all(isinstance(n, int) for n in node)


def with_axes(a: AnyArray, axes: int) -> AnyArray:
    """The array with axes of length 1 in front, ``axes`` in all."""
    return a.reshape((1,) * (axes - a.ndim) + a.shape)


def aligned(*arrays: AnyArray) -> tuple[AnyArray, ...]:
    """The arrays with as many axes in each, so that they broadcast where JAX does not promote ranks either."""
    axes = max(a.ndim for a in arrays)
    return tuple(with_axes(a, axes) for a in arrays)


def float_dtype(*arrays):
    """Common floating dtype of the arrays; integers count as the default float."""
    floats = [a for a in arrays if jnp.issubdtype(jnp.result_type(a), jnp.inexact)]
    return jnp.result_type(*(floats or [float]))


def as_float(x: Any) -> Array:
    """An array; a list as one, integers as floats: what arithmetic and derivatives need."""
    array = jnp.asarray(x)
    return jnp.asarray(array, float_dtype(array))


def as_floats(tree: Any) -> Any:
    """The tree with :func:`as_float` of each leaf, a list being one."""
    return jax.tree.map(as_float, tree, is_leaf=lambda node: isinstance(node, list))


def _check_last_axes(name: str, arrays: dict[str, Array]) -> None:
    for key, a in arrays.items():
        if a.ndim == 0:
            raise ValueError(f"{name}: {key} needs coordinates on its last axis, got a scalar")
    if len({a.shape[-1] for a in arrays.values()}) > 1:
        shapes = ", ".join(f"{key} {a.shape}" for key, a in arrays.items())
        raise ValueError(f"{name}: last axes (coordinates) must be equal, got {shapes}")
