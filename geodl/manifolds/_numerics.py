"""Well-conditioned building blocks shared by all manifolds (DESIGN: the numerical contract).

Functions of a norm r that are even in r are written as smooth functions of ``q = r**2``: a norm has no
derivative at 0, its square has, so value and derivatives of every order stay finite at coincident points.
"""

import functools
import inspect
import math
import operator
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer
from jax.custom_batching import custom_vmap
from jax.typing import ArrayLike

from geodl._core.platform import cpu_barrier


T = TypeVar("T")


# ---------------------------------------------------------------------------------------------------
# The public-function decorator: dtypes and checks
# ---------------------------------------------------------------------------------------------------


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


def check_positive(name: str, value) -> None:
    """Raise where a concrete number is not a finite positive one."""
    if is_concrete(value):
        value = np.asarray(value)
        check((value > 0) & (value < np.inf), f"{name} must be positive", value)


def check_dim(name: str, dim) -> None:
    """Raise where a dimension is not a positive integer: ``check_dim("PoincareBall", dim)``."""
    if isinstance(dim, bool) or not isinstance(dim, int | np.integer) or dim < 1:
        raise ValueError(f"{name}: dim must be a positive integer, got {dim!r}")


def check_nonnegative(name: str, value) -> None:
    """Raise where a concrete number is not a finite one >= 0."""
    if is_concrete(value):
        value = np.asarray(value)
        check((value >= 0) & (value < np.inf), f"{name} must be at least 0", value)


