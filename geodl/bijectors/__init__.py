"""Bijectors that distrax lacks: charts of manifolds, transformers of couplings, and layers of image flows.

All of them go from base to data: ``distrax.Transformed(base, bijector)`` is the distribution of the data. The charts'
log-determinants are with respect to the Riemannian volume.
"""

from geodl.bijectors.charts import ExponentialMap, Stereographic
from geodl.bijectors.linear import ActNorm, InvertibleConv, PartialChannels, plu_of_rotation
from geodl.bijectors.reshape import Logit, Squeeze
from geodl.bijectors.transformers import (
    LogisticMixture,
    Transformer,
    affine,
    channel_mask,
    checkerboard_mask,
    logistic_mixture,
    spline,
)


__all__ = [
    "ActNorm",
    "ExponentialMap",
    "InvertibleConv",
    "LogisticMixture",
    "Logit",
    "PartialChannels",
    "Squeeze",
    "Stereographic",
    "Transformer",
    "affine",
    "channel_mask",
    "checkerboard_mask",
    "logistic_mixture",
    "plu_of_rotation",
    "spline",
]
