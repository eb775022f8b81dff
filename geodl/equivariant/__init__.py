"""Networks that commute with symmetries: of the sphere, of SO(3), of the plane."""

from geodl.equivariant import groups
from geodl.equivariant.fields import FieldType
from geodl.equivariant.steerable import (
    Fourier,
    Gated,
    GroupConv,
    Norm,
    Pointwise,
    SteerableClassifier,
    SteerableConv,
    average_pool,
    group_conv,
    invariants,
    plain,
    steerable_classifier,
    steerable_conv,
)


__all__ = [
    "FieldType",
    "Fourier",
    "Gated",
    "GroupConv",
    "Norm",
    "Pointwise",
    "SteerableClassifier",
    "SteerableConv",
    "average_pool",
    "group_conv",
    "groups",
    "invariants",
    "plain",
    "steerable_classifier",
    "steerable_conv",
]
