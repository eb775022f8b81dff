"""Log-likelihoods log p(x | decoder output), in nats, summed over the last axis."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float


def bernoulli(
    logits: Float[Array, "*#batch n"], x: Float[Array, "*#batch n"]
) -> Float[Array, "*batch"]:
    """Cross-entropy of grey pixels x in [0, 1] read as Bernoulli means (Mathieu et al. 2019, MNIST)."""
    softplus = jnp.maximum(logits, 0) + jnp.log1p(jnp.exp(-jnp.abs(logits)))
    return jnp.sum(x * logits - softplus, -1)


def gaussian(
    mean: Float[Array, "*#batch n"], x: Float[Array, "*#batch n"]
) -> Float[Array, "*batch"]:
    """Normal density of unit variance around the decoder's output (Mathieu et al. 2019, branching diffusion)."""
    return -0.5 * jnp.sum(jnp.square(x - mean) + np.log(2 * np.pi), -1)
