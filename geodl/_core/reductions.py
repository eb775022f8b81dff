"""Linear algebra on the last axis: elementwise, never in bf16 or TF32, and as XLA:CPU does it fast."""

import functools
import operator
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap

from geodl._core.platform import cpu_barrier, cpu_once


T = TypeVar("T")

# XLA:CPU reduces a short last axis slowly, and recomputes for every coordinate a per-point scalar that it fuses into a
# loop over coordinates. Hence slices instead of short reductions, and barriers where scalars meet vectors.

UNROLLED = 16  # last axes up to this length are summed by slices
# For so few coordinates it is faster to compute a scalar of the point again than to read it.
FEW = 4


def dot(x: Array, y: Array) -> Array:
    """Inner product over the last axis; elementwise, so never in bf16 or TF32 on an accelerator."""
    return total(x * y)


def total(a: Array) -> Array:
    """Sum over the last axis."""
    return _last_sums(a)[0]


def dots(*pairs: tuple[Array, Array]) -> tuple[Array, ...]:
    """:func:`dot` of several pairs of vectors, in one pass over them where that is faster."""
    return _last_sums(*(x * y for x, y in pairs))


@jax.custom_jvp
def _last_sums(*terms: Array) -> tuple[Array, ...]:
    most = FEW if len(terms) > 1 else UNROLLED
    if all(0 < a.shape[-1] <= most for a in terms):
        return tuple(once(_added(a), a) for a in terms)
    return sums(*terms)


def _added(a):
    return functools.reduce(operator.add, (a[..., i] for i in range(a.shape[-1])))


def tangent_dot(x: Array, y: Array) -> Array:
    """``dot`` for tangents in a hand-written derivative rule."""
    return _tangent_total(x * y)


def _tangent_total(a):
    """Its transpose is a broadcast (that of slices pads) of what is computed once for a point."""
    s = jnp.sum(a, -1)
    return cpu_once(s) if a.shape[-1] > FEW else cpu_barrier(s)


@_last_sums.defjvp
def _last_sums_jvp(primals, tangents):
    return _last_sums(*primals), tuple(map(_tangent_total, tangents))


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
        if length > UNROLLED and length % 8 == 0:  # first within 8 lanes, which XLA:CPU vectorizes
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


def once(s: T, v: Array) -> T:
    """s, computed once where that is faster (measured): not for a few coordinates, nor for many, read from memory."""
    return cpu_once(s) if FEW < v.shape[-1] <= UNROLLED else cpu_barrier(s)


@jax.custom_jvp
def scale(s: Array, v: Array) -> Array:
    """The vectors ``v`` (..., d) times the scalars ``s`` (...)."""
    return once(s, v)[..., None] * v


@scale.defjvp
def _scale_jvp(primals, tangents):
    (s, v), (ds, dv) = primals, tangents
    s = once(s, v)[..., None]
    return s * v, tangent_scale(ds, v) + s * dv


def tangent_scale(s: Array, v: Array) -> Array:
    """``scale`` for tangents s in a hand-written derivative rule."""
    s = once(s, v)[..., None]
    if v.shape[-1] <= UNROLLED:
        s = jnp.concatenate([s] * v.shape[-1], -1)  # transposes to a sum of slices
    return s * v


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
