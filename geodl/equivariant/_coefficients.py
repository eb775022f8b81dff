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
    rows = x.reshape(math.prod(x.shape[:3]), *x.shape[3:])[_sphere_rows(len(x))]
    return jnp.moveaxis(rows, 0, -1)


def sphere_unpack(packed: Float[Array, "*rest LL"], degrees: int) -> Float[Array, "L L 2 *rest"]:
    """Coefficients in the order of the computation from packed ones.

    Args:
        packed: coefficients (..., L^2).
        degrees: L.

    Returns:
        Coefficients (m, l, cosine or sine, ...), of shape (L, L, 2, ...); 0 where there is none.
    """
    rows = jnp.moveaxis(packed, -1, 0)
    x = jnp.zeros((2 * degrees**2, *rows.shape[1:]), packed.dtype)
    x = x.at[_sphere_rows(degrees)].set(rows, unique_indices=True)
    return x.reshape(degrees, degrees, 2, *rows.shape[1:])


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
    rows = x.reshape(math.prod(x.shape[:5]), *x.shape[5:])
    return jnp.moveaxis(rows[rotation_rows(x.shape[0], x.shape[1] - 1)], 0, -1)


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
    rows = jnp.moveaxis(packed, -1, 0)
    shape = (degrees, orders + 1, degrees, 2, 2)
    x = jnp.zeros((math.prod(shape), *rows.shape[1:]), packed.dtype)
    x = x.at[rotation_rows(degrees, orders)].set(rows, unique_indices=True)
    return x.reshape(*shape, *rows.shape[1:])


def rotation_rows(degrees, orders):
    rows = []
    for l in range(degrees):
        m, n = np.ogrid[-l : l + 1, -min(l, orders) : min(l, orders) + 1]
        rows.append((((abs(m) * (orders + 1) + abs(n)) * degrees + l) * 2 + (m < 0)) * 2 + (n < 0))
    return np.concatenate([row.ravel() for row in rows])
