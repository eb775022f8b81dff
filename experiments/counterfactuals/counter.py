"""A U-Net that counts (Ronneberger et al. 2015; heads as in Ribera et al. 2019)."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from geodl.bijectors import Squeeze
from geodl.nn import Net, functional
from geodl.nn.conv import Conv, check_images, relu


class Counted(NamedTuple):
    """What a counter says of images (..., height, width, channels)."""

    counts: Array
    """(...), above 0"""
    map_logits: Array
    """(..., height, width): whether something to count is here; its sigmoid is the location map"""


class UNetCounter(nnx.Module):
    """3 x 3 convolutions down and up again, two at each scale, the scales' results handed across.

    Squares of ``patch`` pixels are channels at first, and the map is put together from squares again.

    The count is softplus of an affine function of the mean of the coarsest scale and the sum of the location map: a
    ReLU would have no gradient where nothing is counted. No batch norm: a scene's count depends on it alone.
    """

    def __init__(
        self, shape: tuple[int, int, int], widths: Sequence[int], patch: int, rngs: nnx.Rngs
    ):
        self.shape = tuple(shape)

        def convs(n, m):
            return nnx.List([Conv(i, m, 3, rngs) for i in (n, m)])

        self.down = nnx.List(
            [convs(n, m) for n, m in zip((patch**2 * shape[2], *widths), widths, strict=False)]
        )
        self.up = nnx.List(
            [convs(n + m, m) for n, m in zip(widths[:0:-1], widths[-2::-1], strict=True)]
        )
        self.patch = patch
        # Few things at first, and a count near 1: softplus of a large negative number hardly has a gradient.
        rare = nnx.initializers.constant(-3.0)
        zeros = nnx.initializers.zeros
        self.map = nnx.Linear(widths[0], patch**2, bias_init=rare, rngs=rngs)
        self.count = nnx.Linear(widths[-1] + 1, 1, kernel_init=zeros, rngs=rngs)

    def __call__(self, x: Array) -> Counted:
        check_images("UNetCounter", x, self.shape)
        *finer, coarsest = self.down
        x = jnp.asarray(Squeeze(self.patch).forward(x))
        across = []
        for convs in finer:
            x = _through(convs, x)
            across.append(x)
            x = _halve(x)
        x = _through(coarsest, x)
        mean = jnp.mean(x, (-3, -2))
        for convs in self.up:
            x = jnp.concatenate([_double(x), across.pop()], -1)
            x = _through(convs, x)
        logits = jnp.asarray(Squeeze(self.patch).inverse(self.map(x)))[..., 0]
        total = jnp.sum(jax.nn.sigmoid(logits), (-2, -1))[..., None]
        count = self.count(jnp.concatenate([mean, total / _PER_ITEM], -1))[..., 0]
        return Counted(jax.nn.softplus(count), logits)


_PER_ITEM = 8.0  # pixels of the map for one thing to count, about: features of one size


def _through(convs, x):
    for conv in convs:
        x = relu(conv(x))
    return x


def _halve(x):
    *batch, height, width, channels = x.shape
    return jnp.mean(x.reshape(*batch, height // 2, 2, width // 2, 2, channels), (-4, -2))


def _double(x):
    return jnp.repeat(jnp.repeat(x, 2, -3), 2, -2)


def unet_counter(
    shape: tuple[int, int, int], widths: Sequence[int] = (16, 32, 64), patch: int = 1
) -> Net:
    """:class:`UNetCounter` of images of one shape (height, width, channels) as pure functions.

    ``apply(params, images) -> Counted``. Raises ``ValueError`` for fewer than two widths, or sides that
    patch * 2^(scales - 1) does not divide.
    """
    factor = patch * 2 ** (len(widths) - 1)
    if len(widths) < 2 or len(shape) != 3 or shape[0] % factor or shape[1] % factor:
        raise ValueError(
            f"unet_counter: two scales or more, and sides that {factor} divides, are needed, "
            f"got widths {tuple(widths)} and shape {shape}"
        )
    return functional(lambda rngs: UNetCounter(shape, widths, patch, rngs))
