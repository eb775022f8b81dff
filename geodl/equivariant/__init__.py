"""Networks that commute with symmetries: of the sphere, of SO(3), of the plane, of frames on any manifold.

``harmonics`` has the transforms, ``spherical`` the layers and networks on the sphere, ``checks`` says how equivariant
any network is. ``groups`` and ``fields`` say what channels are, ``steerable`` has layers of images and nonlinearities,
``gauge`` those of manifolds, ``meshes`` triangle meshes for them, ``lattice`` those of U(1) fields on lattices.
"""

from geodl.equivariant import (
    checks,
    gauge,
    groups,
    harmonics,
    lattice,
    meshes,
    spherical,
    steerable,
)
from geodl.equivariant.checks import EquivarianceGap, equivariance_gap
from geodl.equivariant.fields import FieldType
from geodl.equivariant.gauge import (
    gauge_conv,
    gauge_net,
    holonomy,
    neighborhoods,
    parallel_transport,
    stencil,
)
from geodl.equivariant.meshes import TriangleMesh
from geodl.equivariant.spherical import spherical_classifier, spherical_segmenter, with_spectra
from geodl.equivariant.steerable import (
    Fourier,
    Gated,
    GroupConv,
    Norm,
    Pointwise,
    SteerableClassifier,
    SteerableConv,
    group_conv,
    invariants,
    plain,
    steerable_classifier,
    steerable_conv,
)


__all__ = [
    "EquivarianceGap",
    "FieldType",
    "Fourier",
    "Gated",
    "GroupConv",
    "Norm",
    "Pointwise",
    "SteerableClassifier",
    "SteerableConv",
    "TriangleMesh",
    "checks",
    "equivariance_gap",
    "gauge",
    "gauge_conv",
    "gauge_net",
    "group_conv",
    "groups",
    "harmonics",
    "holonomy",
    "invariants",
    "lattice",
    "meshes",
    "neighborhoods",
    "parallel_transport",
    "plain",
    "spherical",
    "spherical_classifier",
    "spherical_segmenter",
    "steerable",
    "steerable_classifier",
    "steerable_conv",
    "stencil",
    "with_spectra",
]
