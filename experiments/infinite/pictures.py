"""Pictures: deviations against width, and what turning the input changes against members."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments._pictures import save
from experiments.infinite.orbits import disagreement


_TICKS = (0.02, 0.05, 0.1, 0.2, 0.5)
_COLORS = ("#30343b", "#c2571a", "#2a9d8f")


def rates(path: Path, rates: dict[tuple[str, str], Any]) -> None:
    """Deviation against the width, with standard errors, for each network and kernel."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    kernels = dict.fromkeys(kernel for _, kernel in rates)
    axes = dict(zip(kernels, figure.subplots(1, 2, sharey=True), strict=True))
    colors = dict(zip(dict.fromkeys(name for name, _ in rates), _COLORS, strict=False))
    widths = max((w for w, _ in rates.values()), key=len)
    for (name, kernel), (own, found) in rates.items():
        label = f"{name}, slope {found.slope:.2f} ± {found.slope_error:.2f}"
        style = {"color": colors[name], "markersize": 4, "capsize": 2}
        axes[kernel].errorbar(
            own, found.deviation, found.deviation_error, fmt="o-", label=label, **style
        )
    for kernel, ax in axes.items():
        ax.plot(widths, 1.2 * widths**-0.5, "--", color="0.6", label="slope -1/2")
        ax.set(xscale="log", yscale="log", xlabel="width", title=kernel.upper())
        _finish(ax, widths)
    axes["nngp"].set_ylabel("relative deviation from infinite width")
    save(figure, path)


def emergence(path: Path, found: dict[str, np.ndarray], images: int) -> None:
    """What turning the input changes of an ensemble's mean, against the number of members; test images and noise."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    parts = {"test images": np.s_[:images], "noise": np.s_[images:]}
    for ax, (title, part) in zip(figure.subplots(1, 2, sharey=True), parts.items(), strict=True):
        for kind, color in (("plain", "#30343b"), ("augmented", "#c2571a")):
            outputs = found[f"members {kind}"][:, :, part]
            counts = 2 ** np.arange(int(np.log2(len(outputs))) + 1)
            values = [
                np.mean(
                    [disagreement(g.mean(0)) for g in outputs.reshape(-1, n, *outputs.shape[1:])]
                )
                for n in counts
                if len(outputs) % n == 0
            ]
            counts = counts[: len(values)]
            trained = "upright images" if kind == "plain" else "all orientations"
            ax.loglog(counts, values, "o-", color=color, markersize=4, label=f"finite, {trained}")
            if kind == "plain":
                limit = disagreement(found[kind][0][:, part])
                ax.axhline(limit, linestyle=":", color=color, label="infinite, upright images")
            else:
                ax.loglog(counts, values[0] / counts**0.5, "--", color="0.6", label="slope -1/2")
        ax.set(xlabel="members of the ensemble", title=title)
        _finish(ax, counts)
    figure.axes[0].set_ylabel("change of the mean output over orientations")
    save(figure, path)


def _finish(ax: Axes, counts: np.ndarray) -> None:
    ax.set_xticks(counts, [str(n) for n in counts])
    ax.set_yticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    ax.minorticks_off()
    ax.grid(alpha=0.25, linewidth=0.5)
    ax.legend(frameon=False, fontsize=8)
