"""How fast the kernels of finite networks become those of infinite width: as the root of the width."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._run import Run, markdown_table
from experiments.infinite import pictures
from experiments.infinite.networks import dense, spherical, turned
from geodl import infinite, train
from geodl.infinite import Layer


@dataclass(frozen=True)
class Width:
    """The protocol; runs of one name share it."""

    name: str = "default"
    widths: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    largest_conv: int = 128
    """width at which the convolutional networks end, whose layers have 36 and 84 times as many weights"""
    seeds: int = 20
    inputs: int = 6
    root: str = "runs"


NETWORKS: dict[str, tuple[Callable[[int, int], Layer], tuple[int, ...]]] = {
    "dense": (dense, (16,)),
    "C_4 convolutions": (turned, (4, 4, 1)),
    "SO(3) convolutions": (spherical, (3, 6, 1)),
}


def run(config: Width) -> dict[str, dict[str, np.ndarray]]:
    """Deviations (widths, seeds) of both kernels, for each network; table and picture land in the run's folder."""
    run = Run("infinite-width", config)
    results = {}
    for name, (make, shape) in NETWORKS.items():
        widths = [w for w in config.widths if make is dense or w <= config.largest_conv]
        rows = train.cached_map(
            partial(deviations, make, shape, config.inputs, config.seeds),
            widths,
            run.folder / make.__name__,
            depends=(name, config.inputs, config.seeds),
        )
        results[name] = {"widths": np.array(widths)} | {
            kernel: np.stack([row[kernel] for row in rows]) for kernel in ("nngp", "ntk")
        }
    rates = {
        (name, kernel): (found["widths"], rate(found["widths"], found[kernel]))
        for name, found in results.items()
        for kernel in ("nngp", "ntk")
    }
    pictures.rates(run.folder / "rates.png", rates)
    run.finish(table(rates, config.seeds), {"results": results})
    return results


def deviations(
    make: Callable[[int, int], Layer], shape: tuple[int, ...], inputs: int, seeds: int, width: int
) -> dict[str, np.ndarray]:
    """|K_n - K| / |K| of Frobenius norms, for each seed, of networks of width n beside infinite ones.

    NNGP: products of the outputs of a last layer of width n. NTK: of one output.
    """
    x = jax.random.normal(jax.random.key(0), (inputs, *shape))
    many, one = make(width, width), make(width, 1)

    def nngp(layer, key):
        net = layer.net(shape)
        f = net.apply(net.init(key), x)
        return jnp.matmul(f, f.T, precision="highest") / width

    def ntk(layer, key):
        net = layer.net(shape)
        return infinite.empirical.ntk(net, net.init(key), x, batch_size=2)[..., 0, 0]

    def norms(function, layer, exact):
        found = jax.jit(lambda keys: jax.lax.map(partial(function, layer), keys))(
            jax.random.split(jax.random.key(width), seeds)
        )
        return np.linalg.norm(found - exact, axis=(1, 2)) / np.linalg.norm(exact)

    return {
        "nngp": norms(nngp, many, infinite.kernels(many, x).nngp),
        "ntk": norms(ntk, one, infinite.kernels(one, x).ntk),
    }


class Rate(NamedTuple):
    """Root mean square over seeds of the deviation at each width, and its slope in logarithms; with standard errors."""

    deviation: np.ndarray
    deviation_error: np.ndarray
    slope: float
    slope_error: float


def rate(widths: np.ndarray, deviations: np.ndarray) -> Rate:
    """Of deviations (widths, seeds); errors by leaving out one seed at a time (jackknife).

    The mean square, and not the mean, is the one that theory gives: narrow networks' deviations are skewed.
    """

    def fit(some):
        square = np.sqrt(np.mean(some**2, 1))
        return np.append(square, np.polyfit(np.log(widths), np.log(square), 1)[0])

    seeds = deviations.shape[1]
    without = np.stack([fit(np.delete(deviations, i, 1)) for i in range(seeds)])
    error = np.sqrt((seeds - 1) * without.var(0))
    found = fit(deviations)
    return Rate(found[:-1], error[:-1], float(found[-1]), float(error[-1]))


def table(rates: dict[tuple[str, str], tuple[np.ndarray, Rate]], seeds: int) -> str:
    """Deviation at the smallest and the largest width, and the rate."""
    rows = []
    for (name, kernel), (widths, found) in rates.items():
        deviation, error = 100 * found.deviation, 100 * found.deviation_error
        rows.append(
            {
                "network": name,
                "kernel": kernel.upper(),
                "widths": f"{widths[0]} to {widths[-1]}",
                "deviation, narrowest, %": f"{deviation[0]:.1f} ± {error[0]:.1f}",
                "widest, %": f"{deviation[-1]:.1f} ± {error[-1]:.1f}",
                "slope": f"{found.slope:.2f} ± {found.slope_error:.2f}",
            }
        )
    return (
        "Deviation of the kernels of finite networks from those of infinite width, relative Frobenius norm, root mean "
        f"square over {seeds} seeds; slope of its logarithm against that of the width, expected -1/2; ± standard error "
        "(jackknife over seeds)\n\n" + markdown_table(rows)
    )
