"""Random fields over the table of manifolds, and a fast compiler."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from geodl import flows
from geodl.manifolds import SO3, Euclidean, Hyperboloid, PoincareBall, Product, Sphere, Torus


jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

CASES = {
    "sphere": (Sphere(2), "ambient"),
    "killing": (Sphere(2), "killing"),
    "sphere 3": (Sphere(3), "ambient"),
    "so3": (SO3(), "frame"),
    "so3 ambient": (SO3(), "ambient"),
    "torus": (Torus(2), "frame"),
    "euclidean": (Euclidean(3), "ambient"),
    "ball": (PoincareBall(2, 0.7), "frame"),
    "hyperboloid": (Hyperboloid(2, 0.7), "frame"),
    "hyperboloid ambient": (Hyperboloid(2, 0.7), "ambient"),
    "product": (Product(Torus(1), SO3()), "frame"),
}


@functools.cache
def random_field(name, seed=0):
    """Manifold, vector field and parameters of a smooth random field of speed about 1."""
    manifold, kind = CASES[name]
    field = flows.vector_field(manifold, kind, width=16, frequencies=8, band=(1.0, 2.0))
    params = field.init(jax.random.key(seed))
    last = params["layers"][3]
    params["layers"][3] = jax.tree.map(lambda a: 4 * a, last)
    return manifold, field, jax.tree.map(lambda a: a.astype(jnp.float32), params)  # it is kept


def points(manifold, n, seed=1, spread=1.0):
    """Random points (n, *event_shape)."""
    a = spread * np.random.default_rng(seed).normal(size=(n, manifold.dim)).astype(np.float32)
    return from_origin(manifold, jnp.asarray(a))


@jit
def from_origin(manifold, a):
    """Points of normal coordinates a."""
    return manifold.expmap_frame(manifold.origin(), a)


def sphere_quadrature(polar=48, azimuth=96):
    """Gauss-Legendre nodes (n, 3) on S^2 and their weights."""
    z, weight = np.polynomial.legendre.leggauss(polar)
    phi = 2 * np.pi * (np.arange(azimuth) + 0.5) / azimuth
    z, phi = np.meshgrid(z, phi, indexing="ij")
    r = np.sqrt(1 - z * z)
    nodes = np.stack([r * np.cos(phi), r * np.sin(phi), z], -1).reshape(-1, 3)
    weights = np.repeat(weight, azimuth) * 2 * np.pi / azimuth
    return nodes.astype(np.float32), weights
