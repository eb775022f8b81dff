"""Pictures of a two-dimensional latent space, on any chart (``Disk``, ``Plane``)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from geodl.plotting import _checks, _style
from geodl.plotting.chart import Chart, add_lines, clip
from geodl.plotting.disk import Disk


# white to a pale blue-gray: a background on which every color of the points stays readable
HAZE = LinearSegmentedColormap.from_list("haze", ["#ffffff", "#eef3f8", "#d6e2ef", "#c0d3e7"])
INK = "#30343b"


def frame(ax: Axes, chart: Chart, **style: Any) -> Patch:
    """Turn the axes into an empty chart (equal aspect, no ticks).

    Args:
        ax: axes to draw on.
        chart: the latent space.
        **style: of the boundary.

    Returns:
        The boundary, drawn.
    """
    defaults = {"edgecolor": INK, "linewidth": 1.0, "zorder": 5, "clip_on": False}
    edge = chart.boundary()
    edge.set(**_style.over(Patch, defaults, style))
    ax.add_patch(edge)
    ax.set(aspect="equal", xlim=(-chart.limit, chart.limit), ylim=(-chart.limit, chart.limit))
    ax.set_axis_off()
    return edge


def points(ax: Axes, chart: Chart, x: ArrayLike, **style: Any) -> PathCollection:
    """Scatter points on a chart.

    Args:
        ax: axes to draw on.
        chart: the latent space.
        x: points (n, 2).
        **style: goes to ``ax.scatter``.

    Returns:
        The points, drawn.

    Raises:
        ValueError: if x is not (n, 2).
    """
    x = _checks.shape(x, (None, 2), "x")
    defaults = {"s": 12, "linewidth": 0, "zorder": 4}
    artist = ax.scatter(x[:, 0], x[:, 1], **_style.over(PathCollection, defaults, style))
    # a marker that straddles the disk's edge is drawn whole; outside of a window there is no place
    return artist if isinstance(chart, Disk) else clip(ax, chart.boundary(), artist)


def geodesics(ax: Axes, chart: Chart, x: ArrayLike, y: ArrayLike, **style: Any) -> LineCollection:
    """Geodesic segments from x to y, one collection.

    The edges of a tree are ``geodesics(ax, chart, nodes[parents[1:]], nodes[1:])``.

    Args:
        ax: axes to draw on.
        chart: the latent space.
        x: starts (n, 2).
        y: ends (n, 2).
        **style: goes to LineCollection.

    Returns:
        The segments, drawn.

    Raises:
        ValueError: if x or y is not (n, 2), or a point lies outside the disk.
    """
    x = _checks.shape(x, (None, 2), "x")
    y = _checks.shape(y, x.shape, "y")
    defaults = {"color": INK, "linewidth": 0.8, "zorder": 3, "capstyle": "round"}
    style = _style.over(LineCollection, defaults, style)
    return add_lines(ax, chart.boundary(), chart.geodesic(x, y), **style)


def hyperplanes(ax: Axes, chart: Chart, w: ArrayLike, b: ArrayLike, **style: Any) -> LineCollection:
    """Decoder hyperplanes, normal to w and through expmap0(w b), one collection.

    Args:
        ax: axes to draw on.
        chart: the latent space.
        w: normals (n, 2).
        b: offsets (n,).
        **style: goes to LineCollection.

    Returns:
        The lines, drawn.

    Raises:
        ValueError: if w is not (n, 2), b not (n,), or a weight is zero.
    """
    w = _checks.shape(w, (None, 2), "w")
    defaults = {"color": "#c2571a", "linewidth": 0.5, "alpha": 0.35, "zorder": 2}
    style = _style.over(LineCollection, defaults, style)
    return add_lines(ax, chart.boundary(), chart.hyperplane(w, b), **style)


def density(
    ax: Axes,
    chart: Chart,
    function: Callable[[np.ndarray], ArrayLike],
    sigmas: tuple[float, ...] = (1.0, 2.0, 3.0),
    resolution: int = 400,
    **style: Any,
) -> AxesImage:
    """A density as an image, masked outside the chart, with contour lines.

    Args:
        ax: axes to draw on.
        chart: the latent space.
        function: maps points (m, 2) to values (m,), such as ``exp(log_prob)``.
        sigmas: contours where the value is exp(-k^2 / 2) of the largest: for a normal distribution, k
            standard deviations from its mean. May be empty.
        resolution: pixels along one side.
        **style: goes to ``ax.imshow``.

    Returns:
        The image.

    Raises:
        ValueError: if ``function`` does not return one value per point.
    """
    ticks = chart.limit * (2 * (np.arange(resolution) + 0.5) / resolution - 1)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1)
    inside = chart.contains(grid)
    values = np.ma.masked_all(inside.shape)
    found = grid[inside]
    values[inside] = _checks.shape(function(found), (len(found),), "the density")
    box = (-chart.limit, chart.limit, -chart.limit, chart.limit)
    defaults = {"cmap": HAZE, "interpolation": "bilinear", "zorder": 0, "vmin": 0.0}
    style = _style.over(AxesImage, defaults, style)
    image = ax.imshow(values, extent=box, origin="lower", **style)
    levels = sorted(float(values.max()) * np.exp(-0.5 * k**2) for k in sigmas)
    if levels:
        lines = ax.contour(ticks, ticks, values, levels, colors="#7f9bbd", linewidths=0.7, zorder=1)
        clip(ax, chart.boundary(), lines)
    ax.set(xlim=box[:2], ylim=box[2:])
    return clip(ax, chart.boundary(), image)
