"""Planar baselines, and the networks of all cells."""

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from geodl import nn
from geodl.nn.conv import relu


Size = Literal["80k", "218k", "1M", "5.5M"]

# Channels, sides of the kernels, strides. All but the smallest, for pictures of 32 x 32 pixels, are of Gerken et al.
# (2022), chosen by them as the best of twenty random ones.
ENCODERS: dict[Size, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    "80k": ((20, 40, 80), (5, 3, 3), (1, 2, 2)),
    "218k": ((13, 15, 22, 31, 141), (5, 3, 9, 7, 3), (1, 1, 1, 1, 2)),
    "1M": ((12, 13, 16, 77, 96, 163), (3, 3, 5, 5, 3, 5), (1, 1, 1, 2, 1, 1)),
    "5.5M": ((12, 15, 16, 85, 141, 191, 1100), (3, 5, 3, 7, 5, 3, 3), (1, 1, 1, 2, 1, 1, 2)),
}
_LAYOUT = ("NHWC", "HWIO", "NHWC")


class ConvSegmenter(nnx.Module):
    """Valid convolutions down to few pixels, transposed ones back up, with shortcuts of 1 x 1 convolutions.

    The shortcuts repeat the nearest pixels of their layer's input; the first and the last layer have none. Where they
    are to be normalized, an image's features are divided by their root mean square before each ReLU.
    """

    def __init__(
        self,
        side: int,
        classes: int,
        channels: Sequence[int],
        kernels: Sequence[int],
        strides: Sequence[int],
        normalized: bool,
        rngs: nnx.Rngs,
    ):
        self.normalized = normalized
        self.strides = tuple(strides)
        widths = [1, *channels]
        self.sides = [side]
        for kernel, stride in zip(kernels, strides, strict=True):
            self.sides.append((self.sides[-1] - kernel) // stride + 1)

        def layer(kernel, n, m):
            return nnx.Conv(
                n, m, (kernel, kernel), kernel_init=nnx.initializers.he_normal(), rngs=rngs
            )

        pairs = list(itertools.pairwise(widths))
        self.down = nnx.List([layer(k, n, m) for k, (n, m) in zip(kernels, pairs, strict=True)])
        pairs = list(itertools.pairwise([*channels[::-1], classes]))
        self.up = nnx.List([layer(k, n, m) for k, (n, m) in zip(kernels[::-1], pairs, strict=True)])
        self.down_skips = nnx.List([layer(1, n, m) for n, m in itertools.pairwise(channels)])
        self.up_skips = nnx.List([layer(1, n, m) for n, m in itertools.pairwise(channels[::-1])])

    def __call__(self, x):
        batch = x.shape[:-3]
        x = x.reshape(-1, *x.shape[-3:])
        for i, (conv, stride) in enumerate(zip(self.down, self.strides, strict=True)):
            y = _conv(x, conv.kernel[...], stride, 1, (0, 0))
            x = self._nonlinear(
                _with_skip(y + _bias(conv), x, self.down_skips[i - 1] if i else None)
            )
        for i, conv in enumerate(self.up):
            stride, side = self.strides[-1 - i], self.sides[-2 - i]
            kernel = conv.kernel[...]
            # Of the sides that a convolution with this stride takes to x's, the one that it came from.
            most = kernel.shape[0] - 1
            rest = side - ((x.shape[1] - 1) * stride + kernel.shape[0])
            y = _conv(x, kernel, 1, stride, (most, most + rest))
            last = i == len(self.up) - 1
            y = _with_skip(y + _bias(conv), x, None if last else self.up_skips[i])
            x = y if last else self._nonlinear(y)
        return x.reshape(*batch, *x.shape[1:])

    def _nonlinear(self, x):
        if self.normalized:
            x = x * lax.rsqrt(jnp.mean(x * x, (1, 2, 3), keepdims=True) + 1e-6)
        return relu(x)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _conv(x, kernel, stride, dilation, edges):
    """Every stride-th pixel of the convolution of x, zeros put between its pixels and at its edges."""
    return lax.conv_general_dilated(
        x, kernel, (stride,) * 2, [edges] * 2, (dilation,) * 2, dimension_numbers=_LAYOUT
    )


def _conv_forward(x, kernel, *shape):
    return _conv(x, kernel, *shape), (x, kernel)


def _conv_backward(stride, dilation, edges, inputs, tangent):
    """Of the same with the zeros written out and all pixels: XLA's own takes three times as long on the CPU."""

    def written_out(x, kernel):
        zeros = ((0, 0, 0), (*edges, dilation - 1), (*edges, dilation - 1), (0, 0, 0))
        y = lax.conv_general_dilated(
            lax.pad(x, jnp.zeros((), x.dtype), zeros),
            kernel,
            (1, 1),
            "VALID",
            dimension_numbers=_LAYOUT,
        )
        return y[:, ::stride, ::stride]

    return jax.vjp(written_out, *inputs)[1](tangent)


_conv.defvjp(_conv_forward, _conv_backward)


def _with_skip(y, x, conv):
    """y plus the nearest pixels of x, their channels mixed."""
    if conv is None:
        return y
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) * m / n).astype(int), m - 1)
        for n, m in zip(y.shape[1:3], x.shape[1:3], strict=True)
    )
    near = x[:, rows][:, :, columns]
    return y + jnp.matmul(near, conv.kernel[0, 0]) + _bias(conv)


def _bias(conv):
    return conv.bias[...]


def conv_segmenter(
    size: Size, classes: int = 11, side: int = 100, normalized: bool = False
) -> nn.Net:
    """A planar network of Gerken et al. (2022): logits (..., side, side, classes) of images (..., side, side, 1)."""
    return nn.functional(
        lambda rngs: ConvSegmenter(side, classes, *ENCODERS[size], normalized, rngs)
    )


def count(net: nn.Net) -> int:
    """Number of a network's parameters."""
    return sum(a.size for a in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0))))
