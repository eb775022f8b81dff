"""The Poincaré VAE of Mathieu et al. (2019), over any manifold that has the distributions."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from geodl._core import display
from geodl._core.checks import float_dtype
from geodl._core.records import as_pytree
from geodl.generators import Generator, identity
from geodl.manifolds import Manifold
from geodl.nn import MLP, MobiusLinear, Net, functional, linear


MIN_SCALE = 1e-5  # posterior scales are softplus + this (Mathieu et al. 2019, their code)


class VAE(NamedTuple):
    """A variational autoencoder as pure functions; distributions are distrax ones over the manifold.

    ``init(key) -> params``; ``encode(params, x) -> q(z|x)``; ``decode(params, z) -> parameters of p(x|z)``;
    ``log_likelihood(parameters, x) -> log p(x|z)``; ``prior(params) -> p(z)``; ``manifold(params)``, the record of
    the latent space. Without parameters ``prior()`` and ``manifold()`` are those before training. They cannot be
    pickled: store the parameters, and make the model again.
    """

    init: Callable[[Array], dict[str, Any]]
    encode: Callable[[dict[str, Any], Array], Any]
    decode: Callable[[dict[str, Any], Any], Array]
    log_likelihood: Callable[[Array, Array], Array]
    prior: Callable[..., Any]
    manifold: Callable[..., Manifold]

    def __repr__(self) -> str:
        likelihood = getattr(self.log_likelihood, "__name__", "log_likelihood")
        size = display.count(self.init)
        return f"VAE({self.manifold()}, {type(self.prior()).__name__}, {likelihood}; {size})"

    def generator(
        self, params: dict[str, Any], to_data: Callable[[Array], Array] = identity
    ) -> Generator:
        """The generator z -> to_data(decode(params, z)); it encodes by the posterior's mean, which is no exact inverse.

        Args:
            params: as ``init`` makes them. They are arguments of what is compiled.
            to_data: from the decoder's output for one point (n,) to the data point, of any shape: the mean of p(x|z).
                ``jax.nn.sigmoid`` for logits, ``lambda y: jax.nn.sigmoid(y).reshape(28, 28, 1)`` for those of images.
                Use one function for all calls, as each new one is compiled.

        Returns:
            The generator; data points are encoded as vectors.
        """
        return Generator(
            Partial(_decoded, Partial(self.decode), as_pytree(to_data), params),
            self.manifold(params),
            Partial(_encoded, Partial(self.encode), params),
        )


def _decoded(decode, to_data, params, z):
    return to_data(decode(params, z))


def _encoded(encode, params, x):
    return encode(params, jnp.ravel(x)).loc


def vae(
    manifold: Manifold,
    family: Callable[..., Any],
    encoder: Net,
    decoder: Net,
    log_likelihood: Callable[[Array, Array], Array],
    prior_scale: ArrayLike = 1.0,
    learn_curvature: bool = False,
) -> VAE:
    """VAE with prior ``family(manifold, origin, prior_scale)`` and posterior of the same family.

    Args:
        manifold: of the latents.
        family: (manifold, loc, scale) to a distribution, as ``WrappedNormal`` or ``RiemannianNormal``.
        encoder: ``apply(params, x)`` gives (..., dim + k): the mean's components in the tangent space at the origin
            (its expmap is the posterior's mean) and k = 1 or dim raw scales (softplus + 1e-5).
        decoder: ``apply(params, z, manifold)`` gives the parameters that the likelihood takes.
        log_likelihood: ``log_likelihood(parameters, x)``, as :func:`bernoulli` and :func:`gaussian`.
        prior_scale: a number or one for each dimension.
        learn_curvature: whether the curvatures of the manifold (of every factor of a product) are parameters too, as
            logarithms.

    Returns:
        The model, whose distributions are those of ``family``.

    Raises:
        ValueError: ``learn_curvature`` where the manifold has no curvature.

    Reference:
        Mathieu et al. 2019.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from geodl import vae
        >>> from geodl.distributions import WrappedNormal
        >>> from geodl.manifolds import PoincareBall
        >>> from geodl.nn import Gyroplane, mlp
        >>> encoder, decoder = mlp([5, 8, 3]), vae.decoder(Gyroplane, 2, [8, 5])
        >>> model = vae.vae(PoincareBall(2), WrappedNormal, encoder, decoder, vae.gaussian)
        >>> params = model.init(jax.random.key(0))
        >>> posterior = model.encode(params, jnp.ones((4, 5)))
        >>> posterior.batch_shape, posterior.event_shape
        ((4,), (2,))
    """
    curvatures, structure = jax.tree.flatten(manifold)
    if learn_curvature and not curvatures:
        raise ValueError(f"vae: learn_curvature needs a manifold with a curvature, got {manifold}")

    def init(key):
        encoder_key, decoder_key = jax.random.split(key)
        params: dict[str, Any] = {
            "encoder": encoder.init(encoder_key),
            "decoder": decoder.init(decoder_key),
        }
        if learn_curvature:
            dtype = _dtype(params)
            params["log_curvature"] = [jnp.log(jnp.asarray(c, dtype)) for c in curvatures]
        return params

    def space(params=None):
        if params is None or not learn_curvature:
            return manifold
        return structure.unflatten([jnp.exp(a) for a in params["log_curvature"]])

    def encode(params, x):
        out, latent = encoder.apply(params["encoder"], x), space(params)
        mean, raw_scale = out[..., : latent.dim], out[..., latent.dim :]
        loc = latent.expmap_frame(latent.origin(mean.dtype), mean)
        return family(latent, loc, jax.nn.softplus(raw_scale) + MIN_SCALE)

    def decode(params, z):
        return decoder.apply(params["decoder"], z, space(params))

    def prior(params=None):
        latent = space(params)
        dtype = jnp.result_type(float) if params is None else _dtype(params)
        return family(latent, latent.origin(dtype), jnp.atleast_1d(jnp.asarray(prior_scale, dtype)))

    return VAE(init, encode, decode, log_likelihood, prior, space)


def _dtype(params):
    """The parameters' precision, whatever the default one is."""
    return float_dtype(0.0, *jax.tree.leaves(params))


# From the number of coordinates or components that it reads, and of features, to a layer (z, manifold) -> features.
FirstLayer: TypeAlias = Callable[[int, int, nnx.Rngs], Callable[[Any, Manifold], Array]]


class CoordinateLayer(nnx.Module):
    """An affine layer of a point's coordinates; those of a matrix row by row, of a product in turn.

    Args:
        dim: Number of coordinates.
        features: Number of outputs.
        rngs: The random numbers of flax.
    """

    def __init__(self, dim: int, features: int, rngs: nnx.Rngs):
        self.linear = linear(dim, features, rngs)

    def __call__(self, z, manifold: Manifold):
        return _affine(self, _coordinates(manifold, z), manifold)


class LogmapLayer(nnx.Module):
    """An affine layer of the components of a point's tangent vector at the origin.

    Args:
        dim: Number of components, the dimension of the space.
        features: Number of outputs.
        rngs: The random numbers of flax.
    """

    def __init__(self, dim: int, features: int, rngs: nnx.Rngs):
        self.linear = linear(dim, features, rngs)

    def __call__(self, z, manifold: Manifold):
        return _affine(self, manifold.normal_coordinates(z), manifold)


class MobiusLayer(MobiusLinear):
    """A Möbius affine layer, and the components at the origin of where it leads."""

    def __call__(self, z, manifold: Manifold):
        return self.image(manifold).normal_coordinates(super().__call__(z, manifold))


class Decoder(nnx.Module):
    """A first layer that knows the geometry, then ReLU and an MLP."""

    def __init__(
        self,
        first: FirstLayer,
        dim: int,
        sizes: Sequence[int],
        rngs: nnx.Rngs,
        final_bias_init: nnx.Initializer | None = None,
    ):
        self.first = first(dim, sizes[0], rngs)
        self.rest = MLP(sizes, rngs, final_bias_init=final_bias_init)

    def __call__(self, z, manifold):
        return self.rest(jax.nn.relu(self.first(z, manifold)))


def _affine(layer, a, manifold):
    made_for, name = layer.linear.in_features, type(layer).__name__
    if a.shape[-1] != made_for:
        raise ValueError(f"{name}: made for {made_for} numbers, got {a.shape[-1]} from {manifold}")
    return layer.linear(a)


def _coordinates(manifold, z):
    """The arrays of points z, side by side."""
    batch = manifold.batch_shape(z)
    rows = [a.reshape(*batch, math.prod(a.shape[len(batch) :])) for a in jax.tree.leaves(z)]
    return jnp.concatenate(rows, -1)


def decoder(
    first: FirstLayer,
    dim: int,
    sizes: Sequence[int],
    final_bias_init: nnx.Initializer | None = None,
) -> Net:
    """The paper's decoders: z -> first layer of ``sizes[0]`` units -> ReLU -> ... -> ``sizes[-1]`` outputs.

    Args:
        first: how z is read, a class ``(dim, features, rngs)`` of layers ``(z, manifold) -> features``:
            :class:`CoordinateLayer` by its coordinates, :class:`LogmapLayer` by its tangent vector at the origin,
            :class:`geodl.nn.Gyroplane` by its distances to hyperplanes (the geometry-aware decoder),
            :class:`MobiusLayer` by a Möbius affine layer.
        dim: the number of coordinates, or of components, that the first layer reads.
        sizes: of the layers, that of the data last.
        final_bias_init: initializer of the last layer's bias, such as the logits of the data's mean.

    Returns:
        A net with ``apply(params, z, manifold)``.

    Raises:
        ValueError: less than two sizes.
    """
    if len(sizes) < 2:
        raise ValueError(
            f"vae.decoder: sizes are of the first layer, ..., and of the data, got {list(sizes)}"
        )
    return functional(lambda rngs: Decoder(first, dim, sizes, rngs, final_bias_init))
