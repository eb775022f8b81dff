"""Trees drawn in the hyperbolic plane by construction, beside Euclidean space of many dimensions: Bourgain's gap."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from experiments._run import Run, markdown_table
from experiments.trees import data, metrics, pictures
from geodl import optim, train, trees


OF_THE_PAPER = ("smalltree", "phylo_tree", "tree-20-3", "wordnet")
GENERATED = ("binary", "taxonomy")


@dataclass(frozen=True)
class Plane:
    """The protocol. Graphs with cycles are replaced by a breadth-first spanning tree."""

    name: str = "default"
    graphs: tuple[str, ...] = ("auto",)
    """`binary`, `taxonomy`, or files of GEODL_DATA/graphs: smalltree, phylo_tree, tree-20-3, wordnet, ...; `auto`:
    `binary` and these four where they are found, `binary` and `taxonomy` else"""
    lengths: tuple[float, ...] = (1.33, 3.0, 5.0, 8.0, 15.0)
    """of an edge, besides that which promises the distortion"""
    distortion: float = 1.01
    pairs: int = 10_000_000
    """that are measured of a graph, at most: nodes drawn at random with all others"""
    dimensions: tuple[int, ...] = (2, 5, 10, 20, 50, 100)
    """of Euclidean space, for graphs of up to 3,000 nodes"""
    steps: int = 500
    """of the descent of the stress there"""
    root: str = "runs"


def run(config: Plane) -> dict[str, list[dict[str, float]]]:
    """Measure every graph at every length; table and pictures land in the run's folder."""
    names = config.graphs
    if names == ("auto",):
        folder = data.data_folder()
        found = folder is not None and (folder / "graphs").exists()
        names = ("binary", *OF_THE_PAPER) if found else GENERATED
    run = Run("trees-plane", config, graphs=names)
    drawn = {name: trees.from_edges(data.graph(name), spanning=True) for name in names}
    results = {name: measure(config, tree, run.folder / name) for name, tree in drawn.items()}
    flat = {
        name: euclidean(config, tree, run.folder / f"{name}-euclidean")
        for name, tree in drawn.items()
        if len(tree.parents) <= 3000
    }
    pictures.distortions(run.folder / "distortion.png", results, flat)
    first = drawn[names[0]]
    disk = trees.embed(first, jnp.float32(1.33)).to_disk()
    nodes = np.flatnonzero(first.depths)
    edges = np.stack([nodes, first.parents[nodes]], 1)
    pictures.drawing(run.folder / "disk.png", names[0], np.asarray(disk), edges)
    run.finish(table(results, flat), {"plane": results, "euclidean": flat})
    return results


def measure(config: Plane, tree: trees.Tree, folder: Path) -> list[dict[str, float]]:
    """Of one tree: distortion and MAP at each length of an edge; what is measured is kept in the folder."""
    n = len(tree.parents)
    drawn = np.random.default_rng(0).permutation(n)[: max(1, config.pairs // n)]
    lengths = (*config.lengths, trees.edge_length(tree, config.distortion))
    drawings = [jax.jit(partial(trees.embed, tree))(jnp.float32(t)) for t in lengths]

    def figures(rows):
        hops = hops_from(tree, rows)
        distortions, rankings = [], []
        for drawing, length in zip(drawings, lengths, strict=True):
            distances = np.asarray(_rows(drawing, jnp.asarray(rows)))
            distortions.append(metrics.distortion(distances, hops, length))
            rankings.append(metrics.ranking(distances, hops == 1, rows))
        return {"distortion": np.array(distortions), "ranking": np.array(rankings)}

    chunk = max(1, 1_000_000 // n)
    chunks = [drawn[start : start + chunk] for start in range(0, len(drawn), chunk)]
    parts = train.cached_map(figures, chunks, folder, depends=(tree.parents, lengths))
    rows = []
    for k, (length, drawing) in enumerate(zip(lengths, drawings, strict=True)):
        distortion, *others = (metrics.Distortion(*p["distortion"][k].tolist()) for p in parts)
        ranking, *more = (metrics.Ranking(*p["ranking"][k].tolist()) for p in parts)
        distortion, ranking = sum(others, distortion), sum(more, ranking)
        place = {"nodes": n, "length": float(length), "radius": float(drawing.radii().max())}
        rows.append(place | summary(distortion, ranking))
    return rows


def summary(distortion: metrics.Distortion, ranking: metrics.Ranking) -> dict[str, float]:
    """The figures of the table."""
    return {"worst": distortion.worst, "mean": distortion.mean, "map": ranking.map}


@jax.jit
def _rows(drawing, rows):
    return drawing.dist(rows[:, None], jnp.arange(len(drawing.depths)))


def hops_from(tree: trees.Tree, rows: np.ndarray) -> np.ndarray:
    """Edges between some nodes and all others."""
    n = len(tree.parents)
    nodes = np.flatnonzero(tree.depths)
    graph = coo_array((np.ones(len(nodes)), (nodes, tree.parents[nodes])), (n, n)).tocsr()
    return dijkstra(graph, directed=False, indices=rows, unweighted=True)


def euclidean(config: Plane, tree: trees.Tree, folder: Path) -> list[dict[str, float]]:
    """A tree in Euclidean spaces: least relative stress, from classical scaling of the distances.

    A little noise parts the nodes that scaling puts in one place, where the stress has no slope.
    """
    n = len(tree.parents)
    hops = hops_from(tree, np.arange(n))
    centered = np.square(hops) - np.square(hops).mean(0)
    values, vectors = np.linalg.eigh(-(centered - centered.mean(1, keepdims=True)) / 2)
    scaled = (vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1]
    scaled += 0.01 * np.random.default_rng(0).normal(size=scaled.shape)

    def figures(dimension):
        start = jnp.asarray(scaled[:, :dimension], jnp.float32)
        points = _least_stress(start, jnp.asarray(hops, jnp.float32), config.steps)
        distances = np.asarray(_flat_distances(points))
        ranking = metrics.ranking(distances, hops == 1, np.arange(n))
        return summary(metrics.distortion(distances, hops), ranking)

    depends = (tree.parents, config.steps)
    found = train.cached_map(figures, config.dimensions, folder, depends)
    return [
        {"dimension": d} | {name: float(value) for name, value in each.items()}
        for d, each in zip(config.dimensions, found, strict=True)
    ]


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


def table(results, flat) -> str:
    """Every graph and length, and Euclidean spaces."""
    rows = []
    for name, each in results.items():
        tree = f"{name}, {each[0]['nodes']:,} nodes"
        places = [(f"H², edge {r['length']:.4g}", f"{r['radius']:,.0f}", r) for r in each]
        places += [(f"R^{r['dimension']}", None, r) for r in flat.get(name, [])]
        rows += [
            {"tree": tree, "space": space, "radius": radius}
            | {key: f"{r[key]:.4f}" for key in ("worst", "mean", "map")}
            for space, radius, r in places
        ]
    return (
        "Distances in float32 against the tree's: worst is max / min of their ratio over pairs, mean that of its "
        "deviation from its scale; MAP of the neighbors\n\n" + markdown_table(rows)
    )
