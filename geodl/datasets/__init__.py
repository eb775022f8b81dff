"""Data sets: generated, bundled with a dependency, under GEODL_DATA, or fetched on request."""

from geodl.datasets.branching import ENTROPY_FLOOR, BranchingDiffusion, branching_diffusion
from geodl.datasets.files import data_dir, fetch
from geodl.datasets.geography import (
    Split,
    deduplicate,
    earth,
    from_latitude_longitude,
    read_latitude_longitude,
    split,
    to_latitude_longitude,
)
from geodl.datasets.images import Images, digits, mnist, read_idx
from geodl.datasets.spherical import (
    SPHERICAL_MIXTURE_ENTROPY,
    spherical_mixture,
    spherical_mixture_log_prob,
)


__all__ = [
    "ENTROPY_FLOOR",
    "SPHERICAL_MIXTURE_ENTROPY",
    "BranchingDiffusion",
    "Images",
    "Split",
    "branching_diffusion",
    "data_dir",
    "deduplicate",
    "digits",
    "earth",
    "fetch",
    "from_latitude_longitude",
    "mnist",
    "read_idx",
    "read_latitude_longitude",
    "spherical_mixture",
    "spherical_mixture_log_prob",
    "split",
    "to_latitude_longitude",
]
