"""From data to a formula: a network predicts, attribution says from what, a read-out of few terms says how.

Of convex polyhedra three quantities are predicted from edges, vertices, volume and area: the number of faces (Euler:
V - E + F = 2), the mean sum of the angles at a vertex (Descartes: 2 pi - 4 pi / V), and whether there are more vertices
than of a cube. The last one saturates: at most polyhedra its gradient is 0 but for the network's errors, and saliency
shows those.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._run import Run, markdown_table, standard_error
from experiments.intuition import pictures, polyhedra
from geodl import explain, nn, train


INPUTS = ("edges", "vertices", "volume", "area")
TARGETS = ("faces", "angle", "more than a cube")
READ_OUT = ("faces", "angle")
THRESHOLD = 0.1  # of the attribution; an input with less is left out
TERMS = {
    "{}": lambda x: x,
    "1 / {}": lambda x: 1 / x,
    "log {}": np.log,
    "sqrt {}": np.sqrt,
    "{}²": np.square,
}


@dataclass(frozen=True)
class Conjectures:
    """The protocol; each seed has polyhedra and networks of its own."""

    name: str = "default"
    seeds: int = 5
    train: int = 2000
    test: int = 500
    width: int = 64
    depth: int = 2
    steps: int = 4000
    batch: int = 128
    learning_rate: float = 3e-3
    """the largest; it falls to 0 by a cosine"""
    root: str = "runs"


def run(config: Conjectures) -> list[dict[str, np.ndarray]]:
    """Train, attribute and read out from every seed; table and picture land in the run's folder."""
    run = Run("intuition", config)
    found = train.cached_map(
        lambda seed: one_seed(config, seed),
        list(range(config.seeds)),
        run.folder / "seeds",
        depends=(run.protocol,),
    )
    pictures.shares(run.folder, found, INPUTS)
    read = [read_out(one) for one in found]
    run.finish(table(found, read), {"shares": found, "read-out": read})
    return found


def one_seed(config: Conjectures, seed: int) -> dict[str, np.ndarray]:
    """Networks for all targets, and what attributions make of them on polyhedra that they have not seen."""
    rng = np.random.default_rng(seed)
    x, y = arrays(polyhedra.sample(rng, config.train + config.test))
    center, scale = x[: config.train].mean(0), x[: config.train].std(0)
    of_y = y[: config.train].mean(0), y[: config.train].std(0)
    z = jnp.asarray((x - center) / scale, jnp.float32)
    params = jax.vmap(partial(_train, config), (None, 1, None))(
        z[: config.train], jnp.asarray((y[: config.train] - of_y[0]) / of_y[1], jnp.float32), seed
    )
    # the tetrahedron, of average size: what says least
    baseline = (np.array([6.0, 4.0, center[2], center[3]]) - center) / scale
    some = z[config.train :]
    explained = jax.vmap(partial(_explain, config), (0, None, None))
    predicted, gradients, integrated = explained(params, some, jnp.asarray(baseline, jnp.float32))
    x, y = x[config.train :], y[config.train :]
    many = x[:, 1] >= np.quantile(x[:, 1], 0.75)
    result = {
        "x": x,
        "y": y,
        "predicted": np.asarray(predicted).T * of_y[1] + of_y[0],
    }
    for name, attribution in (("saliency", gradients), ("integrated gradients", integrated)):
        result[name] = shares(np.asarray(attribution))
        result[f"{name}, many vertices"] = shares(np.asarray(attribution)[:, many])
    return result


