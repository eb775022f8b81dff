"""Evidence bounds, in nats per item."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from geodl.vae.model import VAE


class Elbo(NamedTuple):
    """Evidence lower bound and its two parts, each of shape (batch,): elbo = log_likelihood - kl."""

    elbo: Array
    log_likelihood: Array
    kl: Array


def elbo(model: VAE, params, x: Array, key: Array, samples: int = 1) -> Elbo:
    """Monte Carlo ELBO of the items x (batch, n), with the KL by the same ``samples`` draws (Kingma & Welling 2014)."""
    log_likelihood, kl = _log_weights(model, params, x, key, samples)
    return Elbo(*(jnp.mean(a, 0) for a in (log_likelihood - kl, log_likelihood, kl)))


def iwae(model: VAE, params, x: Array, key: Array, samples: int, chunk: int = 100) -> Array:
    """Importance-weighted bound log (1/K) sum_k p(x, z_k) / q(z_k | x), shape (batch,) (Burda et al. 2016).

    The K = ``samples`` draws are made ``chunk`` at a time, so memory does not grow with K; raises ``ValueError``
    where ``chunk`` does not divide ``samples``.
    """
    if samples % chunk:
        raise ValueError(
            f"iwae: chunk must divide samples, got chunk {chunk} and samples {samples}"
        )

    def step(total, key):
        log_likelihood, kl = _log_weights(model, params, x, key, chunk)
        return jnp.logaddexp(total, jax.nn.logsumexp(log_likelihood - kl, 0)), None

    start = jnp.full(x.shape[:-1], -jnp.inf, x.dtype)
    total, _ = jax.lax.scan(step, start, jax.random.split(key, samples // chunk))
    return total - jnp.log(samples)


def _log_weights(model, params, x, key, samples):
    """log p(x | z) and log q(z | x) - log p(z), each (samples, batch), at draws z of the posterior."""
    z, log_q = model.encode(params, x).sample_and_log_prob(seed=key, sample_shape=(samples,))
    log_likelihood = model.log_likelihood(model.decode(params, z), x)
    return log_likelihood, log_q - model.prior(params).log_prob(z)
