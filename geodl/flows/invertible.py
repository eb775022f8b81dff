"""Invertible networks as pure functions, put together from parts, and the laws that they make of N(0, I)."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from geodl._core import distrax
from geodl._core.platform import cpu_barrier
from geodl.bijectors import (
    ActNorm,
    Elementwise,
    InvertibleConv,
    LeadingChannels,
    plu_of_rotation,
)
from geodl.flows.dequantization import Noise, uniform_noise
from geodl.nn import Net


class InvertibleNet(NamedTuple):
    """A bijector with parameters, from base to data, both of the same event ``shape``.

    ``init(key) -> params``; ``bijector(params)``, a pytree: what depends on the parameters alone, such as inverse
    matrices, is computed once, for a loop that takes it as an argument (a function under ``jit`` is called some
    milliseconds faster with the parameters: distrax takes its nested objects apart in Python);
    ``data_init(params, batch) -> params`` with every ActNorm set so that this batch (n, *shape) of data has mean 0
    and variance 1 in each channel there (Kingma & Dhariwal 2018). They cannot be pickled: store the parameters, and
    make the net again, with the same ``seed``.
    """

    shape: tuple[int, ...]
    init: Callable[[Array], Any]
    bijector: Callable[[Any], distrax.Bijector]
    data_init: Callable[[Any, Any], Any]

    def law(self, params: Any, temperature: float = 1.0) -> distrax.Transformed:
        """The law of the data, of N(0, I) in every coordinate.

        Sampling at a temperature scales the base: ``law(params, 0.7).sample(...)`` is of N(0, 0.7^2 I).
        """
        dtype = jnp.result_type(*jax.tree.leaves(params))
        base = _Normal(self.shape, jnp.asarray(temperature, dtype))
        return distrax.Transformed(base, self.bijector(params))


class _Normal(distrax.Distribution):
    """N(0, scale^2 I); ``distrax.Independent`` sums the constants, too, over an event, ten times slower on the CPU."""

    def __init__(self, shape: tuple[int, ...], scale: Array):
        super().__init__()
        self._shape, self._scale = shape, scale

    @property
    def event_shape(self):
        return self._shape

    @property
    def batch_shape(self):
        return ()

    def _sample_n(self, key, n):
        z = self._scale * jax.random.normal(key, (n, *self._shape), self._scale.dtype)
        return cpu_barrier(z)  # or XLA draws again for each use of a part

    def log_prob(self, value):
        dims, axes = math.prod(self._shape), tuple(range(-len(self._shape), 0))
        square = jnp.sum(jnp.square(value), axes) / self._scale**2
        return -(square + dims * math.log(2 * math.pi)) / 2 - dims * jnp.log(self._scale)


def negative_log_density(law: distrax.Distribution, x: Array) -> Array:
    """-log p(x) in nats, the mean over points (..., *event_shape): the loss of maximum likelihood."""
    return -jnp.mean(jnp.asarray(law.log_prob(x)))


def bits_per_dim(
    law: distrax.Distribution,
    images: ArrayLike,
    key: Array,
    noise: Noise = uniform_noise,
) -> Float[Array, "*batch"]:
    """A bound on -log2 P(image) / d of 8-bit images under a law of images in [0, 1]^d, one draw of the noise.

    Its mean is the loss to train with and the score to report, with the same noise: one draw is unbiased. Raises
    ``TypeError`` unless the images are uint8.
    """
    dims = math.prod(jnp.shape(images)[-3:])
    x, log_q = noise(images, key)
    log_p = jnp.asarray(law.log_prob(x))
    return 8 + (log_q - log_p) / (dims * math.log(2))


def sequence(parts: Mapping[str, InvertibleNet]) -> InvertibleNet:
    """Nets by name, applied one after another, the first of them next to the data as in ``distrax.Chain``."""

    def init(key):
        keys = jax.random.split(key, len(parts))
        return {name: part.init(k) for (name, part), k in zip(parts.items(), keys, strict=True)}

    def bijector(params):
        return distrax.Chain([part.bijector(params[name]) for name, part in parts.items()])

    def data_init(params, batch):
        found = {}
        for name, part in parts.items():
            found[name] = part.data_init(params[name], batch)
            batch = part.bijector(found[name]).inverse(batch)
        return found

    return InvertibleNet(next(iter(parts.values())).shape, init, bijector, data_init)


def between(
    data: distrax.Bijector,
    net: InvertibleNet,
    base: distrax.Bijector | None,
    shape: tuple[int, ...],
) -> InvertibleNet:
    """The net between fixed bijectors, ``data`` next to the data; ``shape`` is that of the whole."""

    def bijector(params):
        ends = [] if base is None else [base]
        return distrax.Chain([data, net.bijector(params), *ends])

    def data_init(params, batch):
        return net.data_init(params, data.inverse(batch))

    return InvertibleNet(shape, net.init, bijector, data_init)


def leading_channels(net: InvertibleNet, channels: int) -> InvertibleNet:
    """The net of the first of ``channels`` channels (:class:`~geodl.bijectors.LeadingChannels`)."""
    first = net.shape[-1]

    def bijector(params):
        return LeadingChannels(net.bijector(params), first)

    def data_init(params, batch):
        return net.data_init(params, batch[..., :first])

    return InvertibleNet((*net.shape[:-1], channels), net.init, bijector, data_init)


def actnorm(shape: tuple[int, ...], pixelwise: bool = False) -> InvertibleNet:
    """:class:`~geodl.bijectors.ActNorm` of channels or of pixels, the identity before ``data_init``."""
    ndims = len(shape)

    def init(key):
        start = jnp.zeros(shape if pixelwise else shape[-1], jnp.float32)
        return {"shift": start, "log_scale": start}

    def bijector(params):
        return ActNorm(params["shift"], params["log_scale"], ndims)

    def data_init(params, batch):
        found = ActNorm.standardizing(batch, ndims, pixelwise)
        return {"shift": found.shift, "log_scale": found.log_scale}

    return InvertibleNet(shape, init, bijector, data_init)


def invertible_conv(shape: tuple[int, ...], rng: np.random.Generator) -> InvertibleNet:
    """:class:`~geodl.bijectors.InvertibleConv`, a random rotation of the channels at first, which ``rng`` draws.

    Its permutation and signs are constants, not among the parameters, which ``init`` makes without the key.
    """
    start = plu_of_rotation(rng, shape[-1])
    constants = {name: start.pop(name) for name in ("permutation", "sign")}

    def init(key):
        return jax.tree.map(jnp.asarray, start)

    def bijector(params):
        return InvertibleConv(**params, **constants, event_ndims=len(shape))

    return InvertibleNet(shape, init, bijector, _unchanged)


def masked_coupling(
    shape: tuple[int, ...], mask: Array, net: Net, elementwise: Elementwise
) -> InvertibleNet:
    """``distrax.MaskedCoupling``: where ``mask`` is False, coordinates are changed as the net of the others says."""

    def bijector(params):
        conditioner = jax.tree_util.Partial(net.apply, params)
        return distrax.MaskedCoupling(mask, conditioner, elementwise.bijector, len(shape))

    return InvertibleNet(shape, net.init, bijector, _unchanged)


def split_coupling(
    shape: tuple[int, ...], kept: int, net: Net, elementwise: Elementwise, swap: bool = False
) -> InvertibleNet:
    """``distrax.SplitCoupling``: the first ``kept`` channels stay, the others are changed as the net of them says.

    With ``swap`` those others stay, and the first are changed.
    """

    def bijector(params):
        conditioner = jax.tree_util.Partial(net.apply, params)
        return distrax.SplitCoupling(kept, len(shape), conditioner, elementwise.bijector, swap)

    return InvertibleNet(shape, net.init, bijector, _unchanged)


def _unchanged(params, batch):
    return params
