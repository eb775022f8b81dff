"""Values and derivatives on the ball and the hyperboloid against 80-digit references."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl.manifolds import hyperboloid, poincare
from tests.manifolds.spaces import FAST
from tests.oracles import hyperbolic as oracle
from tests.oracles.hyperbolic_cases import cases


pytestmark = pytest.mark.optimized


DTYPES = (np.float32, np.float64)
SIZES = {
    2: (1500, 80),
    10: (400, 40),
    64: (40, 24),
}  # dimension: points in bulk, of each special kind
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
@pytest.mark.quick("float32-2", "float32-64", "float64-10")
def test_dist_everywhere(d, dtype):
    case = the_cases(d, dtype)
    x, y, c = case.x, case.y, case.c
    reference = oracle.dist(x, y, c)
    ways = {"jit": jitted(poincare, "dist")(x, y, c)}
    if d == 10:
        ways["eager"] = poincare.dist(x, y, c)
        ways["vmap"] = jax.jit(jax.vmap(poincare.dist))(x, y, c)
    for way, value in ways.items():
        assert value.dtype == dtype
        error = oracle.relative_error(value, reference)
        worst = error.argmax()
        assert error[worst] <= tolerance(dtype, 1e-6, 1e-12), (way, x[worst], y[worst], c[worst])


@pytest.mark.parametrize("d", SIZES)
@pytest.mark.parametrize("name", MAPS)
@pytest.mark.quick(
    "float32-transport-10",
    "float32-logmap-10",
    "float32-expmap-2",
    "float64-logmap-2",
)
def test_maps(name, d, dtype):
    case = the_cases(d, dtype, bulk=SIZES[d][0] // 10)
    error = measure(name, *select(case, name), case.c)
    assert error[case.of(*AWAY)].max() <= tolerance(dtype, 1e-5, 1e-12)
    edge = np.flatnonzero(case.of(*EDGE))[:: 1 + d // 10]
    bound = allowed(
        getattr(oracle, name), select(case, name, edge), case.c[edge], np.finfo(dtype).eps
    )
    assert (error[edge] <= bound).all()


@pytest.mark.parametrize("d", SIZES)
def test_conformal_factor_to_the_last_representable_shells(d, dtype):
    eps = np.finfo(dtype).eps
    rng = np.random.default_rng(d)
    gap = np.resize([1e-3, 1e-5, 100 * eps], (60, 1))
    g = rng.standard_normal((60, d))
    c = rng.uniform(0.1, 3, 60).astype(dtype)
    x = ((1 - gap) / np.sqrt(c)[:, None] * g / np.linalg.norm(g, axis=-1, keepdims=True)).astype(
        dtype
    )
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
        y = np.where(
            turn == 2, x, np.where((turn == 1) | (turn == 3), 0, radii(0, 2) * directions())
        )
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
    v = turned + np.sum(x * turned, -1, keepdims=True) * x / (
        1 + np.sqrt(1 + np.sum(x * x, -1, keepdims=True))
    )
    points = [
        np.concatenate([np.sqrt(1 / c[:, None] + np.sum(p * p, -1, keepdims=True)), p], -1)
        for p in (space, other)
    ]
    time = np.sum(space * v, -1, keepdims=True) / points[0][:, :1]
    return (*(p.astype(dtype) for p in points), np.concatenate([time, v], -1).astype(dtype), c)


@pytest.mark.parametrize("kind", ["bulk", "near", "origin", "far", "far and close"])
@pytest.mark.parametrize("d", [2, 10])
@pytest.mark.quick(
    "float32-10-far",
    "float64-2-bulk",
    "float64-2-far and close",
    "float32-2-near",
)
def test_hyperboloid(d, kind, dtype):
    x, y, v, c = sheet_cases(d, dtype, kind)
    close = tolerance(dtype, 1e-6, 1e-12)
    assert measure("dist", x, y, c, space=hyperboloid).max() <= close
    maps = {"logmap": (x, y), "expmap": (x, v), "transport": (x, y, v)}
    for name, arguments in maps.items():
        error = measure(name, *arguments, c, space=hyperboloid)
        reference = getattr(oracle, f"hyperboloid_{name}")
        times = 100 if "far" in kind else 8  # there three roundings tell little of the worst
        bound = allowed(reference, arguments, c, np.finfo(dtype).eps, times)
        meaningful = bound < 0.1  # a float32 tangent vector at distance 20 is not
        assert (error <= np.maximum(bound, 20 * close))[meaningful].all(), name


@pytest.mark.parametrize("kind", ["near", "origin", "far", "far and close"])
@pytest.mark.quick("float32-far", "float32-origin")
def test_hyperboloid_slopes(kind, dtype):
    """Of dist, where an end moves; the plain formula's lose exp(r) eps."""
    x, y, _, c = sheet_cases(10, dtype, kind)
    keep = (x != y).any(-1)
    x, y, c = x[keep], y[keep], c[keep]
    rng = np.random.default_rng(5)
    size = np.maximum(np.linalg.norm(x[:, 1:], axis=-1, keepdims=True), 1)
    dx = (size * rng.standard_normal(x.shape)).astype(dtype)
    for line in ((dx, 0 * y), (0 * y, dx * y[:, :1] / size)):
        slope = jax.jit(lambda a, t, c: jax.jvp(lambda *a: hyperboloid.dist(*a, c), a, t)[1])

        def reference(*arguments, line=line):
            *points, c = arguments
            return oracle.derivative(oracle.hyperboloid_dist, tuple(points), c, line, 0 * c)

        error = oracle.relative_error(slope((x, y), line, c), reference(x, y, c))
        bound = allowed(reference, (x, y), c, np.finfo(dtype).eps, 24)
        assert (error <= np.maximum(bound, tolerance(dtype, 1e-5, 1e-13))).all(), (
            error / bound
        ).max()


