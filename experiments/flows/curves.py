"""Curves with error bars over repeated runs."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer


# Okabe & Ito's colors, which the color-blind can tell apart, and a marker for each
_COLORS = "#0072b2 #d55e00 #009e73 #cc79a7 #e69f00 #56b4e9 #30343b".split()
_MARKERS = "osD^vPX"
_INK = "#30343b"


def learning_curves(
    ax: Axes,
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    levels: Mapping[str, float] | None = None,
) -> list[ErrorbarContainer]:
    """Test negative log-likelihood against the number of training points, for several methods.

    Args:
        ax: axes to draw on.
        curves: for each method its sizes (n,) and its values in nats (runs, n); drawn are the mean
            over the runs and, where there are two or more, their standard deviation.
        levels: values to mark by a dashed line, such as the uniform distribution's, log(4 pi).
    """
    drawn = []
    for i, (method, (sizes, values)) in enumerate(curves.items()):
        deviation = values.std(0, ddof=1) if len(values) > 1 else None
        drawn.append(
            ax.errorbar(
                sizes,
                values.mean(0),
                deviation,
                label=method,
                color=_COLORS[i % len(_COLORS)],
                marker=_MARKERS[i % len(_MARKERS)],
                markersize=4.5,
                markeredgecolor="white",
                markeredgewidth=0.6,
                linewidth=1.4,
                elinewidth=1.0,
                capsize=2.5,
                zorder=3 + i / 100,
            )
        )
    for name, level in (levels or {}).items():
        ax.axhline(level, color=_INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        ax.annotate(
            name,
            xy=(1, level),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize="small",
            color=_INK,
        )
    ax.set(xscale="log", xlabel="training points", ylabel="test NLL (nats)")
    measured = np.unique(np.concatenate([np.ravel(sizes) for sizes, _ in curves.values()] or [[]]))
    ax.set_xticks(measured, [f"{size:g}" for size in measured])
    ax.minorticks_off()
    ax.grid(True, color=_INK, alpha=0.12, linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    return drawn
