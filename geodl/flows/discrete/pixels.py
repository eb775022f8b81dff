"""Between 8-bit images and densities of [0, 1]^d: bins of gray values, and noise within them (dequantization).

An image is a point of [0, 1]^d in which the gray value v = 0, ..., 255 is the bin [v, v + 1] / 256. With noise u in
[0, 1]^d of any density q(u | v), the probability of an image v of d pixels is bounded by

    log2 P(v) >= E log2 p((v + u) / 256) - E log2 q(u | v) - 8 d,

with equality where q is the distribution of the density p within the bin (Theis, van den Oord & Bethge 2016; Ho, Chen,
Srinivas, Duan & Abbeel 2019, 3.1). Images are (..., height, width, channels).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, UInt8

from geodl._core import distrax


LEVELS = 256


def gray_values(name: str, images: ArrayLike) -> UInt8[Array, "*shape"]:
    """The images as an array; raises ``TypeError`` in the name of the caller unless they are uint8."""
    images = jnp.asarray(images)
    if images.dtype != jnp.uint8:
        raise TypeError(f"{name}: gray values 0..255 as uint8 are needed, got {images.dtype}")
    return images


def dequantize(images: ArrayLike, key: Array) -> Float[Array, "*shape"]:
    """Uniform random points (v + u) / 256 of the pixels' bins.

    Returns:
        Points of [0, 1]^d, of the shape of the images.

    Raises:
        TypeError: the images are not uint8.
    """
    images = gray_values("dequantize", images)
    return (images + jax.random.uniform(key, images.shape)) / LEVELS


def bin_centers(images: ArrayLike) -> Float[Array, "*shape"]:
    """The centers (v + 1/2) / 256 of the pixels' bins.

    Returns:
        Points of [0, 1]^d, of the shape of the images.

    Raises:
        TypeError: the images are not uint8.
    """
    return (gray_values("bin_centers", images) + 0.5) / LEVELS


def quantize(x: ArrayLike) -> UInt8[Array, "*shape"]:
    """The gray values of the bins in which x lies, floor(256 x); 0 and 255 beyond [0, 1].

    Returns:
        uint8, of the shape of x.
    """
    return jnp.clip(jnp.floor(jnp.asarray(x) * LEVELS), 0, LEVELS - 1).astype(jnp.uint8)


Noise: TypeAlias = Callable[[ArrayLike, Array], tuple[Array, Array]]
"""``noise(images, key) -> (x, log_q)``: points (v + u) / 256 of the images' bins, and log q(u | v) of each image."""


def uniform_noise(images: ArrayLike, key: Array) -> tuple[Array, Array]:
    """The :data:`Noise` that is uniform on every bin: log q = 0.

    Returns:
        Points of the bins, and zeros (...).

    Raises:
        TypeError: the images are not uint8.
    """
    x = dequantize(images, key)
    return x, jnp.zeros(x.shape[:-3], x.dtype)


class LearnedNoise(NamedTuple):
    """Noise with parameters: ``init(key) -> params``, ``noise(params) ->`` :data:`Noise`."""

    init: Callable[[Array], Any]
    noise: Callable[[Any], Noise]


def logit_normal_noise() -> LearnedNoise:
    """u = sigmoid(b_v eps) with eps of N(0, 1), a width b_v for each gray value v: {"log_scale": (256,)}.

    It starts close to uniform noise (b = 1.6), but narrower (b = 0.4) at black and white. Pixels that are always one or
    the other then look normal to a flow, where uniform noise would cost each of them 0.25 bits. The median is the bin's
    center, whatever b is: there a search starts.

    Returns:
        The noise, of one parameter for each gray value.
    """

    def init(key):
        wide = jnp.full(LEVELS, math.log(1.6), jnp.float32)
        return {"log_scale": wide.at[jnp.array([0, LEVELS - 1])].set(math.log(0.4))}

    def noise(params):
        return jax.tree_util.Partial(_logit_normal, params["log_scale"])

    return LearnedNoise(init, noise)


def bits_per_dim(
    distribution: distrax.Distribution, images: ArrayLike, key: Array, noise: Noise = uniform_noise
) -> Float[Array, "*batch"]:
    """An upper bound on -log2 P(image) / d of 8-bit images, from one draw of the noise.

    Its mean is the loss to train with and the score to report, with the same noise: one draw is unbiased.

    Args:
        distribution: A density of images in [0, 1]^d.
        images: uint8 (..., height, width, channels).
        key: For the noise.
        noise: The distribution within the bins.

    Returns:
        Bits per dimension (...).

    Raises:
        TypeError: The images are not uint8.
    """
    dims = math.prod(jnp.shape(images)[-3:])
    x, log_q = noise(images, key)
    log_p = jnp.asarray(distribution.log_prob(x))
    return 8 + (log_q - log_p) / (dims * math.log(2))


def _logit_normal(table, images, key):
    v = gray_values("logit_normal_noise", images)
    log_scale = table[v]
    eps = jax.random.normal(key, v.shape, table.dtype)
    logit = jnp.exp(log_scale) * eps
    slope = jax.nn.log_sigmoid(logit) + jax.nn.log_sigmoid(-logit)  # log du / dlogit
    log_q = jax.scipy.stats.norm.logpdf(eps) - log_scale - slope
    return (v + jax.nn.sigmoid(logit)) / LEVELS, jnp.sum(log_q, (-3, -2, -1))
