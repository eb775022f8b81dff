"""Bijectors that distrax lacks: charts of manifolds, and what flows of images are made of.

All of them go from base to data: ``distrax.Transformed(base, bijector)`` is the law of the data. The charts'
log-determinants are with respect to the Riemannian volume.
"""

from geodl.bijectors.linear import ActNorm, InvertibleConv, LeadingChannels, plu_of_rotation
from geodl.bijectors.charts import ExponentialMap, Stereographic
from geodl.bijectors.transformers import (
    Elementwise,
    LogisticMixture,
    affine,
    channel_mask,
    checkerboard_mask,
    logistic_mixture,
    spline,
)
from geodl.bijectors.reshape import Logit, Squeeze, bin_centers, dequantize, quantize


__all__ = [
    "ActNorm",
    "Elementwise",
    "ExponentialMap",
    "InvertibleConv",
    "LeadingChannels",
    "LogisticMixture",
    "Logit",
    "Squeeze",
    "Stereographic",
    "affine",
    "bin_centers",
    "channel_mask",
    "checkerboard_mask",
    "dequantize",
    "logistic_mixture",
    "plu_of_rotation",
    "quantize",
    "spline",
]
