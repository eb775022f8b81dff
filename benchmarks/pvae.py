"""The Poincaré VAE's cost: a training step and the reported likelihood, beside the Euclidean VAE and the same in torch.

``python benchmarks/pvae.py [--quick]``: images of 784 generated pixels, batch 128, one hidden layer of 600, as
``experiments/pvae/mnist.py`` trains and evaluates them; the torch row is its N-VAE written in torch (extra ``bench``),
left out where torch is not installed. Prints Markdown, to a file with ``--output docs/results/pvae_speed.md``.

Targets: step and likelihood of the wrapped and Riemannian VAEs at most 1.5 times the N-VAE's at every d, whatever the
curvature and the prior's scale; the N-VAE's step no slower than torch's.

One process, one core (it pins itself), process CPU time; the models of one d take turns call by call, so that noise
hits all alike; the least of many calls counts. On an accelerator it is wall time, the device's work waited for, and
torch runs where it finds one.
"""

import argparse
import datetime
import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path


os.environ.setdefault("OMP_NUM_THREADS", "1")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the experiments are not installed

import jax
import jax.numpy as jnp
import numpy as np
from _report import cpu_name, revision, table

from experiments.pvae import mnist, models
from geodl import datasets, train, vae


CURVATURE = 0.7
TORCH = "N-VAE in torch"
STEPS = 10  # of a call
CONFIG = mnist.Mnist(samples=200)
IMAGES, INNER = 100, 10  # evaluated at once, and the samples of each held at once
REPORTED = 5000 * 10_000 / (CONFIG.samples * IMAGES)  # calls of a reported likelihood


@dataclass(frozen=True)
class Row:
    """One model of the table."""

    kind: str
    dim: int
    c: float | None = None
    prior_scale: float = 1.0


def rows(dims):
    """The models, those of one d together."""
    found = {
        d: [Row("N-VAE", d), *(Row(kind, d, CURVATURE) for kind in ("wrapped", "Riemannian"))]
        for d in dims
    }
    for kind in ("wrapped", "Riemannian"):
        if 10 in found:
            found[10] += [Row(kind, 10, 0.1), Row(kind, 10, 1.4), Row(kind, 10, CURVATURE, 2.0)]
    if find_spec("torch"):
        for d in found:
            found[d].append(Row(TORCH, d))
    else:
        print("torch is left out: not installed", file=sys.stderr)
    return found


def generated():
    """Images of MNIST's shape."""
    rng = np.random.default_rng(0)
    many, few = (rng.integers(0, 256, (n, 28, 28), np.uint8) for n in (60_000, IMAGES))
    return datasets.Images(many, np.zeros(len(many), int), few, np.zeros(len(few), int))


# Each model is a pair of calls without arguments that run to the end: STEPS training steps, and the likelihood of
# IMAGES images by CONFIG.samples samples.


def ours(row, images, data):
    config = replace(CONFIG, prior_scale=row.prior_scale)
    model = mnist.make_model(config, mnist.Cell(row.kind, row.dim, row.c), images)
    optimizer, key = models.optimizer(config.learning_rate), jax.random.key(0)

    def loss(params, batch, key):
        return -jnp.sum(
            batch.weight * vae.elbo(model, params, mnist.pixels(batch.data), key).elbo
        ), {}

    run = train.chunked(train.on_minibatches(train.make_step(loss, optimizer), config.batch))
    state = train.init(model.init(key), optimizer, key, len(data))

    @jax.jit
    def bounds(params, x, key):
        return vae.iwae(model, params, mnist.pixels(x), key, config.samples, INNER)

    test = jnp.asarray(images.test_images)
    params = jax.tree.map(jnp.copy, state.params)

    def steps():
        nonlocal state
        state, _ = jax.block_until_ready(run(state, data, STEPS))

    return steps, lambda: jax.block_until_ready(bounds(params, test, key))


