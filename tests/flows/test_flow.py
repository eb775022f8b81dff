import functools

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl import flows
from geodl.distributions import Uniform, VonMisesFisher, WrappedNormal
from geodl.manifolds import Hyperboloid, Sphere, Torus
from tests.flows.problem import from_origin, jit, points, random_field, sphere_quadrature


def make_flow(name, params=None, **options):
    manifold, field, initial = random_field(name)
    origin = manifold.origin()
    compact = name not in ("ball", "hyperboloid", "euclidean")
    base = Uniform(manifold) if compact else WrappedNormal(manifold, origin, 0.7)
    return flows.ContinuousFlow(base, field, initial if params is None else params, **options)


log_prob = jit(lambda flow, x: flow.log_prob(x))


def test_random_fields_on_the_sphere_integrate_to_one():
    x, weights = sphere_quadrature()
    total = weights @ np.exp(np.asarray(log_prob(make_flow("sphere"), x), float))
    np.testing.assert_allclose(total, 1, atol=1e-4)


@pytest.mark.slow
def test_random_fields_on_the_torus_integrate_to_one():
    angle = (np.arange(48) + 0.5) / 48 * 2 * np.pi - np.pi
    x = np.stack(np.meshgrid(angle, angle), -1).reshape(-1, 2).astype(np.float32)
    density = np.exp(np.asarray(log_prob(make_flow("torus"), x), float))
    np.testing.assert_allclose(density.mean() * (2 * np.pi) ** 2, 1, atol=1e-3)


@pytest.mark.slow
def test_random_fields_on_the_disk_integrate_to_one():
    """In geodesic polar coordinates, up to where the rest is below 1e-4."""
    flow = make_flow("ball")
    node, weight = np.polynomial.legendre.leggauss(48)
    r, weight = 4 * (1 + node), 4 * weight
    phi = (np.arange(64) + 0.5) / 64 * 2 * np.pi
    a = r[:, None, None] * np.stack([np.cos(phi), np.sin(phi)], -1)
    x = from_origin(flow.manifold, a.reshape(-1, 2).astype(np.float32))
    root = np.sqrt(flow.manifold.c)
    area = np.repeat(weight * np.sinh(root * r) / root, 64) * 2 * np.pi / 64
    np.testing.assert_allclose(area @ np.exp(np.asarray(log_prob(flow, x), float)), 1, atol=1e-3)


@pytest.mark.parametrize("name", ["hyperboloid", "product"])
@pytest.mark.slow
def test_samples_have_their_density(name):
    @jit
    def compute(flow, key):
        x, log_p = flow.sample_and_log_prob(seed=key, sample_shape=50)
        return x, flow.manifold.project(x), log_p, flow.log_prob(x)

    x, projected, log_p, expected = compute(make_flow(name), jax.random.key(1))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), x, projected)
    np.testing.assert_allclose(log_p, expected, atol=2e-3)


@pytest.mark.slow
def test_paths_go_from_the_base_to_the_samples(key):
    @jit
    def compute(flow, key):
        x0 = flow.base.sample(seed=key, sample_shape=4)
        legs = flow.path(x0, jnp.linspace(0.0, 1.0, 4))
        return x0, legs, flow.path(x0, jnp.array([0.0, 1.0])), flow.sample(seed=key, sample_shape=4)

    x0, legs, whole, samples = compute(make_flow("product"), key)
    for start, leg, ends, sample in zip(x0, legs, whole, samples, strict=True):
        assert leg.shape == (4, *sample.shape)
        np.testing.assert_array_equal(leg[0], start)
        np.testing.assert_allclose(leg[-1], ends[-1], atol=1e-4)


@pytest.mark.optimized
def test_error_and_cost_are_told():
    flow, x = make_flow("sphere"), points(Sphere(2), 20)
    (log_p, error), (same, stats) = jit(
        lambda flow, x: (flow.log_prob_and_error(x), flow.log_prob_and_stats(x))
    )(flow, x)
    np.testing.assert_array_equal(log_p, same)
    assert 0 < np.max(error) < 1e-3 and stats.success and 10 < stats.evaluations < 500


