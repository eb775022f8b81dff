"""Functions and records as JAX sees them: batches, dtypes, pytrees, traces, bad input."""

import importlib.util
import sys
import unittest.mock

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl.manifolds import (
    Hyperboloid,
    PoincareBall,
    Product,
    Sphere,
    euclidean,
    hyperboloid,
    poincare,
    so3,
    sphere,
    torus,
)
from tests.manifolds.spaces import (
    FAST,
    SPACES,
    Compiled,
    assert_close,
    evaluate,
    functions,
    points_like,
    random_setting,
    rows,
    with_curvatures,
)


B, K = 4, 4


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", [name for name in SPACES if name != "product"])
@pytest.mark.quick("euclidean", "torus")
def test_vmap_and_broadcasting_agree_with_batches(name):
    """vmap over B records and base points, inside it broadcasting over K vectors: as B K rows."""
    space = with_curvatures(SPACES[name], B)
    x, y, _, _ = random_setting(space, (B,), seed=5)
    rows = jax.tree.map(lambda a: np.repeat(a, K, 0), (space, x, y))
    _, _, u, v = random_setting(rows[0], (B * K,), seed=5)
    record, x_rows, y_rows = rows
    # Tangent vectors at the repeated points, from components.
    compiled = Compiled(record)
    u, v = (compiled.from_frame(x_rows, compiled.to_frame(x_rows, w)) for w in (u, v))
    folded = jax.tree.map(lambda a: np.reshape(a, (B, K, *a.shape[1:])), (u, v))

    results = jax.jit(jax.vmap(evaluate), compiler_options=FAST)(space, x, y, *folded)
    for method, f in functions(space).items():
        expected = f(compiled, x_rows, y_rows, u, v)
        for actual, e in zip(*map(jax.tree.leaves, (results[method], expected)), strict=True):
            e = np.reshape(e, (B, K, *e.shape[1:]))
            if actual.ndim < e.ndim:  # a function of x and y alone
                e = e[:, 0]
            assert_close(actual, e, 1e-11, method)


@pytest.mark.parametrize("name", rows(SPACES))
def test_leading_axes_broadcast(name):
    space = SPACES[name]
    batches = ((4, 1), (3,), (2, 1, 1), (1, 3))  # of x, y, u, v

    x, y, u, v = (points_like(space, batch) for batch in batches)
    full = {"inner": (2, 4, 3), "expmap": (4, 3), "logmap": (4, 3), "transport": (4, 3)}
    full |= {"dist": (4, 3), "sqdist": (4, 3), "norm": (4, 3), "geodesic": (4, 3)}
    full |= {"to_frame": (4, 3), "from_frame": (4, 3), "logdetexp": (4, 3)}
    full |= {"project_tangent": (4, 3), "egrad_to_rgrad": (4, 3)}
    for method, batch in full.items():
        out = jax.eval_shape(functions(space)[method], space, x, y, u, v)
        for leaf in jax.tree.leaves(out):
            assert leaf.shape[: len(batch)] == batch, (method, leaf.shape)
    times = jax.eval_shape(lambda x, y: space.geodesic(jnp.ones((5, 1, 1)), x, y), x, y)
    assert all(leaf.shape[:3] == (5, 4, 3) for leaf in jax.tree.leaves(times))


@pytest.mark.parametrize("name", ["poincare", "hyperboloid", "sphere"])
def test_distances_of_pairs_of_long_vectors(name):
    """Formed by other sums than those of points in rows; far out, on an axis, coincident, at the antipode."""
    dim = 64
    space = {
        "poincare": PoincareBall(dim),
        "hyperboloid": Hyperboloid(dim, 0.3),
        "sphere": Sphere(dim),
    }[name]
    far = {"poincare": 10.0, "hyperboloid": 60.0, "sphere": 3.0}[name]
    a = np.random.default_rng(0).standard_normal((8, dim)).astype(np.float32)
    a *= np.geomspace(1e-3, far, 8, dtype=np.float32)[:, None] / np.linalg.norm(
        a, axis=-1, keepdims=True
    )
    a = np.concatenate([a, far / 2 * np.eye(2, dim, dtype=np.float32), np.zeros_like(a[:1])])
    x = space.expmap_frame(space.origin(), a)
    if name == "sphere":
        x = jnp.concatenate([x, -x])
    n = len(x)
    pairs = jax.jit(space.dist)(x[:, None], x)
    rows = jax.jit(space.dist)(jnp.repeat(x, n, 0), jnp.tile(x, (n, 1))).reshape(n, n)
    # At the antipode half of the digits of the angle are left.
    np.testing.assert_allclose(pairs, rows, rtol=2e-6, atol=2e-6 if name == "sphere" else 0)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", SPACES)
