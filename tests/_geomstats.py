"""geomstats, the float64 reference in the interior of the spaces: ``from tests._geomstats import gs``."""

import os
import warnings

import numpy as np


if not hasattr(np, "trapz"):  # geomstats 2.8 imports it; numpy 2.4 has only its new name
    np.trapz = np.trapezoid

os.environ.setdefault("GEOMSTATS_BACKEND", "numpy")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from geomstats.geometry.grassmannian import Grassmannian
    from geomstats.geometry.hyperboloid import Hyperboloid
    from geomstats.geometry.hypersphere import Hypersphere
    from geomstats.geometry.invariant_metric import BiInvariantMetric
    from geomstats.geometry.poincare_ball import PoincareBall
    from geomstats.geometry.spd_matrices import SPDMatrices
    from geomstats.geometry.special_orthogonal import SpecialOrthogonal
    from geomstats.geometry.stiefel import Stiefel

__all__ = [
    "BiInvariantMetric",
    "Grassmannian",
    "Hyperboloid",
    "Hypersphere",
    "PoincareBall",
    "SPDMatrices",
    "SpecialOrthogonal",
    "Stiefel",
]
