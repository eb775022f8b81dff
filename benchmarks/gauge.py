"""Gauge and steerable convolutions on one thread: how their cost grows, and a plain convolution beside it.

``python benchmarks/gauge.py``

CPU time in ms, the best of several alternated runs. A gauge convolution on Fibonacci points of the sphere has 16 fields
of each frequency 0, 1, 2 in and out and 3 radial functions; a steerable one has the channels of the plain one.
"""

import os
import sys


if "jax" not in sys.modules:
    os.environ.setdefault(
        "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    )

import time

import jax
import jax.numpy as jnp
import numpy as np
from _report import cpu_name, revision, table

from geodl.equivariant import FieldType, gauge_conv, groups, neighborhoods, steerable_conv, stencil
from geodl.manifolds import Sphere


def best(functions, repeats=7):
    """CPU milliseconds of each {name: (function, arguments)}, alternated, compiled before."""
    for function, arguments in functions.values():
        jax.block_until_ready(function(*arguments))
    found = dict.fromkeys(functions, np.inf)
    for _ in range(repeats):
        for name, (function, arguments) in functions.items():
            start = time.process_time()
            jax.block_until_ready(function(*arguments))
            found[name] = min(found[name], time.process_time() - start)
    return {name: 1e3 * seconds for name, seconds in found.items()}


def both(net, params, x):
    """Forward, and with the gradient in parameters and input; the tables are arguments, and have no gradient."""

    def loss(params, x, apply):
        return jnp.sum(jnp.sin(apply(params, x)))

    apply = net.bind(params).args[0]
    forward = jax.jit(lambda params, x, apply: apply(params, x))
    return (forward, (params, x, apply)), (jax.jit(jax.grad(loss, (0, 1))), (params, x, apply))


def fibonacci(n):
    i = np.arange(n) + 0.5
    height, angle = 1 - 2 * i / n, i * np.pi * (3 - 5**0.5)
    s = np.sqrt(1 - height**2)
    return jnp.asarray(np.stack([height, s * np.cos(angle), s * np.sin(angle)], -1), jnp.float32)


def gauge_row(n, radius, channels, degree=4, radial=3):
    group = groups.so2()
    kind = FieldType([(group.irrep(m), channels) for m in range(3)])
    start = time.process_time()
    near = neighborhoods(Sphere(2), fibonacci(n), 4 * np.pi / n, radius)
    tables = stencil(near, group, radius, radial, degree)
    jax.block_until_ready(tables)
    host = time.process_time() - start
    net = gauge_conv(kind, kind, tables)
    x = jax.random.normal(jax.random.key(0), (n, kind.dim))
    forward, backward = both(net, net.init(jax.random.key(1)), x)
    found = best({"forward": forward, "gradient": backward})
    size = sum(a.nbytes for a in jax.tree.leaves(tables)) / 2**20
    numbers = [n, near.indices.shape[1], channels, radial * (2 * degree + 1)]
    return [*map(str, numbers), *(f"{found[k]:.1f}" for k in found), f"{host:.1f}", f"{size:.0f}"]


def steerable_row(name, kind, side=5):
    net = steerable_conv(kind, kind, side)
    params = net.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (16, 32, 32, kind.dim))
    kernel = jax.random.normal(jax.random.key(2), (side, side, kind.dim, kind.dim))

    def plain(kernel, x):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)

    steered, steered_back = both(net, params, x)
    back = jax.jit(jax.grad(lambda kernel, x: jnp.sum(jnp.sin(plain(kernel, x))), (0, 1)))
    found = best(
        {
            "forward": steered,
            "plain forward": (jax.jit(plain), (kernel, x)),
            "gradient": steered_back,
            "plain gradient": (back, (kernel, x)),
        }
    )
    ratios = [
        found["forward"] / found["plain forward"],
        found["gradient"] / found["plain gradient"],
    ]
    return [
        name,
        str(kind.dim),
        *(f"{t:.1f}" for t in found.values()),
        *(f"{r:.2f}" for r in ratios),
    ]


def main():
    print(f"{cpu_name()}, one thread, jax {jax.__version__}, geodl {revision()}\n")
    header = [
        "points",
        "neighbors",
        "fields",
        "kernels",
        "forward",
        "+ gradient",
        "tables, s",
        "MiB",
    ]
    rows = [
        gauge_row(3072, 0.197, 16),  # the prototype's: 106 and 200 ms
        gauge_row(768, 0.394, 16),
        gauge_row(12288, 0.0985, 16),
        gauge_row(3072, 0.394, 16),
        gauge_row(3072, 0.197, 16, radial=6),
        gauge_row(3072, 0.197, 32),
    ]
    print(table(header, rows) + "\n")
    c8, so2 = groups.cyclic(8), groups.so2()
    header = ["fields", "channels", "forward", "plain", "+ gradient", "plain", "ratio", "ratio"]
    rows = [
        steerable_row("16 regular of C_8", FieldType([(c8.regular(), 16)])),
        steerable_row("16 of SO(2) to frequency 2", FieldType([(so2.band_limited(2), 16)])),
    ]
    print(table(header, rows))


if __name__ == "__main__":
    main()
