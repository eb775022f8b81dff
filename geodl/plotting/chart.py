"""The two charts under one name, and clipping to them and to maps."""

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Patch

from geodl.plotting.disk import Disk
from geodl.plotting.plane import Plane


Chart = Disk | Plane
T = TypeVar("T", bound=Artist)


def clip(ax: Axes, edge: Patch, artist: T) -> T:
    """Hide what the artist has outside a chart's boundary. Returns the artist."""
    edge.set_transform(ax.transData)
    artist.set_clip_path(edge)
    return artist


def add_lines(ax: Axes, edge: Patch, lines: Iterable[np.ndarray], **style: Any) -> LineCollection:
    """Add lines (points, 2) as one collection, clipped to a chart's boundary."""
    collection = LineCollection(list(lines), **style)
    ax.add_collection(collection, autolim=False)
    return clip(ax, edge, collection)
