"""The two charts under one name, and clipping to them."""

from typing import TypeVar

from matplotlib.artist import Artist
from matplotlib.axes import Axes

from geodl.plotting.disk import Disk
from geodl.plotting.plane import Plane


Chart = Disk | Plane
T = TypeVar("T", bound=Artist)


def clip(ax: Axes, chart: Chart, artist: T) -> T:
    """Hide what the artist has outside the chart's boundary. Returns the artist."""
    edge = chart.boundary()
    edge.set_transform(ax.transData)
    artist.set_clip_path(edge)
    return artist
