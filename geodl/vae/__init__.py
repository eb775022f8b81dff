"""Variational autoencoders with latents on a manifold: :func:`vae` makes one, ``VAE.generator`` its generator."""

from geodl.vae.evaluation import ACTIVE_UNIT_THRESHOLD, posterior_mean_variance
from geodl.vae.likelihoods import bernoulli, gaussian
from geodl.vae.losses import Elbo, elbo, iwae
from geodl.vae.model import VAE, CoordinateLayer, LogmapLayer, MobiusLayer, decoder, vae


__all__ = [
    "ACTIVE_UNIT_THRESHOLD",
    "VAE",
    "CoordinateLayer",
    "Elbo",
    "LogmapLayer",
    "MobiusLayer",
    "bernoulli",
    "decoder",
    "elbo",
    "gaussian",
    "iwae",
    "posterior_mean_variance",
    "vae",
]
