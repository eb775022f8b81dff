"""Values and derivatives on the ball and the hyperboloid against 80-digit references (DESIGN: the numerical contract)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl.manifolds import hyperboloid, poincare
from tests.oracles import hyperbolic as oracle
from tests.oracles.hyperbolic_cases import cases


DTYPES = (np.float32, np.float64)
SIZES = {2: (2000, 80), 10: (600, 60), 64: (40, 24)}  # dimension: points in bulk, of each special kind
AWAY = ("bulk", "near", "origin")
EDGE = ("edge", "close")
ARGUMENTS = {"dist": "xy", "sqdist": "xy", "logmap": "xy", "expmap": "xv", "transport": "xyv"}
MAPS = ("logmap", "expmap", "transport")


@pytest.fixture(params=DTYPES, ids=["float32", "float64"])
def dtype(request):
    with jax.enable_x64(request.param is np.float64):
        yield request.param


def tolerance(dtype, single, double):
    return single if dtype == np.float32 else double


@functools.cache
def the_cases(d, dtype, bulk=None):
    return cases(d, dtype, *((bulk, SIZES[d][1]) if bulk else SIZES[d]))


def select(case, name, mask=slice(None)):
    return tuple(getattr(case, a)[mask] for a in ARGUMENTS[name])


def jitted(module, name):
    return jax.jit(getattr(module, name))


def measure(name, *arguments, space=poincare):
    """Errors of the jitted function."""
    reference = getattr(oracle, ("hyperboloid_" if space is hyperboloid else "") + name)(*arguments)
    value = jitted(space, name)(*arguments)
    assert value.dtype == arguments[0].dtype
    return oracle.relative_error(value, reference)


def allowed(f, arguments, c, eps, times=8):
    """What the rounding of the inputs costs, times a small constant."""
    return times * (oracle.conditioning(f, arguments, c, np.random.default_rng(1)) + eps)


# ------------------------------------------------------------------------------------------------------
# The ball: values
# ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", SIZES)
def test_dist_everywhere(d, dtype):
    case = the_cases(d, dtype)
    x, y, c = case.x, case.y, case.c
    reference = oracle.dist(x, y, c)
    ways = {
        "eager": poincare.dist(x, y, c),
        "jit": jitted(poincare, "dist")(x, y, c),
        "vmap": jax.jit(jax.vmap(poincare.dist))(x, y, c),
    }
    for way, value in ways.items():
        assert value.dtype == dtype
        error = oracle.relative_error(value, reference)
        worst = error.argmax()
        assert error[worst] <= tolerance(dtype, 1e-6, 1e-12), (way, x[worst], y[worst], c[worst])


@pytest.mark.parametrize("d", SIZES)
@pytest.mark.parametrize("name", MAPS)
def test_maps(name, d, dtype):
    case = the_cases(d, dtype, bulk=SIZES[d][0] // 10)
    error = measure(name, *select(case, name), case.c)
    assert error[case.of(*AWAY)].max() <= tolerance(dtype, 1e-5, 1e-12)
    edge = np.flatnonzero(case.of(*EDGE))[:: 1 + d // 10]
    bound = allowed(getattr(oracle, name), select(case, name, edge), case.c[edge], np.finfo(dtype).eps)
    assert (error[edge] <= bound).all()


@pytest.mark.parametrize("name", [*MAPS, "mobius_add"])
def test_maps_agree_eagerly_and_under_vmap(name):
    case = the_cases(2, np.float32, bulk=50)
    arguments = (*(select(case, name) if name in ARGUMENTS else (case.x, case.y)), case.c)
    f = getattr(poincare, name)
    once = jitted(poincare, name)(*arguments)
    for other in (f(*arguments), jax.jit(jax.vmap(f))(*arguments)):
        error = oracle.relative_error(other, oracle.exact(once))
        assert error[case.of(*AWAY)].max() <= 1e-5
        assert error[case.of(*EDGE)].max() <= 1e-4


@pytest.mark.parametrize("d", SIZES)
def test_conformal_factor_to_the_last_representable_shells(d, dtype):
    eps = np.finfo(dtype).eps
    rng = np.random.default_rng(d)
    gap = np.resize([1e-3, 1e-5, 100 * eps], (60, 1))
    g = rng.standard_normal((60, d))
    c = rng.uniform(0.1, 3, 60).astype(dtype)
    x = ((1 - gap) / np.sqrt(c)[:, None] * g / np.linalg.norm(g, axis=-1, keepdims=True)).astype(dtype)
    assert measure("conformal_factor", x, c).max() <= 16 * eps


def test_mobius_addition_and_charts(dtype):
    case = the_cases(10, dtype, bulk=100)
    x, y, v, c = case.x, case.y, case.v, case.c
    assert measure("mobius_add", x, y, c).max() <= tolerance(dtype, 1e-5, 1e-12)
    assert measure("to_hyperboloid", x, c).max() <= tolerance(dtype, 1e-6, 1e-14)
    reference = oracle.logdetexp(x, v, c).astype(float)  # near 0 for short v: absolute error there
    np.testing.assert_allclose(
        jitted(poincare, "logdetexp")(x, v, c), reference, *[tolerance(dtype, 2e-6, 1e-14)] * 2
    )


# ------------------------------------------------------------------------------------------------------
# The hyperboloid: values
# ------------------------------------------------------------------------------------------------------


def sheet_cases(d, dtype, kind, n=60):
    """Points x, y and tangent vectors v at x, as float arrays (n, d + 1)."""
    rng = np.random.default_rng(d)

    def directions():
        g = rng.standard_normal((n, d))
        return g / np.linalg.norm(g, axis=-1, keepdims=True)

    def radii(low, high):
        return np.sinh(rng.uniform(low, high, (n, 1)))

    if kind == "bulk":
        x, y = radii(0, 3) * directions(), radii(0, 3) * directions()
    elif kind == "near":
        x = directions()
        y = x + 10 ** rng.uniform(-6, -1, (n, 1)) * directions()
    elif kind == "origin":
        turn = np.arange(n)[:, None] % 4
        x = np.where((turn == 0) | (turn == 3), 0, radii(0, 2) * directions())
        y = np.where(turn == 2, x, np.where((turn == 1) | (turn == 3), 0, radii(0, 2) * directions()))
    elif kind == "far":
        x, y = radii(5, 20) * directions(), radii(5, 20) * directions()
    else:  # far and close
        x = radii(5, 12) * directions()
        y = x + rng.choice([1, 0.1, 0.01], (n, 1)) * directions()

    c = rng.choice([0.1, 0.7, 1.0, 1.4, 2.0], n).astype(dtype)
    root = np.sqrt(c.astype(float))[:, None]
    space, other = (x / root).astype(dtype), (y / root).astype(dtype)
    x = space * root
    turned = rng.uniform(0, 2, (n, 1)) * directions() / root  # in the frame at x
    v = turned + np.sum(x * turned, -1, keepdims=True) * x / (1 + np.sqrt(1 + np.sum(x * x, -1, keepdims=True)))
    points = [np.concatenate([np.sqrt(1 / c[:, None] + np.sum(p * p, -1, keepdims=True)), p], -1) for p in (space, other)]
    time = np.sum(space * v, -1, keepdims=True) / points[0][:, :1]
    return (*(p.astype(dtype) for p in points), np.concatenate([time, v], -1).astype(dtype), c)


@pytest.mark.parametrize("kind", ["bulk", "near", "origin", "far", "far and close"])
@pytest.mark.parametrize("d", [2, 10])
def test_hyperboloid(d, kind, dtype):
    x, y, v, c = sheet_cases(d, dtype, kind)
    close = tolerance(dtype, 1e-6, 1e-12)
    assert measure("dist", x, y, c, space=hyperboloid).max() <= close
    for name, arguments in {"logmap": (x, y), "expmap": (x, v), "transport": (x, y, v)}.items():
        error = measure(name, *arguments, c, space=hyperboloid)
        bound = allowed(getattr(oracle, f"hyperboloid_{name}"), arguments, c, np.finfo(dtype).eps)
        meaningful = bound < 0.1  # a float32 tangent vector at distance 20 is not
        assert (error <= np.maximum(bound, 10 * close))[meaningful].all(), name


# ------------------------------------------------------------------------------------------------------
# Derivatives
# ------------------------------------------------------------------------------------------------------


@functools.cache
def along_line(name, order):
    """Jitted derivative of the given order of f(*arguments) along the direction of tangents."""

    def value(s, arguments, tangents):
        return getattr(poincare, name)(*(a + s * t for a, t in zip(arguments, tangents, strict=True)))

    def nth(arguments, tangents):
        f = functools.partial(value, arguments=arguments, tangents=tangents)
        for _ in range(order):
            f = functools.partial(lambda g, s: jax.jvp(g, (s,), (jnp.ones_like(s),))[1], f)
        return f(jnp.zeros((), arguments[0].dtype))

    return jax.jit(nth)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", ["dist", *MAPS])
def test_derivatives_against_differences(name, order, dtype):
    """Along random lines, in the points, the vector and the curvature at once."""
    case = cases(2, dtype, 40, 16)
    if order == 2:  # the second derivative of a distance of 1e-6 is 1e6 large, and noise
        keep = ~case.of("near", "close")
        case = type(case)(*(a[keep] for a in case))
    rng = np.random.default_rng(2)
    rho = 1 - np.sqrt(case.c.astype(float)) * np.linalg.norm(case.x, axis=-1)

    def direction(a):
        return (rng.standard_normal(a.shape) * rho.reshape(-1, *[1] * (a.ndim - 1))).astype(dtype)

    arguments = select(case, name)
    lines, dc = tuple(direction(a) for a in arguments), direction(case.c)
    keep = np.ones(len(case.c), bool)
    if name == "dist":  # it has a kink at x = y
        keep = (arguments[0] != arguments[1]).any(-1)
    f = functools.partial(oracle.derivative, getattr(oracle, name), directions=tuple(t[keep] for t in lines))
    f = functools.partial(f, dc=dc[keep], order=order)
    arguments = tuple(a[keep] for a in arguments)
    c = case.c[keep]

    def reference(*arrays_and_c):
        return f(arrays_and_c[:-1], arrays_and_c[-1])

    value = along_line(name, order)((*arguments, c), (*(t[keep] for t in lines), dc[keep]))
    error = oracle.relative_error(value, reference(*arguments, c))
    bound = allowed(reference, arguments, c, np.finfo(dtype).eps)
    assert (error <= np.maximum(bound, tolerance(dtype, 1e-4, 1e-9))).all()


SPECIAL = {  # (x, y, v) as multiples of fixed directions, in the unit ball
    "apart": (0.5, 0.3, 1.0),
    "coincident": (0.5, None, 1.0),
    "no step": (0.5, 0.3, 0.0),
    "x at the origin": (0.0, 0.3, 1.0),
    "y at the origin": (0.5, 0.0, 1.0),
    "both at the origin": (0.0, None, 1.0),
    "nothing": (0.0, None, 0.0),
    "edge": (1 - 1e-5, 1 - 1e-5, 1e-5),
    "coincident at the edge": (1 - 1e-5, None, 1e-5),
    "no step at the edge": (1 - 1e-5, 1 - 1e-5, 0.0),
}


def special_points(dtype, d=3):
    """x, y, v of shape (10, d)."""
    rng = np.random.default_rng(3)
    a, b, e = (g / np.linalg.norm(g) for g in rng.standard_normal((3, d)))
    x = [s * a for s, _, _ in SPECIAL.values()]
    y = [s * a if t is None else t * b for s, t, _ in SPECIAL.values()]
    v = [u * e for _, _, u in SPECIAL.values()]
    return (np.asarray(p, dtype) for p in (x, y, v))


@pytest.mark.parametrize("space", [poincare, hyperboloid], ids=["ball", "hyperboloid"])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_two_derivatives_are_finite(name, space, dtype):
    """In forward over reverse mode, eagerly and under jit, where NaN anywhere raises."""
    points = dict(zip("xyv", special_points(dtype), strict=True))
    if space is hyperboloid:
        points["x"], points["y"] = (np.asarray(poincare.to_hyperboloid(points[k], 1.0)) for k in "xy")
        points["v"] = np.concatenate([np.zeros_like(points["v"][:, :1]), points["v"]], -1)
        points["v"] = np.asarray(space.project_tangent(points["x"], points["v"], 1.0))
    arguments = (*(points[a] for a in ARGUMENTS[name]), np.ones(len(SPECIAL), dtype))
    where = tuple(range(len(arguments)))

    def total(*args):
        value = getattr(space, name)(*args)
        return jnp.sum(value * jnp.cos(jnp.arange(value.size, dtype=dtype)).reshape(value.shape))

    def second(*args):
        gradient = jax.grad(total, where)
        return jax.jvp(gradient, args, tuple(jnp.ones_like(a) for a in args))

    with jax.debug_nans(True):
        for way in (second, jax.jit(second)):
            for leaf in jax.tree.leaves(way(*map(jnp.asarray, arguments))):
                assert leaf.dtype == dtype and jnp.isfinite(leaf).all()


def test_differential_of_logmap_at_its_base_point(dtype):
    """d log_x(y) / dy = I at y = x, at the origin by logmap0 too, in both modes."""
    x = next(special_points(dtype))
    for jacobian in (jax.jacfwd, jax.jacrev):
        for log, at in ((lambda y: poincare.logmap0(y, 0.7), x[:1] * 0), (None, x / 1.2)):
            for p in at:
                f = log or (lambda y, p=p: poincare.logmap(p, y, 0.7))
                np.testing.assert_allclose(jacobian(f)(jnp.asarray(p)), np.eye(3), atol=tolerance(dtype, 1e-6, 1e-14))


def test_hessian_of_sqdist_at_coincident_points(dtype):
    """2 lambda_x^2 I, from the origin to the edge, in all combinations of modes."""
    c = dtype(1.4)
    x = next(special_points(dtype)) / dtype(np.sqrt(1.4) * (1 + 1e-6))
    scale = 2 * oracle.conformal_factor(x, c).astype(float) ** 2
    f = jax.jit(lambda y, x: poincare.sqdist(x, y, c))
    for outer in (jax.jacfwd, jax.jacrev):
        for inner in (jax.jacfwd, jax.jacrev):
            hessians = jax.vmap(outer(inner(f)))(x, x)
            np.testing.assert_allclose(
                hessians / scale[:, None, None], np.broadcast_to(np.eye(3), hessians.shape),
                atol=tolerance(dtype, 1e-5, 1e-13),
            )  # fmt: skip


# ------------------------------------------------------------------------------------------------------
# The limit c -> 0
# ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("c", [1e-8, 1e-12, 1e-30])
def test_flat_limit(c, dtype):
    """R^d with 4 times the Euclidean metric; derivatives in c have their limits too."""
    case = cases(3, dtype, 30, 8)
    x, y, v = case.x, case.y, case.v
    small = np.full(len(x), c, dtype)
    flat = {"dist": 2 * np.linalg.norm(y - x, axis=-1), "logmap": y - x, "expmap": x + v, "transport": v}
    for name, limit in flat.items():
        arguments = select(case, name)
        value = jitted(poincare, name)(*arguments, small)
        np.testing.assert_allclose(value, limit, atol=20 * c + tolerance(dtype, 2e-6, 1e-14), rtol=1e-6, err_msg=name)
        slope = along_line(name, 1)((*arguments, small), (*(np.zeros_like(a) for a in arguments), np.ones_like(small)))
        reference = oracle.derivative(
            getattr(oracle, name), arguments, oracle.exact(small), tuple(a * 0 for a in arguments), small
        ) / oracle.exact(small).reshape(-1, *[1] * (value.ndim - 1))
        np.testing.assert_allclose(
            slope, reference.astype(float), rtol=tolerance(dtype, 1e-4, 1e-9), atol=tolerance(dtype, 1e-5, 1e-12), err_msg=name
        )
