"""Accuracy of the Poincaré ball's functions beside hyperbolix, geoopt and geomstats, against 80-digit references.

``python benchmarks/accuracy.py [--quick] [--output docs/results/accuracy.md]`` prints one Markdown table per precision:
the largest relative error of each library over the same stored inputs, of all dimensions and curvatures. A library that
is not installed is left out. Points and vectors are compared in the Euclidean norm.
"""

import argparse
import datetime
import os
import platform
import sys
from importlib import metadata
from pathlib import Path


os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("GEOMSTATS_BACKEND", "numpy")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the references are among the tests

import jax
import numpy as np
from _report import revision, table

from geodl.manifolds import poincare
from tests.oracles import hyperbolic as oracle
from tests.oracles.hyperbolic_cases import KINDS, cases


ARGUMENTS = {"dist": "xy", "expmap": "xv", "logmap": "xy", "transport": "xyv"}
SIZES = {
    2: (1000, 80),
    10: (400, 80),
    64: (60, 40),
}  # dimension: points in bulk, of each other kind
MEANING = {
    "bulk": "norms up to 0.9",
    "near": "distances down to 1e-6",
    "origin": "x = 0, y = 0 or x = y",
    "edge": "norms 1 - 1e-2 to 1 - 1e-5",
    "close": "edge, distance 0.07 and less",
}
HESSIAN = "Hessian of dist² at x = y"


# Each library is a function (name, arrays, c) -> values, or None where it has no such function.


def geodl(name, arrays, c):
    if name == HESSIAN:
        return jax_hessian(poincare.dist, poincare.sqdist)(*arrays, c)
    return jax.jit(getattr(poincare, name))(*arrays, c)


def jax_hessian(dist, sqdist=None):
    """Hessians of the squared distance in its second point, at the first."""
    sqdist = sqdist or (lambda x, y, c: dist(x, y, c) ** 2)
    return jax.jit(jax.vmap(lambda x, c: jax.hessian(lambda y: sqdist(x, y, c))(x)))


def hyperbolix():
    from hyperbolix.manifolds import Poincare

    def call(name, arrays, c):
        ball = Poincare(dtype=arrays[0].dtype)
        if name == HESSIAN:
            return jax_hessian(ball.dist)(*arrays, c)
        functions = {
            "dist": ball.dist,
            "expmap": lambda x, v, c: ball.expmap(v, x, c),
            "logmap": lambda x, y, c: ball.logmap(y, x, c),
            "transport": lambda x, y, v, c: ball.ptransp(v, x, y, c),
        }
        return jax.jit(jax.vmap(functions[name]))(*arrays, c)

    return call


def geoopt():
    import geoopt
    import torch

    def one_curvature(name, arrays, c):
        ball = geoopt.PoincareBall(c=torch.tensor(c))
        arrays = [torch.from_numpy(a) for a in arrays]
        if name == HESSIAN:
            return np.stack(
                [
                    torch.autograd.functional.hessian(
                        lambda y, x=x: ball.dist(x, y) ** 2, x
                    ).numpy()
                    for x in arrays[0]
                ]
            )
        functions = {
            "dist": ball.dist,
            "expmap": ball.expmap,
            "logmap": ball.logmap,
            "transport": ball.transp,
        }
        return functions[name](*arrays).detach().numpy()

    return lambda name, arrays, c: by_curvature(one_curvature, name, arrays, c, set(c.tolist()))


def geomstats():
    np.trapz = np.trapezoid  # numpy >= 2.4 has lost the name that geomstats imports
    from geomstats.geometry.poincare_ball import PoincareBall

    def unit_curvature(name, arrays, c):
        metric = PoincareBall(arrays[0].shape[-1]).metric
        functions = {
            "dist": metric.dist,
            "expmap": lambda x, v: metric.exp(v, x),
            "logmap": lambda x, y: metric.log(y, x),
        }
        with np.errstate(
            all="ignore"
        ):  # one by one: a float32 batch with a bad row has others go NaN
            return np.stack([functions[name](*row) for row in zip(*arrays, strict=True)])

    def call(name, arrays, c):
        if name in ("transport", HESSIAN):  # no closed-form transport, no derivatives in numpy
            return None
        return by_curvature(unit_curvature, name, arrays, c, {1.0})

    return call


