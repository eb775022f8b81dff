"""Evidence bounds, in nats per item."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from geodl._core.checks import check_count, float_dtype
from geodl.vae.model import VAE


class Elbo(NamedTuple):
    """Evidence lower bound and its two parts, each of shape (batch,): elbo = log_likelihood - kl."""

    elbo: Array
    log_likelihood: Array
    kl: Array


def elbo(model: VAE, params, x: Array, key: Array, samples: int = 1) -> Elbo:
    """Monte Carlo ELBO E_q [log p(x|z) + log p(z) - log q(z|x)], the KL by the same draws.

    Args:
        model: the VAE.
        params: as ``model.init`` makes them.
        x: items (batch, n).
        key: of the draws.
        samples: draws of q for each item.

    Returns:
        The bound and its parts (batch,), in nats.

    Raises:
        ValueError: fewer than one sample.

    Reference:
        Kingma & Welling 2014.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from geodl import vae
        >>> from geodl.distributions import WrappedNormal
        >>> from geodl.manifolds import PoincareBall
        >>> from geodl.nn import mlp
        >>> encoder, decoder = mlp([5, 8, 3]), vae.decoder(vae.CoordinateLayer, 2, [8, 5])
        >>> model = vae.vae(PoincareBall(2), WrappedNormal, encoder, decoder, vae.gaussian)
        >>> params = model.init(jax.random.key(0))
        >>> bound = jax.jit(lambda params, x, key: vae.elbo(model, params, x, key).elbo)
        >>> bound(params, jnp.ones((4, 5)), jax.random.key(1)).shape
        (4,)
    """
    check_count("elbo: samples", samples)
    log_likelihood, kl = _log_weights(model, params, x, key, samples)
    return Elbo(*(jnp.mean(a, 0) for a in (log_likelihood - kl, log_likelihood, kl)))


def iwae(model: VAE, params, x: Array, key: Array, samples: int, chunk: int = 100) -> Array:
    """Importance-weighted bound log (1/K) sum_k p(x, z_k) / q(z_k|x).

    Args:
        model: the VAE.
        params: as ``model.init`` makes them.
        x: items (batch, n).
        key: of the draws.
        samples: K draws of q for each item.
        chunk: how many at a time (all, if they are fewer), so that memory does not grow with the decoder's size times
            K.

    Returns:
        (batch,), in nats.

    Raises:
        ValueError: ``chunk`` does not divide ``samples``, or either is below 1.

    Reference:
        Burda, Grosse & Salakhutdinov 2016.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from geodl import vae
        >>> from geodl.distributions import WrappedNormal
        >>> from geodl.manifolds import PoincareBall
        >>> from geodl.nn import mlp
        >>> encoder, decoder = mlp([5, 8, 3]), vae.decoder(vae.CoordinateLayer, 2, [8, 5])
        >>> model = vae.vae(PoincareBall(2), WrappedNormal, encoder, decoder, vae.gaussian)
        >>> params = model.init(jax.random.key(0))
        >>> bound = jax.jit(lambda params, x, key: vae.iwae(model, params, x, key, samples=10))
        >>> bound(params, jnp.ones((4, 5)), jax.random.key(1)).shape
        (4,)
    """
    check_count("iwae: samples", samples)
    check_count("iwae: chunk", chunk)
    chunk = min(chunk, samples)
    if samples % chunk:
        raise ValueError(
            f"iwae: chunk must divide samples, got chunk {chunk} and samples {samples}"
        )

    def log_sum(key):
        log_likelihood, kl = _log_weights(model, params, x, key, chunk)
        return jax.nn.logsumexp(log_likelihood - kl, 0)

    sums = jax.lax.map(log_sum, jax.random.split(key, samples // chunk))
    return jax.nn.logsumexp(sums, 0) - math.log(samples)


def _log_weights(model, params, x, key, samples):
    """log p(x | z) and log q(z | x) - log p(z), each (samples, batch), at draws z of the posterior."""
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):  # images of integers, masks
        x = x.astype(float_dtype(*jax.tree.leaves(params)))
    z, log_q = model.encode(params, x).sample_and_log_prob(seed=key, sample_shape=(samples,))
    log_likelihood = model.log_likelihood(model.decode(params, z), x[None])
    return log_likelihood, log_q - model.prior(params).log_prob(z)
