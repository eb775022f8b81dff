"""Accuracy of every space's functions beside hyperbolix, geoopt and geomstats, against 80-digit references.

``python benchmarks/accuracy.py [--quick] [--spaces ball sphere ...] [--output docs/results/accuracy.md]`` prints one
Markdown table per space and precision: the largest relative error of each library over the same stored inputs, of all
dimensions and curvatures, and for geodl the largest ratio of an error to what the rounding of the inputs costs. With
``--output`` the tables take the place of what stands between the file's two markers. A library that is not installed
is left out. Points and vectors are compared in the Euclidean norm of their coordinates.
"""

import argparse
import datetime
import functools
import os
import platform
import sys
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple


os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("GEOMSTATS_BACKEND", "numpy")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the references are among the tests

import jax
import numpy as np
from _report import revision, table, write_between_markers

from geodl import manifolds
from tests.oracles import compact, hyperbolic, space_cases
from tests.oracles.hyperbolic_cases import KINDS, cases


SIZES = {  # dimension: pairs in bulk, of each other kind
    2: (1000, 80),
    10: (400, 80),
    64: (60, 40),
}
PAIRS = 100  # of each domain, on the other spaces
BALL_DOMAINS = {
    "bulk": "norms to 0.9",
    "near": "apart from 1e-6",
    "origin": "x = 0, y = 0 or x = y",
    "edge": "norms 1 - 1e-2 to 1 - 1e-5",
    "close": "edge, 0.07 apart and less",
}
HESSIAN = "Hessian of dist² at x = y"
MARKER = "accuracy-table"


class Space(NamedTuple):
    """A module's functions with their arguments, their references, and {domain: {argument: array}} of inputs."""

    functions: dict[str, str]
    references: Callable[[str], Callable]
    batches: Callable[[type, bool], list[dict[str, dict[str, np.ndarray]]]]
    curved: bool = False  # the functions take a curvature


