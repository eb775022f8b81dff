"""Noise within the bins of 8-bit images, which makes a density of [0, 1]^d bound the probability of an image.

An image v of d pixels is the box [v, v + 1] / 256. With noise u in [0, 1]^d of any density q(u | v)

    log2 P(v) >= E log2 p((v + u) / 256) - E log2 q(u | v) - 8 d,

with equality where q is the density's own law within the box (Theis, van den Oord & Bethge 2016; Ho, Chen, Srinivas,
Duan & Abbeel 2019, 3.1). Events are (height, width, channels).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from geodl.bijectors.images import LEVELS, dequantize, grey_values


Noise: TypeAlias = Callable[[ArrayLike, Array], tuple[Array, Array]]
"""``noise(images, key) -> (x, log_q)``: points (v + u) / 256 of the images' bins, and log q(u | v) of each image."""


def uniform_noise(images: ArrayLike, key: Array) -> tuple[Array, Array]:
    """Uniform on every bin: log q = 0. Raises ``TypeError`` unless uint8."""
    x = dequantize(images, key)
    return x, jnp.zeros(x.shape[:-3], x.dtype)


class LearnedNoise(NamedTuple):
    """Noise with parameters: ``init(key) -> params``, ``noise(params) ->`` :data:`Noise`."""

    init: Callable[[Array], Any]
    noise: Callable[[Any], Noise]


def logit_normal_noise() -> LearnedNoise:
    """u = sigmoid(b_v eps) with eps of N(0, 1), a width b_v for each grey value v: {"log_scale": (256,)}.

    It starts close to the uniform law (b = 1.6), but narrower (b = 0.4) at black and white: pixels that are surely one
    or the other then look normal to a flow, where a uniform law would cost each of them 0.25 bits. The median is
    the bin's centre, whatever b: there a search starts.
    """

    def init(key):
        narrow = (
            jnp.full(LEVELS, math.log(1.6), jnp.float32)
            .at[jnp.array([0, LEVELS - 1])]
            .set(math.log(0.4))
        )
        return {"log_scale": narrow}

    def noise(params):
        return jax.tree_util.Partial(_logit_normal, params["log_scale"])

    return LearnedNoise(init, noise)


def _logit_normal(table, images, key):
    v = grey_values("logit_normal_noise", images)
    log_scale = table[v]
    eps = jax.random.normal(key, v.shape, table.dtype)
    logit = jnp.exp(log_scale) * eps
    slope = jax.nn.log_sigmoid(logit) + jax.nn.log_sigmoid(-logit)  # log du / dlogit
    log_q = jax.scipy.stats.norm.logpdf(eps) - log_scale - slope
    return (v + jax.nn.sigmoid(logit)) / LEVELS, jnp.sum(log_q, (-3, -2, -1))
