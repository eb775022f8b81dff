"""The group SE(3) of rigid motions p -> r p + s: as a manifold the product of SO(3) and R^3, with the group's
operations.

The metric is the left-invariant one that is the product of SO(3)'s bi-invariant metric and R^3's: left
translations (r, s) -> (q r, q s + u) keep it, and geodesics are those of the factors, not one-parameter
groups of screws. So :func:`SE3` is a :class:`~geodl.manifolds.product.Product`, with all that this offers;
points are tuples (r, s) of a rotation matrix (..., 3, 3) and a vector (..., 3).

Sources: Park, *Distance Metrics on the Rigid-Body Motions* (1995); Zefran, Kumar & Croke (1999).
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from geodl._core.reductions import dot
from geodl.manifolds.euclidean import Euclidean
from geodl.manifolds.product import Product
from geodl.manifolds.so3 import SO3


Rotation = Float[Array, "*#batch 3 3"]
Vector = Float[Array, "*#batch 3"]
Motion = tuple[Rotation, Vector]


def SE3() -> Product:
    """The manifold of rigid motions.

    Returns:
        ``Product(SO3(), Euclidean(3))``.
    """
    return Product(SO3(), Euclidean(3))


def apply(x: Motion, p: Vector) -> Vector:
    """r p + s for x = (r, s).

    Returns:
        The points p (..., 3), moved.
    """
    r, s = x
    return dot(r, p[..., None, :]) + s


def compose(x: Motion, y: Motion) -> Motion:
    """(q r, q s + u) for x = (q, u) and y = (r, s).

    Returns:
        x y, the motion by y and then by x.
    """
    (q, _), (r, s) = x, y
    columns = jnp.swapaxes(r, -1, -2)[..., None, :, :]
    return dot(q[..., :, None, :], columns), apply(x, s)


def inverse(x: Motion) -> Motion:
    """(r^T, -r^T s) for x = (r, s).

    Returns:
        The motion back.
    """
    r, s = x
    back = jnp.swapaxes(r, -1, -2)
    return back, -dot(back, s[..., None, :])
