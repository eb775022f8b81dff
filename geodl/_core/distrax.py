"""The names of distrax that geodl stands on, in one place: an incompatible release is one file's work."""

from distrax import (
    Bijector,
    Categorical,
    Chain,
    Distribution,
    Independent,
    Inverse,
    MaskedCoupling,
    MixtureSameFamily,
    RationalQuadraticSpline,
    SplitCoupling,
    Transformed,
)


__all__ = [
    "Bijector",
    "Categorical",
    "Chain",
    "Distribution",
    "Independent",
    "Inverse",
    "MaskedCoupling",
    "MixtureSameFamily",
    "RationalQuadraticSpline",
    "SplitCoupling",
    "Transformed",
]
