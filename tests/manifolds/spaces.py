"""The table of manifolds that the generic suites run over, and random points and vectors on them."""

import jax
import jax.numpy as jnp
import numpy as np

from geodl.manifolds import SO3, Euclidean, Hyperboloid, PoincareBall, Product, Sphere, Torus


SPACES = {
    "euclidean": Euclidean(3),
    "ball": PoincareBall(3),
    "flat_ball": PoincareBall(2, 0.1),
    "hyperboloid": Hyperboloid(3, 1.7),
    "circle": Sphere(1),
    "sphere": Sphere(3),
    "torus": Torus(3),
    "so3": SO3(),
    "product": Product(PoincareBall(2, 0.5), Sphere(2), SO3(), Torus(1)),
}


def components(key, shape, below=2.5):
    """Frame components of norm < below; 2.5 is inside every space's injectivity radius, pi."""
    a = jax.random.normal(key, shape)
    return below * a / (1 + jnp.linalg.norm(a, axis=-1, keepdims=True))


def point(space, a):
    """The point with normal coordinates a at the origin."""
    origin = space.origin()
    return space.expmap(origin, space.from_frame(origin, a))


def setting(space, a, b, e, f):
    """Points x and y and tangent vectors u, v at x from components of each."""
    x, y = point(space, a), point(space, b)
    return x, y, space.from_frame(x, e), space.from_frame(x, f)


def random_setting(space, key, batch=()):
    keys = jax.random.split(key, 4)
    return setting(space, *(components(k, (*batch, space.dim)) for k in keys))


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
