"""The Poincaré ball's primitives side by side with hyperbolix, geoopt and geomstats, on one CPU core.

``python benchmarks/manifolds.py [--quick]``: exp, log, dist, transport and Möbius addition on 100,000 points of
2, 10 and 64 coordinates in float32, forward and with the gradient of the sum in both array inputs (three in transport).
Prints Markdown tables, to a file with ``--output docs/results/speed.md``. A library that is not installed is left out.

One process, one core, process CPU time; the libraries take turns call by call, forth and back (the one that comes after
a large one finds the caches cold), so that noise hits all alike; the least of many calls counts. The curvature is an
argument of the compiled functions, not a constant.
"""

import argparse
import datetime
import functools
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from unittest import mock


os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GEOMSTATS_BACKEND", "numpy")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import jax
import jax.numpy as jnp
import numpy as np
from _report import cpu_name, revision, table

from geodl.manifolds import poincare


POINTS, DIMS, CURVATURE = 100_000, (2, 10, 64), 1.0
ARGUMENTS = {"exp": "xv", "log": "xy", "dist": "xy", "transport": "xyv", "add": "xy"}
FORWARD, GRADIENT = "forward", "with gradient"
OURS, PLAIN = "ours", "ours, plain gap"


def data(d):
    """Points at hyperbolic distances up to 4 from the origin, and tangent vectors of length about 1."""
    rng = np.random.default_rng(d)

    def direction():
        g = rng.standard_normal((POINTS, d))
        return g / np.linalg.norm(g, axis=-1, keepdims=True)

    x, y = (np.tanh(rng.uniform(0, 2, (POINTS, 1))) * direction() for _ in range(2))
    v = (1 - np.sum(x * x, -1, keepdims=True)) / 2 * rng.uniform(0, 2, (POINTS, 1)) * direction()
    return {"x": x.astype(np.float32), "y": y.astype(np.float32), "v": v.astype(np.float32)}


# Each library is a function (operation, arrays) -> {mode: a call without arguments that runs to the end}.


def jax_calls(function, arrays):
    """Calls of the compiled function (*arrays, c) and of its value and gradients."""
    arrays = [jnp.asarray(a) for a in arrays]
    c = jnp.asarray(CURVATURE, arrays[0].dtype)
    total = jax.value_and_grad(lambda *a: function(*a).sum(), tuple(range(len(arrays))))
    forms = {
        FORWARD: lambda *a: function(*a),
        GRADIENT: total,
    }  # new ones: jit remembers a function
    compiled = {mode: jax.jit(f).lower(*arrays, c).compile() for mode, f in forms.items()}
    return {
        mode: functools.partial(lambda f: jax.block_until_ready(f(*arrays, c)), f)
        for mode, f in compiled.items()
    }


def ours(operation, arrays):
    names = {"exp": "expmap", "log": "logmap", "add": "mobius_add"}
    return jax_calls(getattr(poincare, names.get(operation, operation)), arrays)


def ours_with_plain_gap(operation, arrays):
    """What the exact conformal gap costs: dist with 1 - c |x|^2 as it is written."""
    if operation != "dist":
        return {}
    plain = {
        "_exact_gap": lambda x, c: 1 - c * poincare.dot(x, x),
        "_exact_squares": lambda x, unit: (x * x,),
        "_gap_of_sums": lambda xx, c, *rest: 1 - c * xx,
    }
    with mock.patch.multiple(poincare, **plain):
        return ours(operation, arrays)


def hyperbolix():
    from hyperbolix.manifolds import Poincare

    ball = Poincare()
    functions = {
        "exp": lambda x, v, c: ball.expmap(v, x, c),
        "log": lambda x, y, c: ball.logmap(y, x, c),
        "dist": ball.dist,
        "transport": lambda x, y, v, c: ball.ptransp(v, x, y, c),
        "add": ball.addition,
    }

    def calls(operation, arrays):
        axes = (0,) * len(arrays) + (None,)
        return jax_calls(jax.vmap(functions[operation], axes), arrays)

    return calls


def geoopt():
    import geoopt
    import torch

    torch.set_num_threads(1)
    ball = geoopt.PoincareBall(c=CURVATURE)
    functions = {
        "exp": ball.expmap,
        "log": ball.logmap,
        "dist": ball.dist,
        "transport": ball.transp,
        "add": ball.mobius_add,
    }

    def calls(operation, arrays):
        plain = [torch.from_numpy(a) for a in arrays]
        leaves = [a.clone().requires_grad_() for a in plain]
        function = functions[operation]

        def forward():
            with torch.no_grad():
                return function(*plain)

        return {
            FORWARD: forward,
            GRADIENT: lambda: torch.autograd.grad(function(*leaves).sum(), leaves),
        }

    return calls


