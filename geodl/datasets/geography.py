"""Places on the Earth, as points of the unit sphere: volcanoes, earthquakes, floods, fires.

The four sets on which densities on the sphere are compared since Mathieu & Nickel (2020), "Riemannian
Continuous Normalizing Flows". Each is a file with one event a line, latitude and longitude in
degrees (north and east positive) separated by a comma, after comment lines (#) and a header:

- volcano, ``volerup.csv``, 827 eruptions of 267 volcanoes: NOAA's significant volcanic eruptions,
  https://www.ngdc.noaa.gov/nndc/servlet/ShowDatasets?dataset=102557&search_look=50&display_look=5
- earthquake, ``quakes_all.csv``, 6120 events at 5447 places, those without a place left out: NOAA's
  significant earthquakes, https://www.ngdc.noaa.gov/nndc/struts/form?t=101650&s=1&d=1
- flood, ``flood.csv``, 4875 events at 4861 places: the Dartmouth Flood Observatory,
  http://floodobservatory.colorado.edu/Archives/index.html
- fire, ``fire.csv``, 12809 events at 12802 places: NASA's active fires (FIRMS),
  https://earthdata.nasa.gov/earth-observation-data/near-real-time/firms/active-fire-data

Many events share their place to the last digit: four fifths of the volcano set's test points are
copies of training points, wherever it is split, and then a density has no largest likelihood. So
there are splits of the raw and of the deduplicated points, and results belong to one or the other.
"""

import os
import reprlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from geodl.datasets.files import find


class _Set(NamedTuple):
    file: str
    events: int
    places: int


SETS = {
    "volcano": _Set("volerup.csv", events=827, places=267),
    "earthquake": _Set("quakes_all.csv", events=6120, places=5447),
    "flood": _Set("flood.csv", events=4875, places=4861),
    "fire": _Set("fire.csv", events=12809, places=12802),
}
_SHA256 = {
    "volerup.csv": "f7bbaf32a412f5fe82350f48e0c55100be260803969c16557343f687fd0593fc",
    "quakes_all.csv": "3e5e1a10fb2faf1899106264289334037d039f00f5265d13dad388a93d8ff2f7",
    "flood.csv": "ffb1e3182c3053afcdeceec4727c262a29da10255d20747c08144da5b0963486",
    "fire.csv": "c5c6c9490b1d8c58ba9eb78d9e2f82d1c1e62694ca5cff917c54600d3d83f459",
}

# The files as De Bortoli et al. (2022), "Riemannian Score-Based Generative Modelling", used them; the second
# address is a content network's copy of the first.
_COMMIT = "b35b739464ca8264e418e400301f5f45cb7a16b3"
_MIRRORS = (
    f"https://raw.githubusercontent.com/oxcsml/riemannian-score-sde/{_COMMIT}/data/",
    f"https://cdn.jsdelivr.net/gh/oxcsml/riemannian-score-sde@{_COMMIT}/data/",
)

_ORDERS = Path(__file__).with_name("earth_splits.npy")


class Split(NamedTuple):
    """Indices of the points to train on, to select a model by, and to test it on."""

    train: Int[np.ndarray, " train"]
    validation: Int[np.ndarray, " validation"]
    test: Int[np.ndarray, " test"]


def earth(
    name: str, root: str | os.PathLike[str] | None = None, download: bool = False
) -> Float[np.ndarray, "n 3"]:
    """Unit vectors, float64, of one of the sets volcano, earthquake, flood, fire, in the file's order.

    Args:
        name: of the set.
        root: folder with the files in ``earth/``; by default GEODL_DATA.
        download: fetch the file if it is missing, once: into ``root`` where it is given, else into
            the user's cache.

    Returns:
        Unit vectors (n, 3), float64.

    Raises:
        FileNotFoundError: the file is missing; the message says where it was looked for.
        ValueError: no set has this name, a line of the file is wrong (``read_latitude_longitude``),
            or the file has not as many events as the set.
        OSError: no mirror could be reached, or gave the right content.
    """
    file, events, _ = _known(name)
    urls, call = [mirror + file for mirror in _MIRRORS], f"earth({name!r}, download=True)"
    path = find(f"earth/{file}", urls, _SHA256[file], root, download, call)
    latitude, longitude = read_latitude_longitude(path)
    if len(latitude) != events:
        raise ValueError(
            f"{path} has {len(latitude)} events; expected the {events} of the {name} set (other "
            "files are for read_latitude_longitude)"
        )
    return from_latitude_longitude(latitude, longitude)


def _known(name: str) -> _Set:
    if name not in SETS:
        raise ValueError(f"there is no set {name!r}; expected one of {', '.join(SETS)}")
    return SETS[name]


