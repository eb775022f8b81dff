"""Gradient saliency, integrated gradients, SmoothGrad, occlusion.

f is evaluated in the precision of x, averages are taken in float32 at least, and the attribution has the dtype of x,
that of a float where x is of integers. No more than ``batch_size`` inputs are evaluated at once, in the memory of so
many.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import PRNGKeyArray

from geodl._core.checks import as_float, check_count


Function: TypeAlias = Callable[[Array], Array]


def saliency(f: Function, x: ArrayLike) -> Array:
    """The gradient df/dx at x, signed.

    Returns:
        The attribution, of the shape of x.

    Reference:
        Simonyan, Vedaldi & Zisserman 2014, who show its absolute value, largest over the channels.
    """
    return jax.grad(f)(as_float(x))


def integrated_gradients(
    f: Function,
    x: ArrayLike,
    baseline: ArrayLike = 0.0,
    steps: int = 32,
    batch_size: int | None = 64,
) -> Array:
    """(x - baseline) int_0^1 grad f(baseline + t (x - baseline)) dt.

    Complete: it sums to f(x) - f(baseline), up to the error of the quadrature, Gauss-Legendre in ``steps`` nodes.

    Args:
        f: a scalar function of one input.
        x: the input, of any shape.
        baseline: what says nothing, of the shape of x or broadcast to it.
        steps: nodes of the quadrature.
        batch_size: how many gradients at once; None for all.

    Returns:
        The attribution, of the shape of x.

    Raises:
        ValueError: a baseline whose shape is not that of x (nor broadcasts to it), steps or batch_size < 1.

    Reference:
        Sundararajan, Taly & Yan 2017, equation 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from geodl.explain import integrated_gradients
        >>> integrated_gradients(lambda x: jnp.sum(x**2), jnp.array([1.0, 2.0])).round(4)
        Array([1., 4.], dtype=float32)
    """
    x = as_float(x)
    check_count("integrated_gradients: steps", steps)
    if np.broadcast_shapes(jnp.shape(baseline), x.shape) != x.shape:
        raise ValueError(
            f"integrated_gradients: the baseline must broadcast to {x.shape}, got {jnp.shape(baseline)}"
        )
    node, weight = np.polynomial.legendre.leggauss(steps)
    end = _wide(x)
    way = end - jnp.broadcast_to(jnp.asarray(baseline, end.dtype), x.shape)

    def slope(node):
        t, weight = node
        return weight * _wide(jax.grad(f)((end - (1 - t) * way).astype(x.dtype)))

    nodes = jnp.asarray((1 + node) / 2, end.dtype), jnp.asarray(weight / 2, end.dtype)
    return (way * jnp.sum(_map(slope, nodes, batch_size), 0)).astype(x.dtype)


def smooth_grad(
    f: Function,
    x: ArrayLike,
    key: PRNGKeyArray,
    scale: ArrayLike,
    samples: int = 32,
    batch_size: int | None = 64,
) -> Array:
    """E grad f(x + scale e), e standard normal.

    It is the gradient of f smoothed by that noise.

    Args:
        f: a scalar function of one input.
        x: the input, of any shape.
        key: of the noise.
        scale: its standard deviation, in the units of x.
        samples: how many draws.
        batch_size: how many gradients at once; None for all.

    Returns:
        The attribution, of the shape of x.

    Raises:
        ValueError: samples or batch_size < 1.

    Reference:
        Smilkov et al. 2017.
    """
    x = as_float(x)
    check_count("smooth_grad: samples", samples)
    noise = scale * jax.random.normal(key, (samples, *x.shape), x.dtype)
    gradients = _map(lambda noise: _wide(jax.grad(f)(x + noise)), noise, batch_size)
    return jnp.mean(gradients, 0).astype(x.dtype)


def occlusion(
    f: Function,
    x: ArrayLike,
    window: tuple[int, ...],
    baseline: ArrayLike = 0.0,
    stride: int = 1,
    batch_size: int | None = 64,
) -> Array:
    """What f loses where a window is covered by the baseline, averaged over the windows that cover an entry.

    The window (h, w) goes over the first axes of x (h, w, channels) in strides, all other axes are covered whole.
    Entries that no window covers get 0.

    Args:
        f: a scalar function of one input.
        x: the input.
        window: its sides in entries.
        baseline: what covers, of the shape of x or broadcast to it.
        stride: entries from one window to the next.
        batch_size: how many windows at once; None for all: of an image of 64 x 64 there are some 4000, and each
            needs the memory of one evaluation of f.

    Returns:
        The attribution, of the shape of x.

    Raises:
        ValueError: a window that is larger than x or has more axes, stride or batch_size < 1.

    Reference:
        Zeiler & Fergus 2014.
    """
    x = as_float(x)
    sides = x.shape[: len(window)]
    if len(window) > x.ndim or any(not 0 < w <= n for w, n in zip(window, sides, strict=True)):
        raise ValueError(f"occlusion: the window must fit into {x.shape}, got {window}")
    check_count("occlusion: stride", stride)
    # for each axis which entries (n,) each position of the window covers
    covers = [
        (np.arange(n) - stride * np.arange((n - w) // stride + 1)[:, None]) // w == 0
        for n, w in zip(sides, window, strict=True)
    ]
    positions = [len(cover) for cover in covers]

    def loss(corner):
        mask = jnp.ones((1,) * x.ndim, bool)
        for axis, (cover, i) in enumerate(zip(covers, corner, strict=True)):
            mask &= jnp.expand_dims(jnp.asarray(cover)[i], [a for a in range(x.ndim) if a != axis])
        return whole - _wide(f(jnp.where(mask, covered, x)))

    covered = jnp.broadcast_to(jnp.asarray(baseline, x.dtype), x.shape)
    whole = _wide(f(x))
    corners = jnp.asarray(np.indices(positions).reshape(len(window), -1).T)
    total = _map(loss, corners, batch_size).reshape(positions)
    # the mean over each axis, which goes to the end: the first comes first again
    for cover in covers:
        share = jnp.asarray(cover / np.maximum(cover.sum(0), 1), total.dtype)
        total = jnp.tensordot(total, share, (0, 0), precision="highest")
    total = total.reshape(*sides, *[1] * (x.ndim - len(sides)))
    return jnp.broadcast_to(total, x.shape).astype(x.dtype)


def _wide(x):
    """In float32 at least, where sums and differences are taken."""
    return jnp.asarray(x, jnp.promote_types(as_float(x).dtype, jnp.float32))


def _map(f, xs, batch_size):
    n = len(jax.tree.leaves(xs)[0])
    batch_size = n if batch_size is None else batch_size
    check_count("batch_size", batch_size)
    if batch_size >= n:
        return jax.vmap(f)(xs)
    return jax.lax.map(f, xs, batch_size=batch_size)
