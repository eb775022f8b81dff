"""The point sets on the sphere: four of the Earth, two that need no download."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from geodl import datasets


Name = Literal["volcano", "earthquake", "flood", "fire", "cities", "mixture"]


def load(name: Name, deduplicated: bool = False, download: bool = False) -> np.ndarray:
    """Unit vectors (n, 3), float64.

    "cities" are the 50 of geomstats, "mixture" 5000 points of a known distribution (``datasets.spherical_mixture``).
    """
    if name == "cities":
        points = _cities()
    elif name == "mixture":
        points = np.asarray(datasets.spherical_mixture(jax.random.key(0), 5000), np.float64)
        points /= np.linalg.norm(points, axis=-1, keepdims=True)
    else:
        points = datasets.earth(name, download=download)
    return datasets.deduplicate(points) if deduplicated else points


def split(name: Name, n: int, seed: int, deduplicated: bool) -> datasets.Split:
    """80/10/10, from the index files of the package."""
    known = name not in ("cities", "mixture")
    return datasets.split(name, seed, deduplicated) if known else datasets.split(n, seed)


def _cities() -> np.ndarray:
    """From geomstats's file: importing it sets the root logger, and its own points are half a turn off."""
    spec = find_spec("geomstats")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the cities come with geomstats, which is not installed")
    file = Path(spec.submodule_search_locations[0], "datasets", "data", "cities", "cities.json")
    cities = json.loads(file.read_text("utf-8"))
    return datasets.from_latitude_longitude([c["lat"] for c in cities], [c["lng"] for c in cities])
