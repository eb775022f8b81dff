"""Distributions on manifolds: distrax distributions with exact densities and pathwise derivatives.

``log_prob`` is with respect to the Riemannian volume. Mixtures are ``distrax.MixtureSameFamily`` of these.
"""

from geodl.distributions.kernel_density import (
    KernelDensity,
    adaptive_concentrations,
    neighbor_distances,
    select_kernel_density,
)
from geodl.distributions.mixture_fit import fit_von_mises_fisher_mixture
from geodl.distributions.riemannian_normal import RiemannianNormal
from geodl.distributions.uniform import Uniform
from geodl.distributions.von_mises_fisher import VonMisesFisher
from geodl.distributions.wrapped_normal import WrappedNormal


__all__ = [
    "KernelDensity",
    "RiemannianNormal",
    "Uniform",
    "VonMisesFisher",
    "WrappedNormal",
    "adaptive_concentrations",
    "fit_von_mises_fisher_mixture",
    "neighbor_distances",
    "select_kernel_density",
]
