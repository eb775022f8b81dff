"""Multi-layer perceptrons."""

import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from geodl.nn.functional import Net, functional


def linear(dim_in: int, dim_out: int, rngs: nnx.Rngs) -> nnx.Linear:
    """Affine layer, weights and biases uniform in +-1/sqrt(dim_in): the initialisation of the papers' PyTorch code."""

    def uniform(key, shape, dtype=jnp.float32, out_sharding=None):
        bound = dim_in**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nnx.Linear(dim_in, dim_out, kernel_init=uniform, bias_init=uniform, rngs=rngs)


class MLP(nnx.Module):
    """Affine layers of the given sizes, ``activation`` between them: (..., sizes[0]) -> (..., sizes[-1])."""

    def __init__(
        self,
        sizes: Sequence[int],
        rngs: nnx.Rngs,
        activation: Callable[[Array], Array] = jax.nn.relu,
    ):
        self.activation = activation
        self.layers = nnx.List([linear(m, n, rngs) for m, n in itertools.pairwise(sizes)])

    def __call__(self, x):
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        return last(x)


def mlp(sizes: Sequence[int], activation: Callable[[Array], Array] = jax.nn.relu) -> Net:
    """:class:`MLP` as pure functions."""
    return functional(lambda rngs: MLP(sizes, rngs, activation))
