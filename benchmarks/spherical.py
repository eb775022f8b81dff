"""Harmonic transforms and spherical networks beside s2fft, s2conv, e3nn-jax and planar convolutions.

``python benchmarks/spherical.py [--quick]``: forward transforms on S^2 (L = 64, batch 32) and on SO(3) (L = N = 32)
in float32 on Gauss and Legendre's grid, with the time that their tables take; the classifier of 154,550 parameters,
batch 32, forward and with its gradient; the segmentation network of 204,073 parameters, batch 1, beside the planar
one of 218,144 (``lax.conv``). Peers are left out where they are not installed (``pip install s2fft s2conv
e3nn-jax``); their rows are: s2fft's precomputed transforms mapped over the batch (its recursive ones diverge at L = N
= 32), e3nn-jax's ``from_s2grid``, and the classifier's transforms and products written with s2conv, its kernels free
coefficients (no taps to transform).

Targets: the classifier at least 3 times as fast as s2conv's, the segmentation network at most 6 times the planar one,
the Wigner transform 20 times s2fft's with tables in a second, harmonics 10 times.

One process, one core (it pins itself), process CPU time; the rivals of a table take turns call by call, so that noise
hits all alike; the least of the calls counts. Prints Markdown, to a file with ``--output FILE``.
"""

import argparse
import datetime
import os
import platform
import sys
import time
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path


os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the experiments are not installed

import jax
import jax.numpy as jnp
import numpy as np
from _report import cpu_name, revision, table

from experiments.spherical import models
from geodl.equivariant import harmonics, spherical


RNG = np.random.default_rng(0)
OURS = "**ours**"


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def applied(apply, params, x):
    return apply(params, x)


def squares(params, apply, x):
    return jnp.mean(jnp.square(apply(params, x)))


def tables(make):
    """What it makes, and the seconds it took."""
    start = time.process_time()
    made = jax.block_until_ready(make())
    return made, time.process_time() - start


def sphere_rows():
    """S^2, L = 64, batch 32."""
    transform, seconds = tables(lambda: harmonics.sphere_transform(64, dtype=np.float32))
    x = normal(32, 64, 128)
    rows = {OURS: ((lambda t, x: t.analysis(x), (transform, x)), seconds)}
    if find_spec("s2conv"):
        from s2conv import transforms

        _, seconds = tables(lambda: transforms.spherical_kernel(64, 0, True, "gl", True))
        forward = jax.vmap(lambda f: transforms.forward(f, 64, 0, "gl", "precompute", True))
        rows["s2fft, precomputed"] = ((forward, (x[:, :, :127],)), seconds)
    if find_spec("e3nn_jax"):
        import e3nn_jax as e3nn

        def forward(x):
            signal = e3nn.SphericalSignal(x, quadrature="gausslegendre")
            irreps = e3nn.Irreps([(1, (l, (-1) ** l)) for l in range(64)])
            return e3nn.from_s2grid(signal, irreps, normalization="component").array

        rows["e3nn-jax"] = ((forward, (normal(32, 64, 127),)), None)
    return rows


def rotation_rows():
    """SO(3), L = N = 32."""
    transform, seconds = tables(lambda: harmonics.rotation_transform(32, dtype=np.float32))
    rows = {OURS: ((lambda t, x: t.analysis(x), (transform, normal(32, 64, 64))), seconds)}
    if find_spec("s2conv"):
        from s2conv import transforms

        _, seconds = tables(lambda: transforms.wigner_kernel(32, 32, True, "gl", True))

        def forward(f):
            return transforms.wigner_forward(f, 32, 32, "gl", "precompute", True)

        rows["s2fft, precomputed"] = ((forward, (normal(63, 32, 63),)), seconds)
    return rows


def classifier_rows():
    """154,550 parameters, batch 32: forward, and gradient."""
    net = spherical.spherical_classifier(10)
    params, x = net.init(jax.random.key(0)), normal(32, 30, 60, 1)
    fixed = spherical.with_spectra(net, params)
    forward = {
        OURS: ((applied, (net.apply, params, x)), None),
        "**ours**, spectra computed before": ((applied, (net.apply, fixed, x)), None),
    }
    gradient = {OURS: ((jax.grad(squares), (params, net.apply, x)), None)}
    if find_spec("s2conv"):
        theirs, params = by_s2conv()
        y = x[:, :, :59, 0]
        forward["s2conv, free kernels"] = ((theirs, (params, y)), None)
        loss = lambda params, y: jnp.mean(jnp.square(theirs(params, y)))  # noqa: E731
        gradient["s2conv, free kernels"] = ((jax.grad(loss), (params, y)), None)
    return forward, gradient


