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


def baseline(method: str, fit, validation) -> distrax.Distribution:
    """A method's distribution of the points, FLOOR of it uniform: of all candidates the best on ``validation``."""
    match method:
        case "uniform":
            return distributions.Uniform(Sphere(2))
        case "kernel density":
            candidates = jnp.logspace(0.0, 10.0, 61)
        case _:  # adaptive kernel density
            near, factors = (
                [m for m in (1, 2, 4, 8, 16, 32) if m < len(fit)],
                np.logspace(-1, 1, 10),
            )
            candidates = distributions.adaptive_concentrations(fit, near, tuple(factors))
    return jax.jit(distributions.select_kernel_density)(fit, validation, candidates, FLOOR)


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
    best = max(found, key=lambda one: float(one["validation"]))
    distribution = distrax.MixtureSameFamily(
        distrax.Categorical(logits=jnp.asarray(best["logits"])),
        distributions.VonMisesFisher(best["loc"], best["concentration"]),
    )
    return distribution, float(sum(one["cpu_seconds"] for one in found))


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