@pytest.mark.parametrize("reach", [43.0, 80.0])
@pytest.mark.quick("80.0")
def test_squared_distance_where_squares_overflow(reach):
    """float32 holds |X| at sqrt(c) r = 87, and |X|^2 at 43."""
    space = hyperboloid.Hyperboloid(5, 1.4)
    u = np.asarray([[0.6, 0, 0, 0.8, 0]], np.float32) / np.float32(1.4) ** 0.5

    def squared(a):
        return space.sqdist(space.origin(), space.expmap_frame(space.origin(), a))[0]

    value, slope = jax.jit(jax.value_and_grad(squared))(reach * u)
    np.testing.assert_allclose(value, reach**2 / 1.4, rtol=1e-6)
    np.testing.assert_allclose(slope, 2 * reach * u, rtol=1e-5, atol=1e-4)


@pytest.mark.slow
def test_gradients_of_two_steps_from_the_origin():
    """A latent and its mean up to 40 far: float32 derivatives against float64's."""
    rng = np.random.default_rng(6)
    g, h = rng.standard_normal((2, 40, 10))
    lengths = rng.uniform(0.5, 40, (2, 40, 1))
    mean, step = (
        n * e / np.linalg.norm(e, axis=-1, keepdims=True)
        for n, e in zip(lengths, (g, h), strict=True)
    )

    def gradients(dtype):
        space = hyperboloid.Hyperboloid(10, np.asarray(1.0, dtype))

        def squared(mean, step):
            middle = space.expmap_frame(space.origin(), mean)
            return space.sqdist(space.origin(), space.expmap_frame(middle, step)).sum()

        arguments = (a.astype(np.float32).astype(dtype) for a in (mean, step))
        return jax.device_get(jax.jit(jax.grad(squared, (0, 1)))(*arguments))

    with jax.enable_x64(True):
        expected = gradients(np.float64)
    for value, reference in zip(gradients(np.float32), expected, strict=True):
        error = np.linalg.norm(value - reference, axis=-1) / np.linalg.norm(reference, axis=-1)
        assert error.max() < 1e-4


