"""Variational autoencoders with latents on a manifold."""

from geodl.vae.evaluation import ACTIVE, interpolate, sample_aggregate_posterior, unit_variances
from geodl.vae.likelihoods import bernoulli, gaussian
from geodl.vae.losses import Elbo, elbo, iwae
from geodl.vae.model import VAE, decoder, vae


__all__ = [
    "ACTIVE",
    "VAE",
    "Elbo",
    "bernoulli",
    "decoder",
    "elbo",
    "gaussian",
    "interpolate",
    "iwae",
    "sample_aggregate_posterior",
    "unit_variances",
    "vae",
]