def primitive(
    *points: str,
    validate: Callable[..., None] | None = None,
    store: Callable[..., Array] | None = None,
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Make a formula a public function: one dtype inside, the inputs' dtype outside, clear errors.

    ``points`` names the arguments whose last axis holds coordinates: their lengths must agree. Inputs are
    promoted to one floating dtype; half precision is computed in float32 and returned as it came.
    ``validate(**arguments)`` sees the arguments when all of them are concrete. ``store(result, dtype, **arguments)``,
    where given, rounds the result to the inputs' dtype.
    """

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        signature = inspect.signature(function)
        # Operation by operation an eager call takes milliseconds; inside a traced function nothing is left of it.
        compiled = jax.jit(function, inline=True)

        @functools.wraps(function)
        def wrapper(*args, **kwargs) -> T:
            arguments = signature.bind(*args, **kwargs).arguments
            arrays = {name: jnp.asarray(a) for name, a in arguments.items()}
            _check_last_axes(function.__name__, {n: arrays[n] for n in points if n in arrays})
            dtype = jnp.result_type(float_dtype(*arrays.values()))
            inside = jnp.float32 if dtype.itemsize < 4 else dtype
            arrays = {n: lax.convert_element_type(a, inside) for n, a in arrays.items()}
            if validate is not None and is_concrete(*arrays.values()):
                validate(**arrays)
            with jax.numpy_rank_promotion("allow"):  # leading axes broadcast in any mode
                result = compiled(**arrays)
                if store is not None:
                    return store(result, dtype, **arrays)  # type: ignore
            return jax.tree.map(lambda a: lax.convert_element_type(a, dtype), result)  # type: ignore

        wrapper.is_primitive = True  # type: ignore[attr-defined]
        return wrapper

    return decorate


def as_shape(shape: int | Iterable[int]) -> tuple[int, ...]:
    """A shape as NumPy takes it: the integer n means (n,)."""
    return tuple(shape) if isinstance(shape, Iterable) else (operator.index(shape),)


def float_dtype(*arrays):
    """Common floating dtype of the arrays; integers count as the default float."""
    dtype = jnp.result_type(*arrays)
    return dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(dtype, float)


def _check_last_axes(name: str, arrays: dict[str, Array]) -> None:
    for key, a in arrays.items():
        if a.ndim == 0:
            raise ValueError(f"{name}: {key} needs coordinates on its last axis, got a scalar")
    if len({a.shape[-1] for a in arrays.values()}) > 1:
        shapes = ", ".join(f"{key} {a.shape}" for key, a in arrays.items())
        raise ValueError(f"{name}: last axes (coordinates) must be equal, got {shapes}")


# ---------------------------------------------------------------------------------------------------
# Linear algebra on the last axis
# ---------------------------------------------------------------------------------------------------


# XLA:CPU reduces a short last axis slowly, and recomputes for every coordinate a per-point scalar that it fuses into a
# loop over coordinates. Hence slices instead of short reductions, and barriers where scalars meet vectors.

UNROLLED = 16  # last axes up to this length are summed by slices


def dot(x: Array, y: Array) -> Array:
    """Inner product over the last axis; elementwise, so never in bf16 or TF32 on an accelerator."""
    return _last_sum(x * y)


@jax.custom_jvp
def _last_sum(a: Array) -> Array:
    if 0 < a.shape[-1] <= UNROLLED:
        return functools.reduce(operator.add, (a[..., i] for i in range(a.shape[-1])))
    return sums(a)[0]


def tangent_dot(x: Array, y: Array) -> Array:
    """``dot`` for tangents in a hand-written derivative rule: its transpose is a broadcast, that of slices pads."""
    return cpu_barrier(jnp.sum(x * y, -1))


_last_sum.defjvp(
    lambda primals, tangents: (
        _last_sum(*primals),
        cpu_barrier(jnp.sum(tangents[0], -1)),
    )
)


@custom_vmap
def sums(*terms: Array) -> tuple[Array, ...]:
    """Sums over the last axis of several arrays, of those of one shape in one pass (each jnp.sum is a pass of its own).

    Not differentiable by itself. Under ``vmap``, an array without the mapped axis is summed once.
    """
    groups = {}
    for i, a in enumerate(terms):
        groups.setdefault(a.shape, []).append(i)
    found = {}
    for shape, group in groups.items():
        parts, length = [terms[i] for i in group], shape[-1]
        if length > UNROLLED and length % 8 == 0:  # first within 8 lanes, which XLA:CPU vectorises
            lanes = (*shape[:-1], length // 8, 8)
            parts = _reduce(*(a.reshape(lanes) for a in parts), axis=-2)
        found |= zip(group, _reduce(*parts, axis=-1), strict=True)
    return tuple(found[i] for i in range(len(terms)))


@sums.def_vmap
def _sums_vmap(size, batched, *terms):
    return sums(*terms), tuple(batched)


def _reduce(*terms: Array, axis: int) -> tuple[Array, ...]:
    zeros = (jnp.zeros((), terms[0].dtype),) * len(terms)
    return tuple(lax.reduce(terms, zeros, _add, (terms[0].ndim + axis,)))


def _add(a, b):  # one function, whose compiled reductions jax remembers
    return tuple(u + v for u, v in zip(a, b, strict=True))


def zero_of(x: Array) -> Array:
    """0 (...) for every vector x, NaN where x is: for formulas that ignore a point."""
    return dot(x, jnp.zeros_like(x))


@jax.custom_jvp
def scale(s: Array, v: Array) -> Array:
    """The vectors ``v`` (..., d) times the scalars ``s`` (...)."""
    return cpu_barrier(s)[..., None] * v


@scale.defjvp
def _scale_jvp(primals, tangents):
    (s, v), (ds, dv) = primals, tangents
    s, ds = (cpu_barrier(a)[..., None] for a in (s, ds))
    if v.shape[-1] <= UNROLLED:
        ds = jnp.concatenate([ds] * v.shape[-1], -1)  # transposes to a sum of slices
    return s * v, ds * v + s * dv


def power_of_two_above(a: Array) -> Array:
    """The smallest power of two >= a (a normal positive number), by its exponent's bits."""
    nmant, integer = jnp.finfo(a.dtype).nmant, jnp.dtype(f"int{8 * a.dtype.itemsize}")
    one = jnp.array(1, integer) << nmant
    bits = lax.bitcast_convert_type(a, integer)
    return lax.bitcast_convert_type((bits + one - 1) // one * one, a.dtype)


def binade(x: Array) -> Array:
    """A power of two of the size of the largest |x_i| (...), without derivative.

    By it x divides without rounding, and then its squares neither overflow nor underflow. Itself and its inverse are
    normal numbers, also for x = 0.
    """
    info, x = jnp.finfo(x.dtype), jnp.abs(lax.stop_gradient(x))
    if 0 < x.shape[-1] <= UNROLLED:
        largest = functools.reduce(jnp.maximum, (x[..., i] for i in range(x.shape[-1])))
    else:
        largest = jnp.max(x, -1, initial=0)
    bits = lax.bitcast_convert_type(largest, jnp.dtype(f"int{info.bits}"))
    power = lax.bitcast_convert_type(bits >> info.nmant << info.nmant, x.dtype)
    return jnp.clip(power, info.tiny, 1 / info.tiny)


def safe_sqrt(q: Array) -> Array:
    """sqrt with derivative 0 (not infinity) at 0: the subgradient that a norm gets at its kink."""
    zero = q <= 0  # not "> 0": NaN must stay NaN
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, q)))


