"""The searches of the digits' experiment: steps of one length, the base's log-density, the adversarial search."""

import functools
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import optax
from jax.tree_util import Partial

from experiments.counterfactuals import models
from experiments.counterfactuals.searches import as_8bit, fixed_length
from geodl import counterfactual as cf


@dataclass(frozen=True)
class Rule:
    """How a search goes; flags of the experiment as they are."""

    confidence: float = 0.999
    """that searches go on to; a result counts from 0.99 on"""
    steps: int = 300
    """the most of a search"""
    length: float = 0.5
    """of a step in the base"""
    length_in_data: float = 0.1
    """of a step of the adversarial search, in l2 of pixels"""
    prior: float = 2.0
    """weight of the base's log-density"""


@functools.cache
def adam(rate: float) -> optax.GradientTransformation:
    """Adam, one object for each rate."""
    return optax.adam(rate)


def make_rule(
    config: Rule, explained: Partial, generator: cf.Generator, **changes: Any
) -> cf.Search:
    """Our search in a generator's base, or what changes of it."""
    rule = {
        "generator": generator,
        "model": explained,
        "target": cf.confidence(config.confidence),
        "optimizer": fixed_length(config.length),
        "steps": config.steps,
        "postprocess": as_8bit,
        "penalty": prior(config.prior, generator),
    }
    return cf.Search(**rule | changes)


def prior(weight: float, generator: cf.Generator) -> cf.penalties.Penalty | None:
    """Minus the log-density of a generator's base, weighted; None for weight 0."""
    log_prob = Partial(models.base_density, generator.manifold)
    return cf.penalties.negative_log_prob(jnp.float32(weight), log_prob) if weight else None


def in_data(config: Rule, explained: Partial, shape: tuple[int, ...], **changes: Any) -> cf.Search:
    """The adversarial search, among images of a shape."""
    optimizer = fixed_length(config.length_in_data)
    settings = {"optimizer": optimizer, "steps": 2 * config.steps, "penalty": None}
    return make_rule(config, explained, cf.data_space(shape), **settings | changes)


def ablation(
    config: Rule, explained: Partial, generator: cf.Generator, noisy: Partial, noise: Any
) -> dict[str, cf.Search]:
    """Searches that differ in one thing from the published settings, the first.

    Args:
        config: our settings.
        explained: the classifier.
        generator: of the base.
        noisy: a classifier trained with noise and weight decay.
        noise: copies of it (k, height, width, channels), to average the classifier over.
    """

    published = {"target": cf.confidence(0.99), "optimizer": adam(0.05), "penalty": None}
    near = cf.penalties.base_distance(jnp.float32(0.1), generator.manifold)
    changed: dict[str, dict[str, Any]] = {
        "Adam 0.05, 0.99": {},
        "Adam 0.02": {"optimizer": adam(0.02)},
        "steps of fixed length": {"optimizer": fixed_length(config.length)},
        "steps of half that length": {"optimizer": fixed_length(config.length / 2)},
        "confidence 0.999": {"target": cf.confidence(0.999)},
        "confidence 0.9999": {"target": cf.confidence(0.9999)},
        "classifier trained with noise, weight decay": {"model": noisy},
        "classifier averaged over noise": {"model": models.smoothed(explained, noise)},
        "log-density of the base, 0.1": {"penalty": prior(0.1, generator)},
        "log-density of the base, 1": {"penalty": prior(1.0, generator)},
        "near the start in the base": {"penalty": near},
    }
    return {
        name: make_rule(config, explained, generator, **published | changes)
        for name, changes in changed.items()
    }
