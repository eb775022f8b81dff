"""Maps of the sphere: densities, points and flows on S^2, as Mollweide and orthographic pictures.

A map projects unit vectors (..., 3), z to the north, to the plane, and carries pixels back: a density is evaluated
at every pixel, so that both maps are as sharp at the poles as at the equator.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_rgba_array
from matplotlib.image import AxesImage
from matplotlib.patches import Ellipse
from numpy.typing import ArrayLike

from geodl.plotting import _checks, _style
from geodl.plotting.chart import add_lines, clip
from geodl.plotting.latent import INK


# Both fall evenly in lightness (CIELAB), from 98 to 15 and from 82 to 28; warm colors stand out on the sea.
SEA = LinearSegmentedColormap.from_list(
    "sea", "#f8fbfb #c9e2df #95cac8 #5db0b6 #2794aa #00779c #005a89 #004073 #002756".split()
)
TIME = LinearSegmentedColormap.from_list(
    "time", "#f6c553 #e99f3f #db773b #c84e40 #a62d4f #781c55".split()
)
EVENT = "#e4572e"
UNIFORM = 1 / (4 * np.pi)  # density of the uniform distribution, per steradian


@dataclass(frozen=True)
class _Map:
    """A map with the point at ``latitude``, ``longitude`` (degrees) in its middle and north above it."""

    latitude: float | int = 0.0
    longitude: float | int = 0.0
    radii: ClassVar[tuple[float, float]]
    """half the width and half the height"""

    def _axes(self) -> Float[np.ndarray, "3 3"]:
        """Unit vectors to the right, up, and towards the reader."""
        lat, lon = np.radians([self.latitude, self.longitude])
        front = _on_earth(lat, lon)
        right = [-np.sin(lon), np.cos(lon), 0.0]
        return np.array([right, np.cross(front, right), front])

    def _turn(self, x: ArrayLike) -> np.ndarray:  # (3, ...)
        return np.moveaxis(np.asarray(x, np.float64) @ self._axes().T, -1, 0)

    def boundary(self) -> Ellipse:
        """The map's edge, as an unfilled patch."""
        width, height = self.radii
        return Ellipse((0, 0), 2 * width, 2 * height, fill=False)


@dataclass(frozen=True)
class Mollweide(_Map):
    """The whole sphere in an ellipse, areas true: 2 sqrt(2) wide and sqrt(2) high, by radius."""

    radii = (2 * np.sqrt(2), np.sqrt(2))

    def project(self, x: ArrayLike) -> Float[np.ndarray, "*batch 2"]:
        """Where unit vectors (..., 3) are on the map."""
        right, up, front = self._turn(x)
        # d, the auxiliary angle from the pole, solves 2 d - sin 2 d = pi (1 - |up|): convex, so that
        # Newton's method converges from below; 4 d^3 / 3 is its left side near the pole.
        target = np.pi * np.clip(1 - np.abs(up), 0, 1)
        d = np.cbrt(0.75 * target)
        for _ in range(6):
            slope = np.maximum(4 * np.sin(d) ** 2, 1e-300)
            d = d - (2 * d - np.sin(2 * d) - target) / slope
        width, height = self.radii
        angle = np.arctan2(right, front)
        return np.stack(
            [width * angle / np.pi * np.sin(d), height * np.sign(up) * np.cos(d)], axis=-1
        )

    def cuts(self, ends: ArrayLike) -> Bool[np.ndarray, "*batch"]:
        """Whether lines (..., 2 ends, 3) cross the meridian opposite of the middle."""
        right, _, front = self._turn(ends)
        return np.diff(np.signbit(right))[..., 0] & (front.sum(-1) < 0)

    def inverse(self, xy: ArrayLike) -> Float[np.ndarray, "*batch 3"]:
        """The unit vectors at points (..., 2) of the map; those outside are first moved to the ellipse."""
        x, y = np.moveaxis(_into_unit_disk(np.asarray(xy, np.float64) / self.radii), -1, 0)
        half = np.sqrt(np.maximum(1 - y * y, 1e-300))
        up = 2 / np.pi * (np.arcsin(y) + y * half)
        angle = np.pi * np.clip(x / half, -1, 1)
        level = np.sqrt(np.maximum(1 - up * up, 0))
        return np.stack([level * np.sin(angle), up, level * np.cos(angle)], axis=-1) @ self._axes()


