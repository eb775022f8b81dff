"""Riemannian manifolds: one module of pure functions each, and a record with the curvature bound."""

from geodl.manifolds import hyperboloid, poincare
from geodl.manifolds.base import Manifold
from geodl.manifolds.hyperboloid import Hyperboloid
from geodl.manifolds.poincare import PoincareBall

__all__ = ["Hyperboloid", "Manifold", "PoincareBall", "hyperboloid", "poincare"]