def ball_batches(dtype, quick):
    def by_domain(case):
        def rows(kind):
            return {k: getattr(case, k)[case.of(kind)] for k in "xyvc"}

        return {BALL_DOMAINS[kind]: rows(kind) for kind in KINDS}

    sizes = {d: (few // 2, few // 2) for d, (_, few) in SIZES.items()} if quick else SIZES
    return [by_domain(cases(d, dtype, *size, seed=1)) for d, size in sizes.items()]


def batches_of(make, *dims):
    return lambda dtype, quick: [make(d, dtype, PAIRS // (10 if quick else 1)) for d in dims]


def prefixed(oracle, prefix):
    return lambda name: getattr(oracle, f"{prefix}_{name}", None)


VOCABULARY = {"dist": "xy", "logmap": "xy", "expmap": "xv", "transport": "xyv", "logdetexp": "xv"}
SPACES = {
    "poincare": Space(
        VOCABULARY | {"mobius_add": "xy", HESSIAN: "x"},
        lambda name: ball_hessian if name == HESSIAN else getattr(hyperbolic, name),
        ball_batches,
        curved=True,
    ),
    "hyperboloid": Space(
        {**VOCABULARY, "expmap_frame": "xa"},
        prefixed(hyperbolic, "hyperboloid"),
        batches_of(space_cases.hyperboloid_cases, 1, 2, 10),
        curved=True,
    ),
    "sphere": Space(
        VOCABULARY | {"norm": "xv"},
        prefixed(compact, "sphere"),
        batches_of(space_cases.sphere_cases, 1, 2, 31),
    ),
    "so3": Space(
        VOCABULARY | {"norm": "xv"},
        prefixed(compact, "so3"),
        batches_of(space_cases.so3_cases, 3),
    ),
    "torus": Space(
        {"dist": "xy", "logmap": "xy", "expmap": "xv"},
        prefixed(compact, "torus"),
        batches_of(space_cases.torus_cases, 1, 2, 10),
    ),
}


def ball_hessian(x, c):
    """2 lambda_x^2 I, flat."""
    scale = 2 * hyperbolic.conformal_factor(x, c) ** 2
    return scale[:, None] * hyperbolic.exact(np.eye(x.shape[-1]).ravel())


# Each library is a function (space, function, arrays, c) -> values, or None where it has no such function; NaN where
# it has not this curvature.


def geodl(space, name, arrays, c):
    module = getattr(manifolds, space)
    if name == HESSIAN:
        return jax_hessian(module.dist, module.sqdist)(*arrays, c)
    return jax.jit(getattr(module, name))(*arrays, *(() if c is None else (c,)))


def jax_hessian(dist, sqdist=None):
    """Hessians of the squared distance in its second point, at the first."""
    sqdist = sqdist or (lambda x, y, c: dist(x, y, c) ** 2)
    return jax.jit(jax.vmap(lambda x, c: jax.hessian(lambda y: sqdist(x, y, c))(x)))


def hyperbolix():
    from hyperbolix.manifolds import Hyperboloid, Poincare

    def call(space, name, arrays, c):
        kind = {"poincare": Poincare, "hyperboloid": Hyperboloid}.get(space)
        if kind is None:
            return None
        manifold = kind(dtype=arrays[0].dtype)
        if name == HESSIAN:
            return jax_hessian(manifold.dist)(*arrays, c)
        functions = {
            "dist": manifold.dist,
            "expmap": lambda x, v, c: manifold.expmap(v, x, c),
            "logmap": lambda x, y, c: manifold.logmap(y, x, c),
            "transport": lambda x, y, v, c: manifold.ptransp(v, x, y, c),
            "mobius_add": getattr(manifold, "addition", None),
        }
        if functions.get(name) is None:
            return None
        return jax.jit(jax.vmap(functions[name]))(*arrays, c)

    return call


def geoopt():
    import geoopt
    import torch

    def hessians(ball, x):
        squared = [lambda y, x=x: ball.dist(x, y) ** 2 for x in x]
        rows = zip(squared, x, strict=True)
        return np.stack([torch.autograd.functional.hessian(f, x).numpy() for f, x in rows])

    def one_curvature(space, name, arrays, c):
        arrays = [torch.from_numpy(a) for a in arrays]
        if space == "sphere":
            manifold = geoopt.Sphere()
        elif space == "poincare":
            manifold = geoopt.PoincareBall(c=torch.tensor(c))
        else:
            manifold = geoopt.Lorentz(k=torch.tensor(1 / c))
        if name == HESSIAN:
            return hessians(manifold, arrays[0])
        functions = {
            "dist": manifold.dist,
            "expmap": manifold.expmap,
            "logmap": manifold.logmap,
            # that of the sphere is a projection, not parallel
            "transport": None if space == "sphere" else manifold.transp,
            "mobius_add": getattr(manifold, "mobius_add", None),
        }
        if functions.get(name) is None:
            return None
        return functions[name](*arrays).detach().numpy()

    def call(space, name, arrays, c):
        if space not in ("sphere", "poincare", "hyperboloid"):
            return None
        curvatures = set([] if c is None else c.tolist())
        return by_curvature(functools.partial(one_curvature, space, name), arrays, c, curvatures)

    return call


def geomstats():
    np.trapz = np.trapezoid  # numpy >= 2.4 has lost the name that geomstats imports
    from geomstats.geometry.hyperboloid import Hyperboloid
    from geomstats.geometry.hypersphere import Hypersphere
    from geomstats.geometry.poincare_ball import PoincareBall
    from geomstats.geometry.special_orthogonal import SpecialOrthogonal

    makers = {
        "poincare": lambda x: PoincareBall(x.shape[-1]).metric,
        "hyperboloid": lambda x: Hyperboloid(x.shape[-1] - 1).metric,
        "sphere": lambda x: Hypersphere(x.shape[-1] - 1).metric,
        "so3": lambda x: SpecialOrthogonal(3),  # its metric has other units: no distance
    }

    def unit_curvature(space, name, arrays, c):
        metric = makers[space](arrays[0])
        functions = {
            "expmap": lambda x, v: metric.exp(v, x),
            "logmap": lambda x, y: metric.log(y, x),
        }
        if space != "so3":
            functions["dist"] = metric.dist
        if space == "sphere":
            functions["transport"] = lambda x, y, v: metric.parallel_transport(v, x, end_point=y)
        if name not in functions:
            return None

        def of_row(*row):  # one by one: a float32 batch with a bad row has others go NaN
            try:
                return np.asarray(functions[name](*row), float).ravel()
            except ValueError:  # far out, points of its own are refused
                return np.full(1 if name == "dist" else row[0].size, np.nan)

        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scipy's logm
            return np.stack([of_row(*row) for row in zip(*arrays, strict=True)])

    def call(space, name, arrays, c):
        if space not in makers:
            return None
        return by_curvature(functools.partial(unit_curvature, space, name), arrays, c, {1.0})

    return call


def by_curvature(function, arrays, c, curvatures):
    """Values for one curvature at a time; NaN where a curvature is not among the given ones."""
    if c is None:
        return function(arrays, None)
    values = None
    for curvature in curvatures:
        rows = np.flatnonzero(c == curvature)
        if not rows.size:
            continue
        part = function([a[rows] for a in arrays], c.dtype.type(curvature))
        if part is None:
            return None
        if values is None:
            values = np.full((len(c), *np.shape(part)[1:]), np.nan)
        values[rows] = np.asarray(part)
    return values


def libraries():
    """The libraries that are installed, by name, and a line for each that is not."""
    found, missing = {"geodl": geodl}, []
    for load in (hyperbolix, geoopt, geomstats):
        try:
            found[load.__name__] = load()
        except ImportError as error:
            missing.append(f"{load.__name__} is left out: {error}.")
    return found, missing


def errors_of(values, references, applies):
    """Relative errors of the rows that apply, absolute where the truth is 0; infinite where a value is not finite."""
    rows = np.flatnonzero(applies)
    values = np.asarray(values, float).reshape(len(applies), -1)[rows]
    references = references.reshape(len(applies), -1)[rows]
    finite = np.isfinite(values).all(-1)
    relative = np.full(len(rows), np.inf)
    relative[finite] = hyperbolic.relative_error(values[finite], references[finite])
    zero = finite & (references == 0).all(-1)
    relative[zero] = np.linalg.norm(values[zero], axis=-1)
    errors = np.full(len(applies), np.nan)
    errors[rows] = relative
    return errors


RATIO = "ratio"


def measure(space, found, dtype, quick):
    """{(function, domain): {library: largest error, RATIO: geodl's largest ratio to the inputs' rounding}}."""
    functions, references, batches, curved = SPACES[space]
    worst = {}

    def note(row, column, errors):
        if not np.isnan(errors).all():
            cells = worst.setdefault(row, {})
            cells[column] = max(cells.get(column, 0.0), np.nanmax(errors))

    for batch in batches(dtype, quick):
        for domain, case in batch.items():
            c = case["c"] if curved else None
            for name, keys in functions.items():
                reference = references(name)
                if reference is None or (name == HESSIAN and case["x"].shape[-1] != 2):
                    continue
                arrays = [case[key] for key in keys]
                exact = reference(*arrays, c)
                for library, call in found.items():
                    values = call(space, name, arrays, c)
                    if values is None:
                        continue
                    applies = np.full(len(exact), True)
                    if library == "geomstats" and curved:
                        applies = c == 1
                    errors = errors_of(values, exact, applies)
                    note((name, domain), library, errors)
                    if library == "geodl":
                        note((name, domain), RATIO, errors / rounding(reference, arrays, c, exact))
    return worst


def rounding(reference, arrays, c, exact):
    """What an input that was rounded once costs, and one rounding of the result (absolute where the result is 0)."""
    rng, moved = np.random.default_rng(1), 0.0
    for signs in (np.sign, *[lambda a: rng.choice([-1, 1], a.shape)] * 2):
        halves = [
            hyperbolic.exact(a) + hyperbolic.exact(np.spacing(np.abs(a)) / 2 * signs(a))
            for a in arrays
        ]
        change = reference(*halves, c).reshape(len(exact), -1)
        moved = np.maximum(moved, hyperbolic.relative_error(change, exact.reshape(len(exact), -1)))
    return np.where(np.isfinite(moved), moved, 1.0) + np.finfo(arrays[0].dtype).eps


def cell(error):
    return f"{error:.1e}" if np.isfinite(error) else "not finite"


def report(worst, names):
    """The table of one space and precision."""
    columns = ["geodl", RATIO, *(n for n in names if n != "geodl")]
    shown = [n for n in columns if any(n in cells for cells in worst.values())]
    rows = []
    order = {name: i for i, name in enumerate(dict.fromkeys(name for name, _ in worst))}
    for (name, domain), cells in sorted(worst.items(), key=lambda item: order[item[0][0]]):
        texts = {n: f"{e:.1f}" if n == RATIO else cell(e) for n, e in cells.items()}
        rows.append([f"{name}, {domain}", *(texts.get(n, "–") for n in shown)])
    return table(["", *shown], rows)


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer points")
    parser.add_argument(
        "--spaces", nargs="+", default=list(SPACES), choices=SPACES, help="these spaces only"
    )
    parser.add_argument(
        "--output", type=Path, help="file to write, such as docs/results/accuracy.md"
    )
    return parser.parse_args()


def main():
    options = parse()
    found, missing = libraries()
    versions = [f"{name} {metadata.version(name)}" for name in found if name != "geodl"]
    lines = [
        f"`{' '.join(['python', 'benchmarks/accuracy.py', *sys.argv[1:]])}` on {datetime.date.today()}, revision "
        f"{revision()}, Python {platform.python_version()}, "
        f"{', '.join([f'jax {jax.__version__}', *versions])}.",
        "Largest relative error, absolute where the truth is 0. *ratio*: geodl's largest error in units of what a "
        "change of every stored input by half a unit in its last place does to the true result, plus one rounding of "
        "that (what no algorithm can avoid is about 1). The ball in d = 2, 10, 64, the hyperboloid in d = 1, 2, 10, "
        "c = 0.1 to 2 (geomstats has c = 1 only); spheres of d = 1, 2, 31; tori of d = 1, 2, 10. Norms in units of the "
        "ball's radius, r the distance from the origin times sqrt(c); the Hessian is of `sqdist` in geodl, of `dist` "
        "squared elsewhere.",
        *missing,
    ]
    for space in options.spaces:
        for dtype in (np.float32, np.float64):
            with jax.enable_x64(dtype is np.float64):
                worst = measure(space, found, dtype, options.quick)
            lines += [f"**{space}**, {np.dtype(dtype).name}:", report(worst, list(found))]
            print("\n\n".join(lines[-2:]), flush=True)
    text = "\n\n".join(lines)
    if options.output is not None:
        write_between_markers(options.output, MARKER, text)


if __name__ == "__main__":
    main()
