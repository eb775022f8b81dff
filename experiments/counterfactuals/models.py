"""The models of the image experiments: classifiers and generators."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.tree_util import Partial

from experiments._images import with_channels
from experiments._training import by_batches, minimize
from geodl import datasets, flows, nn, train, vae
from geodl.distributions import WrappedNormal
from geodl.flows import bin_centers, dequantize
from geodl.generators import Generator
from geodl.manifolds import Euclidean, Manifold, PoincareBall


@dataclass(frozen=True)
class Training:
    """How a classifier is trained: Adam with decoupled weight decay, its rate falling to 0 along a cosine."""

    steps: int = 2000
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    noise: float = 0.0
    """the highest standard deviation of Gaussian noise on the images, uniform between 0 and it for each of them"""
    seed: int = 0


def classifier(net: nn.Net, images: datasets.Images, config: Training, folder: Path) -> Partial:
    """The trained logits of one image in [0, 1]; a run that was killed goes on where it was."""

    def loss(params, samples, key):
        x, label = bin_centers(samples[0]), samples[1]
        scale_key, noise_key = jax.random.split(key)
        scale = jax.random.uniform(scale_key, (len(x), 1, 1, 1), maxval=config.noise)
        logits = net.apply(params, x + scale * jax.random.normal(noise_key, x.shape))
        return {"loss": optax.softmax_cross_entropy_with_integer_labels(logits, label)}

    rate = optax.cosine_decay_schedule(config.learning_rate, config.steps)
    optimizer = optax.adamw(rate, weight_decay=config.weight_decay)
    data = with_channels(images.train_images), images.train_labels
    key = jax.random.key(config.seed)
    state, _ = minimize(
        loss, net.init(key), optimizer, data, config.batch, config.steps, key, folder
    )
    return Partial(net.apply, state.params)


def smoothed(model: Partial, noise: Array) -> Partial:
    """The mean of a model's outputs over copies of an image with fixed noise (k, height, width, channels) on them."""
    return Partial(_smoothed, model, noise)


def _smoothed(model, noise, x):
    return jnp.mean(jax.vmap(model)(x + noise), 0)


def classes(model: Partial, batch: int = 500) -> Callable[[Any], np.ndarray]:
    """The model's classes (n,) of images (n, height, width, channels) in [0, 1]."""
    return lambda x: outputs(model, x, batch).argmax(-1)


def accuracy(classes: Callable[[Any], np.ndarray], images: datasets.Images) -> float:
    """Share of the test images of which the class is right."""
    x = np.asarray(bin_centers(with_channels(images.test_images)))
    return float(np.mean(classes(x) == images.test_labels))


def outputs(model: Callable[[Array], Array], x: Any, batch: int = 500) -> np.ndarray:
    """The model's outputs of images x (n, height, width, channels)."""
    return by_batches(lambda some, _: _outputs(model, some), x, batch)


@jax.jit
def _outputs(model, x):
    return jax.vmap(model)(x)


def support_vectors(kernel: str, images: datasets.Images, items: int, C: float) -> Callable:
    """A support vector machine of the first ``items`` training images, from images (n, ...) in [0, 1] to classes."""
    from sklearn.svm import SVC

    x, labels = images.train_images[:items], images.train_labels[:items]
    machine = SVC(kernel=kernel, C=C).fit(flat(bin_centers(x)), labels)
    return lambda x: machine.predict(flat(x))


def flat(x: Any) -> np.ndarray:
    """Images as vectors."""
    return np.asarray(x).reshape(len(x), -1)


def untrained(model: flows.InvertibleNet, images: np.ndarray) -> Any:
    """The flow's parameters before the first step, for images (n, height, width, channels)."""

    @jax.jit
    def first(key, some):
        return model.data_init(model.init(key), some)

    key = jax.random.key(0)
    return first(key, dequantize(images[:256], key))


def base_density(space: Manifold, z: Array) -> Array:
    """Log-density of a generator's base, but for its constant: N(0, I), on the ball the wrapped normal of scale 1."""
    if isinstance(space, PoincareBall):
        return WrappedNormal(space, space.origin(), jnp.ones(space.dim)).log_prob(z)
    return -jnp.sum(jnp.square(z)) / 2


def pca(images: np.ndarray) -> Generator:
    """Principal components, whitened: the linear flow of highest likelihood of dequantized images, gray, uint8.

    The noise of dequantization keeps directions in which the images do not vary from having no variance at all.
    """
    x = flat(bin_centers(images))
    variance, directions = np.linalg.eigh(np.cov(x.T) + np.eye(x.shape[1]) / (12 * 256**2))
    mean = x.mean(0).reshape(with_channels(images).shape[1:])
    args = [jnp.asarray(a, jnp.float32) for a in (mean, directions, np.sqrt(variance))]
    return Generator(
        Partial(_from_components, *args),
        Euclidean(x.shape[1]),
        Partial(_to_components, *args),
        exact=True,
    )


