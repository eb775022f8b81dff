"""NaN in is NaN out: in every function of every space, wherever in the arguments it stands."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl.manifolds import Euclidean, Product, Sphere, so3
from tests.manifolds.spaces import FAST, SPACES, functions, random_setting


# Which of x, y, u, v (points and tangent vectors at x) a function of the vocabulary is one of.
READS = {
    "expmap": "xv",
    "logmap": "xy",
    "dist": "xy",
    "sqdist": "xy",
    "inner": "xuv",
    "norm": "xv",
    "geodesic": "xy",
    "transport": "xyv",
    "project": "x",
    "project_tangent": "xv",
    "egrad_to_rgrad": "xv",
    "logdetexp": "xv",
    "logdetexp_frame": "x",
    "to_frame": "xv",
    "from_frame": "xv",
    "expmap_frame": "xv",
    "transport_frame": "xyv",
    "tangent_basis": "x",
    "expmap0": "v",
    "logmap0": "y",
    "transport0": "yv",
    "mobius_add": "xy",
    "mobius_scalar_mul": "x",
    "mobius_matvec": "xy",
    "gyration": "xyv",
    "conformal_factor": "x",
    "dist_to_gyroplane": "xyu",
    "to_hyperboloid": "x",
    "to_ball": "x",
    "to_stereographic": "x",
    "from_stereographic": "v",
}


def all_functions(space):
    return functions(space) | {
        "logdetexp_frame": lambda m, x, y, u, v: m.logdetexp_frame(x, np.ones(m.dim, np.float32))
    }


@functools.partial(jax.jit, compiler_options=FAST)
def has_nan(space, *arguments):
    """Of each function's result, the rows with a NaN in them."""

    def of_row(*arguments):
        results = {name: f(space, *arguments) for name, f in all_functions(space).items()}
        flags = {n: [jnp.isnan(a).any() for a in jax.tree.leaves(r)] for n, r in results.items()}
        return {n: jnp.stack(f).any() for n, f in flags.items()}

    return jax.vmap(of_row)(*arguments)


def one_nan_a_row(space, dtype):
    """x, y, u, v with a NaN in one number a row, and the argument's name of each row; the last row has none."""
    where = [
        (name, i, j)
        for name, p in zip("xyuv", random_setting(space), strict=True)
        for i, leaf in enumerate(jax.tree.leaves(p))
        for j in range(leaf.size)
    ]
    n = len(where) + 1
    arguments = jax.tree.map(lambda p: np.array(p, dtype), random_setting(space, (n,)))
    for row, (name, i, j) in enumerate(where):
        jax.tree.leaves(arguments["xyuv".index(name)])[i].reshape(n, -1)[row, j] = np.nan
    return arguments, np.array([name for name, _, _ in where] + [""])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SPACES)
@pytest.mark.quick(
    *(f"{name}-float32" for name in ("ball", "euclidean", "hyperboloid", "sphere", "torus"))
)
def test_nan_in_is_nan_out(name, dtype):
    space = SPACES[name]
    with jax.enable_x64(dtype == np.float64):
        arguments, where = one_nan_a_row(space, dtype)
        rows = has_nan(space, *arguments)
    wrong = {}
    for function, found in rows.items():
        assert not found[-1], f"{function} of numbers is NaN"
        expected = np.isin(where, list(READS[function]))
        missed = np.flatnonzero(expected & ~np.asarray(found))
        if missed.size:
            wrong[function] = sorted(set(where[missed]))
    assert not wrong, f"a number from a NaN in these arguments: {wrong}"


@pytest.mark.slow
def test_nan_as_a_parameter():
    """Times and curvatures."""
    for space in SPACES.values():
        x, y, _, v = random_setting(space)
        point = jax.jit(space.geodesic, compiler_options=FAST)(np.nan, x, y)
        assert all(jnp.isnan(leaf).any() for leaf in jax.tree.leaves(point))
        if jax.tree.leaves(space):
            space = jax.tree.map(lambda c: np.float32(np.nan), space)
            results = jax.jit(
                lambda space, x, y, v: (space.dist(x, y), space.expmap(x, v), space.norm(x, v)),
                compiler_options=FAST,
            )(space, x, y, v)
            for result in results:
                assert any(jnp.isnan(leaf).any() for leaf in jax.tree.leaves(result))


@pytest.mark.parametrize(
    "call",
    [
        lambda: Sphere(2).expmap_frame(Sphere(2).origin(), np.array([np.nan, 0])),
        lambda: Sphere(2).project(np.array([1.0, np.nan, 0.0])),
        lambda: Euclidean(2).dist(np.zeros(2), np.array([np.nan, 1])),
        lambda: Euclidean(2).norm(np.array([np.nan, 1]), np.zeros(2)),
        lambda: Product(Sphere(1), Euclidean(1)).dist(
            (np.array([1.0, 0]), np.zeros(1)), (np.array([1.0, 0]), np.array([np.nan]))
        ),
        lambda: so3.vee(np.diag([np.nan, 0.0, 0.0])),
        lambda: so3.hat(np.array([np.nan, 0.0, 0.0])),
        lambda: so3.project(np.diag([np.nan, 1.0, 1.0])),
    ],
)
def test_nan_where_values_are_concrete(call):
    assert np.isnan(call()).any()


@pytest.mark.parametrize("name", SPACES)
def test_a_point_that_is_no_number_is_not_one_off_the_space(name):
    """Eagerly too: it gives NaN, where a point off the space is refused."""
    space = SPACES[name]
    x = jax.tree.map(lambda a: np.full(a.shape, np.nan, np.float32), space.origin())
    assert all(np.isnan(a).all() for a in jax.tree.leaves(space.project_tangent(x, x)))