@pytest.mark.parametrize("aim", ["any", "across", "to the origin", "past the origin"])
@pytest.mark.quick("float32-any", "float64-past the origin")
def test_steps_from_far_out(aim, dtype):
    """expmap_frame, steps up to 15 long from points up to 25 far: the result, and its distance to the origin."""
    n, d = 60, 10
    rng = np.random.default_rng(4)
    g, h = rng.standard_normal((2, n, d))
    g, h = (e / np.linalg.norm(e, axis=-1, keepdims=True) for e in (g, h))
    c = rng.choice([0.1, 0.7, 1.4], n).astype(dtype)
    root = np.sqrt(c.astype(float))[:, None]
    far, length = rng.uniform(0.5, 25, (n, 1)), rng.uniform(0.01, 15, (n, 1))
    direction = {
        "any": h,
        "across": h - np.sum(g * h, -1, keepdims=True) * g,
        "to the origin": -g * np.minimum(far / length, 1),
        "past the origin": -g + 1e-3 * h,
    }[aim]
    x = (np.sinh(far) / root * g).astype(dtype)
    x = np.asarray(hyperboloid.project(np.concatenate([x[:, :1], x], -1), c))
    a = (length / root * direction).astype(dtype)
    eps = np.finfo(dtype).eps

    def radius(x, a, c):
        end = oracle.hyperboloid_expmap_frame(x, a, c)
        return oracle.hyperboloid_dist(np.zeros_like(x), end, c)

    for f, name in ((oracle.hyperboloid_expmap_frame, "the point"), (radius, "its radius")):
        value = jitted(hyperboloid, "expmap_frame")(x, a, c)
        if name == "its radius":
            value = hyperboloid.dist(hyperboloid.origin(d, c), value, c)
        error, bound = oracle.relative_error(value, f(x, a, c)), allowed(f, (x, a), c, eps)
        assert (error <= np.maximum(bound, 10 * eps)).all(), (name, (error / bound).max())


# ------------------------------------------------------------------------------------------------------
# Derivatives
# ------------------------------------------------------------------------------------------------------


@functools.cache
def along_line(name):
    """Jitted value, first and second derivative of f(*arguments) along the line of given direction."""

    def derivatives(arguments, direction):
        def value(s):
            return getattr(poincare, name)(
                *(a + s * t for a, t in zip(arguments, direction, strict=True))
            )

        def with_slope(s):
            return jax.jvp(value, (s,), (jnp.ones_like(s),))

        zero = jnp.zeros((), arguments[0].dtype)
        (here, slope), (_, bend) = jax.jvp(with_slope, (zero,), (jnp.ones_like(zero),))
        return here, slope, bend

    return jax.jit(derivatives)


def distinct_pairs(dtype):
    """Without x = y, where dist has a kink."""
    case = cases(2, dtype, 40, 16)
    return type(case)(*(a[(case.x != case.y).any(-1)] for a in case))


@pytest.mark.parametrize("name", ["dist", *MAPS])
@pytest.mark.quick("float64-transport", "float32-dist")
def test_derivatives_against_differences(name, dtype):
    """Of both orders, along lines that move the points, the vector and the curvature at once."""
    case = distinct_pairs(dtype)
    rng = np.random.default_rng(2)
    room = 1 - np.sqrt(case.c.astype(float)) * np.linalg.norm(case.x, axis=-1)
    arguments = (*select(case, name), case.c)
    direction = tuple(
        (rng.standard_normal(a.shape) * room.reshape(-1, *[1] * (a.ndim - 1))).astype(dtype)
        for a in arguments
    )
    _, *derivatives = along_line(name)(arguments, direction)
    for order, value in enumerate(derivatives, 1):

        def reference(*arguments, order=order):
            return oracle.derivative(
                getattr(oracle, name),
                arguments[:-1],
                arguments[-1],
                direction[:-1],
                direction[-1],
                order,
            )

        error = oracle.relative_error(value, reference(*arguments))
        bound = allowed(reference, arguments[:-1], arguments[-1], np.finfo(dtype).eps, times=16)
        assert (error <= np.maximum(bound, tolerance(dtype, 1e-4, 1e-9))).all(), order


