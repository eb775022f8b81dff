"""Curves with error bars over repeated runs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from geodl.plotting import _checks, _style
from geodl.plotting.latent import INK


# Okabe & Ito's colours, which the colour-blind can tell apart, and a marker for each
_COLORS = "#0072b2 #d55e00 #009e73 #cc79a7 #e69f00 #56b4e9 #30343b".split()
_MARKERS = "osD^vPX"


def learning_curves(
    ax: Axes,
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    levels: Mapping[str, float] | None = None,
    **style: Any,
) -> list[ErrorbarContainer]:
    """Test negative log-likelihood against the number of training points, for several methods.

    Args:
        ax: axes to draw on.
        curves: for each method its sizes (n,) and its values in nats (runs, n); drawn are the mean
            over the runs and, where there are two or more, their standard deviation.
        levels: values to mark by a dashed line, such as the uniform law's, log(4 pi).
        **style: goes to `ax.errorbar`.

    Raises:
        ValueError: if sizes are not (n,) positive numbers or values not (runs, n), one run at least.
    """
    drawn = []
    for i, (method, (sizes, values)) in enumerate(curves.items()):
        sizes = _checks.shape(sizes, (None,), f"the sizes of {method}")
        values = _checks.shape(values, (None, len(sizes)), f"the values of {method}")
        if len(values) == 0:
            raise ValueError(f"the values of {method} have no run; expected one or more")
        if not np.all(sizes > 0):
            raise ValueError(f"the sizes of {method} are {sizes}; expected positive numbers")
        deviation = values.std(0, ddof=1) if len(values) > 1 else None
        look: dict[str, Any] = {
            "color": _COLORS[i % len(_COLORS)],
            "marker": _MARKERS[i % len(_MARKERS)],
            **{"markersize": 4.5, "markeredgecolor": "white", "markeredgewidth": 0.6},
            **{"linewidth": 1.4, "elinewidth": 1.0, "capsize": 2.5, "zorder": 3 + i / 100},
        }
        look = _style.over(Line2D, {"label": method, **look}, style)
        drawn.append(ax.errorbar(sizes, values.mean(0), deviation, **look))
    for name, level in (levels or {}).items():
        ax.axhline(level, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        place = {"xy": (1, level), "xycoords": ("axes fraction", "data")}
        offset = {"xytext": (-4, 3), "textcoords": "offset points", "ha": "right", "va": "bottom"}
        ax.annotate(name, **place, **offset, fontsize="small", color=INK)
    ax.set(xscale="log", xlabel="training points", ylabel="test NLL (nats)")
    measured = np.unique(np.concatenate([np.ravel(sizes) for sizes, _ in curves.values()] or [[]]))
    ax.set_xticks(measured, [f"{size:g}" for size in measured])
    ax.minorticks_off()
    ax.grid(True, color=INK, alpha=0.12, linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    return drawn
