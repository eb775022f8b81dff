"""The picture of the shares of inputs in attributions."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments._pictures import save
from experiments._run import standard_error


def shares(folder: Path, found: list[dict[str, np.ndarray]], inputs: tuple[str, ...]) -> None:
    """A panel for each target: shares of the inputs by saliency and by integrated gradients, error bars over seeds."""
    titles = ("number of faces", "mean angle sum at a vertex", "more vertices than a cube")
    styles = {
        "saliency": {"color": "#d9a37f"},
        "saliency, many vertices": {"color": "#c2571a"},
        "integrated gradients": {"color": "#88bbcc"},
        "integrated gradients, many vertices": {"color": "#33708f"},
    }
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    axes = figure.subplots(1, len(titles), sharey=True)
    for k, (ax, title) in enumerate(zip(axes, titles, strict=True)):
        for j, (method, style) in enumerate(styles.items()):
            values = 100 * np.array([one[method][k] for one in found])
            place = np.arange(len(inputs)) + 0.2 * (j - 1.5)
            ax.bar(
                place,
                values.mean(0),
                0.18,
                yerr=standard_error(values),
                capsize=2,
                label=method,
                **style,
            )
        ax.axhline(5, color="0.4", lw=0.8, ls="--")
        ax.set_xticks(range(len(inputs)), inputs)
        ax.set_title(title)
    axes[0].set(ylabel="share of the attribution (%)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    save(figure, folder / "shares.png")
