"""The pictures of the flow experiments: from distributions and arrays to PNG and SVG files."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments._pictures import from_picture, save
from experiments.flows import training
from geodl import plotting
from geodl.flows import ContinuousFlow
from geodl.manifolds import SO3, Hyperboloid, Manifold, Sphere, Torus


def density(folder: Path, distribution: Any, points: np.ndarray) -> None:
    """A distribution on S^2 with points over it, as Mollweide map and from two sides: ``density.png``."""
    figure = Figure(figsize=(7, 8), layout="compressed")
    world, *sides = figure.subplot_mosaic("AA;BC", height_ratios=[1, 1]).values()
    views = [plotting.Mollweide(), plotting.Orthographic(20, 10), plotting.Orthographic(20, -170)]
    image: Any = None
    for i, (ax, view) in enumerate(zip((world, *sides), views, strict=True)):
        plotting.sphere_frame(ax, view)
        style = {} if image is None else {"norm": image.norm}
        values = _values(distribution, folder / f"picture{i}", Sphere(2))
        drawn = plotting.sphere_density(ax, view, values, 100, **style)
        image = image or drawn
        plotting.sphere_points(ax, view, points / np.linalg.norm(points, axis=-1, keepdims=True))
    plotting.sphere_colorbar([world, *sides], image)
    save(figure, folder / "density.png")


def paths(folder: Path, flow: ContinuousFlow, key: jax.Array) -> None:
    """Where a flow on S^2 carries samples of its base, as Mollweide map colored by time: ``paths.png``."""
    times = jnp.linspace(0.0, 1.0, 65)
    x = jax.jit(lambda flow, x: flow.path(x, times))(
        flow, flow.base.sample(seed=key, sample_shape=150)
    )
    figure = Figure(figsize=(7, 4), layout="compressed")
    ax, view = figure.subplots(), plotting.Mollweide()
    plotting.sphere_frame(ax, view)
    x = np.swapaxes(np.asarray(x, np.float64), 0, 1)
    lines = plotting.sphere_paths(ax, view, x / np.linalg.norm(x, axis=-1, keepdims=True))
    figure.colorbar(lines, ax=ax, label="time", shrink=0.6)
    save(figure, folder / "paths.png")


def known(
    folder: Path, manifold: Manifold, distributions: dict[str, Any], samples: dict[str, np.ndarray]
) -> None:
    """Distributions side by side, each with its samples (n, *event_shape) over its density: ``density.png``.

    The sphere as Mollweide map about the antipode of the origin, the torus by its angles, the hyperbolic plane in the
    Poincaré disk, by its area; of rotations, where they turn the third axis. All densities are on one scale.
    """
    height = 3.4 if isinstance(manifold, Sphere | SO3) else 5.6
    figure = Figure(figsize=(5.2 * len(distributions), height), layout="constrained")
    axes = list(np.ravel(figure.subplots(1, len(distributions))))
    label = "samples, where they turn the third axis" if isinstance(manifold, SO3) else "samples"
    image: Any = None
    dots: dict[str, Any] = {"s": 3, "alpha": 0.5, "color": "#b3413b", "label": label}
    for ax, (name, distribution) in zip(axes, distributions.items(), strict=True):
        ax.set_title(name)
        x = np.asarray(samples[name], np.float64)
        style: dict[str, Any] = {"norm": image.norm} if image else {}
        values = _values(distribution, folder / f"picture-{name}", manifold)
        match manifold:
            case Sphere() | SO3():
                view = plotting.Mollweide(0, 180)
                plotting.sphere_frame(ax, view)
                if isinstance(manifold, SO3):
                    x = x[..., 2]
                else:
                    image = plotting.sphere_density(ax, view, values, 140, **style)
                unit = x / np.linalg.norm(x, axis=-1, keepdims=True)
                plotting.sphere_points(ax, view, unit, **dots)
            case Torus():
                chart = plotting.Plane(np.pi)
                plotting.frame(ax, chart)
                image = plotting.density(ax, chart, values, **style)
                plotting.points(ax, chart, x, **dots)
                _angles(ax)
            case Hyperboloid():
                chart = plotting.Disk(float(np.asarray(manifold.c)))
                plotting.frame(ax, chart)
                image = plotting.density(ax, chart, values, **style)
                disk = np.asarray(manifold.to_ball(jnp.asarray(x, jnp.float32)))
                plotting.points(ax, chart, disk, **dots)
    handles, _ = axes[0].get_legend_handles_labels()
    if isinstance(manifold, Sphere | SO3):
        handles.append(Line2D([], [], color="0.8", label="meridians and parallels, every 30°"))
    else:
        contours = "contours at exp(-k²/2) of the largest density, k = 1, 2, 3"
        handles.append(Line2D([], [], color="#7f9bbd", label=contours))
    if isinstance(manifold, Sphere):
        plotting.sphere_colorbar(axes, image)
    elif image is not None:
        unit = "square radian" if isinstance(manifold, Torus) else "unit of hyperbolic area"
        figure.colorbar(image, ax=axes, label=f"density per {unit}", shrink=0.8, aspect=30)
    below = {"loc": "outside lower center", "ncols": 2, "frameon": False, "markerscale": 3}
    figure.legend(handles=handles, **below)
    save(figure, folder / "density.png")


def _angles(ax: Axes) -> None:
    ax.set_axis_on()
    ax.set(xlabel="first angle (radians)", ylabel="second angle (radians)")
    ticks = np.pi * np.array([-1, -0.5, 0, 0.5, 1])
    names = ["-π", "-π/2", "0", "π/2", "π"]
    ax.set_xticks(ticks, names)
    ax.set_yticks(ticks, names)


def _values(distribution, folder, manifold):
    """The density as a function of the points that a picture shows."""

    def values(z):
        x = from_picture(manifold, jnp.asarray(z, jnp.float32))
        return np.exp(training.log_prob(distribution, x, folder))

    return values


def learning_curves(path: Path, found: dict[Any, dict[str, Any]]) -> None:
    """Test likelihood against the number of training points, a panel for each set; where sizes were varied.

    Means over the seeds, and where there are several their standard deviation.
    """
    groups = sorted({(cell.set, cell.split) for cell in found if cell.fraction != 1})
    if not groups:
        return
    figure = Figure(figsize=(4.6 * len(groups), 3.8), layout="constrained")
    for ax, group in zip(np.ravel(figure.subplots(1, len(groups))), groups, strict=True):
        runs: dict[str, dict[int, list[float]]] = {}
        for cell, r in found.items():
            if (cell.set, cell.split) == group:
                sizes = runs.setdefault(cell.method, {})
                sizes.setdefault(r["train_points"], []).append(r["test"])
        for (method, sizes), marker in zip(runs.items(), "osD^vPX*", strict=False):
            x = sorted(sizes)
            spread = [np.std(sizes[n], ddof=1) if len(sizes[n]) > 1 else 0 for n in x]
            means = [np.mean(sizes[n]) for n in x]
            ax.errorbar(x, means, spread, label=method, marker=marker, ms=4.5, capsize=2.5)
        ax.axhline(np.log(4 * np.pi), color="0.2", lw=0.8, ls="--", label="uniform")
        ax.set(xscale="log", xlabel="training points", ylabel="test NLL (nats)")
        ticks = sorted(set().union(*runs.values()))
        ax.set_xticks(ticks, map(str, ticks))
        ax.minorticks_off()
        ax.set_title(", ".join(group))
        ax.legend(fontsize="small", frameon=False)
    save(figure, path)
