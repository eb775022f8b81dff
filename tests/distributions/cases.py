"""The table of distributions that the generic suite runs over."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from geodl.distributions import (
    RiemannianNormal,
    Uniform,
    VonMisesFisher,
    WrappedNormal,
)
from geodl.manifolds import SO3, Euclidean, Hyperboloid, PoincareBall, Product, Sphere, Torus
from tests.manifolds.foreign import HalfSpace


# The compiler works fastest so, and compiling is what these tests spend their time on.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


class Case(NamedTuple):
    """make(params) for a batch of two distributions; params are arrays with leading axis 2."""

    make: object
    params: dict


def around_origin(manifold, a):
    """The point with normal coordinates a at the origin."""
    origin = jax.tree.map(lambda o: o.astype(a.dtype), manifold.origin())
    return manifold.expmap_frame(origin, a)


def located(family, space, scale):
    """A case whose location (normal coordinates), scale and curvature, if any, are parameters."""
    coordinates = np.random.default_rng(3).normal(size=(2, space.dim)) / np.sqrt(space.dim)
    parameters = {"loc": coordinates, "scale": np.reshape(scale, (2, -1))}
    if isinstance(space, PoincareBall | Hyperboloid):
        parameters["c"] = np.array([space.c, space.c / 2])

    def make(params):
        manifold = type(space)(space.dim, params["c"]) if "c" in params else space
        points = jax.vmap(around_origin, (0 if "c" in params else None, 0))
        return family(manifold, points(manifold, params["loc"]), params["scale"])

    return Case(make, {k: v.astype(np.float32) for k, v in parameters.items()})


def von_mises_fisher(dim, concentration):
    def make(params):
        loc = params["loc"] / jnp.linalg.norm(params["loc"], axis=-1, keepdims=True)
        return VonMisesFisher(loc, params["concentration"])

    loc = np.random.default_rng(5).normal(size=(2, dim + 1))
    parameters = {"loc": loc, "concentration": np.asarray(concentration)}
    return Case(make, {k: v.astype(np.float32) for k, v in parameters.items()})


PER_DIRECTION = np.array([[0.9, 0.4], [0.3, 0.6]])

# d = 2: integrated by polar quadrature around loc
PLANE = {
    "wrapped euclidean": located(WrappedNormal, Euclidean(2), PER_DIRECTION),
    "wrapped ball": located(WrappedNormal, PoincareBall(2, 1.4), PER_DIRECTION),
    "wrapped hyperboloid": located(WrappedNormal, Hyperboloid(2, 0.7), [0.9, 0.4]),
    "wrapped sphere": located(WrappedNormal, Sphere(2), 1.7 * PER_DIRECTION),
    "wrapped torus": located(WrappedNormal, Torus(2), 2 * PER_DIRECTION),
    "riemannian hyperboloid": located(RiemannianNormal, Hyperboloid(2, 0.7), [1.3, 0.4]),
    "wrapped foreign": located(WrappedNormal, HalfSpace(2), PER_DIRECTION),
    "von mises-fisher 2": von_mises_fisher(2, [0.3, 8.0]),
}
# other dimensions: by Monte Carlo
OTHER = {
    "wrapped sphere 4": located(WrappedNormal, Sphere(4), [0.7, 0.5]),
    "wrapped so3": located(WrappedNormal, SO3(), [[1.2, 0.5, 0.9], [0.8, 0.9, 0.7]]),
    "wrapped product": located(WrappedNormal, Product(PoincareBall(2, 1.2), Torus(1)), [0.8, 0.5]),
    "riemannian ball 5": located(RiemannianNormal, PoincareBall(5, 0.7), [0.6, 0.4]),
    "von mises-fisher 5": von_mises_fisher(5, [1.5, 9.0]),
    "uniform 3": Case(lambda params: Uniform(Sphere(3)), {}),
}
DISTRIBUTIONS = PLANE | OTHER