def _from_components(mean, directions, scale, z):
    return mean + (directions @ (scale * z)).reshape(mean.shape)


def _to_components(mean, directions, scale, x):
    return ((x - mean).reshape(-1) @ directions) / scale


@dataclass(frozen=True)
class Decoder:
    """How a generator without an exact inverse is trained: a VAE or a GAN."""

    steps: int = 3000
    batch: int = 64
    learning_rate: float = 1e-3
    dim: int = 10
    """of the base"""


def convolutional_vae(shape: tuple[int, int, int], dim: int) -> vae.VAE:
    """A VAE of gray images as vectors (..., pixels), both networks convolutional, its base R^dim."""
    encoder, decoder = nn.conv_classifier(shape, 2 * dim), nn.conv_decoder(dim, shape)

    def encode(params, x):
        return encoder.apply(params, x.reshape(*x.shape[:-1], *shape))

    def decode(params, z, manifold):
        x = decoder.apply(params, z)
        return x.reshape(*z.shape[:-1], -1)

    return vae.vae(
        Euclidean(dim),
        WrappedNormal,
        nn.Net(encoder.init, encode),
        nn.Net(decoder.init, decode),
        vae.bernoulli,
    )


def poincare_vae(shape: tuple[int, int, int], dim: int, c: float = 0.7) -> vae.VAE:
    """The Poincaré VAE of Mathieu et al. (2019): wrapped normals on the ball, a decoder of gyroplanes."""
    pixels = int(np.prod(shape))
    encoder, decoder = nn.mlp([pixels, 400, 2 * dim]), vae.decoder(nn.Gyroplane, dim, [400, pixels])
    return vae.vae(PoincareBall(dim, c), WrappedNormal, encoder, decoder, vae.bernoulli)


def vae_generator(model: vae.VAE, images: np.ndarray, config: Decoder, folder: Path) -> Generator:
    """The decoder of a VAE, trained on images (n, height, width, channels); encodes by the posterior's mean."""

    def loss(params, images, key):
        x = bin_centers(images).reshape(len(images), -1)
        return {"loss": -vae.elbo(model, params, x, key).elbo}

    params = _fit(loss, model.init, images, config, folder)
    shape = images.shape[1:]
    return model.generator(params, lambda logits: jax.nn.sigmoid(logits).reshape(shape))


R1_WEIGHT = 5.0


def gan_generator(images: np.ndarray, config: Decoder, folder: Path) -> Generator:
    """The generator of a GAN in the manner of DCGAN, with no encoder (Radford, Metz & Chintala 2016).

    No batch normalization, which couples samples; the generator's pixels are normalized instead, without which it
    ends in blank images, and the discriminator has the gradient penalty R1 (Mescheder, Geiger & Nowozin 2018,
    section 4.1).
    """
    shape = images.shape[1:]
    generator = nn.conv_decoder(config.dim, shape, normalized=True)
    discriminator = nn.conv_classifier(shape, 1, (32, 64), 128)

    def init(key):
        keys = jax.random.split(key)
        return {"generator": generator.init(keys[0]), "discriminator": discriminator.init(keys[1])}

    def decode(params, z):
        return jax.nn.sigmoid(generator.apply(params, z))

    def loss(params, images, key):
        real, weights = bin_centers(images), params["discriminator"]
        fake = decode(params["generator"], jax.random.normal(key, (len(real), config.dim)))
        real_logits = discriminator.apply(weights, real)
        fake_logits = discriminator.apply(weights, jax.lax.stop_gradient(fake))
        d_loss = jax.nn.softplus(-real_logits) + jax.nn.softplus(fake_logits)
        g_loss = jax.nn.softplus(-discriminator.apply(jax.lax.stop_gradient(weights), fake))
        slope = jax.grad(lambda x: jnp.sum(discriminator.apply(weights, x)))(real)
        r1 = R1_WEIGHT / 2 * jnp.sum(jnp.square(slope), (1, 2, 3))
        return {"loss": (d_loss + g_loss)[:, 0] + r1, "g_loss": g_loss[:, 0]}

    def optimizer(rate):
        """Adam without momentum, the discriminator's five times slower."""
        slower = optax.masked(optax.scale(0.2), {"generator": False, "discriminator": True})
        return optax.chain(optax.adam(rate, b1=0.0, b2=0.99), slower)

    params = _fit(loss, init, images, config, folder, optimizer)
    return Generator(Partial(decode, params["generator"]), Euclidean(config.dim))


def _fit(loss, init, images, config, folder, optimizer=optax.adam):
    """Averaged parameters."""
    rate = optax.cosine_decay_schedule(config.learning_rate, config.steps, alpha=0.05)
    optimizer, key = train.with_ema(optimizer(rate), 0.995), jax.random.key(0)
    state, _ = minimize(loss, init(key), optimizer, images, config.batch, config.steps, key, folder)
    return state.opt_state.average
