"""Variational autoencoders with latents on a manifold."""

from geodl.vae.likelihoods import bernoulli, gaussian
from geodl.vae.losses import Elbo, elbo, iwae
from geodl.vae.model import VAE, decoder, vae


__all__ = ["VAE", "Elbo", "bernoulli", "decoder", "elbo", "gaussian", "iwae", "vae"]
