"""What a trained VAE has learned, besides its bounds (:mod:`~geodl.vae.losses`)."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from geodl.manifolds import Point
from geodl.vae.model import VAE


ACTIVE = 0.01  # a latent unit is in use above this variance (Burda et al. 2016, section 5.2)


def unit_variances(model: VAE, params, x: Array) -> Array:
    """Variance over the items x (batch, n) of each latent unit's posterior mean, shape (dim,).

    Units are the frame components of log_0 of the mean; those above ``ACTIVE`` are called active
    (Burda et al. 2016, section 5.2).
    """
    means = model.encode(params, x).loc
    return jnp.var(model.manifold(params).normal_coordinates(means), 0)


def sample_aggregate_posterior(model: VAE, params, x: Array, key: Array, samples: int) -> Point:
    """Latents (samples, ...) of the aggregate posterior (1/N) sum_n q(z | x_n) of the items x (N, n)."""
    item_key, latent_key = jax.random.split(key)
    items = x[jax.random.randint(item_key, (samples,), 0, len(x))]
    return model.encode(params, items).sample(seed=latent_key)


def interpolate(model: VAE, params, x: Array, y: Array, t: ArrayLike) -> Array:
    """Parameters of p(x | z), shape (steps, batch, n), along the geodesics between posterior means.

    ``t`` (steps,) holds times from 0 (the mean of x (batch, n)) to 1 (that of y).
    """
    start, end = model.encode(params, x).loc, model.encode(params, y).loc
    manifold = model.manifold(params)
    return jax.vmap(lambda s: model.decode(params, manifold.geodesic(s, start, end)))(
        jnp.asarray(t)
    )
