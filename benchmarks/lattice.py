"""Our flow of phi^4 on 8 x 8 sites beside that of bijx, trained for as much CPU time; the actions of both.

``python benchmarks/lattice.py [--learning-rates 1e-3 5e-3] [--seeds 0]``, with ``pip install bijx blackjax``.

bijx's is ``ConvVF`` (Gerdes et al. 2022) with as many features and times as ours and the same base, solver, loss, batch
and schedule, at more than one learning rate. One process, one core (it pins itself), process CPU time; effective sample
sizes of 4,096 samples.
"""

import argparse
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path


os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _report import cpu_name, revision, table

from experiments.lattice import sampling
from experiments.lattice.estimates import effective_sample_size, reweighted
from experiments.lattice.theories import Phi4


THEORY, RECIPE, SAMPLES = Phi4(8), sampling.Recipe(), 4096


def row(name, samples, training):
    """ESS and observables of a flow's samples."""
    found = samples.observables
    share = effective_sample_size(samples.log_weight)
    means = [reweighted(samples.log_weight, found[k]) for k in ("magnetization", "susceptibility")]
    each = 1e3 * samples.cpu_seconds / (len(samples.log_weight) * share.mean)
    return [
        name,
        f"{share.mean:.3f} ± {share.error:.3f}",
        *map(str, means),
        training,
        f"{each:.2g}",
    ]


def ours(seed):
    with tempfile.TemporaryDirectory() as folder:
        params, log = sampling.fit(THEORY, RECIPE, Path(folder) / "flow", jax.random.key(seed))
        samples = sampling.draw(THEORY, RECIPE, params, SAMPLES, Path(folder) / "samples")
    return samples, sum(line["cpu_seconds"] for line in log)


def peer(bijx, nnx, seconds, learning_rate):
    """Samples of bijx's flow after a training of so many seconds, and the number of steps."""
    shape = (THEORY.size, THEORY.size)
    features = bijx.nn.features
    field = bijx.ConvVF.build(
        shape,
        time_kernel=bijx.nn.embeddings.KernelFourier(RECIPE.times),
        time_kernel_reduced=RECIPE.times,
        features=(
            partial(features.FourierFeatures, RECIPE.features - 1),
            partial(features.PolynomialFeatures, (1,)),
        ),
        features_reduced=RECIPE.features,
        rngs=nnx.Rngs(0),
    )
    graph, params, rest = nnx.split(field, nnx.Param, ...)

    def sample(params, key, count, solver_steps):
        flow = bijx.ContFlowRK4(nnx.merge(graph, params, rest), steps=solver_steps)
        base = bijx.Transformed(bijx.IndependentNormal(shape), bijx.Scaling(jnp.array(0.5)))
        x, log_q = bijx.Transformed(base, flow).sample((count,), rng=key)
        return x.reshape(count, -1), log_q

    def trainer(steps):
        rate = optax.warmup_cosine_decay_schedule(
            0.0, learning_rate, steps // 20, steps, learning_rate / 100
        )
        optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))

        def loss(params, key):
            x, log_q = sample(params, key, RECIPE.batch, RECIPE.solver_steps)
            return jnp.mean(log_q + THEORY.action(x))

        @jax.jit
        def step(params, state, key):
            updates, state = optimizer.update(jax.grad(loss)(params, key), state, params)
            return optax.apply_updates(params, updates), state

        return step, optimizer.init(params)

    step, state = trainer(10)
    jax.block_until_ready(step(params, state, jax.random.key(0)))
    start = time.process_time()
    for k in range(10):
        jax.block_until_ready(step(params, state, jax.random.key(k)))
    steps = max(1, int(seconds / (time.process_time() - start) * 10))
    step, state = trainer(steps)
    for k in range(steps):
        params, state = step(params, state, jax.random.fold_in(jax.random.key(1), k))

    @jax.jit
    def draw(params, key):
        x, log_q = sample(params, key, 1024, RECIPE.sampling_steps)
        return -THEORY.action(x) - log_q, THEORY.observables(x)

    parts, spent = [], []
    for k in range(SAMPLES // 1024):
        start = time.process_time()
        parts.append(jax.block_until_ready(draw(params, jax.random.fold_in(jax.random.key(2), k))))
        spent.append(time.process_time() - start)
    weights, found = jax.tree.map(lambda *a: np.concatenate(a), *parts)
    return sampling.Samples(weights, found, len(parts) * float(np.median(spent))), steps


def difference(bijx):
    """The largest one of the actions of configurations, by theirs."""
    phi = jax.random.normal(jax.random.key(0), (100, THEORY.size, THEORY.size))
    theirs = jax.vmap(lambda x: bijx.lattice.scalar.phi4_term(x, THEORY.m2, THEORY.lam).sum())(phi)
    return float(jnp.max(jnp.abs(THEORY.action(phi.reshape(100, -1)) / theirs - 1)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--learning-rates", type=float, nargs="+", default=[1e-3, 5e-3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of our training")
    options = parser.parse_args()
    rows, seconds = [], 0.0
    for seed in options.seeds:
        samples, seconds = ours(seed)
        rows.append(row(f"ours, seed {seed}", samples, f"{RECIPE.steps} steps, {seconds:.0f}"))
    said = [cpu_name(), f"jax {jax.__version__}", f"geodl {revision()}"]
    try:
        import bijx
        from flax import nnx

        said += [f"bijx {bijx.__version__}", f"actions differ by {difference(bijx):.0e}"]
        found = {r: peer(bijx, nnx, seconds, r) for r in options.learning_rates}
        for rate, (theirs, steps) in found.items():
            rows.append(row(f"bijx, rate {rate:g}", theirs, f"{steps} steps, {seconds:.0f}"))
    except ImportError as error:
        print(f"bijx is left out: {error}", file=sys.stderr)
    header = ["flow", "ESS", "|M|", "susceptibility", "training, s", "ms for an independent sample"]
    print(", ".join(said) + "\n\n" + table(header, rows))


if __name__ == "__main__":
    main()
