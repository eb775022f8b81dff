"""What the Poincaré ball promises of any input: results inside, NaN kept, points outside, c = 0, half precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl.manifolds import PoincareBall, euclidean, poincare, stereographic
from geodl.manifolds._gap import exact_gap
from tests.oracles import hyperbolic as oracle


DTYPES = (np.float32, np.float64)


@pytest.fixture(params=DTYPES, ids=["float32", "float64"])
def dtype(request):
    with jax.enable_x64(request.param is np.float64):
        yield request.param


def unit(rng, n, d):
    g = rng.standard_normal((n, d))
    return g / np.linalg.norm(g, axis=-1, keepdims=True)


def hostile(d, dtype, n, seed=0):
    """Points at gaps down to the rim (a third on the first axis) and partners: across, alike, anywhere."""
    rng = np.random.default_rng((seed, d))
    low = np.log10(8 * np.finfo(dtype).eps)
    gaps = 10 ** rng.uniform(low, 0, (2, n, 1))
    x, y = (np.sqrt(1 - g) * unit(rng, n, d) for g in gaps)
    axis = np.zeros(d)
    axis[0] = 1
    x[::3] = np.sqrt(1 - gaps[0, ::3]) * axis
    near = rng.choice([1, -1], (n, 1)) * x + gaps[0] * 10 ** rng.uniform(-3, 0, (n, 1)) * unit(
        rng, n, d
    )
    size = np.linalg.norm(near, axis=-1, keepdims=True)
    near *= np.sqrt(1 - np.minimum(gaps[1], gaps[0])) / np.maximum(size, 1e-30)
    y = np.where(np.arange(n)[:, None] % 2, near, y)
    y[::6] = -np.sqrt(1 - gaps[1, ::6]) * axis
    c = rng.choice([0.1, 1.0, 2.3], n).astype(dtype)
    root = np.sqrt(c.astype(float))[:, None]
    project = jax.jit(poincare.project)
    return *(np.asarray(project((p / root).astype(dtype), c)) for p in (x, y)), c


jitted_gap = jax.jit(exact_gap)

RESULTS = {
    "back and forth": lambda x, y, c: poincare.expmap(x, poincare.logmap(x, y, c), c),
    "geodesic": lambda x, y, c: poincare.geodesic(jnp.asarray(0.7, x.dtype), x, y, c),
    "beyond the end": lambda x, y, c: poincare.geodesic(jnp.asarray(1.5, x.dtype), x, y, c),
    "mobius_add": poincare.mobius_add,
    "minus x": lambda x, y, c: poincare.mobius_add(-x, y, c),
    "expmap_frame": lambda x, y, c: poincare.expmap_frame(x, 40 * y, c),
    "expmap0": lambda x, y, c: poincare.expmap0(8 * y, c),
    "scalar": lambda x, y, c: poincare.mobius_scalar_mul(jnp.asarray(3.0, x.dtype), y, c),
}


@pytest.mark.optimized
@pytest.mark.parametrize("d", [1, 2, 10])
@pytest.mark.parametrize("n", [3000, pytest.param(1_000_000, marks=pytest.mark.slow)])
@pytest.mark.quick("float32-3000-2")
def test_no_function_leaves_the_ball(d, n, dtype):
    x, y, c = hostile(d, dtype, n)
    results = jax.jit(lambda *a: {name: f(*a) for name, f in RESULTS.items()})(x, y, c)
    for name, result in results.items():
        gap = jitted_gap(result, c)
        assert np.isfinite(result).all(), name
        assert gap.min() >= 2 * np.finfo(dtype).eps, (name, float(gap.min()))


@pytest.mark.optimized
@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.quick("float32-1")
def test_maps_lose_what_their_inputs_allow(d, dtype):
    x, y, c = hostile(d, dtype, 90, seed=1)
    eps = np.finfo(dtype).eps
    v = np.asarray(jax.jit(poincare.logmap)(x, y, c))
    for name, arguments in {"expmap": (x, v), "mobius_add": (x, y), "logmap": (x, y)}.items():
        f = getattr(oracle, name)
        reference = f(*arguments, c)
        bound = 24 * (oracle.conditioning(f, arguments, c, np.random.default_rng(1)) + eps)
        clipped = name != "logmap" and (1 - c * (reference**2).sum(-1)).astype(float) < 20 * eps
        for way in (jax.jit(getattr(poincare, name)), getattr(poincare, name)):
            error = oracle.relative_error(way(*arguments, c), reference)
            ok = (error <= np.maximum(bound, 40 * eps)) | clipped
            assert ok.all(), (name, (error / bound)[~ok].max(), np.flatnonzero(~ok)[:3])


@pytest.mark.optimized
def test_the_far_side_is_reached():
    angle = 3.0960402
    x = np.array([0.99999, 0], np.float32)
    y = np.float32(0.999) * np.array([np.cos(angle), np.sin(angle)], np.float32)
    for way in (lambda f: f, jax.jit):
        back = way(RESULTS["back and forth"])(x, y, np.float32(1))
        np.testing.assert_allclose(back, y, atol=5e-3)
        np.testing.assert_array_equal(way(poincare.geodesic)(np.float32(1), x, y, 1.0), y)


# Every function of the ball, of points x and y, a vector v and c.
FUNCTIONS = {
    "dist": lambda x, y, v, c: poincare.dist(x, y, c),
    "sqdist": lambda x, y, v, c: poincare.sqdist(x, y, c),
    "expmap": lambda x, y, v, c: poincare.expmap(x, v, c),
    "expmap_frame": lambda x, y, v, c: poincare.expmap_frame(x, v, c),
    "expmap0": lambda x, y, v, c: poincare.expmap0(v, c),
    "logmap": lambda x, y, v, c: poincare.logmap(x, y, c),
    "logmap0": lambda x, y, v, c: poincare.logmap0(y, c),
    "geodesic": lambda x, y, v, c: poincare.geodesic(0.3, x, y, c),
    "transport": lambda x, y, v, c: poincare.transport(x, y, v, c),
    "transport0": lambda x, y, v, c: poincare.transport0(y, v, c),
    "inner": lambda x, y, v, c: poincare.inner(x, v, v, c),
    "norm": lambda x, y, v, c: poincare.norm(x, v, c),
    "logdetexp": lambda x, y, v, c: poincare.logdetexp(x, v, c),
    "project": lambda x, y, v, c: poincare.project(x, c),
    "project_tangent": lambda x, y, v, c: poincare.project_tangent(x, v, c),
    "egrad_to_rgrad": lambda x, y, v, c: poincare.egrad_to_rgrad(x, v, c),
    "from_frame": lambda x, y, v, c: poincare.from_frame(x, v, c),
    "to_frame": lambda x, y, v, c: poincare.to_frame(x, v, c),
    "tangent_basis": lambda x, y, v, c: poincare.tangent_basis(x, c),
    "conformal_factor": lambda x, y, v, c: poincare.conformal_factor(x, c),
    "mobius_add": lambda x, y, v, c: poincare.mobius_add(x, y, c),
    "mobius_scalar_mul": lambda x, y, v, c: poincare.mobius_scalar_mul(0.3, x, c),
    "mobius_matvec": lambda x, y, v, c: poincare.mobius_matvec(
        jnp.eye(x.shape[-1], dtype=x.dtype), x, c
    ),
    "gyration": lambda x, y, v, c: poincare.gyration(x, y, v, c),
    "dist_to_gyroplane": lambda x, y, v, c: poincare.dist_to_gyroplane(x, y, v, c),
    "to_hyperboloid": lambda x, y, v, c: poincare.to_hyperboloid(x, c),
}
OF_X = [n for n in FUNCTIONS if n not in ("expmap0", "logmap0", "transport0")]


@jax.jit
def everything(*arguments):
    return {name: f(*arguments) for name, f in FUNCTIONS.items()}


def at(x, c):
    y, v = np.array([0.2, -0.4], np.float32), np.array([0.3, 0.1], np.float32)
    return everything(np.asarray(x, np.float32), y, v, np.float32(c))


def test_not_a_number_stays_one():
    results = at([np.nan, 0.1], 1.0)
    for name in OF_X:
        assert np.isnan(results[name]).any(), name
    for c in (np.nan, -0.5):
        for name, result in at([0.3, 0.1], c).items():
            assert np.isnan(np.diag(result) if name == "tangent_basis" else result).all(), name
    assert jnp.isnan(poincare.expmap(jnp.zeros(2), jnp.array([jnp.nan, 0.0]), 1.0)).any()


@pytest.mark.parametrize("far", [[10.0, 0.0], [-3.0, 4.0], [1e15, 1e15], [1.0, 0.0]])
def test_a_point_outside_counts_as_one_on_the_rim(far):
    """To what the rounding of a point on the rim makes of its gap."""
    rim = np.asarray(poincare.project(np.asarray(far, np.float32), 1.0))
    outside, on_it = at(far, 1.0), at(rim, 1.0)
    for name, result in outside.items():
        assert np.isfinite(result).all(), name
        tight = name in (
            "dist",
            "sqdist",
            "geodesic",
            "project",
            "mobius_add",
            "expmap",
            "expmap_frame",
        )
        scale = np.abs(on_it[name]).max()
        np.testing.assert_allclose(
            result, on_it[name], atol=(0.04 if tight else 3) * scale, err_msg=name
        )
    same = np.asarray(far, np.float32)
    assert jax.jit(poincare.dist)(same, 2 * same, 1.0) < 1.5


def test_huge_points_are_projected(dtype):
    big = np.finfo(dtype).max
    for x in ([1e20, 0], [big, big], [0, -big / 2], [1e25, 1e-20]):
        x = np.asarray(x, dtype)
        direction = x / np.abs(x).max()
        expected = direction / np.linalg.norm(direction)
        np.testing.assert_allclose(poincare.project(x, 1.0), expected, rtol=1e-5, atol=1e-30)
    assert np.isnan(poincare.project(np.asarray([np.nan, 0.1], dtype), 1.0)).any()


FLAT = {
    "dist": lambda x, y, v: 2 * euclidean.dist(x, y),
    "sqdist": lambda x, y, v: 4 * euclidean.sqdist(x, y),
    "expmap": lambda x, y, v: x + v,
    "expmap_frame": lambda x, y, v: x + v / 2,
    "expmap0": lambda x, y, v: v,
    "logmap": lambda x, y, v: y - x,
    "logmap0": lambda x, y, v: y,
    "geodesic": lambda x, y, v: x + jnp.asarray(0.3, x.dtype) * (y - x),
    "transport": lambda x, y, v: v,
    "transport0": lambda x, y, v: v,
    "inner": lambda x, y, v: 4 * jnp.sum(v * v),
    "norm": lambda x, y, v: 2 * jnp.sqrt(jnp.sum(v * v)),
    "logdetexp": lambda x, y, v: jnp.zeros((), x.dtype),
    "project": lambda x, y, v: x,
    "egrad_to_rgrad": lambda x, y, v: v / 4,
    "from_frame": lambda x, y, v: v / 2,
    "to_frame": lambda x, y, v: 2 * v,
    "tangent_basis": lambda x, y, v: jnp.eye(2, dtype=x.dtype) / 2,
    "conformal_factor": lambda x, y, v: jnp.asarray(2, x.dtype),
    "mobius_add": lambda x, y, v: x + y,
    "mobius_scalar_mul": lambda x, y, v: jnp.asarray(0.3, x.dtype) * x,
    "mobius_matvec": lambda x, y, v: x,
    "gyration": lambda x, y, v: v,
    "dist_to_gyroplane": lambda x, y, v: 2 * jnp.sum((x - y) * v) / jnp.sqrt(jnp.sum(v * v)),
}


@pytest.mark.parametrize("name", FLAT)
@pytest.mark.quick("float32-logmap", "float64-expmap", "float32-mobius_add", "float64-dist")
def test_flat_space(name, dtype):
    """c = 0: values, derivatives in points and in c, and no jump for c -> 0."""
    x, y, v = (np.asarray(p, dtype) for p in ([30.0, -2.0], [1.5, 4.0], [7.0, -11.0]))
    eps, f = np.finfo(dtype).eps, FUNCTIONS[name]
    both = [
        jax.jit(jax.value_and_grad(lambda *a, g=g: jnp.sum(jnp.sin(g(*a))), (0, 1, 2)))
        for g in (lambda *a: f(*a, jnp.zeros((), dtype)), FLAT[name])
    ]
    for one, other in zip(*(jax.tree.leaves(b(x, y, v)) for b in both), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=60 * eps)
    small = [a / 100 for a in (x, y, v)]
    in_c = jax.jit(lambda c: jax.jvp(lambda c: f(*small, c), (c,), (jnp.ones_like(c),)))
    (value, slope), (near, tilt) = in_c(dtype(0)), in_c(dtype(1e-6))
    second_order, tolerance = 1e-12, 20 * eps
    np.testing.assert_allclose(
        near, value + 1e-6 * slope, atol=tolerance + second_order, rtol=tolerance
    )
    np.testing.assert_allclose(slope, tilt, atol=2e-5, rtol=1e-5)
    for c in (1e-38, 1e-30, 1e-12):
        np.testing.assert_allclose(in_c(dtype(c))[0], value, rtol=1e-6, atol=1e-7)


def test_what_flat_space_does_not_have():
    assert PoincareBall(2, 0.0).dist(jnp.zeros(2), jnp.array([3.0, 4.0])) == 10
    with pytest.raises(ValueError, match=r"c .* must be positive, got 0"):
        poincare.to_hyperboloid(jnp.zeros(2), 0.0)
    with pytest.raises(ValueError, match=r"random_uniform.*got 0"):
        poincare.random_uniform(jax.random.key(0), (3, 2), 0.0)
    assert jnp.isnan(jax.jit(poincare.to_hyperboloid)(jnp.zeros(2), 0.0)).any()


@pytest.mark.parametrize("half", [jnp.bfloat16, jnp.float16])
@pytest.mark.quick("bfloat16")
def test_half_precision_points_stay_inside(half):
    rng = np.random.default_rng(0)
    for c in (1.0, 0.37):
        x = jnp.asarray(rng.uniform(0.9, 3, (500, 1)) * unit(rng, 500, 3) / np.sqrt(c), half)
        for p in (poincare.project(x, c), poincare.expmap0(4 * x, c)):
            assert p.dtype == half
            exact = np.asarray(p, np.float64)
            assert (c * (exact**2).sum(-1)).max() < 1
            q = poincare.mobius_add(p, p, c)  # accepted by the next call, and inside again
            assert jnp.isfinite(poincare.dist(p, q, c)).all()
        for p in (stereographic.project(x, -c), stereographic.expmap0(4 * x, -c)):
            assert p.dtype == half
            q = stereographic.mobius_add(p, p, -c)
            assert jnp.isfinite(stereographic.dist(p, q, -c)).all()


@pytest.mark.parametrize(
    "arguments", [(0.7,), ("2",), (0,), (-1,), (True,), (2.0,), (2, -1.0), (2, np.nan)]
)
def test_a_ball_that_is_none_is_refused(arguments):
    with pytest.raises(
        (ValueError, TypeError)
    ):  # the annotations that are checked here raise the latter
        PoincareBall(*arguments)


@pytest.mark.optimized
def test_logdetexp_of_short_vectors(dtype):
    """Its relative error, where log(sinh(r) / r) is tiny and where the series ends."""
    r = np.concatenate([10.0 ** np.arange(-6, 0), np.linspace(0.1, 3, 60), [10, 30]])
    v = (r[:, None] / 2 * np.array([0.6, 0.8])).astype(dtype)
    c = np.ones(len(r), dtype)
    value = jax.jit(poincare.logdetexp)(0 * v, v, c)
    assert (
        oracle.relative_error(value, oracle.logdetexp(0 * v, v, c)).max() < 12 * np.finfo(dtype).eps
    )
