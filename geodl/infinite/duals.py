"""Expectations of nonlinearities of two Gaussian variables, (E[f(u) f(v)], E[f'(u) f'(v)]).

u and v have mean 0, variances v1 and v2 and covariance k. With A = 1 + v1, B = 1 + v2 and the determinant d = v1 v2 -
k^2 of their covariance:

    relu:  (s + k a) / 2 pi,  a / 2 pi,  s = sqrt(d),  a = atan2(s, -k) = pi - (the angle between the inputs)
    erf:   (2 / pi) atan2(2 k, sqrt(D)),  (4 / pi) / sqrt(D),  D = 1 + 2 v1 + 2 v2 + 4 d
    gelu:  k p + r / (2 pi sqrt(D)),  p + k (2/A + 2/B - 1 + r / D) / (2 pi sqrt(D)),  D = 1 + v1 + v2 + d

with p = 1/4 + atan2(k, sqrt(D)) / 2 pi and r = d + k^2 (1/A + 1/B).

atan2 rather than arccos of k / sqrt(v1 v2), which loses half of the digits next to 1.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from geodl._core.reductions import binade


# Of ReLU the second expectation has a kink where the inputs coincide, sqrt(d), and there d is rounding.
_COINCIDENT = 64


@jax.custom_jvp
def relu(k: ArrayLike, v1: ArrayLike, v2: ArrayLike) -> tuple[Array, Array]:
    """The expectations for max(u, 0): the arc-cosine kernels of order 1 and 0.

    Inputs whose angle is below 8 sqrt(eps) count as coincident; there the derivative of the second one is 0.

    Args:
        k: covariance (...).
        v1: variance of u (...); shapes broadcast.
        v2: variance of v (...).

    Returns:
        The two expectations (...).

    Reference:
        Cho & Saul, *Kernel methods for deep learning* (2009).
    """
    (k, v1, v2), unit = _in_units(*map(jnp.asarray, (k, v1, v2)))
    s = _relu_sine(k, v1, v2)
    a = jnp.arctan2(s, -k)
    return unit * ((s + k * a) / (2 * np.pi)), a / (2 * np.pi)


def _in_units(k: Array, v1: Array, v2: Array) -> tuple[tuple[Array, Array, Array], Array]:
    """The variables divided by powers of two of their size, so that products are floats; and what k is divided by."""
    a, b = (binade(jnp.sqrt(v)[..., None]) for v in (v1, v2))
    return (k * (1 / a) * (1 / b), v1 / a / a, v2 / b / b), a * b


def _relu_sine(k, v1, v2):
    product = v1 * v2
    d = product - k * k
    # "not >": NaN stays NaN
    coincident = d <= _COINCIDENT * jnp.finfo(product.dtype).eps * product
    return jnp.where(coincident, 0, jnp.sqrt(jnp.where(coincident, 1, d)))


@relu.defjvp
def _relu_jvp(primals, tangents):
    # By Price's theorem: of the arc-cosine form both are 0/0 where the inputs coincide.
    dk, dv1, dv2 = tangents
    value, slope = relu(*primals)
    (k, v1, v2), unit = _in_units(*primals)
    s = _relu_sine(k, v1, v2)
    growth = _ratio(dv1, primals[1]) + _ratio(dv2, primals[2])
    dvalue = slope * dk + unit * (s / (4 * np.pi)) * growth
    dslope = _ratio(dk, unit * s) - _ratio(k / 2 * growth, s)
    return (value, slope), (dvalue, dslope / (2 * np.pi))


def _ratio(a, b):
    """a / b, 0 where b is."""
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))


def erf(k: ArrayLike, v1: ArrayLike, v2: ArrayLike) -> tuple[Array, Array]:
    """The expectations for erf(u).

    Args:
        k: covariance (...).
        v1: variance of u (...); shapes broadcast.
        v2: variance of v (...).

    Returns:
        The two expectations (...).

    Reference:
        Williams, *Computing with infinite networks* (1996).
    """
    k, v1, v2 = map(jnp.asarray, (k, v1, v2))
    root = jnp.sqrt(1 + 2 * (v1 + v2) + 4 * _determinant(k, v1, v2))
    return 2 / np.pi * jnp.arctan2(2 * k, root), 4 / np.pi / root


def gelu(k: ArrayLike, v1: ArrayLike, v2: ArrayLike) -> tuple[Array, Array]:
    """The expectations for u times the normal distribution function of u.

    Args:
        k: covariance (...).
        v1: variance of u (...); shapes broadcast.
        v2: variance of v (...).

    Returns:
        The two expectations (...).

    Reference:
        Tsuchida, Pearce, van der Heide, Roosta & Gallagher, *Avoiding kernel fixed points* (2021).
    """
    k, v1, v2 = map(jnp.asarray, (k, v1, v2))
    d, inverses = _determinant(k, v1, v2), 1 / (1 + v1) + 1 / (1 + v2)
    both = 1 + v1 + v2 + d
    root = jnp.sqrt(both)
    p = 1 / 4 + jnp.arctan2(k, root) / (2 * np.pi)
    rest = d + k * k * inverses
    scale = 1 / (2 * np.pi * root)
    return k * p + scale * rest, p + scale * k * (2 * inverses - 1 + rest / both)


@jax.custom_jvp
def _determinant(k, v1, v2):
    return jnp.maximum(v1 * v2 - k * k, 0)


@_determinant.defjvp
def _determinant_jvp(primals, tangents):
    # Coincident inputs are rounded to below 0 half of the time, and have a derivative all the same.
    (k, v1, v2), (dk, dv1, dv2) = primals, tangents
    return _determinant(k, v1, v2), v2 * dv1 + v1 * dv2 - 2 * k * dk
