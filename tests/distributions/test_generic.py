"""Every distribution: normalized, samples and density agree, batches, derivatives, transformations."""

import functools
import math

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from geodl.distributions import (
    RiemannianNormal,
    Uniform,
    VonMisesFisher,
    WrappedNormal,
)
from geodl.manifolds import SO3, Euclidean, Hyperboloid, PoincareBall, Product, Sphere, Torus
from tests.distributions.cases import DISTRIBUTIONS, PLANE, jit


SAMPLES = 20_000


@functools.cache
def sampled(name):
    """Draws (SAMPLES, batch, ...), their log-densities, and the log_prob, compiled for that shape."""
    case, arguments = DISTRIBUTIONS[name], {"seed": jax.random.key(1), "sample_shape": SAMPLES}

    @jit
    def draw(params):
        q = case.make(params)
        return q.sample(**arguments), *q.sample_and_log_prob(**arguments)

    alone, z, log_p = draw(case.params)
    jax.tree.map(np.testing.assert_array_equal, alone, z)
    log_prob = jit(lambda params, z: case.make(params).log_prob(z))
    return z, log_p, functools.partial(log_prob, case.params)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.quick(
    "wrapped sphere", "wrapped product", "wrapped torus", "von mises-fisher 2", "uniform 3"
)
def test_density_of_samples_is_the_density(name):
    case = DISTRIBUTIONS[name]
    z, log_p, log_prob = sampled(name)
    q = jit(case.make)(case.params)
    assert log_p.shape == (SAMPLES, *q.batch_shape) and log_p.dtype == jnp.float32
    jax.tree.map(
        lambda x, s: np.testing.assert_equal(x.shape, (SAMPLES, *q.batch_shape, *s)),
        z,
        q.event_shape,
    )
    error = np.abs(np.asarray(log_prob(z) - log_p))
    # far out a float32 point carries its distance to eps exp(distance): the rare draws there differ
    assert np.mean(error) < 2e-5 and np.quantile(error, 0.999) < 1e-3


# ---------------------------------------------------------------------------------------------------
# d = 2: quadrature
# ---------------------------------------------------------------------------------------------------

RINGS = np.array([0, 0.1, 0.2, 0.35, 0.6, 1.0])  # panels of the first coordinate, 25 nodes each
SECTORS = 8  # of the second one, 20 nodes each


def polar_grid(reach):
    """Nodes a (n, 2) in the disc, weights r dr dphi, and the cell of each node."""
    node, weight = np.polynomial.legendre.leggauss(25)
    half = np.diff(RINGS)[:, None] / 2 * reach
    r = (RINGS[:-1, None] * reach + half * (1 + node)).ravel()
    phi = (np.arange(20 * SECTORS) + 0.5) * 2 * np.pi / (20 * SECTORS)
    a = r[:, None, None] * np.stack([np.cos(phi), np.sin(phi)], -1)
    weights = (half * weight).ravel()[:, None] * r[:, None] * np.full_like(phi, phi[1] - phi[0])
    a = a.reshape(-1, 2)
    return a.astype(np.float32), weights.ravel(), polar_cell(a, reach)


def polar_cell(a, reach):
    ring = np.searchsorted(RINGS * reach, np.linalg.norm(a, axis=-1)) - 1
    sector = np.floor(np.arctan2(a[..., 1], a[..., 0]) % (2 * np.pi) / (2 * np.pi) * SECTORS)
    return np.clip(ring, 0, 4) * SECTORS + np.clip(sector, 0, SECTORS - 1).astype(int)


def square_grid(reach):
    """The same for the square of the torus' angles, cells by quadrants."""
    x = (np.arange(125) + 0.5) / 125 * 2 * np.pi - np.pi
    y = (np.arange(160) + 0.5) / 160 * 2 * np.pi - np.pi
    a = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    return (
        a.astype(np.float32),
        np.full(len(a), (x[1] - x[0]) * (y[1] - y[0])),
        square_cell(a, reach),
    )


def square_cell(a, _):
    i = np.clip(np.floor((a[..., 0] + np.pi) / (2 * np.pi) * 5), 0, 4)
    j = np.clip(np.floor((a[..., 1] + np.pi) / (2 * np.pi) * 8), 0, 7)
    return (8 * i + j).astype(int)