def arrays(found: list[polyhedra.Polyhedron]) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n, 4), volume and area as logarithms, and targets (n, 3)."""
    edges, vertices, faces, volume, area, angle = np.array(found, float).T
    inputs = np.stack([edges, vertices, np.log(volume), np.log(area)], 1)
    return inputs, np.stack([faces, angle, vertices > 8], 1)


def shares(attribution: np.ndarray) -> np.ndarray:
    """Of each input the mean absolute attribution over the samples (..., n, inputs), as a share of all."""
    size = np.mean(np.abs(attribution), -2)
    return size / np.sum(size, -1, keepdims=True)


def _network(config):
    return nn.mlp([len(INPUTS), *[config.width] * config.depth, 1], jax.nn.gelu)


@partial(jax.jit, static_argnums=0)
def _train(config, x, y, seed):
    net, rate = _network(config), optax.cosine_decay_schedule(config.learning_rate, config.steps)
    optimizer = optax.adamw(rate, weight_decay=1e-3)
    of_init, of_steps = jax.random.split(jax.random.key(seed))

    def loss(params, rows):
        return jnp.mean(jnp.square(net.apply(params, x[rows])[:, 0] - y[rows]))

    def step(carry, key):
        params, state = carry
        rows = jax.random.randint(key, (config.batch,), 0, len(x))
        updates, state = optimizer.update(jax.grad(loss)(params, rows), state, params)
        return (optax.apply_updates(params, updates), state), None

    params = net.init(of_init)
    keys = jax.random.split(of_steps, config.steps)
    return jax.lax.scan(step, (params, optimizer.init(params)), keys)[0][0]


@partial(jax.jit, static_argnums=0)
def _explain(config, params, x, baseline):
    """Prediction, saliency and integrated gradients of each row."""
    net = _network(config)

    def f(x):
        return net.apply(params, x)[0]

    integrated = partial(explain.integrated_gradients, f, baseline=baseline, steps=64)
    return jax.vmap(f)(x), jax.vmap(partial(explain.saliency, f))(x), jax.vmap(integrated)(x)


def read_out(one: dict[str, np.ndarray]) -> dict[str, Any]:
    """Formulas of the inputs that integrated gradients have found, with whole coefficients.

    Fitted to the network's predictions of one half of the held-out polyhedra, checked on the true values of the other
    half. Of one input the term is chosen among ``TERMS``, by the residual of the fit; several come in linearly. Angles
    are in units of pi.
    """
    result = {}
    for k, target in enumerate(READ_OUT):
        kept = np.flatnonzero(one["integrated gradients"][k] > THRESHOLD)
        unit = np.pi if target == "angle" else 1.0
        fitted, true = one["predicted"][:, k] / unit, one["y"][:, k] / unit
        half = len(true) // 2
        fits = []
        for name, term in TERMS.items() if len(kept) == 1 else [("{}", TERMS["{}"])]:
            terms = np.concatenate([np.ones((len(true), 1)), term(one["x"][:, kept])], 1)
            coefficients, *_ = np.linalg.lstsq(terms[:half], fitted[:half], rcond=None)
            off = np.sqrt(np.mean(np.square(terms[:half] @ coefficients - fitted[:half])))
            fits.append((off, name, coefficients, terms))
        _, name, coefficients, terms = min(fits, key=lambda fit: fit[0])
        whole = np.round(coefficients)
        right = np.abs(terms[half:] @ whole - true[half:]) < 1e-9
        names = ["1", *(name.format(INPUTS[i]) for i in kept)]
        result[target] = {
            "terms": names,
            "coefficients": coefficients.tolist(),
            "whole": whole.tolist(),
            "right": float(np.mean(right)),
        }
    return result


def table(found: list[dict[str, np.ndarray]], read: list[dict[str, Any]]) -> str:
    """Shares of the inputs, and the formulas."""

    def cell(values):
        return f"{100 * np.mean(values):.1f} ± {100 * standard_error(values):.1f}"

    methods = [name for name in found[0] if name.startswith(("saliency", "integrated"))]
    rows = [
        {"target": target, "attribution": method}
        | {name: cell([one[method][k, i] for one in found]) for i, name in enumerate(INPUTS)}
        for k, target in enumerate(TARGETS)
        for method in methods
    ]
    formulas = [
        {
            "target": f"{target} / π" if target == "angle" else target,
            "seed": str(seed),
            "fitted": _formula(one[target]["coefficients"], one[target]["terms"], 3),
            "whole": _formula(one[target]["whole"], one[target]["terms"], 0),
            "right, %": f"{100 * one[target]['right']:.1f}",
        }
        for target in READ_OUT
        for seed, one in enumerate(read)
    ]
    return (
        f"Share of each input in the attribution, %, on held-out polyhedra (many vertices: the quarter with most); "
        f"mean of {len(found)} seeds (polyhedra and network) ± its standard error\n\n"
        + markdown_table(rows)
        + "\n\nFormulas in the inputs with a share above 10 %, fitted to the network, then rounded to whole numbers; "
        "right: share of other held-out polyhedra of which the rounded formula is true\n\n"
        + markdown_table(formulas)
    )


def _formula(coefficients, terms, digits):
    return " ".join(
        f"{c:+.{digits}f}" + ("" if term == "1" else f" {term}")
        for c, term in zip(coefficients, terms, strict=True)
    )
