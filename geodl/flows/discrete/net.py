"""Invertible networks as pure functions, composed of parts, and the distributions that they make of N(0, I)."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from geodl._core import display, distrax
from geodl._core.platform import cpu_once
from geodl.bijectors import ActNorm, InvertibleConv, PartialChannels, Transformer, plu_of_rotation
from geodl.generators import Generator, from_bijector
from geodl.manifolds import Euclidean
from geodl.nn import Net


class InvertibleNet(NamedTuple):
    """A bijector with parameters, from base to data, both of the same event ``shape``.

    - ``init(key) -> params``;
    - ``bijector(params)``, a distrax bijector and pytree: what depends on the parameters alone, such as inverse
      matrices, is computed once, for a loop that takes it as an argument (to a function under ``jit`` pass the
      parameters instead, which saves some milliseconds a call: distrax flattens its nested objects in Python);
    - ``data_init(params, batch) -> params`` with every ActNorm set so that this batch (n, *shape) of data has mean 0
      and variance 1 in each channel there (Kingma & Dhariwal 2018).

    They cannot be pickled: store the parameters, and make the net again, with the same ``seed``.
    """

    shape: tuple[int, ...]
    init: Callable[[Array], Any]
    bijector: Callable[[Any], distrax.Bijector]
    data_init: Callable[[Any, Any], Any]

    def __repr__(self) -> str:
        return f"InvertibleNet({self.shape}; {display.count(self.init)})"

    def generator(self, params: Any) -> Generator:
        """The exact generator, from R^n in arrays of this shape; what depends on the parameters alone is made once."""
        return from_bijector(jax.jit(self.bijector)(params), Euclidean(self.shape))

    def distribution(self, params: Any, temperature: float = 1.0) -> distrax.Transformed:
        """The distribution of the data, N(0, temperature^2 I) carried by the bijector."""
        dtype = jnp.result_type(*jax.tree.leaves(params))
        base = _Normal(self.shape, jnp.asarray(temperature, dtype))
        return distrax.Transformed(base, self.bijector(params))


class _Normal(distrax.Distribution):
    """N(0, scale^2 I); ``distrax.Independent`` also sums the constants over an event, ten times slower on the CPU."""

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
        return cpu_once(z)  # or XLA draws again for each use of a part

    def log_prob(self, value):
        dims, axes = math.prod(self._shape), tuple(range(-len(self._shape), 0))
        square = jnp.sum(jnp.square(value), axes) / self._scale**2
        return -(square + dims * math.log(2 * math.pi)) / 2 - dims * jnp.log(self._scale)


def chain(parts: Mapping[str, InvertibleNet]) -> InvertibleNet:
    """The composition of named nets, the first of them on the data side, as in ``distrax.Chain``."""

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


def sandwich(
    outer: distrax.Bijector,
    net: InvertibleNet,
    inner: distrax.Bijector | None,
    shape: tuple[int, ...],
) -> InvertibleNet:
    """The composition outer . net . inner with fixed bijectors.

    Args:
        outer: On the data side.
        net: The net in the middle, which has the parameters.
        inner: On the base side; None is the identity.
        shape: Event shape of the result.

    Returns:
        The net from base to data.
    """

    def bijector(params):
        ends = [] if inner is None else [inner]
        return distrax.Chain([outer, net.bijector(params), *ends])

    def data_init(params, batch):
        return net.data_init(params, outer.inverse(batch))

    return InvertibleNet(shape, net.init, bijector, data_init)


def partial_channels(net: InvertibleNet, channels: int) -> InvertibleNet:
    """The net applied to the first of ``channels`` channels (:class:`~geodl.bijectors.PartialChannels`)."""
    first = net.shape[-1]

    def bijector(params):
        return PartialChannels(net.bijector(params), first)

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
        batch = jnp.asarray(batch)
        axes = tuple(range(batch.ndim - (ndims if pixelwise else 1)))
        # constant values are not stretched without bound
        scale = jnp.maximum(jnp.std(batch, axes), 1e-3)
        return {"shift": jnp.mean(batch, axes), "log_scale": jnp.log(scale)}

    return InvertibleNet(shape, init, bijector, data_init)


def invertible_conv(shape: tuple[int, ...], rng: np.random.Generator) -> InvertibleNet:
    """:class:`~geodl.bijectors.InvertibleConv`, at first a random rotation of the channels, drawn by ``rng``.

    Its permutation and signs are constants, not parameters. ``init`` does not use its key.
    """
    start = plu_of_rotation(rng, shape[-1])
    constants = {name: start.pop(name) for name in ("permutation", "sign")}

    def init(key):
        return jax.tree.map(jnp.asarray, start)

    def bijector(params):
        return InvertibleConv(**params, **constants, event_ndims=len(shape))

    return InvertibleNet(shape, init, bijector, _unchanged)


def masked_coupling(
    shape: tuple[int, ...], mask: Array, conditioner: Net, transformer: Transformer
) -> InvertibleNet:
    """A coupling by a mask (``distrax.MaskedCoupling``): coordinates with ``mask`` stay and condition the others.

    Args:
        shape: Event shape.
        mask: Booleans that broadcast against an event.
        conditioner: Network of the events with zeros where ``mask`` is False, with ``transformer.outputs`` channels for
            each channel.
        transformer: Makes the bijector of the other coordinates.

    Returns:
        The coupling.
    """

    def bijector(params):
        bound = conditioner.bind(params)
        return distrax.MaskedCoupling(mask, bound, transformer.bijector, len(shape))

    return InvertibleNet(shape, conditioner.init, bijector, _unchanged)


def split_coupling(
    shape: tuple[int, ...],
    kept: int,
    conditioner: Net,
    transformer: Transformer,
    swap: bool = False,
) -> InvertibleNet:
    """A coupling by a split (``distrax.SplitCoupling``): the first channels stay and condition the others.

    Args:
        shape: Event shape.
        kept: Number of the first channels.
        conditioner: Network of the channels that stay, with ``transformer.outputs`` channels for each of the others.
        transformer: Makes the bijector of the other channels.
        swap: Whether the first channels are changed and the others stay.

    Returns:
        The coupling.
    """

    def bijector(params):
        bound = conditioner.bind(params)
        return distrax.SplitCoupling(kept, len(shape), bound, transformer.bijector, swap)

    return InvertibleNet(shape, conditioner.init, bijector, _unchanged)


def _unchanged(params, batch):
    return params