@pytest.mark.quick(
    "ball-bfloat16",
    "ball-float16",
    "ball-float64",
    "hyperboloid-float16",
    "sphere-float32",
    "torus-float64",
    "so3-bfloat16",
    "product-float32",
)
def test_dtype_in_is_dtype_out(name, dtype):
    """Also where 64 bits are on: Python floats (c, t) and constants promote nothing."""
    space = SPACES[name]
    x = points_like(space, (3,), dtype)
    for method, f in functions(space).items():
        for leaf in jax.tree.leaves(jax.eval_shape(f, space, x, x, x, x)):
            assert leaf.dtype == dtype, method
            assert not leaf.weak_type, method


@pytest.mark.parametrize("name", ["ball", "hyperboloid", "sphere", "torus", "so3"])
@pytest.mark.quick("ball", "torus")
def test_half_precision_is_computed_in_single(name):
    """The results are those of float32 on the same inputs, rounded once."""
    space = SPACES[name]
    halves = jax.tree.map(lambda p: jnp.asarray(p, jnp.bfloat16), random_setting(space, (8,)))
    singles = [h.astype(jnp.float32) for h in halves]
    f = jax.jit(lambda x, y, u, v: (space.expmap(x, v), space.dist(x, y)), compiler_options=FAST)
    for half, single in zip(f(*halves), f(*singles), strict=True):
        np.testing.assert_array_equal(half, single.astype(jnp.bfloat16))


@pytest.mark.parametrize("space", [PoincareBall, Hyperboloid])
def test_one_trace_for_all_curvatures(space):
    x, y, _, _ = random_setting(space(2, 1.0), (3,))
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def dist(space, x, y):
        return space.dist(x, y)

    results = [dist(space(2, c), x, y) for c in (1.0, 0.5, 0.25)]
    assert len({float(r[0]) for r in results}) == 3


def test_records_of_two_kinds_differ_in_structure():
    """Or else the cache of jit takes one for the other, once in a hundred times."""
    structures = [jax.tree.structure(space) for space in SPACES.values()]
    for i, one in enumerate(structures):
        assert all((one == other) == (i == j) for j, other in enumerate(structures))


@pytest.mark.parametrize("record", [PoincareBall(2, 0.7), Hyperboloid(2, 0.7)])
def test_curvature_is_a_leaf(record):
    """tree.map, vmap over records, a gradient with respect to one, inside a product too."""
    assert jax.tree.leaves(record) == [0.7]
    doubled = jax.tree.map(lambda c: 2 * c, record)
    assert doubled == type(record)(2, 1.4)
    both = Product(record, Sphere(2))
    assert jax.tree.leaves(both) == [0.7]
    assert jax.tree.map(lambda c: 2 * c, both) == Product(doubled, Sphere(2))
    x, y, _, _ = random_setting(both)

    gradient = jax.jit(jax.grad(lambda space: space.sqdist(x, y)))(both)
    assert isinstance(gradient, Product)
    assert gradient.factors[0].c != 0
    descent = jax.tree.map(jnp.negative, gradient)  # a pytree of the kind, not a curvature
    assert descent.factors[0].c == -gradient.factors[0].c


@pytest.mark.usefixtures("x64")
def test_product_adds_up():
    record = with_curvatures(SPACES["product"], B * K)
    assert record.dim == 6
    assert record.event_shape == ((3,), (3, 3))
    x, y, u, v = random_setting(record, (B * K,))
    space, factors = Compiled(record), [Compiled(f) for f in record.factors]
    for method, arguments in {"sqdist": (x, y), "inner": (x, u, v), "logdetexp": (x, v)}.items():
        parts = [getattr(f, method)(*parts) for f, *parts in zip(factors, *arguments, strict=True)]
        assert_close(getattr(space, method)(*arguments), sum(parts), 1e-12)
    for i, f in enumerate(factors):
        assert_close(space.transport(x, y, v)[i], f.transport(x[i], y[i], v[i]), 1e-12)
    basis = space.tangent_basis(x)
    assert [b.shape for b in basis] == [(B * K, 6, 3), (B * K, 6, 3, 3)]
    assert not np.any(basis[0][:, 3:])
    assert not np.any(basis[1][:, :3])


def test_product_distance_at_coincident_points():
    space = Product(Sphere(2), Sphere(1))
    x, _, _, _ = random_setting(space)
    gradient = jax.jit(jax.grad(lambda y: space.dist(x, y)))(x)
    assert all(not jnp.any(g) for g in gradient)


