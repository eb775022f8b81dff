"""Convolutional flows of images by maximum likelihood: how they are made and trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import optax

from experiments._images import with_channels
from experiments._training import by_batches, minimize
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
    """A flow, the noise that it was trained with, the averaged parameters {"flow", "noise"} of both, and the log."""

    model: flows.InvertibleNet
    noise: flows.LearnedNoise
    params: Any
    history: list[dict[str, Any]]

    def generator(self) -> cf.Generator:
        """From N(0, I) to images."""
        return self.model.generator(self.params["flow"])

    def bits(self, x: Any, folder: Path | None = None) -> np.ndarray:
        """Bits per dimension (n,) of images as they are stored, one draw of the noise; NaN where x is.

        With a ``folder`` a killed run keeps the finished batches.
        """
        valid = np.all(np.isfinite(x), (1, 2, 3))
        stored = quantize(np.where(valid[:, None, None, None], x, 0))

        def score(images, first):
            key = jax.random.fold_in(jax.random.key(0), first)
            return {"bits": _bits(self.model, self.noise, self.params, images, key)}

        return np.where(valid, by_batches(score, stored, 250, folder, self.params)["bits"], np.nan)


def make_model(config: FlowRecipe, shape: Any) -> tuple[flows.InvertibleNet, flows.LearnedNoise]:
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


_bits = jax.jit(bits, static_argnums=(0, 1))


def train_flow(recipe: FlowRecipe, images: np.ndarray, folder: Path) -> TrainedFlow:
    """The flow of images uint8 (n, height, width[, channels]); a run that was killed goes on where it was."""
    images = with_channels(images)
    model, noise = make_model(recipe, images.shape[1:])
    init_key, noise_key, key = jax.random.split(jax.random.key(recipe.seed), 3)

    def loss(params, images, key):
        return {"loss": bits(model, noise, params, images, key)}

    @jax.jit
    def first(init_key, noise_key, some):
        noise_params = noise.init(init_key)
        x, _ = noise.noise(noise_params)(some, noise_key)
        return {"flow": model.data_init(model.init(init_key), x), "noise": noise_params}

    warmup = min(recipe.warmup, recipe.steps // 10)
    rate = optax.warmup_cosine_decay_schedule(0.0, recipe.learning_rate, warmup, recipe.steps)
    adam = optax.chain(optax.clip_by_global_norm(recipe.clip), optax.adam(rate))
    optimizer = train.with_ema(adam, recipe.average)
    params = first(init_key, noise_key, images[:512])
    state, history = minimize(
        loss, params, optimizer, images, recipe.batch, recipe.steps, key, folder
    )
    return TrainedFlow(model, noise, state.opt_state.average, history)
