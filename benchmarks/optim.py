"""A step of Riemannian Adam on a table of points of the ball, side by side with geoopt and hyperbolix, on one core.

    python benchmarks/optim.py [--quick] [--output docs/results/optim_speed.md]

dense: all 100,000 x 10 rows get a gradient. rows: 5,000 of them do; geoopt by its sparse optimizer, hyperbolix has
none. The gradients are given: what is timed is the optimizer and the step, along the geodesic. "geoopt, x + u" is its
default ball, whose step is x + u, clipped to the ball: no other row does that. epoch: a step of `make trees` with its
loss over all pairs of WordNet's mammals (of a generated taxonomy without GEODL_DATA), on the ball of 5 dimensions.
Libraries that are not installed are left out.
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


os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OMP_NUM_THREADS", "1")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import jax
import jax.numpy as jnp
import numpy as np
from _report import cpu_name, revision, table, write_between_markers


sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from experiments.trees import data as taxonomies
from experiments.trees.learned import loss
from geodl import optim
from geodl.manifolds import PoincareBall


ROWS, DIM, TOUCHED, RATE = 100_000, 10, 5000, 1e-3
BALL = PoincareBall(DIM)
NAMES = PoincareBall(5)
NEGATIVES = 128


def data():
    """Points at distances up to 4 from the origin, gradients, and the rows that are touched."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((ROWS, DIM))
    a *= rng.uniform(0, 4, (ROWS, 1)) / np.linalg.norm(a, axis=-1, keepdims=True)
    points = np.asarray(BALL.expmap_frame(jnp.zeros(DIM), a), np.float32)
    gradients = rng.standard_normal((ROWS, DIM)).astype(np.float32)
    return points, gradients, np.sort(rng.permutation(ROWS)[:TOUCHED]).astype(np.int32)


def taxonomy():
    """Points of the names, their pairs, and who is related to whom."""
    found = taxonomies.load("auto")[1]
    n = len(found.names)
    start = 0.5 * np.random.default_rng(0).standard_normal((n, NAMES.dim), np.float32)
    points = np.asarray(NAMES.expmap_frame(NAMES.origin(), start))
    return points, found.pairs, found.related() | np.eye(n, dtype=bool)


# Each library is a function of the data -> {name: a call without arguments that takes a step to the end}.


def stepping(step, *state):
    """A call of a jitted step whose state is donated."""
    compiled, held = jax.jit(step, donate_argnums=0), [state]

    def call():
        held[0] = jax.block_until_ready(compiled(held[0]))

    return call


def ours(points, gradients, rows):
    optimizer = optim.adam(BALL, RATE)
    gradients, some, rows = map(jnp.asarray, (gradients, gradients[rows], rows))

    def dense(carry):
        points, state = carry
        updates, state = optimizer.update(gradients, state, points)
        return optim.apply_updates(BALL, points, updates), state

    def sparse(carry):
        return optim.update_rows(optimizer, BALL, some, carry[1], carry[0], rows)

    of_names = optim.adam(NAMES, RATE)
    start, *known = map(jnp.asarray, taxonomy())

    def epoch(carry):
        points, state, key = carry
        key, of_draw = jax.random.split(key)
        drawn = jax.random.randint(of_draw, (NEGATIVES,), 0, len(points))
        gradient = jax.grad(loss, 1)(NAMES, points, *known, drawn)
        updates, state = of_names.update(gradient, state, points)
        return optim.apply_updates(NAMES, points, updates), state, key

    whole, row = jax.jit(optimizer.init), jax.jit(lambda t: optim.init_rows(optimizer, t))
    return {
        "dense": stepping(dense, jnp.array(points), whole(points)),
        "rows": stepping(sparse, jnp.array(points), row(points)),
        "epoch": stepping(epoch, start, of_names.init(start), jax.random.key(0)),
    }


