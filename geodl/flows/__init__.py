"""Normalizing flows: along vector fields on manifolds, and by couplings, of vectors and of images."""

from geodl.flows.continuous import divergence
from geodl.flows.continuous.time import clock, random_times
from geodl.flows.continuous.flow import Flow, negative_log_likelihood, reverse_kl
from geodl.flows.discrete.realnvp import image_realnvp, realnvp
from geodl.flows.discrete.pixels import LearnedNoise, Noise, logit_normal_noise, uniform_noise
from geodl.flows.discrete.glow import glow
from geodl.flows.continuous.solvers import RK4, Stats, Tsit5
from geodl.flows.discrete.net import InvertibleNet, bits_per_dim, negative_log_density
from geodl.flows.continuous.losses import conditional_path, jitter, matching_loss, optimal_pairs
from geodl.flows.continuous.field import VectorField, vector_field


__all__ = [
    "RK4",
    "Flow",
    "InvertibleNet",
    "LearnedNoise",
    "Noise",
    "Stats",
    "Tsit5",
    "VectorField",
    "bits_per_dim",
    "clock",
    "conditional_path",
    "divergence",
    "glow",
    "image_realnvp",
    "jitter",
    "logit_normal_noise",
    "matching_loss",
    "negative_log_density",
    "negative_log_likelihood",
    "optimal_pairs",
    "random_times",
    "realnvp",
    "reverse_kl",
    "uniform_noise",
    "vector_field",
]
