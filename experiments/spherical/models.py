"""Planar baselines, and the networks of all cells."""

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from geodl import nn
from geodl.nn.conv import Conv, relu


Size = Literal["218k", "1M", "5.5M"]

# Channels, sides of the kernels, strides, of Gerken et al. (2022), chosen by them as the best of twenty random ones.
ENCODERS: dict[Size, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    "218k": ((13, 15, 22, 31, 141), (5, 3, 9, 7, 3), (1, 1, 1, 1, 2)),
    "1M": ((12, 13, 16, 77, 96, 163), (3, 3, 5, 5, 3, 5), (1, 1, 1, 2, 1, 1)),
    "5.5M": ((12, 15, 16, 85, 141, 191, 1100), (3, 5, 3, 7, 5, 3, 3), (1, 1, 1, 2, 1, 1, 2)),
}


class ConvSegmenter(nnx.Module):
    """Valid convolutions down to few pixels, transposed ones back up, with shortcuts of 1 x 1 convolutions.

    The shortcuts repeat the nearest pixels of their layer's input; the first and the last layer have none.
    """

    def __init__(
        self,
        side: int,
        classes: int,
        channels: Sequence[int],
        kernels: Sequence[int],
        strides: Sequence[int],
        rngs: nnx.Rngs,
    ):
        self.strides = tuple(strides)
        widths = [1, *channels]
        self.sides = [side]
        for kernel, stride in zip(kernels, strides, strict=True):
            self.sides.append((self.sides[-1] - kernel) // stride + 1)

        def layer(kernel, n, m, stride=1) -> Any:
            he, size = nnx.initializers.he_normal(), (kernel, kernel)
            return nnx.Conv(n, m, size, stride, padding="VALID", kernel_init=he, rngs=rngs)

        down = zip(kernels, itertools.pairwise(widths), strides, strict=True)
        self.down = nnx.List([layer(k, n, m, stride) for k, (n, m), stride in down])
        pairs = list(itertools.pairwise([*channels[::-1], classes]))
        self.up = nnx.List([layer(k, n, m) for k, (n, m) in zip(kernels[::-1], pairs, strict=True)])
        self.down_skips = nnx.List([layer(1, n, m) for n, m in itertools.pairwise(channels)])
        self.up_skips = nnx.List([layer(1, n, m) for n, m in itertools.pairwise(channels[::-1])])

    def __call__(self, x):
        batch = x.shape[:-3]
        x = x.reshape(-1, *x.shape[-3:])
        for i, conv in enumerate(self.down):
            x = relu(_with_skip(conv(x), x, self.down_skips[i - 1] if i else None))
        for i, conv in enumerate(self.up):
            stride, side = self.strides[-1 - i], self.sides[-2 - i]
            kernel = conv.kernel[...]
            # Of the sides that a convolution with this stride takes to x's, the one that it came from.
            most = kernel.shape[0] - 1
            rest = side - ((x.shape[1] - 1) * stride + kernel.shape[0])
            padding = [(most, most + rest)] * 2
            y = lax.conv_transpose(x, kernel, (stride, stride), padding) + conv.bias[...]
            last = i == len(self.up) - 1
            y = _with_skip(y, x, None if last else self.up_skips[i])
            x = y if last else relu(y)
        return x.reshape(*batch, *x.shape[1:])


def _with_skip(y, x, conv):
    """y plus the nearest pixels of x, their channels mixed."""
    if conv is None:
        return y
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) * m / n).astype(int), m - 1)
        for n, m in zip(y.shape[1:3], x.shape[1:3], strict=True)
    )
    near = x[:, rows][:, :, columns]
    return y + jnp.matmul(near, conv.kernel[0, 0]) + conv.bias[...]


def conv_segmenter(size: Size, classes: int = 11, side: int = 100) -> nn.Net:
    """A planar network of Gerken et al. (2022): logits (..., side, side, classes) of images (..., side, side, 1)."""
    return nn.functional(lambda rngs: ConvSegmenter(side, classes, *ENCODERS[size], rngs))


class UNet(nnx.Module):
    """Two convolutions at each of several resolutions, halved, then doubled again, with shortcuts between equals.

    As in the equivariant networks, features are divided by their root mean square before each ReLU.
    """

    def __init__(self, channels: Sequence[int], classes: int, rngs: nnx.Rngs):
        def block(n, m):
            return nnx.List([Conv(n, m, 3, rngs), Conv(m, m, 3, rngs)])

        pairs = list(itertools.pairwise(channels))
        self.down = nnx.List([block(n, m) for n, m in itertools.pairwise([1, *channels])])
        self.up = nnx.List([block(n + m, n) for n, m in pairs[::-1]])
        self.logits = Conv(channels[0], classes, 1, rngs)

    def __call__(self, x):
        skips: list[Any] = []
        for block in self.down:
            if skips:
                x = _halved(skips[-1])
            skips.append(_block(block, x))
        x = skips.pop()
        for block in self.up:
            doubled = jnp.repeat(jnp.repeat(x, 2, -2), 2, -3)
            x = _block(block, jnp.concatenate([skips.pop(), doubled], -1))
        return self.logits(x)


def _block(convolutions, x):
    for convolution in convolutions:
        y = convolution(x)
        x = relu(y * lax.rsqrt(jnp.mean(y * y, (-3, -2, -1), keepdims=True) + 1e-6))
    return x


def _halved(x):
    """Means of 2 x 2 pixels."""
    *batch, height, width, channels = x.shape
    return jnp.mean(x.reshape(*batch, height // 2, 2, width // 2, 2, channels), (-4, -2))


def unet(channels: Sequence[int] = (16, 32, 64, 128), classes: int = 11) -> nn.Net:
    """A planar network: logits (..., height, width, classes) of images (..., height, width, 1).

    Height and width are multiples of 2^(number of channels - 1).

    Reference:
        Ronneberger, Fischer & Brox, *U-Net: Convolutional Networks for Biomedical Image Segmentation* (2015).
    """
    return nn.functional(lambda rngs: UNet(channels, classes, rngs))


def count(net: nn.Net) -> int:
    """Number of a network's parameters."""
    return sum(a.size for a in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0))))
