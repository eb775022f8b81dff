"""Samples of a lattice theory: by a flow trained with the reverse KL divergence, and by Hamiltonian Monte Carlo."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import _devices
from experiments.lattice import fields
from experiments.lattice.theories import U1, Phi4
from geodl import flows, train


Theory = Phi4 | U1
BATCH = 1024  # samples at a time


@dataclass(frozen=True)
class Recipe:
    """Field and optimizer."""

    features: int = 6
    times: int = 3
    batch: int = 128
    steps: int = 800
    learning_rate: float = 2e-3
    """the largest; it falls to a hundredth by a cosine"""
    solver_steps: int = 8
    """of RK4 in training, which finds out in time how to profit from their error"""
    sampling_steps: int = 16
    """of RK4 for samples, their weights, and the loss by which the parameters are chosen"""


@dataclass(frozen=True)
class HMC:
    """Chains of Hamiltonian Monte Carlo with an identity as the mass."""

    chains: int = 64
    warmup: int = 250
    steps: int = 1000
    leapfrogs: int = 10
    step_size: float = 0.1


class Samples(NamedTuple):
    """Samples of a flow (n, ...), and the CPU seconds that they took."""

    log_weight: np.ndarray
    observables: dict[str, np.ndarray]
    cpu_seconds: float


def make_flow(theory: Theory, recipe: Recipe, params: Any, solver_steps: int):
    """The distribution of configurations."""
    field = fields.vector_field(theory, recipe.features, recipe.times)
    return flows.ContinuousFlow(theory.base(), field, params, flows.RK4(solver_steps))


def start(theory: Theory, recipe: Recipe, key: jax.Array) -> Any:
    """Parameters of a flow that does almost nothing."""
    return fields.vector_field(theory, recipe.features, recipe.times).init(key)


def fit(
    theory: Theory, recipe: Recipe, folder: Path, key: jax.Array, params: Any = None
) -> tuple[Any, list[dict[str, Any]]]:
    """Train a flow by E log q + S, from the identity or from other parameters; a killed run goes on where it was.

    Returns:
        Parameters, those of the least loss by the solver that samples are drawn with, and the log.

    Raises:
        FloatingPointError: that loss was finite nowhere.
    """
    of_params, of_steps, of_evaluation = jax.random.split(key, 3)
    if params is None:
        params = start(theory, recipe, of_params)

    samples = _devices.rows(recipe.batch)

    def excess(params, key, solver_steps):
        flow = make_flow(theory, recipe, params, solver_steps)
        return flows.reverse_kl(flow, lambda x: -theory.action(x), key, samples)

    def loss(params, _, key):
        values = _devices.over_batch(excess(params, key, recipe.solver_steps))
        return jnp.mean(values), {"spread": jnp.std(values)}

    @jax.jit
    def accurately(params):
        keys = jax.random.split(of_evaluation, 2)

        def one(key):
            return jnp.mean(_devices.over_devices(excess(params, key, recipe.sampling_steps)))

        return jnp.mean(jax.lax.map(one, keys))

    rate = optax.warmup_cosine_decay_schedule(
        0.0, recipe.learning_rate, recipe.steps // 20, recipe.steps, recipe.learning_rate / 100
    )
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    optimizer = _devices.optimizer(optimizer)
    state = train.init(params, optimizer, of_steps)
    state, log = _devices.fit(
        _devices.make_step(loss, optimizer),
        state,
        None,
        recipe.steps,
        folder,
        chunk=max(min(10, recipe.steps), recipe.steps // 20),
        evaluate=lambda state: {"accurate": accurately(state.params)},
        best="accurate",
    )
    return state.params, log


def draw(theory: Theory, recipe: Recipe, params: Any, count: int, folder: Path) -> Samples:
    """Samples with log-weights log p - log q up to a constant, in batches that a killed run keeps."""

    @jax.jit
    def batch(params, key):
        flow = make_flow(theory, recipe, params, recipe.sampling_steps)
        drawn = flow.sample_and_log_prob(seed=key, sample_shape=size)
        x, log_q = _devices.over_devices(drawn)
        return {"log_weight": -theory.action(x) - log_q} | theory.observables(x)

    def one(k):
        started = time.process_time()
        found = jax.tree.map(np.asarray, batch(params, jax.random.fold_in(key, k)))
        return found | {"cpu_seconds": np.array([time.process_time() - started])}

    size, key = min(count, BATCH), jax.random.key(7)
    batches = list(range(-(-count // size)))
    parts = train.cached_map(one, batches, folder, depends=(params, recipe))
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    seconds = len(parts) * np.median(found.pop("cpu_seconds"))  # the first compiles
    found = {name: values[:count] for name, values in found.items()}
    return Samples(found.pop("log_weight"), found, float(seconds))


class Chains(NamedTuple):
    """Observables (chains, steps, ...) along chains, the share of proposals taken, and CPU seconds without warm-up."""

    observables: dict[str, np.ndarray]
    acceptance: float
    cpu_seconds: float


def hamiltonian(theory: Theory, config: HMC, key: jax.Array) -> Chains:
    """Chains from samples of the flow's base, by blackjax."""
    of_start, of_warmup, of_steps = jax.random.split(key, 3)
    start = theory.base().sample(seed=of_start, sample_shape=config.chains)
    mass = jnp.ones(theory.manifold.dim)
    kernel: Any = blackjax.hmc(
        lambda x: -theory.action(x), config.step_size, mass, num_integration_steps=config.leapfrogs
    )

    @jax.jit
    def steps(state, keys):
        def step(state, key):
            state, info = jax.vmap(kernel.step)(jax.random.split(key, config.chains), state)
            return state, (theory.observables(state.position), info.acceptance_rate)

        return jax.lax.scan(step, state, keys)

    state = jax.vmap(kernel.init)(start)
    chunk = max(1, config.warmup)
    state, _ = steps(state, jax.random.split(of_warmup, chunk))
    jax.block_until_ready(state)
    found, started = [], time.process_time()
    for k, first in enumerate(range(0, config.steps, chunk)):
        size = min(chunk, config.steps - first)
        state, part = steps(state, jax.random.split(jax.random.fold_in(of_steps, k), size))
        found.append(jax.tree.map(np.asarray, part))
    seconds = time.process_time() - started
    observables, rate = jax.tree.map(lambda *parts: np.concatenate(parts), *found)
    return Chains(
        {name: np.swapaxes(values, 0, 1) for name, values in observables.items()},
        float(np.mean(rate)),
        seconds,
    )
