"""Data sets: generated, bundled with a dependency, under GEODL_DATA, or fetched on request."""

from geodl.datasets.branching import ENTROPY_FLOOR, BranchingDiffusion, branching_diffusion
from geodl.datasets.earth import (
    Split,
    deduplicate,
    earth,
    from_latitude_longitude,
    read_latitude_longitude,
    split,
    to_latitude_longitude,
)
from geodl.datasets.files import data_dir, fetch
from geodl.datasets.images import Images, digits, mnist, read_idx
from geodl.datasets.photographs import Crowds, celeba, mall
from geodl.datasets.scenes import MOST_FIGURES, Scenes, detect, moved, scenes, silhouettes
from geodl.datasets.spherical import (
    SPHERICAL_MIXTURE_ENTROPY,
    spherical_mixture,
    spherical_mixture_log_prob,
)


__all__ = [
    "ENTROPY_FLOOR",
    "MOST_FIGURES",
    "SPHERICAL_MIXTURE_ENTROPY",
    "BranchingDiffusion",
    "Crowds",
    "Images",
    "Scenes",
    "Split",
    "branching_diffusion",
    "celeba",
    "data_dir",
    "deduplicate",
    "detect",
    "digits",
    "earth",
    "fetch",
    "from_latitude_longitude",
    "mall",
    "mnist",
    "moved",
    "read_idx",
    "read_latitude_longitude",
    "scenes",
    "silhouettes",
    "spherical_mixture",
    "spherical_mixture_log_prob",
    "split",
    "to_latitude_longitude",
]
