"""Orders of harmonic coefficients: packed, and as the transforms compute with them."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float


# Operation by operation an eager call takes milliseconds; inside a traced function nothing is left of it.
compiled = partial(jax.jit, inline=True)


def checked(name, x, shape, table):
    """x as an array, if it has the trailing shape and the tables' type."""
    x = jnp.asarray(x)
    if x.shape[x.ndim - len(shape) :] != shape:
        raise ValueError(f"{name}: the shape must end in {shape}, got {x.shape}")
    if x.dtype != table.dtype:
        raise ValueError(f"{name}: the transform was made for {table.dtype}, got {x.dtype}")
    return x


def sphere_pack(x: Float[Array, "L L 2 *rest"]) -> Float[Array, "*rest LL"]:
    """Packed coefficients from those in the order of the computation.

    Args:
        x: coefficients (m, l, cosine or sine, ...), of shape (L, L, 2, ...).

    Returns:
        Packed coefficients (..., L^2).
    """
    return _pack(x, 3, _sphere_rows(len(x)))


def sphere_unpack(packed: Float[Array, "*rest LL"], degrees: int) -> Float[Array, "L L 2 *rest"]:
    """Coefficients in the order of the computation from packed ones.

    Args:
        packed: coefficients (..., L^2).
        degrees: L.

    Returns:
        Coefficients (m, l, cosine or sine, ...), of shape (L, L, 2, ...); 0 where there is none.
    """
    return _unpack(packed, (degrees, degrees, 2), _sphere_rows(degrees))


def _sphere_rows(degrees):
    l = np.repeat(np.arange(degrees), 2 * np.arange(degrees) + 1)
    m = np.arange(degrees**2) - l**2 - l
    return (abs(m) * degrees + l) * 2 + (m < 0)


def rotation_pack(x: Float[Array, "L N1 L 2 2 *rest"]) -> Float[Array, "*rest size"]:
    """Packed coefficients from those in the order of the computation.

    Args:
        x: coefficients (m, n, l, s, t, ...), of shape (L, N + 1, L, 2, 2, ...).

    Returns:
        Packed coefficients (..., size).
    """
    return _pack(x, 5, rotation_rows(x.shape[0], x.shape[1] - 1))


def rotation_unpack(
    packed: Float[Array, "*rest size"], degrees: int, orders: int
) -> Float[Array, "L N1 L 2 2 *rest"]:
    """Coefficients in the order of the computation from packed ones.

    Args:
        packed: coefficients (..., size).
        degrees: L.
        orders: N, the largest |n|.

    Returns:
        Coefficients (m, n, l, s, t, ...), of shape (L, N + 1, L, 2, 2, ...); 0 where there is none.
    """
    shape = (degrees, orders + 1, degrees, 2, 2)
    return _unpack(packed, shape, rotation_rows(degrees, orders))


def rotation_rows(degrees, orders):
    rows = []
    for l in range(degrees):
        m, n = np.ogrid[-l : l + 1, -min(l, orders) : min(l, orders) + 1]
        rows.append((((abs(m) * (orders + 1) + abs(n)) * degrees + l) * 2 + (m < 0)) * 2 + (n < 0))
    return np.concatenate([row.ravel() for row in rows])


def _pack(x, axes, rows):
    """Of the entries along the leading axes those at some rows, as the last axis."""
    entries = x.reshape(math.prod(x.shape[:axes]), *x.shape[axes:])
    return jnp.moveaxis(entries[rows], 0, -1)


def _unpack(packed, shape, rows):
    """The inverse of :func:`_pack`, with leading axes of some shape; 0 at the other rows."""
    values = jnp.moveaxis(packed, -1, 0)
    x = jnp.zeros((math.prod(shape), *values.shape[1:]), packed.dtype)
    return x.at[rows].set(values, unique_indices=True).reshape(*shape, *values.shape[1:])
