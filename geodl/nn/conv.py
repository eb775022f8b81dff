"""Convolutional networks of images (..., height, width, channels)."""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import ArrayLike

from geodl._core.checks import with_axes
from geodl._core.platform import cpu_barrier
from geodl.nn.net import Net, functional


_HE = nnx.initializers.he_normal()
_THIN = 8  # channels: more of them cost more to copy than the product of matrices gains


def conv(x, kernel):
    """Convolution of images x (..., height, width, n) with a kernel (k, k, n, m), stride 1, zeros outside.

    An even kernel reaches one pixel farther down and right than up and left. Where few channels meet on the CPU it is a
    product of matrices, shifted copies before it or after it: XLA's own kernel is slower there, its gradient more so,
    and inside of loops many times (jax-ml/jax#12868).
    """
    n, m = kernel.shape[2:]
    if n <= min(_THIN, m):
        return lax.platform_dependent(x, kernel, cpu=_conv_of_neighbors, default=_conv)
    if m <= _THIN:
        return lax.platform_dependent(x, kernel, cpu=_conv_of_blocks, default=_conv)
    return _conv(x, kernel)


def _conv(x, kernel):
    """XLA's own."""
    flat = x.reshape(math.prod(x.shape[:-3]), *x.shape[-3:])
    layout = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(flat, kernel, (1, 1), "SAME", dimension_numbers=layout)
    return y.reshape(*x.shape[:-1], kernel.shape[-1])


def _conv_of_neighbors(x, kernel):
    """The product of each pixel's neighborhood with the kernel: for few channels in."""
    matrix = kernel.reshape(-1, kernel.shape[-1])
    seen = jnp.concatenate([_seen(x, *offset) for offset in _offsets(len(kernel))], -1)
    return _of_pixels(lambda x: x @ matrix, seen)


def _conv_of_blocks(x, kernel):
    """The product of each pixel with every column of the kernel, then summed at the offsets: for few channels out."""
    n, m = kernel.shape[2:]
    matrix = jnp.moveaxis(kernel, 2, 0).reshape(n, -1)
    return _gathered(_of_pixels(lambda x: x @ matrix, x), len(kernel), m)


def _of_pixels(function, x):
    """A function of rows, of all pixels: with leading axes a product's gradient in its matrix is slow on the CPU."""
    *pixels, channels = x.shape
    y = function(x.reshape(math.prod(pixels), channels))
    return y.reshape(*pixels, y.shape[-1])


def _gathered(x, k, m):
    """The sum of x's k^2 blocks of m channels, each at its offset.

    Split before it is moved: the gradient is then a concatenation, in place of a sum of k^2 arrays of x's size. Behind
    the barrier XLA does not sum again for each use of the result.
    """
    blocks = lax.split(x, [m] * (k * k), x.ndim - 1)
    moved = (_seen(b, *offset) for b, offset in zip(blocks, _offsets(k), strict=True))
    return cpu_barrier(sum(moved))


