"""Trees drawn in the hyperbolic plane by construction, beside Euclidean space of many dimensions: Bourgain's gap."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from experiments._run import Run, markdown_table
from experiments.trees import data, metrics, pictures
from geodl import optim, trees


@dataclass(frozen=True)
class Plane:
    """The protocol. Graphs with cycles are replaced by a breadth-first spanning tree."""

    name: str = "default"
    graphs: tuple[str, ...] = ("binary", "taxonomy")
    """`binary`, `taxonomy`, or files of GEODL_DATA/graphs: smalltree, phylo_tree, tree-20-3, wordnet, ..."""
    lengths: tuple[float, ...] = (1.33, 3.0, 5.0, 8.0, 15.0)
    """of an edge, besides that which promises the distortion"""
    distortion: float = 1.01
    rows: int = 10_000
    """nodes whose distances to all others are measured, at most; drawn at random"""
    dimensions: tuple[int, ...] = (2, 5, 10, 20, 50, 100)
    """of Euclidean space, for the first graph"""
    steps: int = 500
    """of the descent of the stress there"""
    root: str = "runs"


def run(config: Plane) -> dict[str, list[dict[str, float]]]:
    """Measure every graph at every length; table and pictures land in the run's folder."""
    run = Run("trees-plane", config)
    results = {name: measure(config, name) for name in config.graphs}
    flat = [(d, euclidean(config, d)) for d in config.dimensions]
    curves = {name: [(r["length"], r["mean"]) for r in rows] for name, rows in results.items()}
    pictures.distortions(run.folder / "distortion.png", curves, [(d, r["mean"]) for d, r in flat])
    edges = data.graph(config.graphs[0])
    disk = trees.embed(trees.from_edges(edges, spanning=True), jnp.float32(1.33)).to_disk()
    pictures.drawing(run.folder / "disk.png", config.graphs[0], np.asarray(disk), edges)
    run.finish(table(config, results, flat), {"plane": results, "euclidean": dict(flat)})
    return results


def measure(config: Plane, name: str) -> list[dict[str, float]]:
    """Of one graph: distortion and MAP at each length of an edge."""
    tree = trees.from_edges(data.graph(name), spanning=True)
    n = len(tree.parents)
    drawn = np.random.default_rng(0).permutation(n)[: config.rows]
    promised = trees.edge_length(tree, config.distortion)
    drawings = [
        jax.jit(partial(trees.embed, tree))(jnp.float32(t)) for t in (*config.lengths, promised)
    ]
    totals: list = [None] * len(drawings)
    chunk = max(1, 1_000_000 // n)
    for start in range(0, len(drawn), chunk):
        rows = drawn[start : start + chunk]
        hops = hops_from(tree, rows)
        for k, (drawing, length) in enumerate(
            zip(drawings, (*config.lengths, promised), strict=True)
        ):
            distances = np.asarray(_rows(drawing, jnp.asarray(rows)))
            found = (
                metrics.distortion(distances, hops, length),
                metrics.ranking(distances, hops == 1, rows),
            )
            old = totals[k]
            totals[k] = (
                found if old is None else tuple(a + b for a, b in zip(old, found, strict=True))
            )
    return [
        {
            "nodes": n,
            "length": float(length),
            "radius": float(drawing.radii().max()),
            "worst": distortion.worst,
            "mean": distortion.mean,
            "map": ranking.map,
        }
        for length, drawing, (distortion, ranking) in zip(
            (*config.lengths, promised), drawings, totals, strict=True
        )
    ]


@jax.jit
def _rows(drawing, rows):
    return drawing.dist(rows[:, None], jnp.arange(len(drawing.depths)))


def hops_from(tree: trees.Tree, rows: np.ndarray) -> np.ndarray:
    """Edges between some nodes and all others."""
    n = len(tree.parents)
    nodes = np.flatnonzero(tree.depths)
    graph = coo_array((np.ones(len(nodes)), (nodes, tree.parents[nodes])), (n, n)).tocsr()
    return dijkstra(graph, directed=False, indices=rows, unweighted=True)


def euclidean(config: Plane, dimension: int) -> dict[str, float]:
    """The first graph in Euclidean space: least relative stress, from classical scaling of the distances."""
    tree = trees.from_edges(data.graph(config.graphs[0]), spanning=True)
    n = len(tree.parents)
    if n > 3000:
        raise ValueError(f"Euclidean embeddings of {n} nodes take long: name a smaller graph first")
    hops = hops_from(tree, np.arange(n))
    centered = np.square(hops) - np.square(hops).mean(0)
    values, vectors = np.linalg.eigh(-(centered - centered.mean(1, keepdims=True)) / 2)
    start = (vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1][:, :dimension]
    points = _least_stress(
        jnp.asarray(start, jnp.float32), jnp.asarray(hops, jnp.float32), config.steps
    )
    distances = np.asarray(_flat_distances(points))
    distortion = metrics.distortion(distances, hops)
    ranking = metrics.ranking(distances, hops == 1, np.arange(n))
    return {"worst": distortion.worst, "mean": distortion.mean, "map": ranking.map}


def _flat_distances(x):
    squares = jnp.sum(x * x, -1)
    gaps = squares[:, None] + squares - 2 * x @ x.T
    return jnp.sqrt(jnp.maximum(gaps, 1e-12))


@partial(jax.jit, static_argnums=2)
def _least_stress(start, hops, steps):
    weights = jnp.where(hops > 0, 1 / jnp.maximum(hops, 1), 0.0)

    def stress(x):
        return jnp.sum(jnp.square(weights * (_flat_distances(x) - hops))) / weights.size

    optimizer = optim.adam(None, optax.cosine_decay_schedule(0.05, steps))

    def step(carry, _):
        x, state = carry
        updates, state = optimizer.update(jax.grad(stress)(x), state, x)
        return (optim.apply_updates(None, x, updates), state), None

    return jax.lax.scan(step, (start, optimizer.init(start)), length=steps)[0][0]


def table(config: Plane, results, flat) -> str:
    """Every graph and length, and Euclidean space."""
    places = [
        (name, f"H², edge {r['length']:.4g}", f"{r['radius']:.0f}", r)
        for name, each in results.items()
        for r in each
    ]
    places += [(config.graphs[0], f"R^{d}", None, r) for d, r in flat]
    return (
        "Distances in float32 against the tree's: worst is max / min of their ratio over pairs, mean that of its "
        "deviation from its scale; MAP of the neighbors\n\n"
        + markdown_table(
            {"tree": tree, "space": space, "radius": radius}
            | {name: f"{r[name]:.4f}" for name in ("worst", "mean", "map")}
            for tree, space, radius, r in places
        )
    )