def by_s2conv():
    """The same network in complex coefficients [n, l, m] of s2conv's precomputed transforms."""
    from s2conv import transforms

    def over(axes, f):
        for _ in range(axes):
            f = jax.vmap(f)
        return f

    sht = over(1, lambda f: transforms.forward(f, 30, 0, "gl", "precompute", True))
    to_grid = {
        l: over(2, lambda f, l=l: transforms.wigner_inverse(f, l, l, "gl", "precompute", True))
        for l in (10, 6)
    }
    to_wigner = over(2, lambda f: transforms.wigner_forward(f, 10, 10, "gl", "precompute", True))

    def apply(params, x):
        f = sht(x)[:, :10, 20:39]
        z = jnp.einsum("blm,onl->bonlm", f, params["first"][0] + 1j * params["first"][1])
        f = jax.nn.relu(to_grid[10](z).real + params["bias1"][:, None, None, None])
        f = to_wigner(f)[:, :, 4:15, :6, 4:15]
        kernel = params["second"][0] + 1j * params["second"][1]
        z = jnp.einsum("biklm,ioknl->bonlm", f, kernel)
        f = jax.nn.relu(to_grid[6](z).real + params["bias2"][:, None, None, None])
        return jnp.mean(f, (2, 3, 4)) @ params["logits"]

    return apply, {
        "first": normal(2, 20, 19, 10),
        "second": normal(2, 20, 40, 11, 11, 6),
        "bias1": jnp.zeros(20),
        "bias2": jnp.zeros(40),
        "logits": normal(40, 10),
    }


def segmenter_rows():
    """204,073 parameters, batch 1, beside the planar 218,144: forward, and gradient."""
    net, planar = spherical.spherical_segmenter(), models.conv_segmenter("218k")
    params, x = net.init(jax.random.key(0)), normal(1, 50, 100, 1)
    fixed = spherical.with_spectra(net, params)
    of_planar, y = planar.init(jax.random.key(0)), normal(1, 100, 100, 1)

    def cnn(params, x):
        return planar.apply(params, x)

    def of_cnn(params, x):
        return jnp.mean(jnp.square(planar.apply(params, x)))

    forward = {
        OURS: ((applied, (net.apply, params, x)), None),
        "**ours**, spectra computed before": ((applied, (net.apply, fixed, x)), None),
        "planar, lax.conv": ((cnn, (of_planar, y)), None),
    }
    gradient = {
        OURS: ((jax.grad(squares), (params, net.apply, x)), None),
        "planar, lax.conv": ((jax.grad(of_cnn), (of_planar, y)), None),
    }
    return forward, gradient


def measure(rows, rounds):
    """{name: (milliseconds, seconds of compilation, MB)} of {name: ((function, arguments), ...)}, taking turns."""
    compiled, found = {}, {}
    for name, ((function, arguments), _) in rows.items():
        start = time.process_time()
        compiled[name] = jax.jit(function).lower(*arguments).compile()
        seconds = time.process_time() - start
        memory = compiled[name].memory_analysis()
        size = memory.temp_size_in_bytes + memory.argument_size_in_bytes
        found[name] = [np.inf, seconds, size / 1e6]
        jax.block_until_ready(compiled[name](*arguments))
    for _ in range(rounds):
        for name, ((_, arguments), _) in rows.items():
            start = time.process_time()
            jax.block_until_ready(compiled[name](*arguments))
            found[name][0] = min(found[name][0], 1e3 * (time.process_time() - start))
    return found


def report(title, rows, rounds):
    """One table; ratios to ours."""
    found = measure(rows, rounds)
    lines = []
    for name, (milliseconds, seconds, size) in found.items():
        made = rows[name][1]
        lines.append(
            [
                name,
                f"{milliseconds:.2f}",
                f"{milliseconds / found[OURS][0]:.2f}",
                f"{seconds:.1f}",
                f"{size:.0f}",
                "" if made is None else f"{made:.2f}",
            ]
        )
    header = ["", "ms", "ratio", "compilation, s", "MB", "tables, s"]
    return f"{title}\n\n{table(header, lines)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few calls")
    parser.add_argument("--output", type=Path, help="a file for the report, in Markdown")
    options = parser.parse_args()
    rounds = 5 if options.quick else 30
    versions = [f"Python {platform.python_version()}"]
    for name in ("jax", "s2fft", "s2conv", "e3nn-jax"):
        if find_spec(name.replace("-", "_")):
            versions.append(f"{name} {metadata.version(name)}")
    command = " ".join(["python", "benchmarks/spherical.py", *sys.argv[1:]])
    parts = [
        f"`{command}` on {datetime.date.today()}, revision {revision()}, {cpu_name()} (one core), "
        f"{', '.join(versions)}, float32. Process CPU time, the least of {rounds} calls.",
        report("S^2, L = 64, batch 32: analysis", sphere_rows(), rounds),
        report("SO(3), L = N = 32: analysis", rotation_rows(), rounds),
    ]
    forward, gradient = classifier_rows()
    parts.append(report("Classifier, 154,550 parameters, batch 32", forward, rounds))
    parts.append(report("Classifier, gradient", gradient, rounds))
    forward, gradient = segmenter_rows()
    parts.append(report("Segmentation, 204,073 parameters, batch 1", forward, rounds // 2))
    parts.append(report("Segmentation, gradient", gradient, rounds // 2))
    text = "\n\n".join(parts) + "\n"
    print(text)
    if options.output is not None:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
