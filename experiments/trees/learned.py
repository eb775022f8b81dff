"""Embeddings of a taxonomy that are learned (Nickel & Kiela 2017): hyperbolic beside Euclidean ones."""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import _devices
from experiments._pictures import to_picture
from experiments._run import Run, markdown_table, mean_and_error
from experiments.trees import data, metrics, pictures
from geodl import optim, train
from geodl.manifolds import Euclidean, Hyperboloid, Manifold, PoincareBall


KINDS = {"ball": PoincareBall, "hyperboloid": Hyperboloid, "euclidean": Euclidean}


@dataclass(frozen=True)
class Learned:
    """The protocol; runs of one name share it, and what is trained already, whatever spaces they ask for."""

    name: str = "default"
    data: Literal["auto", "generated", "mammals"] = "auto"
    """WordNet's mammals where they are found, or else a generated taxonomy"""
    spaces: tuple[str, ...] = (
        "hyperboloid-2",
        "ball-2",
        "ball-5",
        "euclidean-2",
        "euclidean-5",
        "euclidean-10",
    )
    """kind and dimension: the ball ends at a radius of 15 in float32, where two dimensions want more"""
    seeds: int = 3
    steps: int = 12_000
    """each over all pairs"""
    negatives: int = 128
    """names drawn anew in each step; those that are no ancestors of a name are its negative samples"""
    learning_rate: float = 0.3
    """the largest, about the length of a step; it falls to a hundredth by a cosine"""
    root: str = "runs"


def run(config: Learned) -> dict[str, list[dict[str, np.ndarray]]]:
    """Train every space from every seed; table and picture land in the run's folder."""
    spaces = {name: space_of(name) for name in config.spaces}
    found, taxonomy = data.load(config.data)
    run = Run("trees-learned", config, free=("spaces",), data=found)
    protocol = (
        taxonomy.names,
        taxonomy.pairs,
        config.steps,
        config.negatives,
        config.learning_rate,
    )
    results = {
        name: train.cached_map(
            lambda seed, space=space: embed(config, space, taxonomy, seed),
            list(range(config.seeds)),
            run.folder / name,
            depends=(name, protocol),
        )
        for name, space in spaces.items()
    }
    draw(results, taxonomy, run.folder)
    kept = {
        space: [{k: v for k, v in one.items() if k != "points"} for one in each]
        for space, each in results.items()
    }
    run.finish(table(results, found, taxonomy), {"data": found, "results": kept})
    return results


def space_of(name: str) -> Manifold:
    """Of a name as `ball-2`."""
    kind, _, dim = name.partition("-")
    if kind not in KINDS or not dim.isdigit():
        raise ValueError(
            f"a space is one of {', '.join(KINDS)} and a dimension, as ball-2, got {name!r}"
        )
    return KINDS[kind](int(dim))


def loss(
    space: Manifold, points: jax.Array, pairs: jax.Array, related: jax.Array, drawn: jax.Array
) -> jax.Array:
    """-log(e^-d(u, v) / (e^-d(u, v) + sum of e^-d(u, w))), the mean over pairs (u, v); w are drawn, no ancestors of u.

    Args:
        space: of the points (n, *event_shape).
        points: one for each name.
        pairs: (m, 2), descendant and ancestor.
        related: (n, n), whether the column's name is the row's or stands above it.
        drawn: (k,) names, from which those related to u are left out.
    """
    others = space.dist(points[:, None], points[drawn])
    negatives = jax.nn.logsumexp(jnp.where(related[:, drawn], -jnp.inf, -others), axis=1)
    low, high = pairs.T
    d = space.dist(points[low], points[high])
    return jnp.mean(d + jnp.logaddexp(-d, negatives[low]))


def embed(config: Learned, space: Manifold, taxonomy: data.Taxonomy, seed: int) -> dict[str, Any]:
    """Points of a taxonomy, and how they rank ancestors, from one seed."""
    started = time.process_time()
    of_start, of_steps = jax.random.split(jax.random.key(seed))
    n = len(taxonomy.names)
    above = taxonomy.related()
    points = _train(
        space,
        config.steps,
        config.negatives,
        config.learning_rate,
        jnp.asarray(taxonomy.pairs),
        jnp.asarray(above | np.eye(n, dtype=bool)),
        0.01 * jax.random.normal(of_start, (n, space.dim)),
        of_steps,
    )
    points = np.asarray(points)
    seconds = time.process_time() - started
    found = metrics.ranking(np.asarray(_distances(space, points)), above, np.arange(n))
    return {
        "points": points,
        "map": found.map,
        "rank": found.rank,
        "cpu_seconds": seconds,
    }


@partial(jax.jit, static_argnums=(1, 2, 3))
def _train(space, steps, negatives, learning_rate, pairs, related, start, key):
    rate = optax.warmup_cosine_decay_schedule(
        learning_rate / 10, learning_rate, steps // 20, steps, learning_rate / 100
    )
    optimizer = optim.adam(space, rate, b2=0.99)
    pairs, related = _devices.over_devices((pairs, related))

    def step(carry, i):
        points, state = carry
        drawn = jax.random.randint(jax.random.fold_in(key, i), (negatives,), 0, len(related))
        gradient = jax.grad(partial(loss, space))(points, pairs, related, drawn)
        updates, state = optimizer.update(gradient, state, points)
        return (optim.apply_updates(space, points, updates), state), None

    points = space.expmap_frame(space.origin(), start)
    return jax.lax.scan(step, (points, optimizer.init(points)), jnp.arange(steps))[0][0]


@jax.jit
def _distances(space, points):
    return space.dist(points[:, None], points)


def table(results: dict[str, Any], found: str, taxonomy: data.Taxonomy) -> str:
    """MAP and rank of each space, mean over seeds."""
    rows = [
        {
            "space": space,
            "MAP, %": mean_and_error([100 * one["map"] for one in each]),
            "rank": mean_and_error([one["rank"] for one in each]),
            "CPU seconds": f"{np.mean([one['cpu_seconds'] for one in each]):.0f}",
        }
        for space, each in results.items()
    ]
    seeds = len(next(iter(results.values())))
    warnings = ""
    for space, each in results.items():
        which = [str(i) for i, one in enumerate(each) if not np.isfinite(one["points"]).all()]
        if which:
            seeds_of = f"{space}: seeds {', '.join(which)}"
            warnings += f"\n\n**{seeds_of} ended with points that are not finite.**"
    return (
        f"Reconstruction of the {len(taxonomy.pairs)} pairs of {len(taxonomy.names)} names ({found}): mean average "
        f"precision and mean rank of a name's ancestors among all names; mean of {seeds} seeds ± its standard error\n\n"
        + markdown_table(rows)
        + warnings
    )


def draw(results: dict[str, Any], taxonomy: data.Taxonomy, folder: Path) -> None:
    """The first seed of every space of dimension 2, as a picture."""
    for name, each in results.items():
        space, points = space_of(name), each[0]["points"]
        if space.dim == 2:
            flat = np.asarray(to_picture(space, points))
            pictures.taxonomy(folder / f"{name}.png", name, flat, taxonomy, name != "euclidean-2")
