"""How far from the data a search ends, against their width: a helix with a tube around it, its generator exact.

What the theorem promises, delta^2, depends on the optimizer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._run import Run, markdown_table
from experiments.counterfactuals import pictures, toys
from geodl.counterfactual import (
    Search,
    Status,
    confidence,
    data_space,
    gradient,
    natural_gradient,
)
from geodl.counterfactual import run as search_from


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


class Rule(NamedTuple):
    """A way to search: in the tube's base or in the data."""

    optimizer: optax.GradientTransformation
    direction: Callable = gradient
    in_data: bool = False


def rules(config: Toy) -> dict[str, Rule]:
    """By name, as in the table and in the pictures."""
    plain = optax.sgd(config.rate)
    return {
        "plain ascent": Rule(plain),
        "damped metric": Rule(plain, natural_gradient(config.damping, 3)),
        "Adam": Rule(optax.adam(config.adam_rate)),
        "natural gradient": Rule(plain, natural_gradient(0.0, 3)),
        "ascent in the data": Rule(plain, in_data=True),
    }


def classifier(x: jax.Array) -> jax.Array:
    """Logits (2,) of the classes below and above a curved surface that the helix crosses once."""
    log_odds = 3 * (x[2] + 0.5 * jnp.sin(x[0]) + 0.3 * x[1])
    return jnp.stack([-log_odds, log_odds]) / 2


def make_search(config: Toy, rule: Rule, width: float | jax.Array) -> Search:
    """One rule in the tube of a width."""
    generator = data_space(3, -10.0, 10.0) if rule.in_data else toys.helix(width)
    return Search(
        generator,
        classifier,
        confidence(config.confidence),
        rule.optimizer,
        config.steps,
        direction=rule.direction,
    )


def starts(config: Toy, rule: Rule) -> jax.Array:
    """Points on the helix itself, in the base or in the data."""
    t = jnp.linspace(-2, -1, config.starts)
    return toys.curve(t) if rule.in_data else jnp.stack([t, 0 * t, 0 * t], -1)


def distances(config: Toy, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """To the helix where the searches end, and whether they found (widths, starts)."""
    goal = jnp.ones(config.starts, int)

    @jax.jit
    @jax.vmap
    def ends(width):
        search = make_search(config, rule, width)

        def running(state):
            return jnp.any(state.status == Status.RUNNING)

        state = jax.lax.while_loop(running, search.step, search.init(starts(config, rule), goal))
        return toys.distance_to_helix(state.best.x), state.status == Status.FOUND

    distance, found = ends(jnp.asarray(config.widths))
    return np.asarray(distance), np.asarray(found)


def path(config: Toy, rule: Rule) -> dict[str, np.ndarray]:
    """Of the middle start: its data points x and base points z, (steps, 3); no z for a search in the data."""
    search = make_search(config, rule, config.shown_width)
    middle = config.starts // 2
    state = search.init(starts(config, rule)[middle : middle + 1], jnp.ones(1, int))
    _, z = search_from(search, state, lambda state: state.position)
    z = z[:, 0]
    x = np.asarray(jax.vmap(search.generator.decode)(z))
    return {"x": x} if rule.in_data else {"x": x, "z": z}


def exponent(config: Toy, distance: np.ndarray) -> float:
    """Of the median distance in the width."""
    small = np.asarray(config.widths) < config.fit_below
    return float(
        np.polyfit(np.log(np.asarray(config.widths)[small]), np.log(distance[small]), 1)[0]
    )


def run(config: Toy) -> dict[str, Any]:
    """Search by every rule in every width; table, figures and numbers land in the run's folder."""
    run = Run("cf-toy", config)
    found, rows = {}, []
    with jax.enable_x64(True):
        for name, rule in rules(config).items():
            distance, success = distances(config, rule)
            median = np.median(distance, -1)
            found[name] = {
                "distance": median.tolist(),
                "low": np.quantile(distance, 0.1, -1).tolist(),
                "high": np.quantile(distance, 0.9, -1).tolist(),
                "found": float(success.mean()),
                "exponent": exponent(config, median),
            }
            rows.append(
                [
                    name,
                    *(f"{d:.1e}" for d in median),
                    found[name]["exponent"],
                    f"{success.mean():.0%}",
                ]
            )
        paths = {name: path(config, rule) for name, rule in rules(config).items()}
    header = ["search", *(f"δ = {width:g}" for width in config.widths), "exponent", "found"]
    text = (
        f"Median distance to the helix of {config.starts} counterfactuals of confidence {config.confidence:g}; "
        f"exponent of δ fitted below {config.fit_below:g}\n\n" + markdown_table(header, rows)
    )
    pictures.exponents(run.folder / "exponents.png", config.widths, found, config.fit_below)
    pictures.paths(run.folder / "paths.png", paths)
    run.finish(text, found)
    return found