@dataclass(frozen=True)
class Orthographic(_Map):
    """Half of the sphere as seen from far above the middle: the unit disk."""

    radii = (1.0, 1.0)

    def project(self, x: ArrayLike) -> Float[np.ndarray, "*batch 2"]:
        """Where unit vectors (..., 3) are on the map, NaN on the far side."""
        right, up, front = self._turn(x)
        return np.where(front[..., None] >= 0, np.stack([right, up], axis=-1), np.nan)

    def cuts(self, ends: ArrayLike) -> Bool[np.ndarray, "*batch"]:
        """No line (..., 2 ends, 3) is cut by the map, other than by being on the far side."""
        return np.zeros(np.shape(ends)[:-2], bool)

    def inverse(self, xy: ArrayLike) -> Float[np.ndarray, "*batch 3"]:
        """The unit vectors at points (..., 2) of the map; those outside are first moved to the circle."""
        x, y = np.moveaxis(_into_unit_disk(np.asarray(xy, np.float64)), -1, 0)
        front = np.sqrt(np.maximum(1 - x * x - y * y, 0))
        return np.stack([x, y, front], axis=-1) @ self._axes()


SphereMap = Mollweide | Orthographic


def _into_unit_disk(xy: np.ndarray) -> np.ndarray:
    return xy / np.maximum(1, np.linalg.norm(xy, axis=-1, keepdims=True))


def sphere_frame(
    ax: Axes, view: SphereMap, every: float | int = 30.0, **style: Any
) -> LineCollection:
    """Turn the axes into an empty map, with its edge and a light graticule.

    Args:
        ax: axes to draw on.
        view: the map.
        every: degrees between meridians and between parallels.
        **style: goes to the graticule's LineCollection.

    Returns:
        The graticule, drawn.
    """
    edge = view.boundary()
    edge.set(edgecolor=INK, linewidth=0.8, zorder=5, clip_on=False)
    ax.add_patch(edge)
    width, height = view.radii
    ax.set(aspect="equal", xlim=(-width, width), ylim=(-height, height))
    ax.set_axis_off()
    along = np.radians(np.linspace(-180, 180, 361))
    meridians = np.radians(np.arange(-180, 180, every))[:, None]
    north = np.radians(np.arange(every, 90, every))
    parallels = np.concatenate([-north, [0.0], north])[:, None]
    paths = [_on_earth(along / 2, meridians), _on_earth(parallels, along)]
    lines, seen = _segments(view, np.concatenate(paths))
    defaults = {"color": INK, "linewidth": 0.4, "alpha": 0.25, "zorder": 2}
    style = _style.over(LineCollection, defaults, style)
    return add_lines(ax, view.boundary(), lines[seen], **style)


def sphere_density(
    ax: Axes,
    view: SphereMap,
    function: Callable[[np.ndarray], ArrayLike],
    resolution: int = 300,
    **style: Any,
) -> AxesImage:
    """A density on the sphere as an image, logarithmic in color.

    The scale is that of the uniform distribution, 1 / (4 pi): from a tenth of it to the largest value, at least to ten
    times it, unless ``norm`` (one for several panels) or ``vmin`` and ``vmax`` are given. ``sphere_colorbar`` draws it.

    Args:
        ax: axes to draw on.
        view: the map.
        function: maps unit vectors (m, 3) to densities (m,) with respect to area, such as
            ``exp(log_prob)``; called once, with m about 1.6 resolution^2 on the Mollweide map and
            0.8 resolution^2 on the other.
        resolution: pixels from top to bottom.
        **style: goes to ``ax.imshow``.

    Returns:
        The image.

    Raises:
        ValueError: if ``function`` does not return one value per point, or they are not numbers >= 0.
    """
    width, height = view.radii
    rows = (2 * (np.arange(resolution) + 0.5) / resolution - 1) * height
    columns = round(resolution * width / height)
    columns = (2 * (np.arange(columns) + 0.5) / columns - 1) * width
    grid = np.stack(np.meshgrid(columns, rows), axis=-1)
    # a rim of pixels beyond the edge, at whose values interpolation ends
    inside = np.linalg.norm(grid / view.radii, axis=-1) < 1 + 4 / resolution
    found = view.inverse(grid[inside])
    values = _checks.shape(function(found), (len(found),), "the density")
    if not np.all(values >= 0):
        worst = np.flatnonzero(~(values >= 0))[0]
        raise ValueError(f"the density is {values[worst]} at {found[worst]}; expected numbers >= 0")
    picture = np.ma.masked_all(inside.shape)
    picture[inside] = values
    if "norm" not in style:
        bottom = style.pop("vmin", UNIFORM / 10)
        top = style.pop("vmax", max(values.max(), 10 * UNIFORM))
        style["norm"] = LogNorm(bottom, top, clip=True)
    box = (-width, width, -height, height)
    defaults = {"cmap": SEA, "interpolation": "bilinear", "zorder": 0}
    style = _style.over(AxesImage, defaults, style)
    image = ax.imshow(picture, extent=box, origin="lower", **style)
    return clip(ax, view.boundary(), image)


