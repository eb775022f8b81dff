"""Log-likelihoods log p(x | decoder output), in nats, summed over the last axis."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float


def bernoulli(
    logits: Float[Array, "*#batch n"], x: Float[Array, "*#batch n"]
) -> Float[Array, "*batch"]:
    """Bernoulli log-likelihood sum_i x_i log p_i + (1 - x_i) log(1 - p_i), p = sigmoid(logits), in nats.

    Args:
        logits: of the pixels (..., n).
        x: gray values (..., n) in [0, 1], read as means of bits (Mathieu et al. 2019, MNIST).

    Returns:
        Nats (...).
    """
    softplus = jnp.maximum(logits, 0) + jnp.log1p(jnp.exp(-jnp.abs(logits)))
    return jnp.sum(x * logits - softplus, -1)


def gaussian(
    mean: Float[Array, "*#batch n"], x: Float[Array, "*#batch n"]
) -> Float[Array, "*batch"]:
    """Gaussian log-likelihood -sum_i ((x_i - mean_i)^2 + log 2 pi) / 2 of unit variance, in nats.

    As for the branching diffusion of Mathieu et al. (2019).

    Args:
        mean: decoded items (..., n).
        x: items (..., n).

    Returns:
        Nats (...).
    """
    return -0.5 * jnp.sum(jnp.square(x - mean) + np.log(2 * np.pi), -1)