@pytest.mark.optimized
@pytest.mark.parametrize("name", ["sphere", "killing", "so3", "torus", "ball", "hyperboloid"])
@pytest.mark.quick()
@pytest.mark.parametrize("factor", [1, 4])
def test_likelihoods_are_exact_to_the_promise(name, factor):
    """Of every point, in a batch, alone and among many easy ones, of smooth and of wild fields."""
    manifold, _, params = random_field(name)
    last = jax.tree.map(lambda a: factor * a, params["layers"][3])
    params = {"layers": params["layers"] | {3: last}}
    a = np.random.default_rng(8).normal(size=(200, manifold.dim))
    radius = np.linspace(0, 4 if name in ("ball", "hyperboloid") else 3, 200)
    a *= (radius / np.linalg.norm(a, axis=1))[:, None]
    x = from_origin(manifold, np.float32(a))
    together, stats = log_prob_and_stats(make_flow(name, params), x)
    few = log_prob_and_stats(make_flow(name, params), x[-2:])[0]
    crowd = jnp.concatenate([x[-2:], *[x[:1]] * 500])
    crowded = log_prob_and_stats(make_flow(name, params), crowd)[0][:2]
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), jnp.float64), (params, x))
        flow = make_flow(name, wide[0], solver=flows.Tsit5(1e-10, 1e-10))
        expected = log_prob_and_stats(flow, wide[1])[0]
    np.testing.assert_allclose(together, expected, rtol=2e-5, atol=1e-4 * max(1, factor / 2))
    for found in (few, crowded):
        np.testing.assert_allclose(found, expected[-2:], rtol=2e-5, atol=1e-4 * max(1, factor / 2))
    assert stats.evaluations < 300


log_prob_and_stats = jit(lambda flow, x: flow.log_prob_and_stats(x))


def test_few_fixed_steps_warn():
    flow, x = make_flow("sphere", solver=flows.RK4(8)), points(Sphere(2), 5)
    with pytest.warns(UserWarning, match="8 RK4 steps"):
        jax.eval_shape(lambda flow, x: flow.log_prob(x), flow, x)


@pytest.mark.slow
def test_likelihood_over_seeds():
    """One field for each seed, by vmap: as one after the other; gradients are finite; one trace."""
    manifold, field, _ = random_field("sphere")
    params = jax.vmap(field.init)(jax.random.split(jax.random.key(3), 2))
    x, traces = points(manifold, 10), []

    @jit
    def both(params, x):
        traces.append(1)

        def loss(p):
            return jnp.mean(flows.nll(make_flow("sphere", p, solver=flows.RK4(16)), x))

        return jax.vmap(jax.value_and_grad(loss))(params)

    losses, grads = both(params, x)
    both(params, x)
    assert len(traces) == 1
    alone = make_flow("sphere", jax.tree.map(lambda a: a[1], params))
    np.testing.assert_allclose(losses[1], -np.mean(log_prob(alone, x)), atol=2e-3)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))


@pytest.mark.slow
def test_gradient_of_the_likelihood_is_that_of_finite_differences():
    manifold, _, params = random_field("sphere")
    x, rng = points(manifold, 10), np.random.default_rng(7)
    direction = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), a.dtype), params)

    def along(s):
        moved = jax.tree.map(lambda p, d: p + s * d, params, direction)
        return jnp.mean(flows.nll(make_flow("sphere", moved), x))

    value = jit(lambda s: (along(s), jax.grad(along)(s)))
    step = 5e-3
    slope = (value(step)[0] - value(-step)[0]) / (2 * step)
    np.testing.assert_allclose(value(0.0)[1], slope, rtol=2e-2)


@pytest.mark.slow
def test_reverse_kl_of_a_still_field_is_that_of_the_base(key):
    """The uniform distribution against a von Mises-Fisher one: log C - log area; a still path has no energy."""
    manifold, _, params = random_field("sphere")
    target = VonMisesFisher(manifold.origin(), 2.0)
    still = jax.tree.map(jnp.zeros_like, params)

    @functools.partial(jit, static_argnums=1)
    def divergences(params, kinetic):
        return flows.reverse_kl(make_flow("sphere", params), target.log_prob, key, 4000, kinetic)

    found = divergences(still, 1.0)
    expected = np.log(np.sinh(2.0) / 2.0)
    assert abs(np.mean(found) - expected) < 4 * np.std(found) / np.sqrt(4000)
    energy = np.asarray(divergences(params, 1.0) - divergences(params, 0.0))
    assert energy.min() > 0


SOLVERS = [flows.Tsit5(), flows.RK4(64)]


@pytest.mark.quick("RK4")
@pytest.mark.parametrize("solver", SOLVERS, ids=["Tsit5", "RK4"])
def test_no_points(solver, key):
    """Empty batches in, empty batches out."""
    flow, none = make_flow("sphere", solver=solver), jnp.zeros((2, 0, 3))
    log_p, error = flow.log_prob_and_error(none)
    assert log_p.shape == error.shape == (2, 0)
    x, log_p = flow.sample_and_log_prob(seed=key, sample_shape=(2, 0))
    assert x.shape == (2, 0, 3) and log_p.shape == (2, 0)
    assert flow.path(none, jnp.linspace(0.0, 1.0, 3)).shape == (3, 2, 0, 3)