def safe_norm(v: Array) -> Array:
    """Euclidean norm over the last axis, gradient 0 at 0."""
    return safe_sqrt(dot(v, v))


# ---------------------------------------------------------------------------------------------------
# Even functions of a norm, as functions of its square
# ---------------------------------------------------------------------------------------------------


def even(
    closed: Callable[[Array], Array], series: tuple[float | int, ...]
) -> Callable[[Array], Array]:
    """phi(q) = closed(sqrt(q)) for q >= 0, near 0 by its power series sum_k series[k] q**k.

    The series is there for the derivatives, of which the closed form loses the digits like eps/q.
    """

    def phi(q: Array) -> Array:
        radius, terms = (0.05, 7) if q.dtype.itemsize <= 4 else (0.005, 9)
        small = q < radius
        near = jnp.where(small, q, 0.0)
        taylor = functools.reduce(lambda total, a: total * near + a, series[:terms][::-1])
        return jnp.where(small, taylor, closed(jnp.sqrt(jnp.where(small, 1.0, q))))

    return phi


def _factorials(sign: int) -> tuple[float | int, ...]:
    return tuple(sign**k / math.factorial(2 * k + 1) for k in range(9))


sinhc = even(lambda r: jnp.sinh(r) / r, _factorials(1))  # sinh(r)/r
sinc = even(lambda r: jnp.sin(r) / r, _factorials(-1))  # sin(r)/r
tanhc = even(  # tanh(r)/r
    lambda r: jnp.tanh(r) / r,
    (
        1,
        -1 / 3,
        2 / 15,
        -17 / 315,
        62 / 2835,
        -1382 / 155925,
        21844 / 6081075,
        -929569 / 638512875,
        6404582 / 10854718875,
    ),
)
asinhc = even(  # asinh(r)/r
    lambda r: jnp.log1p(r + r * r / (1 + jnp.sqrt(1 + r * r))) / r,
    (1, -1 / 6, 3 / 40, -5 / 112, 35 / 1152, -63 / 2816, 231 / 13312, -143 / 10240, 6435 / 557056),
)


def _log_series(series: tuple[Fraction, ...]) -> tuple[float, ...]:
    """The power series of log(1 + series[1] q + series[2] q^2 + ...)."""
    log = [Fraction(0)]
    for n in range(1, len(series)):
        known = sum(k * log[k] * series[n - k] for k in range(1, n))
        log.append(series[n] - known / n)
    return tuple(map(float, log))


_LOG_SINHC = _log_series(tuple(Fraction(1, math.factorial(2 * k + 1)) for k in range(22)))


def log_sinhc(q: Array) -> Array:
    """log(sinh(r) / r) for r = sqrt(q), without overflow; by its series as far as the closed form cancels (q < 1.5)."""
    small = q < 1.5
    near = jnp.where(small, q, 0.0)
    terms = _LOG_SINHC[: 10 if q.dtype.itemsize <= 4 else 22]
    taylor = functools.reduce(lambda total, a: total * near + a, terms[::-1])
    r = jnp.sqrt(jnp.where(small, 1.5, q))
    return jnp.where(small, taylor, r + jnp.log(-jnp.expm1(-2 * r) / (2 * r)))


atanc = even(
    lambda r: jnp.arctan(r) / r, tuple((-1) ** k / (2 * k + 1) for k in range(9))
)  # atan(r)/r


def log_sinc(q: Array) -> Array:
    """log |sin(r)/r| for r = sqrt(q), with a finite floor where the sine vanishes (r = pi, 2 pi, ...).

    For r < 1 by the power series of sin(r)/r - 1: the logarithm of a number next to 1 has lost its digits.
    """
    short = q < 1
    near, r = jnp.where(short, q, 0.0), jnp.sqrt(jnp.where(short, 1.0, q))
    taylor = functools.reduce(lambda total, a: total * near + a, _factorials(-1)[:0:-1])
    far = jnp.maximum(jnp.abs(jnp.sin(r) / r), jnp.finfo(q.dtype).tiny)
    return jnp.where(short, jnp.log1p(near * taylor), jnp.log(far))


def cos_minus_one(q: Array) -> Array:
    """cos(r) - 1 for r = sqrt(q), without cancellation and smooth at q = 0."""
    return -q / 2 * jnp.square(sinc(q / 4))
