"""Riemannian manifolds: one module of pure functions each, and a record with the curvature bound.

A space of your own is a subclass of :class:`Manifold` (``manifolds/base.py``), which says what is required, what
follows and what may be declared; it goes wherever these go.
"""

from geodl._core.records import register_record
from geodl.manifolds import (
    euclidean,
    grassmann,
    hyperboloid,
    poincare,
    random_walks,
    se3,
    so,
    so3,
    spd,
    sphere,
    statistics,
    stereographic,
    stiefel,
    torus,
)
from geodl.manifolds.base import Manifold, Point, Tangent, Winding
from geodl.manifolds.euclidean import Box, Euclidean
from geodl.manifolds.grassmann import Grassmann
from geodl.manifolds.hyperboloid import Hyperboloid
from geodl.manifolds.poincare import PoincareBall
from geodl.manifolds.product import Product
from geodl.manifolds.se3 import SE3
from geodl.manifolds.so import SO
from geodl.manifolds.so3 import SO3
from geodl.manifolds.spd import SPD
from geodl.manifolds.sphere import Sphere
from geodl.manifolds.stereographic import Stereographic
from geodl.manifolds.stiefel import Stiefel
from geodl.manifolds.torus import Torus


__all__ = [
    "SE3",
    "SO",
    "SO3",
    "SPD",
    "Box",
    "Euclidean",
    "Grassmann",
    "Hyperboloid",
    "Manifold",
    "PoincareBall",
    "Point",
    "Product",
    "Sphere",
    "Stereographic",
    "Stiefel",
    "Tangent",
    "Torus",
    "Winding",
    "euclidean",
    "grassmann",
    "hyperboloid",
    "poincare",
    "random_walks",
    "register_record",
    "se3",
    "so",
    "so3",
    "spd",
    "sphere",
    "statistics",
    "stereographic",
    "stiefel",
    "torus",
]
