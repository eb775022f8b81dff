"""Convolutional networks of images (..., height, width, channels)."""

import jax
import jax.numpy as jnp
from flax import nnx

from geodl.nn.functional import Net, functional


class ConvNet(nnx.Module):
    """3 x 3, 1 x 1 and 3 x 3 convolution, ReLU between them, 0 at first (Kingma & Dhariwal 2018, section 3.3).

    The biases of the first and the last layer are learned for each pixel: digits and faces are centred.
    """

    def __init__(self, shape: tuple[int, int, int], width: int, channels_out: int, rngs: nnx.Rngs):
        height, breadth, channels_in = shape

        def conv(n, m, init):
            return nnx.Conv(n, m, (3, 3), use_bias=False, kernel_init=init, rngs=rngs)

        he = nnx.initializers.he_normal()
        self.look = conv(channels_in, width, he)
        self.look_bias = nnx.Param(jnp.zeros((height, breadth, width)))
        # The 1 x 1 convolution as a product of matrices: half the time on a CPU.
        self.mix = nnx.Linear(width, width, kernel_init=he, rngs=rngs)
        self.last = conv(width, channels_out, nnx.initializers.zeros)
        self.last_bias = nnx.Param(jnp.zeros((height, breadth, channels_out)))

    def __call__(self, x):
        x = jax.nn.relu(self.look(x) + self.look_bias[...])
        x = jax.nn.relu(self.mix(x))
        return self.last(x) + self.last_bias[...]


def conv_net(shape: tuple[int, int, int], width: int, channels_out: int) -> Net:
    """:class:`ConvNet` of images of one shape (height, width, channels) as pure functions."""
    return functional(lambda rngs: ConvNet(shape, width, channels_out, rngs))