@pytest.mark.parametrize("name", PLANE)
@pytest.mark.quick("wrapped sphere", "wrapped torus")
def test_density_integrates_to_one_and_is_that_of_the_samples(name):
    case = PLANE[name]
    z, _, log_prob = sampled(name)
    q = jit(case.make)(case.params)
    manifold = getattr(q, "manifold", Sphere(2))
    reach = np.pi if isinstance(manifold, Sphere) else 9 * np.max(case.params["scale"])
    torus = isinstance(manifold, Torus)
    grid, cell = (square_grid, square_cell) if torus else (polar_grid, polar_cell)
    a, weights, cells = grid(reach)

    v = manifold.from_frame(q.loc, a[:, None])
    volume = np.exp(np.asarray(manifold.logdetexp(q.loc, v), float)) * weights[:, None]
    mass = np.exp(np.asarray(log_prob(manifold.expmap(q.loc, v)), float)) * volume
    np.testing.assert_allclose(np.sum(mass, 0), 1, atol=1e-4)

    drawn = np.asarray(manifold.to_frame(q.loc, manifold.logmap(q.loc, z)))
    for lane in range(2):
        expected = SAMPLES * np.bincount(cells, mass[:, lane], 40)
        counts = np.bincount(cell(drawn[:, lane], reach), minlength=40)
        rare = expected < 8
        expected, counts = (
            np.append(x[~rare], x[rare].sum() + 1) for x in (expected, counts)
        )  # one more in both keeps the pooled cell from being empty
        p = stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue
        assert p > 1e-4, f"lane {lane}: p = {p}"


# ---------------------------------------------------------------------------------------------------
# Other dimensions: importance sampling from another distribution
# ---------------------------------------------------------------------------------------------------


def reference(name, q):
    """Points (SAMPLES, 2, ...) and log-densities of a distribution that covers the one of that name."""
    key = jax.random.key(4)
    if name == "wrapped so3":
        return SO3().random_uniform(key, (SAMPLES, 2)), -math.log(8 * math.pi**2)
    if name == "riemannian ball 5":
        wide = WrappedNormal(q.manifold, q.loc, 1.3 * q.scale)
        return jit(lambda q: q.sample_and_log_prob(seed=key, sample_shape=SAMPLES))(wide)
    uniform = Uniform(Sphere(q.event_shape[0] - 1))
    z = uniform.sample(seed=key, sample_shape=(SAMPLES, 2))
    return z, uniform.log_prob(z)


@pytest.mark.parametrize(
    "name", ["wrapped sphere 4", "wrapped so3", "riemannian ball 5", "von mises-fisher 5"]
)
@pytest.mark.quick("wrapped so3")
def test_density_by_importance_sampling(name):
    case = DISTRIBUTIONS[name]
    z, _, log_prob = sampled(name)
    x, log_q = reference(name, jit(case.make)(case.params))
    w = np.exp(np.asarray(log_prob(x) - log_q, float))
    z, x = (np.asarray(p, float).reshape(SAMPLES, 2, -1) for p in (z, x))
    weighted = np.concatenate([w[..., None], w[..., None] * x], -1)
    drawn = np.concatenate([np.ones((SAMPLES, 2, 1)), z], -1)
    variance = np.var(weighted, 0) + np.var(drawn, 0)
    difference = np.mean(weighted, 0) - np.mean(drawn, 0)
    assert np.max(np.abs(difference) / np.sqrt(variance / SAMPLES)) < 4.5
    assert np.max(np.std(w, 0)) < 8  # or else the check is weak


def test_product_density_is_the_product_of_densities():
    case = DISTRIBUTIONS["wrapped product"]
    z, log_p, _ = sampled("wrapped product")
    q = jit(case.make)(case.params)
    parts = [
        jit(lambda q, z: q.log_prob(z))(WrappedNormal(factor, loc, q.scale), point[:100])
        for factor, loc, point in zip(q.manifold.factors, q.loc, z, strict=True)
    ]
    np.testing.assert_allclose(parts[0] + parts[1], log_p[:100], atol=1e-4)


