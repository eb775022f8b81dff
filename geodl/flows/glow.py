"""Glow (Kingma & Dhariwal 2018): ActNorm, invertible 1 x 1 convolution and coupling, at several scales."""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from geodl._core import distrax
from geodl.bijectors import Elementwise, Logit, Squeeze, affine
from geodl.flows.coupling import Coupling, check_divisible, elementwise
from geodl.flows.invertible import (
    InvertibleNet,
    actnorm,
    between,
    invertible_conv,
    leading_channels,
    sequence,
    split_coupling,
)
from geodl.nn import Net, conv_net


Conditioner: TypeAlias = Callable[[tuple[int, int, int], int, int], Net]


def glow(
    shape: tuple[int, int, int],
    levels: Sequence[tuple[int, int]] = ((4, 6),),
    width: int = 64,
    coupling: Coupling = "affine",
    alpha: float = 0.05,
    conditioner: Conditioner = conv_net,
    seed: int = 0,
) -> InvertibleNet:
    """Glow of images (..., height, width, channels) in [0, 1], logits (:class:`~geodl.bijectors.Logit`) included.

    A level (factor, steps) squeezes by factor, takes its steps, and but for the last one hands half of the channels
    to the base, standardised by a net of the other half, with which the next level goes on.
    ``conditioner(shape, width, channels_out)`` makes the nets of the couplings and of the parts, 0 at first;
    :func:`~geodl.nn.mixer_net` is better where positions are few, up to about 16 x 16. The rotations of the channels at
    first are those of ``seed``; their permutations and signs are constants and stay. Raises ``ValueError`` for no
    level or one without steps, sides that the product of the factors does not divide, a level of a single channel, or
    an unknown coupling.
    """
    if not levels or min(min(level) for level in levels) < 1:
        raise ValueError(f"glow: levels of at least one step are needed, got {tuple(levels)}")
    check_divisible("glow", shape, math.prod(factor for factor, _ in levels))

    def net_of(shape, channels_out):
        return conditioner(shape, width, channels_out)

    rng = np.random.default_rng(seed)
    net = _level(shape, list(levels), net_of, elementwise(coupling), rng)
    return between(Logit(alpha, 3), net, None, shape)


def _level(shape, levels, net_of, kind: Elementwise, rng: np.random.Generator):
    (factor, steps), *deeper = levels
    channels = factor * factor * shape[2]
    squeezed = (shape[0] // factor, shape[1] // factor, channels)
    if channels < 2:
        raise ValueError(f"glow: a coupling needs at least 2 channels, got {squeezed}")
    kept = channels // 2
    seen = (*squeezed[:2], kept)
    net = net_of(seen, kind.outputs * (channels - kept))
    parts = {}
    for i in range(steps):
        parts[f"step{i:02d}"] = sequence(
            {
                "actnorm": actnorm(squeezed, pixelwise=True),
                "conv": invertible_conv(squeezed, rng),
                "coupling": split_coupling(squeezed, kept, net, kind),
            }
        )
    if deeper:
        prior = net_of(seen, affine().outputs * (channels - kept))
        parts["split"] = split_coupling(squeezed, kept, prior, affine())
        rest = _level(seen, deeper, net_of, kind, rng)
        parts["rest"] = leading_channels(rest, channels)
    squeeze = Squeeze(factor)
    return between(distrax.Inverse(squeeze), sequence(parts), squeeze, shape)