def geoopt(exact=True):
    import geoopt
    import torch

    torch.set_num_threads(1)

    def calls(points, gradients, rows):
        ball = (geoopt.PoincareBallExact if exact else geoopt.PoincareBall)(c=1.0)

        def parameter(points):
            return geoopt.ManifoldParameter(torch.from_numpy(points.copy()), manifold=ball)

        whole, part = parameter(points), parameter(points)
        dense = geoopt.optim.RiemannianAdam([whole], lr=RATE)
        sparse = geoopt.optim.SparseRiemannianAdam([part], lr=RATE)
        whole.grad = torch.from_numpy(gradients)
        index = torch.from_numpy(rows.astype(np.int64))[None]
        some = torch.from_numpy(gradients[rows])
        part.grad = torch.sparse_coo_tensor(index, some, points.shape).coalesce()

        start, pairs, related = taxonomy()
        names, (low, high), related = parameter(start), torch.tensor(pairs.T), torch.tensor(related)
        of_names = geoopt.optim.RiemannianAdam([names], lr=RATE)

        def epoch():
            drawn = torch.randint(len(names), (NEGATIVES,))
            others = ball.dist(names[:, None], names[drawn])
            others = torch.where(related[:, drawn], -torch.inf, -others).logsumexp(1)
            d = ball.dist(names[low], names[high])
            of_names.zero_grad()
            torch.mean(d + torch.logaddexp(-d, others[low])).backward()
            of_names.step()

        return {"dense": dense.step, "rows": sparse.step, "epoch": epoch}

    return calls


def hyperbolix():
    from flax import nnx
    from hyperbolix.manifolds import Poincare
    from hyperbolix.optim import ManifoldParam, riemannian_adam

    def calls(points, gradients, rows):
        optimizer = riemannian_adam(RATE)

        def wrap(a):
            return nnx.State({"table": ManifoldParam(a, manifold=Poincare(), curvature=1.0)})

        gradients = jnp.asarray(gradients)

        def dense(carry):
            params, state = carry
            updates, state = optimizer.update(wrap(gradients), state, params)
            leaves, structure = jax.tree.flatten(params)
            moved = map(jnp.add, leaves, jax.tree.leaves(updates))
            return jax.tree.unflatten(structure, moved), state

        params = wrap(jnp.array(points))
        return {"dense": stepping(dense, params, optimizer.init(params))}

    return calls


def libraries():
    """The libraries that are installed, by name."""
    others = {
        "geoopt": geoopt,
        "geoopt, x + u": functools.partial(geoopt, exact=False),
        "hyperbolix": hyperbolix,
    }
    found = {"ours": ours}
    for name, load in others.items():
        try:
            found[name] = load()
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return found


def measure(calls, rounds):
    """CPU milliseconds of every call, the calls taking turns."""
    for call in calls.values():
        call()
        call()
    times = {name: [] for name in calls}
    for i in range(rounds):
        for name, call in list(calls.items())[:: -1 if i % 2 else 1]:
            start = time.process_time()
            call()
            times[name].append(1e3 * (time.process_time() - start))
    return times


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--output", type=Path, help="file to write, docs/results/optim_speed.md")
    options = parser.parse_args()
    inputs = data()
    calls = {name: library(*inputs) for name, library in libraries().items()}
    lines, names = [], list(calls)
    for kind in ("dense", "rows", "epoch"):
        taken = measure(
            {n: c[kind] for n, c in calls.items() if kind in c}, 10 if options.quick else 40
        )
        cells = {n: f"{min(t):.2f} ({statistics.median(t):.2f})" for n, t in taken.items()}
        ratios = {n: f"{min(t) / min(taken['ours']):.1f}" for n, t in taken.items()}
        lines.append(
            [kind, *(cells.get(n, "") for n in names), *(ratios.get(n, "") for n in names[1:])]
        )
    head = (
        f"`{' '.join(['python', 'benchmarks/optim.py', *sys.argv[1:]])}` on {datetime.date.today()}, revision "
        f"{revision()}, {cpu_name()} (one core), Python {platform.python_version()}, jax {jax.__version__}: a step of "
        f"Riemannian Adam on {ROWS:,} x {DIM} points, float32, and on {TOUCHED:,} rows of them; an epoch of "
        f"{taxonomies.load('auto')[0]}; geoopt's step is along the "
        "geodesic (`PoincareBallExact`), as ours and hyperbolix' are, or by its default ball to x + u; CPU "
        "milliseconds, the least (and the median) of many steps, and the others' least over ours."
    )
    text = head + "\n\n" + table(["", *names, *(f"{n} / ours" for n in names[1:])], lines)
    print(text)
    if options.output:
        write_between_markers(options.output, "optim", text)


if __name__ == "__main__":
    main()
