"""The primitives of the curved spaces side by side with hyperbolix, geoopt and geomstats, on one CPU core.

``python benchmarks/manifolds.py [--quick] [--spaces poincare sphere ...]``: exp, log, dist, transport (and Möbius
addition on the ball) on 100,000 points of intrinsic dimension 2, 10 and 64 (SO(3): 3) in float32, forward and with the
gradient of the sum in both array inputs (three in transport), and the distances of 1000 x 1000 pairs. Prints Markdown
tables, to a file with ``--output docs/results/speed.md``. A library that is not installed is left out; "textbook" is
the distance by the arccos or arccosh of an inner product, exact or not. ``--beside FOLDER`` adds geodl as it is in
another checkout, such as that of an older revision.

One process, one core, process CPU time; the libraries take turns call by call, forth and back (the one that comes after
a large one finds the caches cold), so that noise hits all alike; the least of many calls counts. The curvature is an
argument of the compiled functions, not a constant.
"""

import argparse
import datetime
import functools
import importlib
import os
import platform
import statistics
import sys
import time
from pathlib import Path


os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GEOMSTATS_BACKEND", "numpy")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import jax
import jax.numpy as jnp
import numpy as np
from _report import cpu_name, revision, table, write_between_markers

from geodl import manifolds


POINTS, PAIRS, DIMS, CURVATURE = 100_000, 1000, (2, 10, 64), 1.0
ARGUMENTS = {"exp": "xv", "log": "xy", "dist": "xy", "transport": "xyv", "pairs": "xy", "add": "xy"}
NAMES = {"exp": "expmap", "log": "logmap", "pairs": "dist", "add": "mobius_add"}
SPACES = {
    "poincare": manifolds.PoincareBall,
    "hyperboloid": manifolds.Hyperboloid,
    "sphere": manifolds.Sphere,
    "so3": lambda d: manifolds.SO3(),
    "torus": manifolds.Torus,
}
CURVED = ("poincare", "hyperboloid")
FORWARD, GRADIENT = "forward", "with gradient"
OURS, TEXTBOOK = "ours", "textbook"


def data(space, d, operation):
    """Points at distances up to 4 (compact spaces: 1.5) from the origin, and tangent vectors of length up to 2."""
    rng = np.random.default_rng(d)
    record = SPACES[space](d)
    reach = 4.0 if space in CURVED else 1.5

    def components(length):
        g = rng.standard_normal((POINTS, record.dim))
        return (
            length * rng.uniform(0, 1, (POINTS, 1)) * g / np.linalg.norm(g, axis=-1, keepdims=True)
        )

    x, y = (record.expmap_frame(record.origin(), components(reach)) for _ in range(2))
    arrays = {"x": x, "y": y, "v": record.from_frame(x, components(2.0))}
    arrays = [np.asarray(arrays[name], np.float32) for name in ARGUMENTS[operation]]
    if operation == "pairs":
        return [arrays[0][:PAIRS, None], arrays[1][None, :PAIRS]]
    return arrays


# Each library is a function (space, operation, arrays) -> {mode: a call without arguments that runs to the end}.


def jax_calls(function, arrays, curved=True):
    """Calls of the compiled function (*arrays, c) and of its value and gradients."""
    arrays = [jnp.asarray(a) for a in arrays]
    c = (jnp.asarray(CURVATURE, arrays[0].dtype),) if curved else ()
    total = jax.value_and_grad(lambda *a: function(*a).sum(), tuple(range(len(arrays))))
    forms = {
        FORWARD: lambda *a: function(*a),
        GRADIENT: total,
    }  # new ones: jit remembers a function
    compiled = {mode: jax.jit(f).lower(*arrays, *c).compile() for mode, f in forms.items()}
    return {
        mode: functools.partial(lambda f: jax.block_until_ready(f(*arrays, *c)), f)
        for mode, f in compiled.items()
    }


def geodl(modules):
    def calls(space, operation, arrays):
        function = getattr(getattr(modules, space), NAMES.get(operation, operation), None)
        return jax_calls(function, arrays, space in CURVED) if function else {}

    return calls