# ---------------------------------------------------------------------------------------------------
# Derivatives
# ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "wrapped ball",
        pytest.param("riemannian hyperboloid", marks=pytest.mark.slow),
        pytest.param("wrapped sphere", marks=pytest.mark.slow),
        pytest.param("von mises-fisher 5", marks=pytest.mark.slow),
    ],
)
def test_derivatives_in_all_parameters(name, x64):
    """Of samples, of their densities, and of log_prob at loc itself, against differences."""
    case = DISTRIBUTIONS[name]
    weight = jnp.asarray(np.random.default_rng(0).normal(size=8))

    def summary(params):
        q = case.make(params)
        z, log_p = q.sample_and_log_prob(seed=jax.random.key(3), sample_shape=5)
        at_loc = q.log_prob(q.loc)
        assert z.dtype == log_p.dtype == at_loc.dtype == jnp.float64
        return jnp.sum(weight[: z.shape[-1]] * z) + jnp.mean(log_p) + jnp.sum(at_loc)

    value_and_grad = jit(jax.value_and_grad(summary))
    params = {k: jnp.asarray(v, jnp.float64) for k, v in case.params.items()}
    gradient = value_and_grad(params)[1]
    for k in params:  # in turn, so that no wrong one hides behind the others
        direction = jnp.asarray(np.random.default_rng(1).normal(size=params[k].shape))
        up, down = (
            value_and_grad({**params, k: params[k] + h * direction})[0] for h in (1e-6, -1e-6)
        )
        slope = jnp.sum(gradient[k] * direction)
        np.testing.assert_allclose(slope, (up - down) / 2e-6, rtol=1e-5, atol=1e-6)
        assert jnp.all(gradient[k] != 0)


@pytest.mark.parametrize("place", ["at loc", "at the origin", "close", "apart", "on an axis"])
@pytest.mark.parametrize(
    ("family", "space"),
    [
        (WrappedNormal, PoincareBall(3, 1.3)),
        (WrappedNormal, Hyperboloid(3, 1.3)),
        (WrappedNormal, Sphere(3)),
        (RiemannianNormal, PoincareBall(3, 1.3)),
        (RiemannianNormal, Hyperboloid(3, 1.3)),
    ],
    ids=[
        "wrapped ball",
        "wrapped hyperboloid",
        "wrapped sphere",
        "riemannian ball",
        "riemannian hyperboloid",
    ],
)
@pytest.mark.quick("wrapped hyperboloid-close")
def test_second_derivatives_of_densities(family, space, place, x64):
    """In loc, point, scale and curvature at once, against differences of the gradient."""
    if place == "at loc" and isinstance(space, Sphere):
        pytest.skip("the windings of a wrapped normal have their pole there")
    a, b, *speeds = np.random.default_rng(0).normal(size=(4, 3))
    match place:
        case "at loc":
            b = a
        case "at the origin":
            a, b = 0 * a, 0.02 * b
        case "close":
            b = a + 0.02 * b
        case "on an axis":
            a, b = 2 * np.eye(3)[0], np.eye(3)[0]

    def log_prob(space, a, b, scale):
        origin = jax.tree.map(lambda o: o.astype(a.dtype), space.origin())
        q = family(space, space.expmap_frame(origin, a), scale)
        return q.log_prob(space.expmap_frame(origin, b))

    slope = jax.grad(log_prob, (0, 1, 2, 3))
    gradient, change = jit(slope), jit(lambda at, along: jax.jvp(slope, at, along)[1])
    at = jax.tree.map(jnp.float64, (space, a, b, 0.8))
    along = jax.tree.map(jnp.float64, (jax.tree.map(lambda c: 0.4, space), *speeds, 0.3))
    h = 1e-5
    after = gradient(*jax.tree.map(lambda p, v: p + h * v, at, along))
    before = gradient(*jax.tree.map(lambda p, v: p - h * v, at, along))
    difference = jax.tree.map(lambda p, m: (p - m) / (2 * h), after, before)
    exact = change(at, along)
    for e, d in zip(*map(jax.tree.leaves, (exact, difference)), strict=True):
        np.testing.assert_allclose(e, d, rtol=0, atol=1e-6 * (1 + np.abs(d).max()))


def test_density_at_loc_has_no_slope_there():
    ball = PoincareBall(3, 1.0)
    loc = jnp.array([0.2, -0.1, 0.3])
    slope = jit(jax.grad(lambda z: WrappedNormal(ball, loc, 0.5).log_prob(z)))(loc)
    np.testing.assert_allclose(slope, 0, atol=1e-6)