def geomstats():
    np.trapz = np.trapezoid  # numpy >= 2.4 has lost the name that geomstats imports
    from geomstats.geometry.poincare_ball import PoincareBall

    def calls(operation, arrays):
        metric = PoincareBall(arrays[0].shape[-1]).metric
        functions = {
            "exp": lambda x, v: metric.exp(v, x),
            "log": lambda x, y: metric.log(y, x),
            "dist": metric.dist,
            "add": metric.mobius_add,
        }
        if operation not in functions:  # no closed-form transport
            return {}
        return {FORWARD: lambda: functions[operation](*arrays)}

    return calls


def libraries():
    """The libraries that are installed, by name; a line for each that is not."""
    found = {OURS: ours, PLAIN: ours_with_plain_gap}
    for load in (hyperbolix, geoopt, geomstats):
        try:
            found[load.__name__] = load()
        except ImportError as error:
            print(f"{load.__name__} is left out: {error}")
    return found


def measure(calls, rounds, seconds):
    """CPU milliseconds of every call, the calls taking turns."""
    for call in calls.values():
        call()
    times = {name: [] for name in calls}
    end = time.monotonic() + seconds
    while len(times[OURS]) < rounds and (len(times[OURS]) < 5 or time.monotonic() < end):
        order = list(calls.items())[:: -1 if len(times[OURS]) % 2 else 1]
        for name, call in order:
            start = time.process_time()
            call()
            times[name].append(1e3 * (time.process_time() - start))
    return times


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--dims", type=int, nargs="+", default=DIMS, metavar="D")
    parser.add_argument("--operations", nargs="+", default=list(ARGUMENTS), choices=ARGUMENTS)
    parser.add_argument("--only", nargs="+", help="these libraries only")
    parser.add_argument("--output", type=Path, help="file to write, such as docs/results/speed.md")
    return parser.parse_args()


def run(found, dims, operations, rounds, seconds):
    """{(operation, d, mode): {library: CPU milliseconds, one for each call}}."""
    results = {}
    for d in dims:
        arrays = data(d)
        for operation in operations:
            inputs = [arrays[name] for name in ARGUMENTS[operation]]
            calls = {name: library(operation, inputs) for name, library in found.items()}
            for mode in (FORWARD, GRADIENT):
                turns = {name: modes[mode] for name, modes in calls.items() if mode in modes}
                results[operation, d, mode] = measure(turns, rounds, seconds)
                times = ", ".join(
                    f"{n} {min(t):.2f}" for n, t in results[operation, d, mode].items()
                )
                print(f"{operation}, d = {d}, {mode}: {times}", file=sys.stderr)
    return results


def report(results, names):
    """The tables: milliseconds (least, median in parentheses) and the others' least over our least."""
    times, ratios = [], []
    for (operation, d, mode), taken in results.items():
        head = [f"{operation}, d = {d}, {mode}"]
        cells = {n: f"{min(t):.2f} ({statistics.median(t):.2f})" for n, t in taken.items()}
        times.append(head + [cells.get(n, "") for n in names])
        cells = {n: f"{min(t) / min(taken[OURS]):.1f}" for n, t in taken.items()}
        ratios.append(head + [cells.get(n, "") for n in names if n not in (OURS, PLAIN)])
    others = [n for n in names if n not in (OURS, PLAIN)]
    return "\n\n".join(
        [
            "Time of the others over ours (above 1: ours is faster):",
            table(["", *others], ratios),
            "CPU milliseconds, the least (and the median) of many calls:",
            table(["", *names], times),
        ]
    )


def main():
    options = parse()
    found = {n: f for n, f in libraries().items() if n == OURS or n in (options.only or [n])}
    rounds, seconds = (15, 4) if options.quick else (100, 30)
    results = run(found, options.dims, options.operations, rounds, seconds)
    command = " ".join(["python", "benchmarks/manifolds.py", *sys.argv[1:]])
    head = (
        f"`{command}` on {datetime.date.today()}, revision {revision()}, {cpu_name()} (one core), "
        f"Python {platform.python_version()}, jax {jax.__version__}: {POINTS:,} points, float32."
    )
    text = head + "\n\n" + report(results, list(found)) + "\n"
    print(text)
    if options.output is not None:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