def read_latitude_longitude(
    path: str | os.PathLike[str],
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The two columns, in degrees, of a text file with lines ``latitude,longitude``.

    Empty lines and those that start with # are passed over, and so is a first line of names, the
    one starting with ``lat``, the other with ``lon``, in any case.

    Returns:
        Latitudes and longitudes (n,).

    Raises:
        ValueError: a line has not two fields; one of them is empty, no number, NaN, or outside
            of [-90, 90] (latitude) or [-180, 360] (longitude); or there is no line. The message
            names the file and the line.
    """
    rows = []
    names_may_come = True
    for number, line in enumerate(Path(path).read_text("utf-8-sig", "replace").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        starts = [field.strip()[:3].lower() for field in line.split(",")]
        if not (names_may_come and starts == ["lat", "lon"]):
            rows.append(_degrees(line, f"{path}, line {number}"))
        names_may_come = False
    if not rows:
        raise ValueError(f"{path} has no line with a latitude and a longitude")
    latitude, longitude = np.array(rows).T
    return latitude, longitude


def _degrees(line: str, place: str) -> list[float]:
    try:
        latitude, longitude = map(float, line.split(","))
    except ValueError:
        latitude = longitude = np.nan
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 360):
        raise ValueError(
            f"{place}: {reprlib.repr(line)}; expected a latitude in [-90, 90], a longitude in [-180, 360]"
        )
    return [latitude, longitude]


def from_latitude_longitude(
    latitude: ArrayLike | float | int, longitude: ArrayLike | float | int
) -> Float[np.ndarray, "*batch 3"]:
    """(cos lat cos lon, cos lat sin lon, sin lat), float64, of angles in degrees that broadcast.

    Two longitudes of one meridian, such as -180 and 180, give the very same point.

    Returns:
        Unit vectors (..., 3).

    Raises:
        ValueError: a latitude is outside of [-90, 90] or a longitude of [-180, 360], or is NaN.
    """
    angles = [np.asarray(angle, np.float64) for angle in (latitude, longitude)]
    columns = (("latitude", -90, 90), ("longitude", -180, 360))
    for angle, (column, low, high) in zip(angles, columns, strict=True):
        wrong = ~((low <= angle) & (angle <= high))
        if np.any(wrong):
            raise ValueError(f"{column} {angle[wrong][0]}; expected a number in [{low}, {high}]")
    lat, lon = angles
    lat, lon = np.broadcast_arrays(
        np.radians(lat), np.radians(np.where(lon >= 180, lon - 360, lon))
    )
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def to_latitude_longitude(
    points: ArrayLike,
) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"]]:
    """Latitude in [-90, 90] and longitude in [-180, 180], in degrees, of points (..., 3).

    Only the direction of a point counts. At the poles the longitude is arbitrary.

    Returns:
        Latitudes and longitudes (...).

    Raises:
        ValueError: the last axis has not size 3.
    """
    points = np.asarray(points, np.float64)
    if points.shape[-1:] != (3,):
        raise ValueError(f"points have shape {points.shape}; expected (..., 3)")
    x, y, z = np.moveaxis(points, -1, 0)
    latitude, longitude = np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)
    return np.asarray(np.degrees(latitude)), np.asarray(np.degrees(longitude))


def deduplicate(points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "m d"]:
    """The distinct points, each where it first appears: 267 of volcano's 827.

    Returns:
        Points (m, d).
    """
    _, first = np.unique(points, axis=0, return_index=True)
    return points[np.sort(first)]


def split(points: str | int, seed: int, deduplicated: bool = False) -> Split:
    """A split of points into 80 % to train on, 10 % for validation and 10 % to test on, at random.

    The orders are read from a file that comes with the package, so that no version of a random
    number generator can change a result. A split of n points takes those of the stored order that
    are below n. Parts of ``train``, from its start, are random subsets: for learning curves.

    Args:
        points: name of a set, or the number of points of any other (10 to 12809).
        seed: 0 to 4, those that results are reported on, or 5 or 6, to choose settings by.
        deduplicated: of a set's distinct points, as ``deduplicate(earth(name))`` has them.

    Returns:
        Indices of the points of each part.

    Raises:
        ValueError: there are too few or too many points, or no set or seed like this.
    """
    orders = np.load(_ORDERS)
    if not 0 <= seed < len(orders):
        raise ValueError(f"there is no split of seed {seed}; expected 0 to {len(orders) - 1}")
    n = points
    if isinstance(n, str):
        _, events, places = _known(n)
        n = places if deduplicated else events
    if not 10 <= n <= orders.shape[1]:
        raise ValueError(
            f"{n} points cannot be split 80/10/10 here; expected 10 to {orders.shape[1]}"
        )
    order = orders[seed].astype(np.int64)
    tenth = (n + 5) // 10
    train, validation, test = np.split(order[order < n], [n - 2 * tenth, n - tenth])
    return Split(train, validation, test)