def checkout(folder):
    """geodl of another checkout, beside the one that is imported."""

    def imported():
        return {name for name in sys.modules if name.partition(".")[0] == "geodl"}

    here = {name: sys.modules.pop(name) for name in imported()}
    sys.path.insert(0, str(folder.resolve()))
    try:
        then = importlib.import_module("geodl.manifolds")
        if not Path(then.__file__).is_relative_to(folder.resolve()):
            raise SystemExit(f"--beside {folder}: there is no geodl")
        return geodl(then)
    finally:
        sys.path.pop(0)
        for name in imported():
            del sys.modules[name]
        sys.modules.update(here)


def textbook(space, operation, arrays):
    """Distances as they stand in textbooks."""

    def product(x, y):
        return jnp.sum(x * y, -1)

    def sphere(x, y):
        return jnp.arccos(jnp.clip(product(x, y), -1, 1))

    def hyperboloid(x, y, c):
        return jnp.arccosh(
            jnp.maximum(c * (2 * x[..., 0] * y[..., 0] - product(x, y)), 1)
        ) / jnp.sqrt(c)

    def ball(x, y, c):
        gaps = (1 - c * product(x, x)) * (1 - c * product(y, y))
        return jnp.arccosh(1 + 2 * c * product(x - y, x - y) / gaps) / jnp.sqrt(c)

    def so3(x, y):
        return jnp.arccos(jnp.clip((jnp.sum(x * y, (-2, -1)) - 1) / 2, -1, 1))

    functions = {"sphere": sphere, "hyperboloid": hyperboloid, "poincare": ball, "so3": so3}
    if operation not in ("dist", "pairs") or space not in functions:
        return {}
    return jax_calls(functions[space], arrays, space in CURVED)


def hyperbolix():
    from hyperbolix.manifolds import Hyperboloid, Poincare

    def calls(space, operation, arrays):
        if space not in CURVED or operation == "pairs":
            return {}
        manifold = Poincare() if space == "poincare" else Hyperboloid()
        functions = {
            "exp": lambda x, v, c: manifold.expmap(v, x, c),
            "log": lambda x, y, c: manifold.logmap(y, x, c),
            "dist": manifold.dist,
            "transport": lambda x, y, v, c: manifold.ptransp(v, x, y, c),
            "add": getattr(manifold, "addition", None),
        }
        if functions[operation] is None:
            return {}
        axes = (0,) * len(arrays) + (None,)
        return jax_calls(jax.vmap(functions[operation], axes), arrays)

    return calls


def geoopt():
    import geoopt
    import torch

    torch.set_num_threads(1)
    kinds = {
        "poincare": geoopt.PoincareBall(c=CURVATURE),
        "hyperboloid": geoopt.Lorentz(k=1 / CURVATURE),
        "sphere": geoopt.Sphere(),
    }

    def calls(space, operation, arrays):
        if space not in kinds:
            return {}
        manifold = kinds[space]
        functions = {
            "exp": manifold.expmap,
            "log": manifold.logmap,
            "dist": manifold.dist,
            "pairs": manifold.dist,
            # the sphere's is a projection
            "transport": None if space == "sphere" else manifold.transp,
            "add": getattr(manifold, "mobius_add", None),
        }
        function = functions[operation]
        if function is None:
            return {}
        plain = [torch.from_numpy(a) for a in arrays]
        leaves = [a.clone().requires_grad_() for a in plain]

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
    from geomstats.geometry.hyperboloid import Hyperboloid
    from geomstats.geometry.hypersphere import Hypersphere
    from geomstats.geometry.poincare_ball import PoincareBall

    makers = {
        "poincare": lambda d: PoincareBall(d).metric,
        "hyperboloid": lambda d: Hyperboloid(d).metric,
        "sphere": lambda d: Hypersphere(d).metric,
    }  # not SO(3): scipy's logm, matrix by matrix, takes half a minute

    def calls(space, operation, arrays):
        if space not in makers or operation == "pairs":
            return {}
        metric = makers[space](arrays[0].shape[-1] - (space in ("hyperboloid", "sphere")))
        functions = {
            "exp": lambda x, v: metric.exp(v, x),
            "log": lambda x, y: metric.log(y, x),
            "dist": metric.dist,
        }
        if space == "poincare":
            functions["add"] = metric.mobius_add
        if space == "sphere":
            functions["transport"] = lambda x, y, v: metric.parallel_transport(v, x, end_point=y)
        if operation not in functions:
            return {}
        return {FORWARD: lambda: functions[operation](*arrays)}

    return calls


