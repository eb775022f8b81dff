"""The table of manifolds that the generic suites run over, with random points and vectors."""

import functools

import jax
import numpy as np
import pytest

from geodl._core.checks import is_shape
from geodl.manifolds import (
    SO,
    SO3,
    SPD,
    Box,
    Euclidean,
    Grassmann,
    Hyperboloid,
    PoincareBall,
    Product,
    Sphere,
    Stereographic,
    Torus,
)
from tests.manifolds.foreign import HalfSpace


SPACES = {
    "euclidean": Euclidean(3),
    "euclidean matrices": Euclidean((2, 2)),
    "box": Box(-9.0, 12.0, (2, 1)),
    "ball": PoincareBall(3, 0.8),
    "hyperboloid": Hyperboloid(3, 1.7),
    "sphere": Sphere(3),
    "torus": Torus(3),
    "so3": SO3(),
    "product": Product(PoincareBall(3, 0.5), SO3()),
    "spd": SPD(3),
    "so": SO(4),
    "grassmann": Grassmann(4, 2),
    "spherical": Stereographic(3, 0.7),
    "stereographic": Stereographic(2, -0.8),
}
# What is asked of a user's manifold too: the geometry, not our promises about types, ranks and NaN.
EVERY_SPACE = SPACES | {"foreign": HalfSpace(2)}

NEWER = ("spd", "so", "grassmann", "spherical", "stereographic")
INFINITE = ("spd", "spherical", "stereographic")  # of no or of unknown volume: no uniform points


def rows(names):
    """As parameters of a test: those whose programs take long to compile are slow ones."""
    return [pytest.param(n, marks=pytest.mark.slow) if n in NEWER else n for n in names]


# The compiler works fastest so, and compiling is what these tests spend their time on.
FAST = {"xla_backend_optimization_level": 0}


class Compiled:
    """A record whose methods are jitted, once for all records of its kind and shape."""

    def __init__(self, space):
        self.space = space

    def __getattr__(self, name):
        return functools.partial(_compiled(name), self.space)


@functools.cache
def _compiled(name):
    return jax.jit(lambda space, *args: getattr(space, name)(*args), compiler_options=FAST)


def with_curvatures(space, n):
    """The record with n different curvatures along a leading axis."""
    return jax.tree.map(lambda c: c * np.linspace(0.1, 1.5, n), space)


def reach(space):
    """Below the injectivity radius: pi / 2 on a Grassmann manifold, pi or more elsewhere."""
    return 1.4 if isinstance(space, Grassmann) else 2.5


def points_like(space, batch, dtype=None):
    """The shapes and types of points."""
    return jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct((*batch, *shape), jax.numpy.zeros(0, dtype).dtype),
        space.event_shape,
        is_leaf=is_shape,
    )


def components(seed, shape, below=2.5):
    """Frame components of norm < below."""
    a = np.random.default_rng(seed).normal(size=shape)
    return below * a / (1 + np.linalg.norm(a, axis=-1, keepdims=True))


def setting(space, a, b, e, f):
    """Points x and y with normal coordinates a and b at the origin, tangent vectors u, v at x."""
    origin = space.origin()
    x, y = space.expmap_frame(origin, a), space.expmap_frame(origin, b)
    return x, y, space.from_frame(x, e), space.from_frame(x, f)


compiled_setting = jax.jit(setting, compiler_options=FAST)


def random_setting(space, batch=(), seed=0):
    """Random x, y, u, v; a record with curvatures along an axis needs a batch that ends with it."""
    shape = (*batch, space.dim)
    return compiled_setting(space, *(components(seed + i, shape, reach(space)) for i in range(4)))