SPECIAL = {  # |x|, |y|, |v| in the unit ball; None: y = x
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
    """x, y, v, one row for each special case."""
    rng = np.random.default_rng(3)
    a, b, e = (g / np.linalg.norm(g) for g in rng.standard_normal((3, d)))
    x = [s * a for s, _, _ in SPECIAL.values()]
    y = [s * a if t is None else t * b for s, t, _ in SPECIAL.values()]
    v = [u * e for _, _, u in SPECIAL.values()]
    return tuple(np.asarray(p, dtype) for p in (x, y, v))


@pytest.mark.parametrize("space", [poincare, hyperboloid], ids=["ball", "hyperboloid"])
@pytest.mark.slow
def test_two_derivatives_are_finite(space):
    """Forward over reverse mode of every function up to the edge, in float32, the first to overflow."""
    dtype = np.float32
    x, y, v = special_points(dtype)
    if space is hyperboloid:
        factor = poincare.conformal_factor(x, 1.0)[:, None]
        x, y = poincare.to_hyperboloid(x, 1.0), poincare.to_hyperboloid(y, 1.0)
        v = hyperboloid.from_frame(x, factor * v, 1.0)
    arrays = {"x": x, "y": y, "v": v, "c": np.ones(len(SPECIAL), dtype)}

    def total(arrays):
        results = [
            getattr(space, name)(*(arrays[k] for k in keys), arrays["c"])
            for name, keys in ARGUMENTS.items()
        ]
        return sum(
            jnp.sum(r * jnp.cos(jnp.arange(r.size, dtype=r.dtype)).reshape(r.shape))
            for r in results
        )

    ones = jax.tree.map(jnp.ones_like, arrays)
    second = jax.jit(functools.partial(jax.jvp, jax.grad(total)), compiler_options=FAST)
    with jax.debug_nans(True):
        for leaf in jax.tree.leaves(second((arrays,), (ones,))):
            assert leaf.dtype == dtype
            finite = np.isfinite(leaf).reshape(len(SPECIAL), -1).all(-1)
            assert finite.all(), [name for name, ok in zip(SPECIAL, finite, strict=True) if not ok]


def test_differential_of_logmap_at_its_base_point(dtype):
    """d log_x(y) / dy = I at y = x, and of logmap0 at the origin, in both modes."""
    x = special_points(dtype)[0] / dtype(np.sqrt(0.7) * (1 + 1e-6))

    @jax.jit
    def jacobians(x):
        at_x, at_0 = (lambda y: poincare.logmap(x, y, 0.7)), (lambda y: poincare.logmap0(y, 0.7))
        modes = (jax.jacfwd, jax.jacrev)
        return [mode(at_x)(x) for mode in modes] + [mode(at_0)(jnp.zeros_like(x)) for mode in modes]

    for jacobian in jax.vmap(jacobians)(x):
        np.testing.assert_allclose(
            jacobian, np.broadcast_to(np.eye(3), jacobian.shape), atol=tolerance(dtype, 1e-6, 1e-14)
        )


@pytest.mark.quick("float32")
def test_hessian_of_sqdist_at_coincident_points(dtype):
    """2 lambda_x^2 I, from the origin to the edge, forward over reverse and reverse over forward."""
    c = dtype(1.4)
    x = special_points(dtype)[0] / dtype(np.sqrt(1.4) * (1 + 1e-6))
    expected = 2 * oracle.conformal_factor(x, c).astype(float)[:, None, None] ** 2 * np.eye(3)

    @jax.jit
    def hessians(x):
        modes = ((jax.jacfwd, jax.jacrev), (jax.jacrev, jax.jacfwd))
        return [outer(inner(lambda y: poincare.sqdist(x, y, c)))(x) for outer, inner in modes]

    for hessian in jax.vmap(hessians)(x):
        error = np.abs(hessian - expected).max((1, 2)) / expected.max((1, 2))
        assert error.max() <= tolerance(dtype, 1e-5, 1e-13)


# ------------------------------------------------------------------------------------------------------
# The limit c -> 0
# ------------------------------------------------------------------------------------------------------


@pytest.mark.quick("float32")
def test_flat_limit(dtype):
    """R^d with 4 times the Euclidean metric; derivatives in c have their limits too."""
    case = distinct_pairs(dtype)
    x, y, v = case.x, case.y, case.v
    c = np.resize(np.asarray([1e-8, 1e-12, 1e-30], dtype), len(x))
    flat = {
        "dist": 2 * np.linalg.norm(y - x, axis=-1),
        "logmap": y - x,
        "expmap": x + v,
        "transport": v,
    }
    for name, limit in flat.items():
        arguments = select(case, name)
        still = tuple(np.zeros_like(a) for a in arguments)
        value, slope, _ = along_line(name)((*arguments, c), (*still, np.ones_like(c)))
        np.testing.assert_allclose(value, limit, rtol=1e-6, atol=2e-6, err_msg=name)
        tiny = oracle.exact(c) * 1e-20  # central differences must not reach a negative c
        reference = oracle.derivative(getattr(oracle, name), arguments, c, still, tiny)
        reference = (reference.T / tiny).T.astype(float)
        scale = np.abs(reference).max()
        np.testing.assert_allclose(
            slope, reference, rtol=0, atol=tolerance(dtype, 2e-6, 1e-13) * scale, err_msg=name
        )
