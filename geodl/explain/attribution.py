"""Gradient saliency, integrated gradients, SmoothGrad, occlusion.

Averages over inputs are taken at once, by ``vmap``: a convolution in a loop is slow on the CPU.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import PRNGKeyArray


Function: TypeAlias = Callable[[Array], Array]


def saliency(f: Function, x: Array) -> Array:
    """The gradient of f at x, signed (Simonyan et al. 2014 show its absolute value, largest over the channels)."""
    return jax.grad(f)(x)


def integrated_gradients(
    f: Function, x: Array, baseline: ArrayLike = 0.0, steps: int = 32
) -> Array:
    """(x - baseline) times the mean gradient on the straight line from the baseline (Sundararajan et al. 2017, eq. 1).

    Complete: it sums to f(x) - f(baseline), up to the error of the quadrature, Gauss-Legendre in ``steps`` nodes.

    Raises ``ValueError`` for a baseline whose shape is not that of x (nor broadcasts to it), or steps < 1.
    """
    if steps < 1:
        raise ValueError(f"integrated_gradients: steps must be at least 1, got {steps}")
    if np.broadcast_shapes(jnp.shape(baseline), x.shape) != x.shape:
        raise ValueError(
            f"integrated_gradients: the baseline must broadcast to {x.shape}, got {jnp.shape(baseline)}"
        )
    node, weight = np.polynomial.legendre.leggauss(steps)
    t = jnp.asarray((1 + node) / 2, x.dtype)
    weights = jnp.asarray(weight / 2, x.dtype)
    way = x - jnp.asarray(baseline, x.dtype)
    gradients = jax.vmap(lambda t: jax.grad(f)(x - (1 - t) * way))(t)
    return way * jnp.tensordot(weights, gradients, 1)


def smooth_grad(
    f: Function, x: Array, key: PRNGKeyArray, scale: ArrayLike, samples: int = 32
) -> Array:
    """The mean gradient over normal noise of standard deviation ``scale`` around x (Smilkov et al. 2017).

    It is the gradient of f smoothed by that noise. Raises ``ValueError`` for samples < 1.
    """
    if samples < 1:
        raise ValueError(f"smooth_grad: samples must be at least 1, got {samples}")

    noise = scale * jax.random.normal(key, (samples, *x.shape), x.dtype)
    return jnp.mean(jax.vmap(jax.grad(f))(x + noise), 0)


def occlusion(
    f: Function,
    x: Array,
    window: tuple[int, ...],
    baseline: ArrayLike = 0.0,
    stride: int = 1,
) -> Array:
    """What f loses where a window is covered by the baseline, averaged over the windows that cover an entry.

    The window (h, w) goes over the first axes of x (h, w, channels) in strides, all other axes are covered whole
    (Zeiler & Fergus 2014). Entries that no window covers get 0.

    Raises ``ValueError`` for a window that is larger than x or has more axes, or a stride < 1.
    """
    sides = x.shape[: len(window)]
    if len(window) > x.ndim or any(not 0 < w <= n for w, n in zip(window, sides, strict=True)):
        raise ValueError(f"occlusion: the window must fit into {x.shape}, got {window}")
    if stride < 1:
        raise ValueError(f"occlusion: stride must be at least 1, got {stride}")
    corners = np.indices([(n - w) // stride + 1 for n, w in zip(sides, window, strict=True)])
    corners = stride * corners.reshape(len(window), -1).T
    masks = np.ones((len(corners), *sides), bool)
    for axis, width in enumerate(window):
        start = corners[:, axis].reshape(-1, *[1] * len(sides))
        i = np.indices(sides)[axis]
        masks &= (i >= start) & (i < start + width)
    masks = masks.reshape(*masks.shape, *[1] * (x.ndim - len(sides)))
    covered = jnp.where(masks, jnp.asarray(baseline, x.dtype), x)
    loss = f(x) - jax.vmap(f)(covered)
    share = masks / np.maximum(masks.sum(0), 1)
    return jnp.broadcast_to(jnp.tensordot(loss, jnp.asarray(share, loss.dtype), 1), x.shape)
