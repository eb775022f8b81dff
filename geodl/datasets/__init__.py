"""Data sets: generated, bundled with a dependency, under GEODL_DATA, or fetched on request."""

from geodl.datasets.branching import ENTROPY_FLOOR, BranchingDiffusion, branching_diffusion
from geodl.datasets.files import data_dir, fetch
from geodl.datasets.images import Images, digits, mnist, read_idx


__all__ = [
    "ENTROPY_FLOOR",
    "BranchingDiffusion",
    "Images",
    "branching_diffusion",
    "data_dir",
    "digits",
    "fetch",
    "mnist",
    "read_idx",
]
