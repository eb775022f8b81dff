"""Riemannian manifolds: one module of pure functions each, and a record with the curvature bound.

A space of your own is a subclass of :class:`Manifold` (``manifolds/base.py``), which says what is required, what
follows and what may be declared; it goes wherever these go.
"""

from geodl._core.records import register_record
from geodl.manifolds import euclidean, hyperboloid, poincare, so3, sphere, statistics, torus
from geodl.manifolds.base import Manifold, Point, Tangent, Winding
from geodl.manifolds.euclidean import Box, Euclidean
from geodl.manifolds.hyperboloid import Hyperboloid
from geodl.manifolds.poincare import PoincareBall
from geodl.manifolds.product import Product
from geodl.manifolds.so3 import SO3
from geodl.manifolds.sphere import Sphere
from geodl.manifolds.torus import Torus


__all__ = [
    "SO3",
    "Box",
    "Euclidean",
    "Hyperboloid",
    "Manifold",
    "PoincareBall",
    "Point",
    "Product",
    "Sphere",
    "Tangent",
    "Torus",
    "Winding",
    "euclidean",
    "hyperboloid",
    "poincare",
    "register_record",
    "so3",
    "sphere",
    "statistics",
    "torus",
]