def in_torch(row, images):
    """The N-VAE as one writes it in torch, KL from the draw as in the papers' code."""
    import torch
    from torch.distributions import Normal
    from torch.nn import functional

    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = "cpu" if jax.default_backend() == "cpu" else "cuda"
    data, test = (torch.from_numpy(a).to(device) for a in (images.train_images, images.test_images))
    encoder, decoder = (
        torch.nn.Sequential(
            torch.nn.Linear(m, CONFIG.hidden), torch.nn.ReLU(), torch.nn.Linear(CONFIG.hidden, n)
        ).to(device)
        for m, n in ((784, 2 * row.dim), (row.dim, 784))
    )
    optimizer = torch.optim.Adam(
        [*encoder.parameters(), *decoder.parameters()], lr=CONFIG.learning_rate
    )
    prior = Normal(torch.zeros(row.dim, device=device), torch.ones(row.dim, device=device))
    order, position = torch.randperm(len(data), device=device), 0

    def pixels(images):
        return torch.clamp(images.flatten(1).float() / 255, 1e-5, 1 - 1e-5)

    def log_weights(x, samples):
        mean, raw = encoder(x).chunk(2, -1)
        q = Normal(mean, functional.softplus(raw) + 1e-5)
        z = q.rsample((samples,))
        logits, target = decoder(z), x.expand(samples, *x.shape)
        nats = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return prior.log_prob(z).sum(-1) - q.log_prob(z).sum(-1) - nats.sum(-1)

    def step():
        nonlocal order, position
        if position >= len(data):
            order, position = torch.randperm(len(data), device=device), 0
        x = pixels(data[order[position : position + CONFIG.batch]])
        position += CONFIG.batch
        optimizer.zero_grad()
        (-log_weights(x, 1).sum()).backward()
        optimizer.step()

    def wait():
        if device == "cuda":
            torch.cuda.synchronize()

    def steps():
        for _ in range(STEPS):
            step()
        wait()

    @torch.no_grad()
    def likelihood():
        x, chunks = pixels(test), []
        for _ in range(CONFIG.samples // INNER):
            chunks.append(torch.logsumexp(log_weights(x, INNER), 0))
        torch.logsumexp(torch.stack(chunks), 0)
        wait()

    return steps, likelihood


def measure(calls, rounds, seconds):
    """Milliseconds of every call, the calls taking turns."""
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    for call in calls.values():
        call()
    times = {name: [] for name in calls}
    end = time.monotonic() + seconds
    for done in range(rounds):
        if done >= 5 and time.monotonic() > end:
            break
        for name, call in calls.items():
            start = clock()
            call()
            times[name].append(1e3 * (clock() - start))
    return times


def report(results):
    """The table: least times (medians in parentheses), and their ratios to the least of N-VAE and torch."""
    lines = []
    for row, (step, likelihood) in results.items():
        cells = [str(row.dim), row.kind]
        cells += ["" if row.c is None else f"{row.c}", f"{row.prior_scale:g}"]
        for taken, unit, part in ((step, STEPS, 0), (likelihood, 6e4 / REPORTED, 1)):
            cells.append(f"{min(taken) / unit:.2f} ({statistics.median(taken) / unit:.2f})")
            for kind in ("N-VAE", TORCH):
                base = results.get(Row(kind, row.dim))
                cells.append(f"{min(taken) / min(base[part]):.2f}" if base else "")
        lines.append(cells)
    to = ["/ N-VAE", "/ torch"]
    minutes = "CPU" if jax.default_backend() == "cpu" else "wall"
    header = ["d", "model", "c", "prior scale", "step, ms", *to, f"likelihood, {minutes} min", *to]
    return table(header, lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--dims", type=int, nargs="+", default=mnist.DIMS, metavar="D")
    parser.add_argument("--output", type=Path, help="file such as docs/results/pvae_speed.md")
    options = parser.parse_args()
    rounds, seconds = (5, 0) if options.quick else (40, 60)

    images = generated()
    data, results = jnp.asarray(images.train_images), {}
    for d, these in rows(options.dims).items():
        calls = {
            row: in_torch(row, images) if row.kind == TORCH else ours(row, images, data)
            for row in these
        }
        step = measure({row: call[0] for row, call in calls.items()}, rounds, seconds)
        likelihood = measure({row: call[1] for row, call in calls.items()}, rounds, seconds)
        results |= {row: (step[row], likelihood[row]) for row in these}
        print(f"d = {d} is done", file=sys.stderr)

    cpu = jax.default_backend() == "cpu"
    machine = f"{cpu_name()} (one core)" if cpu else jax.devices()[0].device_kind
    versions = f"Python {platform.python_version()}, jax {jax.__version__}"
    if find_spec("torch"):
        versions += f", torch {metadata.version('torch')}"
    command = " ".join(["python", "benchmarks/pvae.py", *sys.argv[1:]])
    text = (
        f"`{command}` on {datetime.date.today()}, revision {revision()}, {machine}, {versions}: "
        f"784 pixels, hidden {CONFIG.hidden}, float32. A step is one of batch {CONFIG.batch} in a chunk; the "
        f"likelihood is that of 10,000 images by 5000 importance samples, from the time of {IMAGES} images by "
        f"{CONFIG.samples}. The least (and the median) of many calls.\n\n{report(results)}\n"
    )
    print(text)
    if options.output is not None:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