@pytest.mark.quick("RK4")
@pytest.mark.parametrize("solver", SOLVERS, ids=["Tsit5", "RK4"])
def test_single_precision_where_double_is_switched_on(solver, x64):
    flow, x = make_flow("sphere", solver=solver), points(Sphere(2), 3)
    results = jax.eval_shape(
        lambda x: (
            flow.log_prob(x),
            flow.path(x, np.linspace(0, 1, 3)),
            jax.grad(lambda x: jnp.sum(flows.nll(flow, x)))(x),
        ),
        x,
    )
    assert {a.dtype for a in results} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("name", "x"),
    [
        ("sphere", np.ones(3)),
        ("sphere", np.zeros((2, 3))),
        ("so3", 2 * np.eye(3)),
        ("ball", np.array([2.0, 0.0])),
        ("hyperboloid", np.array([2.0, 0.0, 0.0])),
        ("product", (np.zeros((2, 1)), np.stack([np.eye(3), -np.eye(3)]))),
    ],
)
def test_points_off_the_manifold_are_refused(name, x):
    flow, x = make_flow(name), jax.tree.map(np.float32, x)
    for evaluate in (flow.log_prob, flow.log_prob_and_error):
        with pytest.raises(ValueError, match=r"must (lie|be)"):
            evaluate(x)
    with pytest.raises(ValueError, match=r"must (lie|be)"):
        flows.nll(flow, x)


def test_integers_are_points():
    flow = make_flow("sphere")
    x = np.eye(3)[:2]
    np.testing.assert_array_equal(flow.log_prob(x.astype(int)), flow.log_prob(x.astype(np.float32)))


@pytest.mark.parametrize("solver", SOLVERS, ids=["Tsit5", "RK4"])
@pytest.mark.parametrize("name", ["sphere", "so3", "torus", "ball", "hyperboloid", "product"])
@pytest.mark.quick("torus-RK4")
def test_parameters_that_are_no_numbers_are_seen(name, solver, key):
    """Samples, densities and gradients are NaN, not one healthy point; eagerly and under jit."""
    params = jax.tree.map(lambda a: jnp.full_like(a, jnp.nan), random_field(name)[2])
    flow = make_flow(name, params, solver=solver)
    x = points(flow.manifold, 2)

    def compute(flow, x, key):
        return (
            flow.sample_and_log_prob(seed=key, sample_shape=2),
            flow.log_prob(x),
            flow.field(0.3, x),
        )

    for results in (compute(flow, x, key), jit(compute)(flow, x, key)):
        assert all(np.isnan(a).all() for a in jax.tree.leaves(results))


def test_bad_bases():
    manifold, field, params = random_field("sphere")
    with pytest.raises(ValueError, match=r"\(3,\).*got \(4,\)"):
        flows.ContinuousFlow(Uniform(Sphere(3)), field, params)
    batch = VonMisesFisher(manifold.origin(), jnp.ones(2))
    with pytest.raises(ValueError, match=r"no batch shape.*\(2,\)"):
        flows.ContinuousFlow(batch, field, params)


@pytest.mark.parametrize("base", ["sphere", "torus", "hyperboloid", "hyperboloid of c = 1"])
@pytest.mark.parametrize("field", ["sphere", "torus", "hyperboloid"])
def test_base_and_field_are_on_one_manifold(base, field):
    """All of these have points (3,), so that shapes alone do not tell them apart."""
    spaces = {
        "sphere": Sphere(2),
        "torus": Torus(3),
        "hyperboloid": Hyperboloid(2, 0.7),
        "hyperboloid of c = 1": Hyperboloid(2, 1.0),
    }
    space = spaces[base]
    q = WrappedNormal(space, space.origin(), 0.5)
    made = flows.vector_field(spaces[field], width=8, depth=1, frequencies=0)
    params = made.init(jax.random.key(0))
    if base == field:
        assert flows.ContinuousFlow(q, made, params).manifold == spaces[field]
    else:
        with pytest.raises(ValueError, match=rf"one manifold.*{type(space).__name__}"):
            flows.ContinuousFlow(q, made, params)


def test_a_base_without_a_manifold_is_taken_by_its_shape():
    _, field, params = random_field("euclidean")
    base = distrax.Independent(distrax.Normal(jnp.zeros(3), 1.0), 1)
    assert flows.ContinuousFlow(base, field, params).event_shape == (3,)


def test_nll_is_minus_the_log_density():
    _, field, params = random_field("euclidean")
    base = distrax.Independent(distrax.Normal(jnp.zeros(3), 1.0), 1)
    flow, x = flows.ContinuousFlow(base, field, params), points(field.manifold, 4)
    np.testing.assert_allclose(jit(flows.nll)(flow, x), -log_prob(flow, x), rtol=1e-5)
    np.testing.assert_allclose(flows.nll(base, x), -base.log_prob(x))
