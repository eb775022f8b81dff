"""Glow (Kingma & Dhariwal 2018): ActNorm, invertible 1 x 1 convolution and coupling, at several scales."""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from geodl._core import distrax
from geodl.bijectors import Logit, Squeeze, Transformer
from geodl.flows.discrete.net import (
    InvertibleNet,
    actnorm,
    chain,
    invertible_conv,
    partial_channels,
    sandwich,
    split_coupling,
)
from geodl.flows.discrete.realnvp import AFFINE, check_divisible
from geodl.nn import Net, conv_net


Conditioner: TypeAlias = Callable[[tuple[int, int, int], int, int], Net]


def glow(
    shape: tuple[int, int, int],
    levels: Sequence[tuple[int, int]] = ((4, 6),),
    width: int = 64,
    transformer: Transformer = AFFINE,
    alpha: float = 0.05,
    conditioner: Conditioner = conv_net,
    seed: int = 0,
) -> InvertibleNet:
    """Glow of images (..., height, width, channels) in [0, 1], logits (:class:`~geodl.bijectors.Logit`) included.

    A level squeezes, takes its steps (ActNorm, invertible 1 x 1 convolution, coupling), and hands half of the channels
    to the base, standardized by a network of the other half, on which the next level acts.

    An image unlike those of the training may cost thousands of bits per dimension and more, in float64 as well: the
    networks extrapolate their shifts without bound, and every step multiplies what the last one has left. Where its
    latents are beyond about 1e3, float32 does not lead back to the image.

    Args:
        shape: Of one image, (height, width, channels).
        levels: (factor, steps) of each level: the sides are divided by factor, then come so many steps.
        width: Hidden channels of the conditioners.
        transformer: What a coupling does (:func:`~geodl.bijectors.affine`, :func:`~geodl.bijectors.spline`,
            :func:`~geodl.bijectors.logistic_mixture`).
        alpha: Of :class:`~geodl.bijectors.Logit`.
        conditioner: ``conditioner(shape, width, channels_out)`` makes the networks of couplings and of the priors of
            the levels, 0 at first; :func:`~geodl.nn.mixer_net` is better where positions are few, up to about 16 x 16.
        seed: Of the rotations of the channels at first, whose permutations and signs are constants and stay.

    Returns:
        The net.

    Raises:
        ValueError: There is no level or one without steps, the product of the factors does not divide the sides, or a
            level has a single channel.

    Reference:
        Kingma & Dhariwal (2018).

    Example:
        >>> import jax
        >>> from geodl import flows
        >>> net = flows.glow((4, 4, 1), levels=((2, 1),), width=4)
        >>> params = net.init(jax.random.key(0))
        >>> draw = jax.jit(lambda params, key: net.distribution(params).sample(seed=key, sample_shape=3))
        >>> draw(params, jax.random.key(1)).shape
        (3, 4, 4, 1)
    """
    if not levels or min(min(level) for level in levels) < 1:
        raise ValueError(f"glow: levels of at least one step are needed, got {tuple(levels)}")
    check_divisible("glow", shape, math.prod(factor for factor, _ in levels))

    def net_of(shape, channels_out):
        return conditioner(shape, width, channels_out)

    rng = np.random.default_rng(seed)
    net = _level(shape, list(levels), net_of, transformer, rng)
    return sandwich(Logit(alpha, 3), net, None, shape)


def _level(shape, levels, net_of, transformer: Transformer, rng: np.random.Generator):
    (factor, steps), *deeper = levels
    channels = factor * factor * shape[2]
    squeezed = (shape[0] // factor, shape[1] // factor, channels)
    if channels < 2:
        raise ValueError(f"glow: a coupling needs at least 2 channels, got {squeezed}")
    kept = channels // 2
    seen = (*squeezed[:2], kept)
    net = net_of(seen, transformer.outputs * (channels - kept))
    parts = {}
    for i in range(steps):
        parts[f"step{i:02d}"] = chain(
            {
                "actnorm": actnorm(squeezed, pixelwise=True),
                "conv": invertible_conv(squeezed, rng),
                "coupling": split_coupling(squeezed, kept, net, transformer),
            }
        )
    if deeper:
        prior = net_of(seen, AFFINE.outputs * (channels - kept))
        parts["split"] = split_coupling(squeezed, kept, prior, AFFINE)
        rest = _level(seen, deeper, net_of, transformer, rng)
        parts["rest"] = partial_channels(rest, channels)
    squeeze = Squeeze(factor)
    return sandwich(distrax.Inverse(squeeze), chain(parts), squeeze, shape)
