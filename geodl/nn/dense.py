"""Dense layers and multi-layer perceptrons."""

import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from geodl.nn.net import Net, functional


def linear(
    dim_in: int,
    dim_out: int,
    rngs: nnx.Rngs,
    kernel_init: nnx.Initializer | None = None,
    bias_init: nnx.Initializer | None = None,
) -> nnx.Linear:
    """Affine layer x W + b, by default initialized as in PyTorch, which the papers' code uses.

    Args:
        dim_in, dim_out: Numbers of inputs and outputs.
        rngs: The random numbers of flax.
        kernel_init, bias_init: Initializers of W (dim_in, dim_out) and b (dim_out,), by default uniform in
            +-1/sqrt(dim_in).

    Returns:
        The layer.
    """

    def uniform(key, shape, dtype=jnp.float32, out_sharding=None):
        bound = dim_in**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nnx.Linear(
        dim_in,
        dim_out,
        kernel_init=kernel_init or uniform,
        bias_init=bias_init or uniform,
        rngs=rngs,
    )


class MLP(nnx.Module):
    """Affine layers of the given sizes, ``activation`` between them: (..., sizes[0]) -> (..., sizes[-1]).

    Args:
        sizes: Numbers of units.
        rngs: The random numbers of flax.
        activation: Elementwise function, applied after every layer but the last.
        final_kernel_init, final_bias_init: Initializers of the last layer.

    Raises:
        ValueError: less than two sizes.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        rngs: nnx.Rngs,
        activation: Callable[[Array], Array] = jax.nn.relu,
        final_kernel_init: nnx.Initializer | None = None,
        final_bias_init: nnx.Initializer | None = None,
    ):
        if len(sizes) < 2:
            raise ValueError(f"MLP: sizes are those of the input, ..., output, got {list(sizes)}")
        self.activation = activation
        *hidden, last = itertools.pairwise(sizes)
        layers = [linear(*pair, rngs) for pair in hidden]
        self.layers = nnx.List([*layers, linear(*last, rngs, final_kernel_init, final_bias_init)])

    def __call__(self, x):
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        return last(x)


def mlp(
    sizes: Sequence[int],
    activation: Callable[[Array], Array] = jax.nn.relu,
    final_kernel_init: nnx.Initializer | None = None,
    final_bias_init: nnx.Initializer | None = None,
) -> Net:
    """A multi-layer perceptron: affine layers with ``activation`` between them (:class:`MLP`).

    Args:
        sizes: Numbers of units: (..., sizes[0]) -> (..., sizes[-1]).
        activation: Elementwise function, applied after every layer but the last.
        final_kernel_init, final_bias_init: Initializers of the last layer; zeros make the network 0 at first.

    Returns:
        The network as pure functions.

    Raises:
        ValueError: less than two sizes.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from geodl import nn
        >>> net = nn.mlp([2, 8, 1])
        >>> params = net.init(jax.random.key(0))
        >>> net.apply(params, jnp.ones((5, 2))).shape
        (5, 1)
    """
    return functional(lambda rngs: MLP(sizes, rngs, activation, final_kernel_init, final_bias_init))
