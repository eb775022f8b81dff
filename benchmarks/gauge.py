"""Gauge and steerable convolutions on one thread: how their cost grows, and a plain convolution beside it.

``python benchmarks/gauge.py``

CPU time in ms, the best of several alternated runs. A gauge convolution on Fibonacci points of the sphere has 16 fields
of each frequency 0, 1, 2 in and out and 3 radial functions; a steerable one has the channels of the plain one. The
layer of de Haan et al. (2021) sees the same edges where ``gem_cnn`` is installed, from
github.com/Qualcomm-AI-research/gauge-equivariant-mesh-cnn.
"""

import os
import sys


if "jax" not in sys.modules:
    os.environ.setdefault(
        "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    )

import time
from importlib import metadata

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


def seen(n, radius):
    return neighborhoods(Sphere(2), fibonacci(n), 4 * np.pi / n, radius)


def gauge_row(n, radius, channels, degree=4, radial=3):
    group = groups.so2()
    kind = FieldType([(group.irrep(m), channels) for m in range(3)])
    start = time.process_time()
    near = seen(n, radius)
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


def mesh_layer_row(n, radius, channels):
    """The layer of Gauge Equivariant Mesh CNNs, with two rings as by default, on the neighbors that count."""
    import torch
    from gem_cnn.nn.gem_conv import GemConv

    torch.set_num_threads(1)
    near = seen(n, radius)
    at, place = np.nonzero(near.weight)
    log, transport = np.asarray(near.log)[at, place], np.asarray(near.transport)[at, place]
    angle = np.arctan2(log[:, 1], log[:, 0])
    connection = np.arctan2(transport[:, 1, 0], transport[:, 0, 0])
    r = np.linalg.norm(log, axis=-1) / radius
    profile = np.where(r[:, None] == 0, [[1, 0, 0]], np.stack([0 * r, 1 - r, r], -1))
    table = np.concatenate([np.stack([connection - angle, angle], -1), profile], -1)
    edges = torch.from_numpy(np.stack([at, np.asarray(near.indices)[at, place]])).long()
    table, connection = torch.from_numpy(table).float(), torch.from_numpy(connection)
    conv = GemConv(channels, channels, 2, 2, n_rings=2)
    x = torch.randn(n, channels, 5, requires_grad=True)

    def forward():
        with torch.no_grad():
            return conv(x, edges, table, connection)

    def gradient():
        loss = torch.sum(torch.sin(conv(x, edges, table, connection)))
        return torch.autograd.grad(loss, [*conv.parameters(), x])

    found = best({"forward": (forward, ()), "gradient": (gradient, ())})
    number = f"{len(at) / n:.0f}"
    return [str(n), number, str(channels), "2 rings", *(f"{found[k]:.1f}" for k in found)]


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
    try:
        row = mesh_layer_row(3072, 0.197, 16)
        print(f"the layer of gem_cnn {metadata.version('gem_cnn')}, torch\n")
        print(table(header[:6], [row]) + "\n")
    except ImportError as error:
        print(f"gem_cnn is left out: {error}\n")
    c8, so2 = groups.cyclic(8), groups.so2()
    header = ["fields", "channels", "forward", "plain", "+ gradient", "plain", "ratio", "ratio"]
    rows = [
        steerable_row("16 regular of C_8", FieldType([(c8.regular(), 16)])),
        steerable_row("16 of SO(2) to frequency 2", FieldType([(so2.band_limited(2), 16)])),
    ]
    print(table(header, rows))


if __name__ == "__main__":
    main()
