"""Vectors of a few coordinates by their coordinates, so that loops run over points.

The last axis is short and contiguous: a compiled loop over points that takes its coordinates one by one reads with
strides, and XLA:CPU does not vectorize it. With each coordinate an array of its own it does, and pairs of points,
(n, 1) against (m,), never become (n, m, d) arrays. Longer vectors stay one array: their coordinates would make long
programs, which compute again for each of them what they have in common.
"""

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from geodl._core import reductions
from geodl._core.platform import cpu_barrier, cpu_once
from geodl._core.reductions import FEW, UNROLLED


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Vectors:
    """Coordinates as a tuple of arrays (...), or all of them on the last axis of one array."""

    parts: Any  # JAX rebuilds it with what is no array

    def __add__(self, other: "Vectors") -> "Vectors":
        return each(operator.add, self, other)

    def __sub__(self, other: "Vectors") -> "Vectors":
        return each(operator.sub, self, other)

    def __rmul__(self, s: Array) -> "Vectors":
        if isinstance(self.parts, tuple):
            return each(operator.mul, cpu_barrier(s), self)
        if self.parts.shape[-1] > UNROLLED:
            s = cpu_once(s)  # shorter ones are scaled so anyway
        return Vectors(reductions.scale(s, self.parts))


def each(f: Callable[..., Array], *arguments: Vectors | Array) -> Vectors:
    """f of every coordinate, which scalars (...) among the arguments share."""
    vectors = [a.parts for a in arguments if isinstance(a, Vectors)]
    if isinstance(vectors[0], tuple):
        columns = (a.parts if isinstance(a, Vectors) else (a,) * len(vectors[0]) for a in arguments)
        return Vectors(tuple(map(f, *columns)))
    return Vectors(f(*(a.parts if isinstance(a, Vectors) else a[..., None] for a in arguments)))


def of_array(a: Array, start: int = 0, most: int = FEW) -> Vectors:
    """Vectors whose coordinates are on the last axis of ``a``, from ``start`` on; separate ones where they are few."""
    if a.shape[-1] - start > most:
        return Vectors(a[..., start:])
    return Vectors(tuple(cpu_barrier(_columns(a)[start:])))


def to_array(v: Vectors, *before: Array) -> Array:
    """Their coordinates on the last axis of one array, the given ones before them."""
    if isinstance(v.parts, tuple):
        # Once: the next function would find it in each of its columns.
        return cpu_once(_stack(*jnp.broadcast_arrays(*before, *v.parts)))
    return jnp.concatenate([*(a[..., None] for a in before), v.parts], -1)


def cut(v: Vectors) -> tuple[Array, Vectors]:
    """The first coordinate, and the vectors of the others."""
    if isinstance(v.parts, tuple):
        return v.parts[0], Vectors(v.parts[1:])
    return v.parts[..., 0], Vectors(v.parts[..., 1:])


def join(first: Array, v: Vectors) -> Vectors:
    """Inverse of :func:`cut`."""
    if isinstance(v.parts, tuple):
        return Vectors((first, *v.parts))
    return Vectors(jnp.concatenate([first[..., None], v.parts], -1))


def columns(a: Array) -> tuple[Array, ...]:
    """What is on the last axis, each entry an array of its own."""
    parts = lax.split(a, (1,) * a.shape[-1], axis=a.ndim - 1)
    return tuple(jnp.squeeze(part, -1) for part in parts)


# Columns meet in an array by selection, forward and in the transpose: into a concatenation XLA:CPU fuses all that the
# columns have in common, once for each of them.


@jax.custom_jvp
def _columns(a: Array) -> tuple[Array, ...]:
    return columns(a)


@_columns.defjvp
def _columns_jvp(primals, tangents):
    (a,), (da,) = primals, tangents
    index = np.arange(a.shape[-1])
    return _columns(a), tuple(jnp.sum(jnp.where(index == i, da, 0.0), -1) for i in index)


@jax.custom_jvp
def _stack(*columns: Array) -> Array:
    index, out = np.arange(len(columns)), columns[0][..., None]
    for i, column in enumerate(columns):
        out = jnp.where(index == i, column[..., None], out)
    return out


_stack.defjvp(lambda primals, tangents: (_stack(*primals), jnp.stack(tangents, -1)))


def dot(v: Vectors, w: Vectors) -> Array:
    """Inner products; elementwise, so never in bf16 or TF32 on an accelerator."""
    if isinstance(v.parts, tuple):
        return functools.reduce(operator.add, map(operator.mul, v.parts, w.parts))
    products = v.parts * w.parts
    if v.parts.shape != w.parts.shape:
        # All pairs: no bare product, of which XLA:CPU would write out both factors. -inf is a finite number then.
        products = jnp.maximum(products, jnp.finfo(products.dtype).min)
    return cpu_once(reductions.total(products))


def dots(*pairs: tuple[Vectors, Vectors]) -> tuple[Array, ...]:
    """:func:`dot` of several pairs, in one pass over long vectors of one shape."""
    shapes = {v.parts.shape for pair in pairs for v in pair if not isinstance(v.parts, tuple)}
    if len(shapes) != 1:
        return tuple(dot(*pair) for pair in pairs)
    return cpu_once(reductions.dots(*((v.parts, w.parts) for v, w in pairs)))


def tangent_dot(v: Vectors, w: Vectors) -> Array:
    """``dot`` for tangents in a hand-written derivative rule."""
    if isinstance(v.parts, tuple):
        return dot(v, w)
    return reductions.tangent_dot(v.parts, w.parts)


def tangent_scale(s: Array, v: Vectors) -> Vectors:
    """s v for tangents s in a hand-written derivative rule."""
    if isinstance(v.parts, tuple):
        return s * v
    return Vectors(reductions.tangent_scale(s, v.parts))