def sphere_colorbar(
    ax: Axes | Sequence[Axes], image: AxesImage, label: str = "density per steradian", **style: Any
) -> Colorbar:
    """The scale of :func:`sphere_density`, below the map or below several.

    Args:
        ax: axes, or several.
        image: as ``sphere_density`` returns it.
        label: of the scale.
        **style: goes to ``Figure.colorbar``.

    Returns:
        The color bar.
    """
    style = {
        "orientation": "horizontal",
        "shrink": 0.5,
        "aspect": 35,
        "pad": 0.04,
        "panchor": False,
        "extend": "min",
    } | style
    bar = image.axes.figure.colorbar(image, ax=ax, **style)
    bar.set_label(label)
    bar.outline.set(edgecolor=INK, linewidth=0.5)
    return bar


def sphere_points(ax: Axes, view: SphereMap, x: ArrayLike, **style: Any) -> PathCollection:
    """Scatter unit vectors, those that the map shows.

    What ``style`` gives for each point (colors, sizes) it gives for all n. Numbers ``c`` (n,) have the colors that they
    have where all points are seen, unless ``norm`` or ``vmin`` and ``vmax`` say otherwise: the same on both sides of
    the sphere.

    Args:
        ax: axes to draw on.
        view: the map.
        x: unit vectors (n, 3).
        **style: goes to ``ax.scatter``.

    Returns:
        The points, drawn.

    Raises:
        ValueError: if x is not (n, 3), or a point is off the sphere.
    """
    xy = view.project(_on_sphere(x, (None, 3)))  # NaN where hidden, which matplotlib leaves out
    defaults = {"s": 3.5, "c": EVENT, "alpha": 0.75, "linewidth": 0, "zorder": 4}
    style = _style.over(PathCollection, defaults, style)
    values = np.asarray(style.get("c", ""))
    if values.shape == (len(xy),) and values.dtype.kind in "buif" and len(xy):
        style = _style.over(PathCollection, {"vmin": values.min(), "vmax": values.max()}, style)
    return ax.scatter(xy[:, 0], xy[:, 1], **style)


def sphere_paths(ax: Axes, view: SphereMap, x: ArrayLike, **style: Any) -> LineCollection:
    """Trajectories (n, times, 3) of unit vectors, such as those of a flow, colored by time.

    Dense in time: successive points are joined by straight lines. A path is cut where the map is.

    Args:
        ax: axes to draw on.
        view: the map.
        x: the points, first to last; ``cmap`` colors them, or ``color`` gives one for all or one for each path.
        **style: goes to LineCollection.

    Returns:
        The paths, drawn.

    Raises:
        ValueError: if x is not (n, times, 3), a point is off the sphere, or there are neither one color nor n.
    """
    x = _on_sphere(x, (None, None, 3))
    lines, seen = _segments(view, x)
    times = np.broadcast_to(np.linspace(0, 1, x.shape[1] - 1), seen.shape)
    defaults = {"array": times[seen], "cmap": TIME, "clim": (0.0, 1.0), "linewidth": 0.8}
    style = _style.over(LineCollection, {"zorder": 3, **defaults}, style)
    for name in {"color", "colors", "edgecolor"} & style.keys():  # of paths, hence of their parts
        colors = to_rgba_array(style[name])
        if len(colors) not in (1, len(x)):
            raise ValueError(f"{name} are {len(colors)}; expected one or {len(x)}, one per path")
        style[name] = np.broadcast_to(colors[:, None], (*seen.shape, 4))[seen]
    return add_lines(ax, view.boundary(), lines[seen], **style)


def _segments(view: SphereMap, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lines (n, times - 1, 2 ends, 2) of paths (n, times, 3), and which of them are seen whole."""
    ends = np.stack([x[:, :-1], x[:, 1:]], axis=2)
    lines = view.project(ends)
    return lines, ~(np.isnan(lines).any((-2, -1)) | view.cuts(ends))


def _on_earth(lat: ArrayLike, lon: ArrayLike) -> np.ndarray:
    lat, lon = np.broadcast_arrays(lat, lon)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def _on_sphere(x: ArrayLike, pattern: tuple[int | None, ...]) -> np.ndarray:
    x = np.asarray(_checks.shape(x, pattern, "x"), np.float64)
    length = np.linalg.norm(x, axis=-1)
    off = np.argwhere(~(np.abs(length - 1) < 1e-2))
    if len(off):
        row = tuple(int(i) for i in off[0])
        raise ValueError(f"x{list(row)} is {x[row]}, of norm {length[row]}; expected unit vectors")
    return x
