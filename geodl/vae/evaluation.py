"""What a trained VAE has learned, besides its bounds (:mod:`~geodl.vae.losses`)."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from geodl.vae.model import VAE


ACTIVE_UNIT_THRESHOLD = 0.01  # Burda et al. 2016, section 5.2


def posterior_mean_variance(model: VAE, params: dict[str, Any], x: Array) -> Array:
    """Variance over items of each latent unit's posterior mean, Var_x [log_0 mean(q(z|x))]_i in the frame at 0.

    Units above ``ACTIVE_UNIT_THRESHOLD`` count as active.

    Args:
        model: the VAE.
        params: as ``model.init`` makes them.
        x: items (batch, n).

    Returns:
        (dim,), in squared geodesic units.

    Reference:
        Burda, Grosse & Salakhutdinov 2016, section 5.2.
    """
    means = model.encode(params, x).loc
    return jnp.var(model.manifold(params).normal_coordinates(means), 0)
