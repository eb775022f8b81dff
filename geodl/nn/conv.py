"""Convolutional networks of images (..., height, width, channels)."""

import jax
from flax import nnx

from geodl.nn.functional import Net, functional


class ConvNet(nnx.Module):
    """3 x 3, 1 x 1 and 3 x 3 convolution, ReLU between them; 0 at first (Kingma & Dhariwal 2018, section 3.3)."""

    def __init__(self, channels_in: int, width: int, channels_out: int, rngs: nnx.Rngs):
        he = nnx.initializers.he_normal()
        zeros = nnx.initializers.zeros
        self.look = nnx.Conv(channels_in, width, (3, 3), kernel_init=he, rngs=rngs)
        self.mix = nnx.Conv(width, width, (1, 1), kernel_init=he, rngs=rngs)
        self.last = nnx.Conv(width, channels_out, (3, 3), kernel_init=zeros, rngs=rngs)

    def __call__(self, x):
        return self.last(jax.nn.relu(self.mix(jax.nn.relu(self.look(x)))))


def conv_net(channels_in: int, width: int, channels_out: int) -> Net:
    """:class:`ConvNet` as pure functions."""
    return functional(lambda rngs: ConvNet(channels_in, width, channels_out, rngs))
