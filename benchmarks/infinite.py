"""Kernels of infinite width beside a straight closed form, and the empirical tangent kernel both ways.

``python benchmarks/infinite.py [--quick]``: NNGP and NTK of a network with three hidden layers and ReLU, N = 1024
inputs of 784 pixels in float32, beside the recursion with arccos written out in a dozen lines (whose gradient is NaN
where inputs coincide); with gradients; the memory of both. The empirical kernel of a dense network by contraction of
Jacobians and by products.

Targets: the kernels within 10 % of the closed form, memory O(N^2).

One process, one core (it pins itself), process CPU time; rivals take turns call by call, the least of the calls
counts. Prints Markdown, to a file with ``--output FILE``.
"""

import argparse
import datetime
import os
import platform
import sys
import time
from pathlib import Path


os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import jax
import jax.numpy as jnp
import numpy as np
from _report import cpu_name, revision, table

from geodl import infinite
from geodl.infinite import empirical


RNG = np.random.default_rng(0)
OURS = "**ours**"
DEPTH = 3


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def network(width=1):
    hidden = [infinite.dense(width, 2**0.5, 0.1), infinite.relu()]
    return infinite.serial(*hidden * DEPTH, infinite.dense(1, 2**0.5, 0.1))


def ours(x, net):
    return infinite.kernels(net, x)


def closed_form(x):
    """The recursion as it stands in papers."""
    k = 2 * jnp.matmul(x, x.T, precision="highest") / x.shape[1] + 0.01
    theta = k
    for _ in range(DEPTH):
        v = jnp.diagonal(k)
        norms = jnp.sqrt(v[:, None] * v)
        c = jnp.clip(k / norms, -1, 1)
        angle = jnp.arccos(c)
        slope = (jnp.pi - angle) / (2 * jnp.pi)
        k = norms * (jnp.sqrt(1 - c * c) + c * (jnp.pi - angle)) / (2 * jnp.pi)
        k, theta = 2 * k + 0.01, 2 * slope * theta
        theta = k + theta
    return k, theta


def total(function):
    return jax.grad(lambda x, *rest: sum(map(jnp.sum, function(x, *rest))))


def measure(rows, rounds):
    """{name: (milliseconds, MB)} of {name: (function, arguments)}, taking turns."""
    compiled, found = {}, {}
    for name, (function, arguments) in rows.items():
        compiled[name] = jax.jit(function).lower(*arguments).compile()
        memory = compiled[name].memory_analysis()
        size = memory.temp_size_in_bytes + memory.argument_size_in_bytes
        found[name] = [np.inf, (size + memory.output_size_in_bytes) / 1e6]
        jax.block_until_ready(compiled[name](*arguments))
    for _ in range(rounds):
        for name, (_, arguments) in rows.items():
            start = time.process_time()
            jax.block_until_ready(compiled[name](*arguments))
            found[name][0] = min(found[name][0], 1e3 * (time.process_time() - start))
    return found


def report(title, rows, rounds):
    """One table; ratios to the last row."""
    found = measure(rows, rounds)
    last = list(found)[-1]
    lines = [
        [name, f"{ms:.1f}", f"{ms / found[last][0]:.2f}", f"{size:.0f}"]
        for name, (ms, size) in found.items()
    ]
    return f"{title}\n\n{table(['', 'ms', 'ratio', 'MB'], lines)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few calls")
    parser.add_argument("--output", type=Path, help="a file for the report, in Markdown")
    options = parser.parse_args()
    rounds = 5 if options.quick else 30
    command = " ".join(["python", "benchmarks/infinite.py", *sys.argv[1:]])
    net, parts = network(), []
    for n in (1024, 2048):
        x = normal(n, 784)
        rows = {OURS: (ours, (x, net)), "closed form": (closed_form, (x,))}
        parts.append(report(f"NNGP and NTK, N = {n}, depth {DEPTH}", rows, rounds))
        if n == 1024:
            rows = {OURS: (total(ours), (x, net)), "closed form": (total(closed_form), (x,))}
            parts.append(report("Gradient of their sums", rows, rounds))
    finite, x = network(256).net((784,)), normal(64, 784)
    params = finite.init(jax.random.key(0))
    rows = {
        "by products": (lambda p, x: empirical.ntk_by_products(finite, p, x), (params, x)),
        "by Jacobians": (lambda p, x: empirical.ntk(finite, p, x), (params, x)),
        "by Jacobians, 16 at once": (
            lambda p, x: empirical.ntk(finite, p, x, batch_size=16),
            (params, x),
        ),
    }
    parts.append(report("Empirical NTK, width 256, 64 inputs", rows, rounds))
    head = (
        f"`{command}` on {datetime.date.today()}, revision {revision()}, {cpu_name()} (one core), Python "
        f"{platform.python_version()}, jax {jax.__version__}, float32. Process CPU time, the least of {rounds} calls."
    )
    text = "\n\n".join([head, *parts]) + "\n"
    print(text)
    if options.output is not None:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
