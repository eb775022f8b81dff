"""The Poincaré VAE of Mathieu et al. (2019), over any manifold that has the distributions."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from geodl.manifolds import Manifold
from geodl.nn import MLP, Gyroplane, MobiusLinear, Net, functional, linear


MIN_SCALE = 1e-5  # posterior scales are softplus + this (Mathieu et al. 2019, their code)


class VAE(NamedTuple):
    """A variational autoencoder as pure functions; distributions are distrax ones over the manifold.

    ``init(key) -> params``; ``encode(params, x) -> q(z|x)``; ``decode(params, z) -> parameters of p(x|z)``;
    ``log_likelihood(parameters, x) -> log p(x|z)``; ``prior(params) -> p(z)``.
    """

    init: Callable[[Array], dict[str, Any]]
    encode: Callable[[dict[str, Any], Array], Any]
    decode: Callable[[dict[str, Any], Any], Array]
    log_likelihood: Callable[[Array, Array], Array]
    prior: Callable[[dict[str, Any]], Any]


def vae(
    manifold: Manifold,
    family: Callable[..., Any],
    encoder: Net,
    decoder: Net,
    log_likelihood: Callable[[Array, Array], Array],
    prior_scale: float = 1.0,
) -> VAE:
    """VAE with prior ``family(manifold, origin, prior_scale)`` and posterior of the same family.

    ``encoder.apply(params, x)`` gives (..., dim + k): the mean's components in the tangent space at the
    origin (its expmap is the posterior's mean) and k = 1 or dim raw scales (softplus + 1e-5).
    ``decoder.apply(params, z, manifold)`` gives the parameters that ``log_likelihood(parameters, x)`` takes.
    """

    def init(key):
        encoder_key, decoder_key = jax.random.split(key)
        return {"encoder": encoder.init(encoder_key), "decoder": decoder.init(decoder_key)}

    def encode(params, x):
        out = encoder.apply(params["encoder"], x)
        mean, raw_scale = out[..., : manifold.dim], out[..., manifold.dim :]
        origin = manifold.origin()
        loc = manifold.expmap(origin, manifold.from_frame(origin, mean))
        return family(manifold, loc, jax.nn.softplus(raw_scale) + MIN_SCALE)

    def decode(params, z):
        return decoder.apply(params["decoder"], z, manifold)

    def prior(params):
        return family(manifold, manifold.origin(), jnp.full((1,), prior_scale))

    return VAE(init, encode, decode, log_likelihood, prior)


FirstLayer = Literal["linear", "logmap", "gyroplane", "mobius"]


class Decoder(nnx.Module):
    """A first layer that knows the geometry, then ReLU and an MLP."""

    def __init__(self, first: FirstLayer, dim: int, sizes: Sequence[int], rngs: nnx.Rngs):
        layers = {
            "linear": linear,
            "logmap": linear,
            "gyroplane": Gyroplane,
            "mobius": MobiusLinear,
        }
        if first not in layers:
            raise ValueError(f"decoder: first layer must be one of {list(layers)}, got {first!r}")
        self.kind = first
        self.first = layers[first](dim, sizes[0], rngs)
        self.rest = MLP(sizes, rngs)

    def __call__(self, z, manifold):
        match self.kind:
            case "linear":
                features = self.first(z)
            case "logmap":
                origin = manifold.origin()
                features = self.first(manifold.to_frame(origin, manifold.logmap(origin, z)))
            case "gyroplane":
                features = self.first(z, manifold)
            case _:
                features = manifold.logmap0(self.first(z, manifold))
        return self.rest(jax.nn.relu(features))


def decoder(first: FirstLayer, dim: int, sizes: Sequence[int]) -> Net:
    """The paper's decoders: z -> first layer of ``sizes[0]`` units -> ReLU -> ... -> ``sizes[-1]`` outputs.

    ``first`` reads z by its coordinates ("linear"), by its tangent vector at the origin ("logmap"), by its distances
    to hyperplanes ("gyroplane", the geometry-aware decoder) or by a Möbius affine layer ("mobius").
    ``apply(params, z, manifold)``.
    """
    return functional(lambda rngs: Decoder(first, dim, sizes, rngs))
