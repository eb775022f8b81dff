"""Pictures of lattice samplers: training, weights, and correlations or observables."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments._pictures import save
from experiments.lattice.estimates import weights
from experiments.lattice.theories import U1


def comparison(
    folder: Path,
    rows: list[dict[str, Any]],
    logs: dict[str, list[dict[str, Any]]],
    theories: list[Any],
) -> None:
    """Spread of the log-weights in training, weights of the flows' samples, and what both samplers find."""
    figure = Figure(figsize=(12, 3.7), layout="constrained")
    training, weight, found = figure.subplots(1, 3)
    for name, log in logs.items():
        seconds = np.cumsum([line["cpu_seconds"] for line in log])
        training.semilogy(seconds, [line["spread"] for line in log], "o-", ms=3, label=name)
    training.set(xlabel="CPU seconds", ylabel="standard deviation of log q + S")
    training.legend(title="training on", frameon=False)
    bins = np.linspace(-4, 4, 81)
    for row in rows:
        if "log_weight" in row and "base" not in row["sampler"]:
            w = weights(row["log_weight"])
            name = f"{row['size']} x {row['size']}, {row['sampler'].removeprefix('flow, ')}"
            weight.hist(
                np.clip(np.log(w / w.mean() + 1e-300), *bins[[0, -1]]),
                bins,
                histtype="step",
                density=True,
                label=name,
            )
    weight.set(xlabel="log p/q", ylabel="density")
    weight.legend(frameon=False, fontsize="small")
    exact = {theory.size: theory.exact() for theory in theories if isinstance(theory, U1)}
    if exact:
        deviations(found, rows, exact)
    else:
        correlations(found, rows)
    for ax in (training, weight, found):
        ax.grid(alpha=0.25, linewidth=0.5)
    save(figure, folder / "comparison.png")


def correlations(ax: Any, rows: list[dict[str, Any]]) -> None:
    """Two-point functions, of the trained flows and of HMC."""
    shown = [
        row for row in rows if not any(word in row["sampler"] for word in ("base", "transferred"))
    ]
    for k, row in enumerate(shown):
        two = row["observables"]["two-point"]
        distance = np.arange(len(two["mean"]))
        style = (
            {"fmt": "k_", "ms": 12}
            if row["sampler"] == "HMC"
            else {"fmt": "o", "ms": 5, "color": f"C{k // 2}"}
        )
        label = f"{row['size']} x {row['size']}, {row['sampler'].split(',')[0]}"
        ax.errorbar(distance, two["mean"], two["error"], label=label, capsize=2, **style)
    ax.set(xlabel="distance", ylabel="two-point function", yscale="log")
    ax.legend(frameon=False, fontsize="small")


def deviations(ax: Any, rows: list[dict[str, Any]], exact: dict[int, dict[str, float]]) -> None:
    """Of U(1): by how many standard errors each mean is off the exact one."""
    names = list(rows[0]["observables"])
    for k, row in enumerate(rows):
        off = [
            (row["observables"][name]["mean"] - exact[row["size"]][name])
            / row["observables"][name]["error"]
            for name in names
        ]
        place = np.arange(len(names)) + 0.1 * (k - len(rows) / 2)
        ax.plot(place, off, "o", ms=5, label=f"{row['size']} x {row['size']}, {row['sampler']}")
    ax.axhspan(-2, 2, color="0.9", zorder=0)
    ax.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names])
    ax.set(ylabel="(mean - exact) / standard error", xlim=(-0.6, len(names) - 0.4), ylim=(-5, 5))
    ax.legend(frameon=False, fontsize="x-small")
