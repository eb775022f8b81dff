"""RealNVP (Dinh, Sohl-Dickstein & Bengio 2017), with ActNorm in place of batch normalization.

Batch statistics couple the points of a batch, and the inverse with running statistics is not the inverse.
"""

from collections.abc import Sequence

import jax

from geodl import bijectors
from geodl._core import distrax
from geodl.bijectors import Logit, Squeeze, Transformer, channel_mask, checkerboard_mask
from geodl.flows.discrete.net import (
    InvertibleNet,
    actnorm,
    chain,
    masked_coupling,
    partial_channels,
    sandwich,
    split_coupling,
)
from geodl.nn import conv_net, mlp


AFFINE = bijectors.affine()


def realnvp(
    dim: int,
    couplings: int = 6,
    widths: Sequence[int] = (64, 64),
    transformer: Transformer = AFFINE,
) -> InvertibleNet:
    """RealNVP of vectors (..., dim): couplings of the two halves in turn, each with an MLP and ActNorm.

    Args:
        dim: Number of coordinates, at least 2.
        couplings: Number of couplings, at least 1.
        widths: Hidden units of the MLPs, swish between them.
        transformer: What a coupling does (:func:`~geodl.bijectors.affine`, :func:`~geodl.bijectors.spline`,
            :func:`~geodl.bijectors.logistic_mixture`).

    Returns:
        The net; its couplings start at the transformer's value for raw = 0.

    Raises:
        ValueError: dim or couplings is too small.

    Reference:
        Dinh, Sohl-Dickstein & Bengio (2017).

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from geodl import flows
        >>> net = flows.realnvp(2, couplings=2, widths=(8,))
        >>> params = net.init(jax.random.key(0))
        >>> log_prob = jax.jit(lambda params, x: net.distribution(params).log_prob(x))
        >>> log_prob(params, jnp.zeros((5, 2))).shape
        (5,)
    """
    if dim < 2 or couplings < 1:
        raise ValueError(
            f"realnvp: dim must be at least 2 and couplings 1, got {dim} and {couplings}"
        )
    half, zeros = dim // 2, jax.nn.initializers.zeros
    # Split, not masked: the networks then neither read zeros nor compute outputs that are not used.
    conditioners = [
        mlp([seen, *widths, transformer.outputs * (dim - seen)], jax.nn.silu, zeros, zeros)
        for seen in (half, dim - half)
    ]
    parts = {}
    for i in range(couplings):
        swap = i % 2 == 1
        parts[f"actnorm{i:02d}"] = actnorm((dim,))
        parts[f"coupling{i:02d}"] = split_coupling(
            (dim,), half, conditioners[swap], transformer, swap
        )
    return chain(parts)


def image_realnvp(
    shape: tuple[int, int, int], levels: int = 2, width: int = 32, transformer: Transformer = AFFINE
) -> InvertibleNet:
    """Multi-scale RealNVP of images (..., height, width, channels) in [0, 1], logits included.

    Each level but the last has three checkerboard couplings, a squeeze and three couplings of channels, and hands half
    of the channels to the base. The last level has four checkerboard couplings.

    Args:
        shape: Of one image, (height, width, channels).
        levels: Number of levels, at least 1.
        width: Hidden channels of the conditioners (:func:`~geodl.nn.conv_net`).
        transformer: What a coupling does (:func:`~geodl.bijectors.affine`, :func:`~geodl.bijectors.spline`,
            :func:`~geodl.bijectors.logistic_mixture`).

    Returns:
        The net.

    Raises:
        ValueError: There is no level, or 2^(levels - 1) does not divide the sides.

    Reference:
        Dinh, Sohl-Dickstein & Bengio (2017), section 3.6.
    """
    if levels < 1:
        raise ValueError(f"image_realnvp: at least one level is needed, got {levels}")
    check_divisible("image_realnvp", shape, 2 ** (levels - 1))
    net = _realnvp_level(shape, levels, width, transformer)
    return sandwich(Logit(event_ndims=3), net, None, shape)


def _realnvp_level(shape, levels, width, transformer):
    def coupled(shape, name, masks):
        net = conv_net(shape, width, transformer.outputs * shape[-1])
        parts = {}
        for i, mask in enumerate(masks):
            parts[f"actnorm_{name}{i}"] = actnorm(shape)
            parts[f"{name}{i}"] = masked_coupling(shape, mask, net, transformer)
        return parts

    def checkers(count):
        masks = [checkerboard_mask(shape, odd=i % 2 == 1) for i in range(count)]
        return coupled(shape, "checkerboard", masks)

    if levels == 1:
        return chain(checkers(4))
    squeezed = (shape[0] // 2, shape[1] // 2, 4 * shape[2])
    inner = coupled(
        squeezed, "channels", [channel_mask(squeezed[-1], second=i % 2 == 1) for i in range(3)]
    )
    rest = _realnvp_level((*squeezed[:2], squeezed[2] // 2), levels - 1, width, transformer)
    inner["rest"] = partial_channels(rest, squeezed[-1])
    squeeze = Squeeze(2)
    return chain(
        checkers(3) | {"squeezed": sandwich(distrax.Inverse(squeeze), chain(inner), squeeze, shape)}
    )


def check_divisible(name: str, shape: tuple[int, int, int], factor: int) -> None:
    """Raise ``ValueError`` unless shape is (height, width, channels) with sides that ``factor`` divides."""
    if len(shape) != 3 or min(shape) < 1 or shape[0] % factor or shape[1] % factor:
        raise ValueError(
            f"{name}: a shape (height, width, channels) with multiples of {factor} as height and width is "
            f"needed, got {shape}"
        )