def _offsets(k):
    """Of the pixels under a k x k kernel, row by row."""
    return itertools.product(range(-((k - 1) // 2), k // 2 + 1), repeat=2)


def _seen(x, down, right):
    """y[i, j] = x[i + down, j + right], zeros outside."""
    edges = [(0, 0, 0)] * (x.ndim - 3) + [(-down, down, 0), (-right, right, 0), (0, 0, 0)]
    return lax.pad(x, jnp.zeros((), x.dtype), edges)


@jax.custom_jvp
def relu(x):
    """max(x, 0). For its gradient it keeps where x > 0, a byte for each number, and not x: four times less."""
    return jnp.maximum(x, 0)


@relu.defjvp
def _relu_jvp(primals, tangents):
    (x,), (tangent,) = primals, tangents
    y = relu(x)
    # Behind the barrier XLA does not compare again in the gradient, for which it would keep the whole of x.
    positive = cpu_barrier(y > 0)
    return y, jnp.where(positive, tangent, 0)


def check_images(name: str, x: ArrayLike, shape: tuple[int, ...]) -> None:
    """Raise ``ValueError`` unless x holds images (..., *shape)."""
    if jnp.shape(x)[-3:] != shape:
        raise ValueError(f"{name}: images (..., {shape}) are needed, got {jnp.shape(x)}")


def _biased(x, bias):
    """x with a bias of each channel, or of each pixel's."""
    return x + with_axes(bias[...], x.ndim)


class Conv(nnx.Module):
    """:func:`conv` with a square kernel, and a bias where it is asked for."""

    def __init__(self, channels_in, channels_out, side, rngs, init=_HE, bias=True):
        self.kernel = nnx.Param(init(rngs.params(), (side, side, channels_in, channels_out)))
        self.bias = nnx.Param(jnp.zeros(channels_out)) if bias else None

    def __call__(self, x):
        y = conv(x, self.kernel[...])
        return y if self.bias is None else _biased(y, self.bias)


def _pixel_bias(height, breadth, channels):
    """A bias for each pixel, since digits and faces are centered."""
    return nnx.Param(jnp.zeros((height, breadth, channels)))


class _ConvNet(nnx.Module):
    def __init__(self, shape, width, channels_out, rngs):
        self.shape = height, breadth, channels_in = tuple(shape)
        self.first = Conv(channels_in, width, 3, rngs, bias=False)
        self.first_bias = _pixel_bias(height, breadth, width)
        # The 1 x 1 convolution as a product of matrices: half the time on a CPU.
        self.mix = nnx.Linear(width, width, kernel_init=_HE, rngs=rngs)
        self.last = Conv(width, channels_out, 3, rngs, nnx.initializers.zeros, bias=False)
        self.last_bias = _pixel_bias(height, breadth, channels_out)

    def __call__(self, x):
        check_images("conv_net", x, self.shape)
        x = relu(_biased(self.first(x), self.first_bias))
        x = relu(_of_pixels(self.mix, x))
        return _biased(self.last(x), self.last_bias)


def conv_net(shape: tuple[int, int, int], width: int, channels_out: int) -> Net:
    """A small convolutional network that keeps the sides of images, the conditioner of couplings.

    Conv 3 x 3 -> ReLU -> 1 x 1 -> ReLU -> 3 x 3, 0 at first. The biases of the first and the last layer are learned for
    each pixel.

    Args:
        shape: Of one image, (height, width, channels).
        width: Hidden channels.
        channels_out: Channels of the result (..., height, width, channels_out).

    Returns:
        The network as pure functions.

    Reference:
        Kingma & Dhariwal (2018), section 3.3.
    """
    return functional(lambda rngs: _ConvNet(shape, width, channels_out, rngs))


class _MixerNet(nnx.Module):
    def __init__(self, shape, width, channels_out, rngs):
        self.shape = height, breadth, channels_in = tuple(shape)
        zeros, spread = nnx.initializers.zeros, nnx.initializers.lecun_normal()
        self.first = Conv(channels_in, width, 3, rngs, bias=False)
        self.first_bias = _pixel_bias(height, breadth, width)
        self.positions = nnx.Param(spread(rngs.params(), (height * breadth, height * breadth)))
        self.positions_bias = _pixel_bias(height, breadth, width)
        self.mix = nnx.Linear(width, width, kernel_init=_HE, rngs=rngs)
        self.last = nnx.Linear(width, channels_out, use_bias=False, kernel_init=zeros, rngs=rngs)
        self.last_bias = _pixel_bias(height, breadth, channels_out)

    def __call__(self, x):
        check_images("mixer_net", x, self.shape)
        x = relu(_biased(self.first(x), self.first_bias))
        tokens = x.reshape(*x.shape[:-3], len(self.positions[...]), x.shape[-1])
        seen = jnp.einsum("ij,...jc->...ic", self.positions[...], tokens).reshape(x.shape)
        x = relu(_biased(x + seen, self.positions_bias))
        x = relu(_of_pixels(self.mix, x))
        return _biased(_of_pixels(self.last, x), self.last_bias)


def mixer_net(shape: tuple[int, int, int], width: int, channels_out: int) -> Net:
    """A network in which every pixel sees every other one, the conditioner of small images.

    Conv 3 x 3 -> ReLU -> token mixing x + P x over positions -> ReLU -> 1 x 1 -> ReLU -> 1 x 1, 0 at first. The matrix
    P has (height width)^2 entries and costs less than a 3 x 3 convolution as long as there are few positions. Biases
    are learned for each pixel.

    Args:
        shape: Of one image, (height, width, channels).
        width: Hidden channels.
        channels_out: Channels of the result (..., height, width, channels_out).

    Returns:
        The network as pure functions.

    Reference:
        Tolstikhin et al. (2021) for the token mixing.
    """
    return functional(lambda rngs: _MixerNet(shape, width, channels_out, rngs))


class _ConvFeatures(nnx.Module):
    def __init__(self, shape, widths, hidden, kernel, rngs):
        self.shape = height, breadth, channels = tuple(shape)
        least = 2 ** len(widths)
        if min(height, breadth) < least:
            raise ValueError(f"conv_features: sides of at least {least} are needed, got {shape}")
        stages = []
        for width in widths:
            stages.append(Conv(channels, width, kernel, rngs))
            height, breadth, channels = height // 2, breadth // 2, width
        self.stages = nnx.List(stages)
        self.hidden = nnx.Linear(height * breadth * channels, hidden, kernel_init=_HE, rngs=rngs)

    def __call__(self, x):
        check_images("conv_features", x, self.shape)
        for stage in self.stages:
            x = relu(stage(x))
            *batch, height, breadth, channels = x.shape
            h, b = height // 2, breadth // 2
            x = x[..., : 2 * h, : 2 * b, :].reshape(*batch, h, 2, b, 2, channels).mean((-4, -2))
        return relu(self.hidden(x.reshape(*x.shape[:-3], math.prod(x.shape[-3:]))))


class _ConvClassifier(nnx.Module):
    def __init__(self, shape, classes, widths, hidden, kernel, rngs):
        self.features = _ConvFeatures(shape, widths, hidden, kernel, rngs)
        self.logits = nnx.Linear(hidden, classes, rngs=rngs)

    def __call__(self, x):
        return self.logits(self.features(x))


def conv_features(
    shape: tuple[int, int, int], widths: Sequence[int] = (16, 32), hidden: int = 64, kernel: int = 3
) -> Net:
    """A convolutional network from images to features (..., hidden).

    Each stage is a convolution, ReLU and 2 x 2 average pooling, which leaves out an odd last row or column. A dense
    layer with ReLU follows.

    Args:
        shape: Of one image, (height, width, channels).
        widths: Channels of the stages, each of which halves the sides.
        hidden: Units of the dense layer.
        kernel: Side of the convolutions' kernels.

    Returns:
        The network as pure functions.

    Raises:
        ValueError: The images are too small for a pooling in each stage.
    """
    return functional(lambda rngs: _ConvFeatures(shape, widths, hidden, kernel, rngs))


def conv_classifier(
    shape: tuple[int, int, int],
    classes: int,
    widths: Sequence[int] = (16, 32),
    hidden: int = 64,
    kernel: int = 3,
) -> Net:
    """A convolutional classifier, images to logits (..., classes): an affine layer on :func:`conv_features`.

    ``params["features"]`` are the parameters of :func:`conv_features`.

    Args:
        shape: Of one image, (height, width, channels).
        classes: Number of logits.
        widths: Channels of the stages, each of which halves the sides.
        hidden: Units of the dense layer.
        kernel: Side of the convolutions' kernels.

    Returns:
        The network as pure functions.

    Raises:
        ValueError: The images are too small for a pooling in each stage.
    """
    return functional(lambda rngs: _ConvClassifier(shape, classes, widths, hidden, kernel, rngs))


class _ConvDecoder(nnx.Module):
    def __init__(self, dim, shape, widths, normalized, rngs):
        height, breadth, channels = shape
        factor = 2 ** len(widths)
        if height % factor or breadth % factor:
            raise ValueError(f"conv_decoder: sides must be multiples of {factor}, got {shape}")
        self.small = (height // factor, breadth // factor, widths[0])
        self.normalized = normalized
        self.first = nnx.Linear(dim, math.prod(self.small), kernel_init=_HE, rngs=rngs)
        pairs = itertools.pairwise([*widths, channels])
        self.convs = nnx.List([Conv(n, m, 3, rngs) for n, m in pairs])

    def __call__(self, z):
        x = self.first(z).reshape(*z.shape[:-1], *self.small)
        for conv in self.convs:
            x = relu(x)
            if self.normalized:
                x = x * lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + 1e-8)
            x = conv(jnp.repeat(jnp.repeat(x, 2, -3), 2, -2))
        return x


def conv_decoder(
    dim: int,
    shape: tuple[int, int, int],
    widths: Sequence[int] = (64, 32),
    normalized: bool = False,
) -> Net:
    """A convolutional decoder, vectors (..., dim) to images (..., height, width, channels).

    An affine layer makes the smallest image. Then each doubling of the sides repeats pixels and takes a 3 x 3
    convolution, with ReLU before it.

    Args:
        dim: Length of a vector.
        shape: Of one image, (height, width, channels).
        widths: Numbers of channels, from the smallest image on; the sides double after each.
        normalized: Whether each pixel's channels are scaled to a mean square of 1 after ReLU, which keeps the generator
            of a GAN from running away (Karras, Aila, Laine & Lehtinen 2018, section 4.2).

    Returns:
        The network as pure functions.

    Raises:
        ValueError: The sides cannot be halved once for each of ``widths``.
    """
    return functional(lambda rngs: _ConvDecoder(dim, shape, widths, normalized, rngs))