# Every function of the vocabulary as one of (record, points x, y, tangent vectors u, v at x).
VOCABULARY = {
    "expmap": lambda m, x, y, u, v: m.expmap(x, v),
    "logmap": lambda m, x, y, u, v: m.logmap(x, y),
    "dist": lambda m, x, y, u, v: m.dist(x, y),
    "sqdist": lambda m, x, y, u, v: m.sqdist(x, y),
    "inner": lambda m, x, y, u, v: m.inner(x, u, v),
    "norm": lambda m, x, y, u, v: m.norm(x, v),
    "geodesic": lambda m, x, y, u, v: m.geodesic(0.3, x, y),
    "transport": lambda m, x, y, u, v: m.transport(x, y, v),
    "project": lambda m, x, y, u, v: m.project(x),
    "project_tangent": lambda m, x, y, u, v: m.project_tangent(x, v),
    "egrad_to_rgrad": lambda m, x, y, u, v: m.egrad_to_rgrad(x, v),
    "logdetexp": lambda m, x, y, u, v: m.logdetexp(x, v),
    "to_frame": lambda m, x, y, u, v: m.to_frame(x, v),
    "from_frame": lambda m, x, y, u, v: m.from_frame(x, m.to_frame(x, v)),
    "expmap_frame": lambda m, x, y, u, v: m.expmap_frame(x, m.to_frame(x, v)),
    "transport_frame": lambda m, x, y, u, v: m.transport_frame(x, y, m.to_frame(x, v)),
    "tangent_basis": lambda m, x, y, u, v: m.tangent_basis(x),
}

# What single spaces have besides.
EXTRAS = {
    PoincareBall: {
        "expmap0": lambda m, x, y, u, v: m.expmap0(v),
        "logmap0": lambda m, x, y, u, v: m.logmap0(y),
        "transport0": lambda m, x, y, u, v: m.transport0(y, v),
        "mobius_add": lambda m, x, y, u, v: m.mobius_add(x, y),
        "mobius_scalar_mul": lambda m, x, y, u, v: m.mobius_scalar_mul(0.3, x),
        "mobius_matvec": lambda m, x, y, u, v: m.mobius_matvec(m.tangent_basis(x), y),
        "gyration": lambda m, x, y, u, v: m.gyration(x, y, v),
        "conformal_factor": lambda m, x, y, u, v: m.conformal_factor(x),
        "dist_to_gyroplane": lambda m, x, y, u, v: m.dist_to_gyroplane(y, x, u),
        "to_hyperboloid": lambda m, x, y, u, v: m.to_hyperboloid(x),
    },
    Hyperboloid: {
        "expmap0": lambda m, x, y, u, v: m.expmap0(v),
        "logmap0": lambda m, x, y, u, v: m.logmap0(y),
        "transport0": lambda m, x, y, u, v: m.transport0(y, v),
        "to_ball": lambda m, x, y, u, v: m.to_ball(x),
    },
    Sphere: {
        "to_stereographic": lambda m, x, y, u, v: m.to_stereographic(x),
        "from_stereographic": lambda m, x, y, u, v: m.from_stereographic(m.to_frame(x, v)),
    },
    Stereographic: {
        "expmap0": lambda m, x, y, u, v: m.expmap0(v),
        "logmap0": lambda m, x, y, u, v: m.logmap0(y),
        "mobius_add": lambda m, x, y, u, v: m.mobius_add(x, y),
        "conformal_factor": lambda m, x, y, u, v: m.conformal_factor(x),
    },
}


def functions(space):
    return VOCABULARY | EXTRAS.get(type(space), {})


def evaluate(space, x, y, u, v):
    """All functions of a space at once: a dict of results."""
    return {name: f(space, x, y, u, v) for name, f in functions(space).items()}


def assert_close(actual, expected, tolerance, message=""):
    """Equal to a tolerance relative to the largest entry, for arrays and for a product's tuples."""
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        a, e = np.asarray(a, np.float64), np.asarray(e, np.float64)
        np.testing.assert_array_equal(a.shape, e.shape, err_msg=message)
        scale = max(1.0, np.abs(e).max(initial=0.0))
        np.testing.assert_allclose(a, e, rtol=0, atol=tolerance * scale, err_msg=message)