def by_curvature(function, name, arrays, c, curvatures):
    """Values for one curvature at a time; NaN where a curvature is not among the given ones."""
    values = None
    for curvature in curvatures:
        rows = np.flatnonzero(c == curvature)
        part = np.asarray(function(name, [a[rows] for a in arrays], c.dtype.type(curvature)))
        if values is None:
            values = np.full((len(c), *part.shape[1:]), np.nan)
        values[rows] = part
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
    relative[finite] = oracle.relative_error(values[finite], references[finite])
    zero = finite & (references == 0).all(-1)
    relative[zero] = np.linalg.norm(values[zero], axis=-1)
    errors = np.full(len(applies), np.nan)
    errors[rows] = relative
    return errors


def measure(found, sizes, dtype):
    """{(function, kind): {library: largest error}}."""
    worst = {}

    def note(row, library, errors):
        if not np.isnan(errors).all():
            cells = worst.setdefault(row, {})
            cells[library] = max(cells.get(library, 0.0), np.nanmax(errors))

    for d, size in sizes.items():
        case = cases(d, dtype, *size, seed=1)
        tasks = {n: [getattr(case, a) for a in keys] for n, keys in ARGUMENTS.items()}
        references = {n: getattr(oracle, n)(*arrays, case.c) for n, arrays in tasks.items()}
        if d == 2:
            tasks[HESSIAN] = [case.x]
            scale = 2 * oracle.conformal_factor(case.x, case.c) ** 2
            references[HESSIAN] = scale[:, None] * oracle.exact(np.eye(d).ravel())
        for name, arrays in tasks.items():
            for library, call in found.items():
                values = call(name, arrays, case.c)
                if values is None:
                    continue
                applies = case.c == 1 if library == "geomstats" else np.full(len(case.c), True)
                errors = errors_of(values, references[name], applies)
                for kind in KINDS:
                    note((name, kind), library, errors[case.of(kind)])
    return worst


def cell(error):
    return f"{error:.1e}" if np.isfinite(error) else "not finite"


def report(worst, names):
    """The table of one precision."""
    rows = {f"{name}, {kind}": worst[name, kind] for name in ARGUMENTS for kind in KINDS}
    for kinds, label in (
        (("bulk", "near", "origin"), "inside"),
        (("edge", "close"), "at the edge"),
    ):
        of_kinds = [worst[HESSIAN, kind] for kind in kinds]
        rows[f"{HESSIAN}, {label}"] = {n: max(cells[n] for cells in of_kinds) for n in of_kinds[0]}
    texts = {k: [cell(v[n]) if n in v else "–" for n in names] for k, v in rows.items()}
    return table(["", *names], [[label, *row] for label, row in texts.items()])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer points")
    parser.add_argument(
        "--output", type=Path, help="file to write, such as docs/results/accuracy.md"
    )
    options = parser.parse_args()
    sizes = {d: (few // 2, few // 2) for d, (_, few) in SIZES.items()} if options.quick else SIZES

    found, missing = libraries()
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in found if name != "geodl")
    pairs = sum(bulk + 4 * few for bulk, few in sizes.values())
    lines = [
        f"`{' '.join(['python', 'benchmarks/accuracy.py', *sys.argv[1:]])}` on {datetime.date.today()}, revision "
        f"{revision()}, Python {platform.python_version()}, jax {jax.__version__}, {versions}.",
        f"Largest relative error over {pairs} pairs (d = {', '.join(map(str, sizes))}; c = 0.1 to 2; geomstats has "
        "c = 1 only), absolute where the truth is 0; the Hessian is of `sqdist` in geodl, of `dist` squared elsewhere. "
        + "; ".join(f"*{kind}*: {meaning}" for kind, meaning in MEANING.items())
        + ". Norms in units of the ball's radius.",
        *missing,
    ]
    for dtype in (np.float32, np.float64):
        with jax.enable_x64(dtype is np.float64):
            worst = measure(found, sizes, dtype)
        lines += [f"{np.dtype(dtype).name}:", report(worst, list(found))]
    text = "\n\n".join(lines) + "\n"
    print(text)
    if options.output is not None:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
