"""Densities on manifolds by flows along vector fields: flow matching and continuous normalizing flows."""

from geodl.flows import divergence
from geodl.flows.clock import clock, random_times
from geodl.flows.cnf import Flow, negative_log_likelihood, reverse_kl
from geodl.flows.integrate import RK4, Stats, Tsit5
from geodl.flows.matching import conditional_path, jitter, matching_loss, optimal_pairs
from geodl.flows.vector_field import VectorField, coordinates, vector_field


__all__ = [
    "RK4",
    "Flow",
    "Stats",
    "Tsit5",
    "VectorField",
    "clock",
    "conditional_path",
    "coordinates",
    "divergence",
    "jitter",
    "matching_loss",
    "negative_log_likelihood",
    "optimal_pairs",
    "random_times",
    "reverse_kl",
    "vector_field",
]
