"""RealNVP (Dinh, Sohl-Dickstein & Bengio 2017), with ActNorm in the place of batch normalisation.

Batch statistics couple the points of a batch, and the inverse with running statistics is not the inverse.
"""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp

from geodl import bijectors
from geodl._core import distrax
from geodl.bijectors import Elementwise, Logit, Squeeze, channel_mask, checkerboard_mask
from geodl.flows.invertible import (
    InvertibleNet,
    actnorm,
    between,
    leading_channels,
    masked_coupling,
    sequence,
    split_coupling,
)
from geodl.nn import MLP, Net, conv_net, functional


Coupling = Literal["affine", "spline", "mixture"]

_ELEMENTWISE = {
    "affine": bijectors.affine,
    "spline": bijectors.spline,
    "mixture": bijectors.logistic_mixture,
}


def elementwise(coupling: Coupling) -> Elementwise:
    """What a coupling does, by name. Raises ``ValueError`` for another name."""
    if coupling not in _ELEMENTWISE:
        raise ValueError(f"coupling must be one of {list(_ELEMENTWISE)}, got {coupling!r}")
    return _ELEMENTWISE[coupling]()


def realnvp(
    dim: int,
    couplings: int = 6,
    widths: Sequence[int] = (64, 64),
    coupling: Coupling = "affine",
) -> InvertibleNet:
    """RealNVP of vectors (..., dim): couplings of one half and the other by turns, each with an MLP and ActNorm.

    Raises ``ValueError`` for dim < 2, for no coupling, or for an unknown one.
    """
    if dim < 2 or couplings < 1:
        raise ValueError(
            f"realnvp: dim must be at least 2 and couplings 1, got {dim} and {couplings}"
        )
    kind, half = elementwise(coupling), dim // 2
    # By the split, not by a mask: the networks do not see the zeros, nor put out what is not used.
    nets = [
        _mlp_from_zero([seen, *widths, kind.outputs * (dim - seen)]) for seen in (half, dim - half)
    ]
    parts = {}
    for i in range(couplings):
        swap = i % 2 == 1
        parts[f"actnorm{i:02d}"] = actnorm((dim,))
        parts[f"coupling{i:02d}"] = split_coupling((dim,), half, nets[swap], kind, swap)
    return sequence(parts)


def _mlp_from_zero(sizes) -> Net:
    """An MLP whose outputs are 0 at first: a coupling starts at its identity."""
    net = functional(lambda rngs: MLP(sizes, rngs, jax.nn.silu))

    def init(key):
        params = net.init(key)
        layers = params["layers"]
        layers[max(layers)] = jax.tree.map(jnp.zeros_like, layers[max(layers)])
        return params

    return net._replace(init=init)


def image_realnvp(
    shape: tuple[int, int, int],
    levels: int = 2,
    width: int = 32,
    coupling: Coupling = "affine",
) -> InvertibleNet:
    """Multi-scale RealNVP of images (..., height, width, channels) in [0, 1] (section 3.6), logits included.

    Each level but the last: three checkerboard couplings, squeeze, three couplings of channels, and half of the
    channels go to the base; the last: four checkerboard couplings. Conditioners are :func:`~geodl.nn.conv_net` of
    ``width`` channels. Raises ``ValueError`` for levels < 1, sides that 2^(levels - 1) does not divide, or an unknown
    coupling.
    """
    if levels < 1:
        raise ValueError(f"image_realnvp: at least one level is needed, got {levels}")
    check_divisible("image_realnvp", shape, 2 ** (levels - 1))
    net = _realnvp_level(shape, levels, width, elementwise(coupling))
    return between(Logit(event_ndims=3), net, None, shape)


def _realnvp_level(shape, levels, width, kind):
    def coupled(shape, name, masks):
        net = conv_net(shape, width, kind.outputs * shape[-1])
        parts = {}
        for i, mask in enumerate(masks):
            parts[f"actnorm_{name}{i}"] = actnorm(shape)
            parts[f"{name}{i}"] = masked_coupling(shape, mask, net, kind)
        return parts

    def checkers(count):
        masks = [checkerboard_mask(shape, odd=i % 2 == 1) for i in range(count)]
        return coupled(shape, "checkerboard", masks)

    if levels == 1:
        return sequence(checkers(4))
    squeezed = (shape[0] // 2, shape[1] // 2, 4 * shape[2])
    inner = coupled(
        squeezed, "channels", [channel_mask(squeezed[-1], second=i % 2 == 1) for i in range(3)]
    )
    rest = _realnvp_level((*squeezed[:2], squeezed[2] // 2), levels - 1, width, kind)
    inner["rest"] = leading_channels(rest, squeezed[-1])
    squeeze = Squeeze(2)
    return sequence(
        checkers(3)
        | {"squeezed": between(distrax.Inverse(squeeze), sequence(inner), squeeze, shape)}
    )


def check_divisible(name: str, shape: tuple[int, int, int], factor: int) -> None:
    """Raise ``ValueError`` unless shape is (height, width, channels) with sides that ``factor`` divides."""
    if len(shape) != 3 or min(shape) < 1 or shape[0] % factor or shape[1] % factor:
        raise ValueError(
            f"{name}: a shape (height, width, channels) with multiples of {factor} as height and width is "
            f"needed, got {shape}"
        )