def test_far_samples_have_right_densities():
    """sqrt(c) r about 27 and more: past the float32 ball, so from the radius and not from the point."""
    dim, c, scale = 20, 1.4, 1.0

    @jit
    def draws():
        key = jax.random.key(0)
        distributions = [
            RiemannianNormal(space, space.origin(), scale)
            for space in (PoincareBall(dim, c), Hyperboloid(dim, c))
        ]
        (_, on_ball), (z, log_p) = (
            q.sample_and_log_prob(seed=key, sample_shape=200) for q in distributions
        )
        return (
            on_ball,
            z,
            log_p,
            distributions[1].log_prob(z),
            distributions[1].manifold.dist(distributions[1].loc, z),
        )

    on_ball, z, log_p, log_prob, r = draws()
    assert np.mean(r) * np.sqrt(c) > 26 and np.all(np.isfinite(z))
    np.testing.assert_array_equal(on_ball, log_p)
    np.testing.assert_allclose(log_prob, log_p, rtol=1e-5)


# ---------------------------------------------------------------------------------------------------
# Transformations
# ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda s: WrappedNormal(PoincareBall(2, s), jnp.zeros(2), s),
        lambda s: RiemannianNormal(Hyperboloid(2, 1.0), jnp.eye(3)[0], s),
        lambda s: VonMisesFisher(jnp.eye(3)[0], s),
    ],
)
def test_one_trace_for_all_parameters(make):
    traces = []

    @jax.jit
    def leaves_of(q):
        traces.append(q)
        return jax.tree.leaves(q)

    for s in (0.5, 0.7, 1.2):  # Python floats too are data, not structure
        assert s in [
            np.float32(s).item() and s for leaf in leaves_of(make(s)) if np.isclose(leaf, s).all()
        ]
    assert len(traces) == 1


def test_vmap_and_broadcasting_agree():
    c = jnp.array([0.5, 1.5])
    loc = jnp.array([[0.1, 0.2], [-0.3, 0.1]])
    scale = jnp.array([[0.3], [0.8]])
    z = jnp.array([0.4, 0.1])
    for family in (WrappedNormal, RiemannianNormal):

        def make(c, loc, scale, family=family):
            return family(PoincareBall(2, c), loc, scale)

        batch = make(c, loc, scale)
        assert batch.batch_shape == (2,)
        each = jit(jax.vmap(lambda *p: make(*p).log_prob(z)))(c, loc, scale)
        np.testing.assert_allclose(jit(make(c, loc, scale).log_prob)(z), each, rtol=1e-5)
        mapped = jax.vmap(make)(c, loc, scale)  # a record out of vmap
        np.testing.assert_allclose(mapped.scale, scale)
        # all three batches broadcast
        assert make(c, loc[:, None], scale[:, None, None]).batch_shape == (2, 2, 2)


def test_scan_carries_a_distribution():
    def body(q, key):
        z = q.sample(seed=key)
        return WrappedNormal(q.manifold, z, q.scale), z

    q = WrappedNormal(Sphere(2), jnp.eye(3)[0], 0.1)
    last, path = jit(lambda q: jax.lax.scan(body, q, jax.random.split(jax.random.key(0), 4)))(q)
    np.testing.assert_array_equal(last.loc, path[-1])


@pytest.mark.parametrize(
    "components",
    [
        lambda: WrappedNormal(
            PoincareBall(2, 1.2),
            jnp.array([[0.1, 0.2], [-0.3, 0.1], [0.5, 0.0]]),
            jnp.full((3, 1), 0.4),
        ),
        lambda: VonMisesFisher(jnp.eye(3), jnp.array([1.0, 5.0, 30.0])),
    ],
)
def test_mixtures_and_independent(components):
    parts, logits = components(), jnp.log(jnp.array([0.2, 0.5, 0.3]))

    @jit
    def evaluate(parts, logits):
        q = distrax.MixtureSameFamily(distrax.Categorical(logits=logits), parts)
        z = q.sample(seed=jax.random.key(0), sample_shape=7)
        joint = distrax.Independent(parts, 1)
        return z, q.log_prob(z), parts.log_prob(z[:, None]), joint.log_prob(z[:, None])

    z, mixed, each, joint = evaluate(parts, logits)
    assert z.shape == (7, *parts.event_shape)
    np.testing.assert_allclose(mixed, special.logsumexp(each + logits, -1), rtol=1e-5)
    np.testing.assert_allclose(joint, np.sum(each, -1), rtol=1e-5)


