"""Convolutional flows of images by maximum likelihood: how they are made and trained."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._images import batches, image_shape, with_channels
from geodl import bijectors, flows, nn, train
from geodl import counterfactual as cf
from geodl.flows import quantize


@dataclass(frozen=True)
class FlowRecipe:
    """Network and optimizer; the defaults are for minutes on two cores."""

    coupling: Literal["affine", "spline", "mixture"] = "affine"
    noise: Literal["uniform", "learned"] = "learned"
    """within the gray values' bins, in training and in scores"""
    alpha: float = 1e-4
    """of the logits"""
    levels: tuple[tuple[int, int], ...] = ((4, 8),)
    """of each scale the factor to squeeze by and the number of steps"""
    conditioner: Literal["mixer", "conv"] = "mixer"
    """the couplings' networks: for few positions, or for many"""
    width: int = 64
    """their channels"""
    batch: int = 32
    steps: int = 13_500
    learning_rate: float = 8e-3
    """falls to 0 along a cosine, after a warm-up"""
    warmup: int = 200
    clip: float = 1.0
    """of the gradient's norm, in bits per dimension"""
    average: float = 0.999
    """decay of the moving average of the parameters, which is what is evaluated"""
    seed: int = 0


class TrainedFlow(NamedTuple):
    """A flow, the noise that it was trained with, and the averaged parameters {"flow", "noise"} of both."""

    model: flows.InvertibleNet
    noise: flows.LearnedNoise
    params: Any

    def generator(self) -> cf.Generator:
        """From N(0, I) to images."""
        return self.model.generator(self.params["flow"])

    def bits(self, x: np.ndarray) -> np.ndarray:
        """Bits per dimension (n,) of images as they are stored, one draw of the noise; NaN where x is."""
        valid = np.all(np.isfinite(x), (1, 2, 3))
        stored = quantize(np.where(valid[:, None, None, None], x, 0))
        size = min(250, len(x))
        parts = [
            _bits(self.model, self.noise, self.params, images, np.int32(i))[:count]
            for i, (images, count) in enumerate(batches(stored, size))
        ]
        return np.where(valid, np.concatenate(parts), np.nan)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _bits(model, noise, params, images, i):
    key = jax.random.fold_in(jax.random.key(0), i)
    return bits(model, noise, params, images, key)


def train_flow(recipe: FlowRecipe, images: np.ndarray, folder: Path) -> TrainedFlow:
    """The flow of images uint8 (n, height, width[, channels])."""
    model, noise = make_model(recipe, image_shape(images))
    return TrainedFlow(model, noise, fit(recipe, model, noise, images, folder)[0])


def make_model(
    config: FlowRecipe, shape: tuple[int, int, int]
) -> tuple[flows.InvertibleNet, flows.LearnedNoise]:
    """The flow, from N(0, I) to images (height, width, channels) in [0, 1], and the noise of its scores."""
    conditioner = {"mixer": nn.mixer_net, "conv": nn.conv_net}[config.conditioner]
    transformer = TRANSFORMERS[config.coupling]
    net = flows.glow(shape, config.levels, config.width, transformer, config.alpha, conditioner)
    return net, NOISES[config.noise]


TRANSFORMERS = {
    "affine": bijectors.affine(),
    "spline": bijectors.spline(),
    "mixture": bijectors.logistic_mixture(),
}

NOISES = {
    "uniform": flows.LearnedNoise(lambda key: {}, lambda params: flows.uniform_noise),
    "learned": flows.logit_normal_noise(),
}


def bits(model: flows.InvertibleNet, noise: flows.LearnedNoise, params: Any, images: Any, key: Any):
    """Bits per dimension of images (..., height, width, channels), with one draw of the noise."""
    return flows.bits_per_dim(
        model.distribution(params["flow"]), images, key, noise.noise(params["noise"])
    )


def fit(
    config: FlowRecipe,
    model: flows.InvertibleNet,
    noise: flows.LearnedNoise,
    images: np.ndarray,
    folder: Path,
) -> tuple[Any, list[dict[str, Any]]]:
    """The averaged parameters, and the log; a run that was killed goes on where it was."""
    data = jnp.asarray(with_channels(images))
    init_key, noise_key, key = jax.random.split(jax.random.key(config.seed), 3)

    def loss(params, batch, key):
        score = bits(model, noise, params, batch.data, key)
        return jnp.sum(batch.weight * score) / jnp.sum(batch.weight), {}

    @jax.jit
    def first(init_key, noise_key, some):
        noise_params = noise.init(init_key)
        x, _ = noise.noise(noise_params)(some, noise_key)
        return {"flow": model.data_init(model.init(init_key), x), "noise": noise_params}

    warmup = min(config.warmup, config.steps // 10)
    rate = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warmup, config.steps)
    adam = optax.chain(optax.clip_by_global_norm(config.clip), optax.adam(rate))
    optimizer = train.with_ema(adam, config.average)
    step = train.on_minibatches(train.make_step(loss, optimizer), config.batch)
    run = train.chunked(step, convolutional=True)
    state = train.init(first(init_key, noise_key, data[:512]), optimizer, key, len(data))
    chunk = min(500, config.steps)
    state, history = train.fit(run, state, data, config.steps, folder, chunk=chunk)
    return state.opt_state.average, history
