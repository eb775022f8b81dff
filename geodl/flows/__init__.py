"""Normalizing flows: continuous ones along vector fields on manifolds, and couplings of vectors and of images.

A continuous flow is :class:`ContinuousFlow` of a base, a :func:`vector_field` and its parameters. :func:`realnvp` makes
flows of vectors, :func:`image_realnvp` and :func:`glow` flows of images, each an :class:`InvertibleNet`. A trained flow
becomes a generator by its method ``generator``.
"""

from geodl.flows.continuous import divergence
from geodl.flows.continuous.field import VectorField, vector_field
from geodl.flows.continuous.flow import ContinuousFlow
from geodl.flows.continuous.losses import (
    conditional_path,
    jitter,
    matching_loss,
    nll,
    optimal_pairs,
    reverse_kl,
)
from geodl.flows.continuous.solvers import RK4, Stats, Tsit5
from geodl.flows.continuous.time import random_times, unwarp_time, warp_time
from geodl.flows.discrete.glow import glow
from geodl.flows.discrete.net import InvertibleNet
from geodl.flows.discrete.pixels import (
    LearnedNoise,
    Noise,
    bin_centers,
    bits_per_dim,
    dequantize,
    logit_normal_noise,
    quantize,
    uniform_noise,
)
from geodl.flows.discrete.realnvp import image_realnvp, realnvp


__all__ = [
    "RK4",
    "ContinuousFlow",
    "InvertibleNet",
    "LearnedNoise",
    "Noise",
    "Stats",
    "Tsit5",
    "VectorField",
    "bin_centers",
    "bits_per_dim",
    "conditional_path",
    "dequantize",
    "divergence",
    "glow",
    "image_realnvp",
    "jitter",
    "logit_normal_noise",
    "matching_loss",
    "nll",
    "optimal_pairs",
    "quantize",
    "random_times",
    "realnvp",
    "reverse_kl",
    "uniform_noise",
    "unwarp_time",
    "vector_field",
    "warp_time",
]