def test_half_precision_parameters_are_computed_in_float32():
    q = WrappedNormal(Euclidean(2), jnp.zeros(2, jnp.bfloat16), jnp.ones((), jnp.bfloat16))
    assert q.sample(seed=0).dtype == q.log_prob(jnp.ones(2)).dtype == jnp.float32


# ---------------------------------------------------------------------------------------------------
# Named facts
# ---------------------------------------------------------------------------------------------------


def test_wrapped_normal_scale_is_per_direction_of_the_frame():
    loc, scale = jnp.array([0.4, -0.2]), jnp.array([0.5, 0.1])
    ball = PoincareBall(2, 1.0)
    q = WrappedNormal(ball, loc, scale)
    z = ball.expmap(loc, ball.from_frame(loc, jnp.array([0.7, 0.05])))
    normal = stats.norm.logpdf([0.7, 0.05], scale=scale).sum()
    r = np.hypot(0.7, 0.05)
    np.testing.assert_allclose(q.log_prob(z), normal - np.log(np.sinh(r) / r), rtol=1e-4)
    np.testing.assert_array_equal(q.mean(), loc)


def test_wound_normal_on_the_circle_is_uniform_at_large_scale():
    angle = WrappedNormal(Torus(1), jnp.zeros(1), 3.0)
    circle = WrappedNormal(Sphere(1), jnp.array([1.0, 0.0]), 3.0)
    z = jnp.linspace(-3.0, 3.0, 7)[:, None]
    ripple = 1 + 2 * np.exp(-4.5) * np.cos(z[:, 0])  # the Fourier series of the wound normal
    on_circle = jnp.concatenate([jnp.cos(z), jnp.sin(z)], -1)
    for q, points in ((angle, z), (circle, on_circle)):
        log_p = jit(lambda q, x: q.log_prob(x))(q, points)
        np.testing.assert_allclose(jnp.exp(log_p), ripple / (2 * np.pi), rtol=1e-4)


# ---------------------------------------------------------------------------------------------------
# Bad input
# ---------------------------------------------------------------------------------------------------

ORIGIN = np.eye(3, dtype=np.float32)[0]
BALL = PoincareBall(2, 1.0)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (
            lambda: WrappedNormal(BALL, jnp.zeros(2), -0.5),
            ValueError,
            "scale must be positive.*-0.5",
        ),
        (
            lambda: WrappedNormal(BALL, jnp.zeros(2), jnp.nan),
            ValueError,
            "scale must be positive.*nan",
        ),
        (lambda: WrappedNormal(BALL, jnp.zeros(3), 0.5), ValueError, r"\(2,\).*\(3,\)"),
        (lambda: WrappedNormal(BALL, jnp.zeros(2), jnp.ones(3)), ValueError, r"1 or 2.*\(3,\)"),
        (lambda: WrappedNormal(BALL, jnp.ones(2), 0.5), ValueError, "open ball"),
        (lambda: WrappedNormal(Sphere(2), 2 * ORIGIN, 0.5), ValueError, "unit sphere"),
        (lambda: WrappedNormal(Product(BALL, BALL), (jnp.zeros(2),), 0.5), ValueError, "2"),
        (
            lambda: RiemannianNormal(BALL, jnp.zeros(2), 0.0),
            ValueError,
            "scale must be positive.*0.0",
        ),
        (
            lambda: RiemannianNormal(BALL, jnp.zeros(2), jnp.ones(2)),
            ValueError,
            r"last axis of 1.*\(2,\)",
        ),
        (
            lambda: RiemannianNormal(Sphere(2), ORIGIN, 0.5),
            ValueError,
            "simply connected, got Sphere",
        ),
        (lambda: VonMisesFisher(ORIGIN, -1.0), ValueError, "concentration.*-1.0"),
        (lambda: VonMisesFisher(2 * ORIGIN, 1.0), ValueError, "unit sphere"),
        (lambda: VonMisesFisher(jnp.ones(1), 1.0), ValueError, r"\(1,\)"),
        (lambda: VonMisesFisher(ORIGIN, 1.0).log_prob(jnp.ones(2)), ValueError, r"\(3,\).*\(2,\)"),
    ],
)
def test_bad_input(build, error, message):
    with pytest.raises(error, match=message):
        build()