def libraries():
    """The libraries that are installed, by name; a line for each that is not."""
    found = {OURS: geodl(manifolds), TEXTBOOK: textbook}
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
    parser.add_argument(
        "--spaces", nargs="+", default=list(SPACES), choices=SPACES, help="these spaces only"
    )
    parser.add_argument("--dims", type=int, nargs="+", default=DIMS, metavar="D")
    parser.add_argument("--operations", nargs="+", default=list(ARGUMENTS), choices=ARGUMENTS)
    parser.add_argument("--only", nargs="+", help="these libraries only")
    parser.add_argument("--beside", type=Path, metavar="FOLDER", help="another checkout of geodl")
    parser.add_argument("--output", type=Path, help="file to write, such as docs/results/speed.md")
    return parser.parse_args()


def run(found, space, dims, operations, rounds, seconds):
    """{(operation, d, mode): {library: CPU milliseconds, one for each call}}."""
    results = {}
    for d in (3,) if space == "so3" else dims:
        for operation in operations:
            inputs = data(space, d, operation)
            calls = {name: library(space, operation, inputs) for name, library in found.items()}
            if not calls[OURS]:
                continue
            for mode in (FORWARD,) if operation == "pairs" else (FORWARD, GRADIENT):
                turns = {name: modes[mode] for name, modes in calls.items() if mode in modes}
                results[operation, d, mode] = measure(turns, rounds, seconds)
                times = ", ".join(
                    f"{n} {min(t):.2f}" for n, t in results[operation, d, mode].items()
                )
                print(f"{space}: {operation}, d = {d}, {mode}: {times}", file=sys.stderr)
    return results


def report(results, names):
    """The tables: the others' least over our least, and milliseconds (least, median in parentheses)."""
    names = [n for n in names if any(n in taken for taken in results.values())]
    others = [n for n in names if n != OURS]
    times, ratios = [], []
    for (operation, d, mode), taken in results.items():
        head = [f"{operation}, d = {d}, {mode}"]
        cells = {n: f"{min(t):.2f} ({statistics.median(t):.2f})" for n, t in taken.items()}
        times.append(head + [cells.get(n, "") for n in names])
        ratio = {n: min(t) / min(taken[OURS]) for n, t in taken.items()}
        cells = {n: f"{r:.2f}" if r < 1.5 else f"{r:.1f}" for n, r in ratio.items()}
        ratios.append(head + [cells.get(n, "") for n in others])
    parts = [
        "Time of the others over ours (above 1: ours is faster):",
        table(["", *others], ratios),
    ]
    if not others:
        parts = []
    return "\n\n".join(
        [
            *parts,
            "CPU milliseconds, the least (and the median) of many calls:",
            table(["", *names], times),
        ]
    )


def main():
    options = parse()
    found = {n: f for n, f in libraries().items() if n == OURS or n in (options.only or [n])}
    if options.beside is not None:
        found[f"geodl of {revision(options.beside)}"] = checkout(options.beside)
    rounds, seconds = (15, 4) if options.quick else (100, 30)
    command = " ".join(["python", "benchmarks/manifolds.py", *sys.argv[1:]])
    head = (
        f"`{command}` on {datetime.date.today()}, revision {revision()}, {cpu_name()} (one core), "
        f"Python {platform.python_version()}, jax {jax.__version__}: {POINTS:,} points, float32; *pairs*: the "
        f"distances of {PAIRS} x {PAIRS} points."
    )
    parts = [head]
    for space in options.spaces:
        results = run(found, space, options.dims, options.operations, rounds, seconds)
        parts += [f"**{space}**", report(results, list(found))]
    text = "\n\n".join(parts)
    print(text)
    if options.output is not None:
        write_between_markers(options.output, "speed-table", text)


if __name__ == "__main__":
    main()
