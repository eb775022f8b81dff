"""Distributions on manifolds: distrax distributions with exact densities and pathwise derivatives.

``log_prob`` is with respect to the Riemannian volume. Mixtures are ``distrax.MixtureSameFamily`` of these.
"""

from geodl.distributions.riemannian_normal import RiemannianNormal
from geodl.distributions.uniform import Uniform
from geodl.distributions.von_mises_fisher import VonMisesFisher
from geodl.distributions.wrapped_normal import WrappedNormal


__all__ = ["RiemannianNormal", "Uniform", "VonMisesFisher", "WrappedNormal"]