def plain(module):
    """The module without the shape annotations that are checked under pytest: as users have it."""
    spec = importlib.util.spec_from_file_location("plain", module.__file__)
    copy = importlib.util.module_from_spec(spec)
    with unittest.mock.patch.dict(sys.modules, plain=copy):
        spec.loader.exec_module(copy)
    return copy


PLAIN_SO3 = plain(so3)
RIGHT = np.full((2, 3), 0.1, np.float32)
UNIT = np.eye(3, dtype=np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: euclidean.dist(RIGHT, RIGHT[:, :2]), r"last axes .* x \(2, 3\), y \(2, 2\)"),
        (lambda: poincare.expmap(RIGHT, RIGHT[:, :2], 1.0), r"last axes .* v \(2, 2\)"),
        (lambda: jax.jit(torus.dist)(RIGHT, RIGHT[:, :1]), r"last axes .* y \(2, 1\)"),
        (lambda: euclidean.norm(1.0, RIGHT), "x needs coordinates on its last axis"),
        (lambda: sphere.dist(UNIT, 1.1 * UNIT), r"y must lie on the unit sphere.*1\.21"),
        (lambda: sphere.expmap(0 * UNIT[0], UNIT[1]), r"x must lie on the unit sphere.*0\.0"),
        (lambda: sphere.from_frame(UNIT[:2], RIGHT[:, :1]), r"shape \(\.\.\., 2\), got \(2, 1\)"),
        (lambda: so3.dist(UNIT, 2 * UNIT), r"y must be a rotation matrix.*3\.0"),
        (lambda: so3.dist(UNIT, -UNIT), r"y must be a rotation matrix, of determinant 1, got -1"),
        (lambda: PLAIN_SO3.logmap(RIGHT, RIGHT), r"shape \(\.\.\., 3, 3\), got"),
        (lambda: jax.jit(PLAIN_SO3.norm)(RIGHT, RIGHT), r"shape \(\.\.\., 3, 3\), got"),
        (lambda: PLAIN_SO3.from_frame(UNIT, RIGHT[:, :2]), r"shape \(\.\.\., 3\), got \(2, 2\)"),
        (lambda: so3.random_uniform(jax.random.key(0), (4, 3)), r"end in \(3, 3\), got \(4, 3\)"),
        (lambda: so3.origin(2), "the dimension is 3, got 2"),
        (lambda: poincare.dist(RIGHT, 20 * RIGHT, 1.0), r"y must lie in the open ball.*12"),
        (lambda: poincare.dist(RIGHT, RIGHT, -1.0), "curvature parameter c .*-1"),
        (lambda: hyperboloid.dist(UNIT[0], RIGHT[0], 1.0), "y must lie on the hyperboloid"),
        (lambda: PoincareBall(2, -0.5), "curvature parameter c .* got -0.5"),
        (lambda: Hyperboloid(2, -2.0), "curvature parameter c .* got -2"),
        (lambda: Product(), "at least one factor"),
        (lambda: Product(Sphere(2)).dist(UNIT, UNIT), "tuples of 1 arrays"),
        (lambda: Product(Sphere(2)).expmap((UNIT,), (UNIT, UNIT)), "tuples of 1 arrays"),
        (
            lambda: Product(Sphere(2)).from_frame((UNIT,), RIGHT),
            r"shape \(\.\.\., 2\), got \(2, 3\)",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


ANY_POINT = {"sphere": {"inner", "norm"}, "hyperboloid": {"expmap0", "logmap0", "transport0"}}


@pytest.mark.parametrize("name", ["sphere", "hyperboloid", "so3", "so", "grassmann"])
@pytest.mark.quick("sphere")
def test_points_off_a_space(name):
    """Raise where values are concrete, in any function of them; pass unnoticed under jit, and `project` takes them."""
    space, (x, y, u, v) = SPACES[name], random_setting(SPACES[name], (2,))
    off = 1.1 * x
    results = jax.jit(evaluate, compiler_options=FAST)(space, off, y, u, v)
    assert all(jnp.all(jnp.isfinite(a)) for a in jax.tree.leaves(results))
    space.dist(results["project"], y)
    for function, f in functions(space).items():
        if function in ANY_POINT.get(name, ()):
            assert_close(results[function], f(space, x, y, u, v), 1e-6, function)
        elif function != "project":
            with pytest.raises(ValueError, match="x must"):
                f(space, off, y, u, v)
    for function in ("logmap", "dist", "sqdist", "geodesic", "transport"):
        with pytest.raises(ValueError, match="y must"):
            functions(space)[function](space, y, off, u, v)
