"""How far from the data a search ends, against their width: a helix with a tube around it, its generator exact.

What the theorem promises, delta^2, depends on the optimizer.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._run import Run, markdown_table
from experiments.counterfactuals import helix, pictures
from geodl import counterfactual as cf


@dataclass(frozen=True)
class Toy:
    """The protocol."""

    name: str = "exact"
    widths: tuple[float, ...] = (1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1)
    fit_below: float = 0.025
    """exponents are fitted to the widths below: with damping, delta^2 must be small against it"""
    starts: int = 20
    """on the helix, t in [-2, -1]"""
    rate: float = 0.01
    adam_rate: float = 0.05
    """the published choice"""
    damping: float = 0.05
    confidence: float = 0.99
    steps: int = 1000
    shown_width: float = 0.1
    """of the pictures of paths"""
    root: str = "runs"


def classifier(x: jax.Array) -> jax.Array:
    """Logits (2,) of the classes below and above a curved surface that the helix crosses once."""
    log_odds = 3 * (x[2] + 0.5 * jnp.sin(x[0]) + 0.3 * x[1])
    return jnp.stack([-log_odds, log_odds]) / 2


def rules(config: Toy, width: float | jax.Array) -> dict[str, cf.Search]:
    """By name, as in the table and in the pictures: in the base of the tube of a width, the last one in the data."""
    tube, plain = helix.helix(width), optax.sgd(config.rate)
    target, steps = cf.confidence(config.confidence), config.steps

    def search(optimizer, direction=cf.gradient, generator=tube):
        return cf.Search(generator, classifier, target, optimizer, steps, direction=direction)

    return {
        "plain ascent": search(plain),
        "damped metric": search(plain, cf.natural_gradient(config.damping, 3)),
        "Adam": search(optax.adam(config.adam_rate)),
        "natural gradient": search(plain, cf.natural_gradient(0.0, 3)),
        "ascent in the data": search(plain, generator=cf.data_space(3, -10.0, 10.0)),
    }


def starts(config: Toy, rule: cf.Search) -> jax.Array:
    """Points on the helix itself, in the base or in the data."""
    t = jnp.linspace(-2, -1, config.starts)
    return helix.curve(t) if rule.generator.encode else jnp.stack([t, 0 * t, 0 * t], -1)


def distances(config: Toy) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """To the helix where the searches end, and whether they found, (widths, starts), by every rule."""
    goal = jnp.ones(config.starts, int)

    def running(state):
        return jnp.any(state.status == cf.Status.RUNNING)

    def ends(name, width):
        search = rules(config, width)[name]
        state = jax.lax.while_loop(running, search.step, search.init(starts(config, search), goal))
        return helix.distance_to_helix(state.best.x), state.status == cf.Status.FOUND

    def in_every_width(name):
        found = jax.jit(jax.vmap(partial(ends, name)))(jnp.asarray(config.widths))
        return jax.tree.map(np.asarray, found)

    return {name: in_every_width(name) for name in pictures.COLORS}


def path(config: Toy, search: cf.Search) -> dict[str, np.ndarray]:
    """Of the middle start: its data points x and base points z, (steps, 3); no z for a search in the data."""
    middle = config.starts // 2
    state = search.init(starts(config, search)[middle : middle + 1], jnp.ones(1, int))
    _, z = cf.run(search, state, lambda state: state.position)
    z = z[:, 0]
    x = np.asarray(jax.vmap(search.generator.decode)(z))
    return {"x": x} if search.generator.encode else {"x": x, "z": z}


def exponent(config: Toy, distance: np.ndarray) -> float:
    """Of the median distance in the width."""
    widths = np.asarray(config.widths)
    small = widths < config.fit_below
    return float(np.polyfit(np.log(widths[small]), np.log(distance[small]), 1)[0])


def run(config: Toy) -> dict[str, Any]:
    """Search by every rule in every width; table, figures and numbers land in the run's folder."""
    run = Run("cf-toy", config)
    found, rows = {}, []
    with jax.enable_x64(True):
        for name, (distance, success) in distances(config).items():
            median = np.median(distance, -1)
            found[name] = {
                "distance": median.tolist(),
                "low": np.quantile(distance, 0.1, -1).tolist(),
                "high": np.quantile(distance, 0.9, -1).tolist(),
                "found": float(success.mean()),
                "exponent": exponent(config, median),
            }
            row: dict[str, Any] = {"search": name}
            for width, d in zip(config.widths, median, strict=True):
                row[f"δ = {width:g}"] = f"{d:.1e}"
            row |= {"exponent": found[name]["exponent"], "found": f"{success.mean():.0%}"}
            rows.append(row)
        shown = rules(config, config.shown_width)
        paths = {name: path(config, rule) for name, rule in shown.items()}
    text = (
        f"Median distance to the helix of {config.starts} counterfactuals of confidence {config.confidence:g}; "
        f"exponent of δ fitted below {config.fit_below:g}\n\n" + markdown_table(rows)
    )
    pictures.exponents(run.folder / "exponents.png", config.widths, found, config.fit_below)
    pictures.paths(run.folder / "paths.png", paths)
    run.finish(text, found)
    return found
