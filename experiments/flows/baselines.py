"""Densities of points on the sphere without a flow: uniform, kernels, mixtures of von Mises-Fisher distributions."""

import math
import time
from pathlib import Path
from typing import Any

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from geodl import distributions, train
from geodl.manifolds import Sphere


FLOOR = 0.01  # share of the uniform distribution in every baseline: no test point is impossible


def baseline(method: str, fit, validation, folder: Path) -> tuple[distrax.Distribution, float]:
    """A method's distribution of the points, FLOOR of it uniform, and the processor's time.

    Of all candidates it is the best on ``validation``; a killed run keeps those that it has tried.
    """
    match method:
        case "uniform":
            return distributions.Uniform(Sphere(2)), 0.0
        case "kernel density":
            return kernels(fit, validation, jnp.logspace(0.0, 10.0, 61), folder / "kernels")
        case "adaptive kernel density":
            near = [m for m in (1, 2, 4, 8, 16, 32) if m < len(fit)]
            scales = tuple(np.logspace(-1, 1, 10))
            candidates = distributions.adaptive_concentrations(fit, near, scales)
            return kernels(fit, validation, candidates, folder / "kernels")
        case _:
            raise ValueError(f"{method} is not a baseline")


def kernels(fit, validation, candidates, folder: Path) -> tuple[distrax.Distribution, float]:
    """The kernel density of the largest validation likelihood, and the processor's time of all candidates."""

    @jax.jit
    def score(concentrations):
        distribution = distributions.KernelDensity(fit, concentrations, FLOOR)
        return jnp.mean(distribution.log_prob(validation))

    def tried(concentrations) -> dict[str, Any]:
        start = time.process_time()
        found = {"validation": float(score(concentrations)), "concentrations": concentrations}
        return found | {"cpu_seconds": time.process_time() - start}

    found = train.cached_map(tried, list(candidates), folder, (fit, validation))
    best, cpu_seconds = _best(found)
    return distributions.KernelDensity(fit, best["concentrations"], FLOOR), cpu_seconds


def _best(found: list[dict[str, np.ndarray]]) -> tuple[dict[str, np.ndarray], float]:
    """What was most likely on the validation points, and the processor's time of all."""
    best = max(found, key=lambda one: float(one["validation"]))
    return best, float(sum(one["cpu_seconds"] for one in found))


def mixture(fit, validation, key, folder: Path) -> tuple[distrax.Distribution, float]:
    """The von Mises-Fisher mixture of the largest validation likelihood, and the processor's time of all sizes.

    A killed run keeps the sizes that it has fitted.
    """

    def fitted(components: int) -> dict[str, Any]:
        start = time.process_time()
        distribution = jax.block_until_ready(
            with_floor(distributions.fit_von_mises_fisher_mixture(key, fit, components, 100, 2))
        )
        return {
            "validation": jnp.mean(distribution.log_prob(validation)),
            "logits": distribution.mixture_distribution.logits,
            "loc": distribution.components_distribution.loc,
            "concentration": distribution.components_distribution.concentration,
            "cpu_seconds": time.process_time() - start,
        }

    sizes = [k for k in (5, 10, 25, 50, 100, 200) if 2 * k <= len(fit)]
    found = train.cached_map(fitted, sizes, folder, (fit, validation, key))
    best, cpu_seconds = _best(found)
    distribution = distrax.MixtureSameFamily(
        distrax.Categorical(logits=jnp.asarray(best["logits"])),
        distributions.VonMisesFisher(best["loc"], best["concentration"]),
    )
    return distribution, cpu_seconds


def with_floor(distribution: distrax.MixtureSameFamily) -> distrax.MixtureSameFamily:
    """A mixture of von Mises-Fisher distributions with one component more, of weight FLOOR and concentration 0."""
    kernels: Any = distribution.components_distribution
    logits = distribution.mixture_distribution.logits
    logits = jnp.append(jax.nn.log_softmax(logits) + math.log1p(-FLOOR), math.log(FLOOR))
    loc = jnp.concatenate([kernels.loc, kernels.loc[:1]])
    concentration = jnp.append(kernels.concentration, 0.0)
    return distrax.MixtureSameFamily(
        distrax.Categorical(logits=logits), distributions.VonMisesFisher(loc, concentration)
    )
