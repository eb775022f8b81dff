"""Networks that commute with symmetries: of the sphere, of SO(3), of the plane.

``harmonics`` has the transforms, ``spherical`` the layers and networks on the sphere, ``checks`` says how equivariant
any network is.
"""

from geodl.equivariant import checks, harmonics, spherical
from geodl.equivariant.checks import EquivarianceGap, equivariance_gap
from geodl.equivariant.spherical import spherical_classifier, spherical_segmenter, with_spectra


__all__ = [
    "EquivarianceGap",
    "checks",
    "equivariance_gap",
    "harmonics",
    "spherical",
    "spherical_classifier",
    "spherical_segmenter",
    "with_spectra",
]
