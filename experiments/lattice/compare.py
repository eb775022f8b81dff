"""A flow beside Hamiltonian Monte Carlo: effective sample size, observables, CPU seconds for an independent sample."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._run import Run, markdown_table
from experiments.lattice import fields, pictures, sampling
from experiments.lattice.estimates import Estimate, effective_sample_size, of_chains, reweighted
from experiments.lattice.sampling import HMC, Recipe
from experiments.lattice.theories import U1, Phi4


@dataclass(frozen=True)
class Scalar:
    """phi^4 on lattices of growing size; the flow of each begins where that of the one before has ended."""

    name: str = "default"
    sizes: tuple[int, ...] = (8, 16)
    """runs of one name share what is trained"""
    m2: float = -4.0
    lam: float = 8.0
    recipe: Recipe = field(default_factory=Recipe)
    transfer_steps: int = 30
    """of training on each larger lattice"""
    samples: int = 2048
    hmc: HMC = field(default_factory=lambda: HMC(step_size=0.1))
    root: str = "runs"

    def theory(self, size: int) -> Phi4:
        """The theory on a lattice."""
        return Phi4(size, self.m2, self.lam)


@dataclass(frozen=True)
class Gauge:
    """U(1) gauge theory, likewise; its exact means are known."""

    name: str = "default"
    sizes: tuple[int, ...] = (8,)
    beta: float = 4.0
    start: float = 3.0
    """beta of the independent plaquettes with which the flow begins; from 0 it has too many charges"""
    recipe: Recipe = field(default_factory=lambda: Recipe(steps=200))
    transfer_steps: int = 30
    samples: int = 2048
    hmc: HMC = field(default_factory=lambda: HMC(step_size=0.15, warmup=1000))
    root: str = "runs"

    def theory(self, size: int) -> U1:
        """The theory on a lattice."""
        return U1(size, self.beta, self.start)


def run(config: Scalar | Gauge) -> list[dict[str, Any]]:
    """Train on the first lattice, transfer to the others, sample by both; tables and pictures land in the folder."""
    kind = "phi4" if isinstance(config, Scalar) else "u1"
    # bad sizes raise before anything runs
    theories = [config.theory(size) for size in config.sizes]
    run = Run(f"lattice-{kind}", config, free=("sizes",))
    rows, logs = [], {}
    params: Any = None
    for k, (before, theory) in enumerate(zip([None, *theories], theories, strict=False)):
        recipe = config.recipe
        # a folder says what its flow has been through
        where = run.folder / "-".join(map(str, config.sizes[: k + 1]))
        if before is None:
            still = sampling.start(theory, recipe, jax.random.key(0))
            still["kernel"] = jnp.zeros_like(still["kernel"])
            rows.append(of_flow(config, theory, still, 0.0, "none: its base", where / "base"))
        else:
            params = fields.transfer(params, before.size, theory.size)
            rows.append(of_flow(config, theory, params, 0.0, "transferred", where / "transferred"))
            recipe = replace(recipe, steps=config.transfer_steps)
        params, log = sampling.fit(theory, recipe, where / "flow", jax.random.key(0), params)
        logs[f"{theory.size} x {theory.size}"] = log
        seconds = sum(line["cpu_seconds"] for line in log)
        rows.append(
            of_flow(config, theory, params, seconds, f"{recipe.steps} steps", where / "samples")
        )
        rows.append(of_hmc(config, theory))
    pictures.comparison(run.folder, rows, logs, theories)
    run.finish(tables(rows, theories), {"rows": rows})
    return rows


def of_flow(
    config: Scalar | Gauge, theory: Phi4 | U1, params: Any, seconds: float, how: str, folder: Path
) -> dict[str, Any]:
    """What a flow of some parameters is worth."""
    found = sampling.draw(theory, config.recipe, params, config.samples, folder)
    share = effective_sample_size(found.log_weight)
    independent = len(found.log_weight) * float(share.mean)
    return {
        "size": theory.size,
        "sampler": f"flow, {how}",
        "ess": share._asdict(),
        "log_weight": found.log_weight[:4096],
        "training_seconds": seconds,
        "seconds_per_sample": found.cpu_seconds / independent,
        "observables": {
            name: reweighted(found.log_weight, values)._asdict()
            for name, values in found.observables.items()
        },
    }


def of_hmc(config: Scalar | Gauge, theory: Phi4 | U1) -> dict[str, Any]:
    """What Hamiltonian Monte Carlo finds; an independent sample is one of the slowest observable but |M|."""
    found = sampling.hamiltonian(theory, config.hmc, jax.random.key(3))
    estimates = {name: of_chains(values) for name, values in found.observables.items()}
    steps = config.hmc.chains * next(iter(found.observables.values())).shape[1]
    tau = max(tau for _, tau in estimates.values())
    return {
        "size": theory.size,
        "sampler": "HMC",
        "acceptance": found.acceptance,
        "tau": tau,
        "training_seconds": 0.0,
        "seconds_per_sample": found.cpu_seconds / steps * 2 * tau,
        "observables": {name: estimate._asdict() for name, (estimate, _) in estimates.items()},
    }


def tables(rows: list[dict[str, Any]], theories: list[Phi4 | U1]) -> str:
    """Samplers beside each other, and of phi^4 the two-point functions."""
    text = [
        f"{asdict(theories[0])}: effective sample size of the flow's samples; means of the observables, of the flow "
        "reweighted; ± the standard error over samples (bootstrap), of HMC over chains; CPU seconds\n\n"
        + markdown_table(cells(row) for row in with_exact(rows, theories))
    ]
    for theory in theories:
        mine = [r for r in rows if r["size"] == theory.size and "two-point" in r["observables"]]
        if mine:
            columns = {r["sampler"]: Estimate(**r["observables"]["two-point"]) for r in mine}
            text.append(
                f"Two-point function, {theory.size} x {theory.size}\n\n"
                + markdown_table(
                    {"distance": str(r)}
                    | {name: str(Estimate(e.mean[r], e.error[r])) for name, e in columns.items()}
                    for r in range(theory.size // 2 + 1)
                )
            )
    return "\n\n".join(text)


def with_exact(rows: list[dict[str, Any]], theories: list[Any]) -> list[dict[str, Any]]:
    """The rows, and where they are known the exact means."""
    exact = [
        {
            "size": theory.size,
            "sampler": "exact",
            "observables": {
                k: Estimate(np.array(v), np.array(0.0))._asdict() for k, v in theory.exact().items()
            },
        }
        for theory in theories
        if isinstance(theory, U1)
    ]
    return sorted([*rows, *exact], key=lambda row: row["size"])


def cells(row: dict[str, Any]) -> dict[str, str]:
    """One row of the table."""
    scalars = {k: Estimate(**v) for k, v in row["observables"].items() if np.ndim(v["mean"]) == 0}
    exact = row["sampler"] == "exact"
    return (
        {
            "lattice": f"{row['size']} x {row['size']}",
            "sampler": row["sampler"],
            "ESS": f"{row['ess']['mean']:.3f} ± {row['ess']['error']:.3f}" if "ess" in row else "",
        }
        | {
            name: f"{e.mean:.5f}" if exact else f"{e.mean:.5f} ± {e.error:.5f}"
            for name, e in scalars.items()
        }
        | {
            "acceptance": f"{row['acceptance']:.2f}" if "acceptance" in row else "",
            "steps for one": f"{2 * row['tau']:.1f}" if "tau" in row else "",
            "training, s": f"{row['training_seconds']:.0f}" if row.get("training_seconds") else "",
            "ms a sample": "" if exact else f"{1000 * row['seconds_per_sample']:.2g}",
        }
    )
