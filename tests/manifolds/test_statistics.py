"""Means and what stands on them: geomstats in float64, finite differences, scipy, closed forms."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares

from geodl.manifolds import (
    SO3,
    Euclidean,
    Grassmann,
    Hyperboloid,
    PoincareBall,
    Product,
    Sphere,
    statistics,
)
from tests import _geomstats as geomstats
from tests.manifolds.spaces import EVERY_SPACE, NEWER, assert_close, components, reach


NAMES = ("ball", "hyperboloid", "sphere", "so3", "product", "foreign", *NEWER)
CURVED = {name: EVERY_SPACE[name] for name in NAMES}


def cloud(space, n, dtype=np.float64, seed=0, around=1.0, spread=0.9):
    """Points about one off the origin, near enough for a unique mean, and weights."""
    spread = min(spread, 0.4 * reach(space))
    center = space.expmap_frame(space.origin(dtype), around * jnp.eye(space.dim, dtype=dtype)[0])
    rng = np.random.default_rng(seed)
    a = components(seed + 1, (n, space.dim), spread).astype(dtype)
    weights = rng.uniform(0.1, 1, n).astype(dtype)
    row = jax.tree.map(lambda p: p[None], center)
    return space.expmap_frame(row, a), weights


mean = jax.jit(statistics.frechet_mean, static_argnames=("tolerance", "max_steps"))


@pytest.mark.quick("sphere")
@pytest.mark.parametrize(
    ("space", "reference"),
    [
        (Sphere(3), lambda: geomstats.Hypersphere(3)),
        (Hyperboloid(3, 1.0), lambda: geomstats.Hyperboloid(3)),
        (SO3(), lambda: geomstats.SpecialOrthogonal(3)),
    ],
    ids=["sphere", "hyperboloid", "so3"],
)
def test_the_mean_is_that_of_geomstats(space, reference, x64):
    from geomstats.learning.frechet_mean import FrechetMean

    points, weights = cloud(space, 40)
    theirs = FrechetMean(reference()).set(epsilon=1e-12, max_iter=200)
    found = mean(space, points, weights)
    assert found.converged
    expected = theirs.fit(np.asarray(points), weights=weights).estimate_
    assert space.dist(found.point, expected) < 1e-5  # where theirs stops


@pytest.mark.slow
@pytest.mark.parametrize("name", CURVED)
def test_a_thousand_points_in_float32(name, x64):
    space = CURVED[name]
    points, weights = cloud(space, 1000)
    single, w = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), (points, weights))
    found, exact = mean(space, single, w), mean(space, points, weights)
    assert found.converged and exact.converged and exact.residual < 1e-13
    assert space.dist(jax.tree.map(lambda p: p.astype(float), found.point), exact.point) < 1e-6
    logs = space.logmap_frame(jax.tree.map(lambda p: p[None], exact.point), points)
    np.testing.assert_allclose(weights @ logs / weights.sum(), 0, atol=1e-13)
    variance = weights @ np.sum(np.square(logs), -1) / weights.sum()
    np.testing.assert_allclose(statistics.frechet_variance(space, points, weights), variance)


@pytest.mark.slow
@pytest.mark.parametrize("name", CURVED)
def test_derivatives_in_points_weights_and_curvature(name, x64):
    """Reverse and forward mode against central differences."""
    space = CURVED[name]
    points, weights = cloud(space, 6)
    rng = np.random.default_rng(2)
    direction = rng.normal(size=(6, space.dim)), rng.normal(size=6)
    leaves, tree = jax.tree.flatten(space)

    @jax.jit
    def moved(t):
        bent = tree.unflatten([c * (1 + 0.3 * t) for c in leaves])
        ends = space.expmap_frame(points, t * direction[0])
        ends = ends if name != "hyperboloid" else bent.project(ends)
        found = statistics.frechet_mean(bent, ends, weights * jnp.exp(t * direction[1])).point
        return jnp.concatenate([jnp.ravel(p) for p in jax.tree.leaves(found)])

    h = 1e-4
    expected = (moved(h) - moved(-h)) / (2 * h)
    assert np.max(np.abs(expected)) > 0.01
    np.testing.assert_allclose(jax.jit(jax.jacfwd(moved))(0.0), expected, atol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.jacrev(moved))(0.0), expected, atol=1e-6)
    if name == "ball":
        second = (moved(h) - 2 * moved(0.0) + moved(-h)) / h**2
        np.testing.assert_allclose(jax.jit(jax.jacfwd(jax.jacfwd(moved)))(0.0), second, atol=1e-4)


@pytest.mark.slow
def test_sets_along_leading_axes():
    space = Product(PoincareBall(2), Sphere(2))
    points, weights = cloud(space, 24, np.float32)
    sets = jax.tree.map(lambda p: p.reshape(2, 3, 4, *p.shape[1:]), points)
    weights = weights.reshape(2, 3, 4)
    found = mean(space, sets, weights)
    alone = mean(space, jax.tree.map(lambda p: p[1, 2], sets), weights[1, 2])
    assert_close(jax.tree.map(lambda p: p[1, 2], found.point), alone.point, 1e-6)
    assert found.steps.shape == (2, 3) and found.steps[1, 2] == alone.steps


def test_points_far_apart_in_hyperbolic_space():
    """Where a step along the whole mean logarithm overshoots: the Hessian is about the distance."""
    ball = PoincareBall(2)
    angles = 2 * np.pi * np.array([0, 1, 2.2]) / 3
    tips = ball.expmap_frame(
        np.zeros(2, np.float32), 12 * np.stack([np.cos(angles), np.sin(angles)], -1)
    )
    found = mean(ball, tips)
    assert found.converged and found.steps < 60


def test_what_has_not_converged_says_so():
    sphere = Sphere(2)
    points, _ = cloud(sphere, 9, np.float32)
    assert not mean(sphere, points, max_steps=1).converged
    poles = jnp.array([[1.0, 0, 0], [-1, 0, 0]])
    between = mean(sphere, poles, start=jnp.array([0.0, 0.6, 0.8]))
    np.testing.assert_allclose(between.point, [0, 0.6, 0.8], atol=1e-6)
    assert np.isnan(mean(sphere, points.at[0, 0].set(jnp.nan)).point).all()


def test_bad_sets_are_named():
    ball, points = PoincareBall(2), jnp.zeros((3, 2))
    with pytest.raises(ValueError, match="at least one point"):
        statistics.frechet_mean(ball, points[:0])
    with pytest.raises(ValueError, match=r"weights must be at least 0, got -1"):
        statistics.frechet_mean(ball, points, jnp.array([1.0, -1.0, 1.0]))
    with pytest.raises(ValueError, match="must not all be 0"):
        statistics.frechet_mean(ball, points, jnp.zeros(3))
    with pytest.raises(ValueError, match=r"weights are one for each point, \(3,\), got \(4,\)"):
        statistics.frechet_mean(ball, points, jnp.ones(4))
    with pytest.raises(ValueError, match=r"times are one for each point, \(3,\), got \(2,\)"):
        statistics.geodesic_regression(ball, jnp.zeros(2), points)
    with pytest.raises(ValueError, match="k = 4"):
        statistics.kmeans(jax.random.key(0), ball, points, 4)
    assert np.isnan(mean(ball, points, jnp.array([1.0, -1.0, 1.0])).point).all()


def test_principal_directions_of_a_cross(x64):
    """exp_m(+-s_i e_i) has the mean m, the directions e_i and the variances s_i^2 / d."""
    space, sizes = PoincareBall(3, 0.8), np.array([0.3, 0.9, 0.6])
    middle = space.expmap_frame(np.zeros(3), np.array([0.4, -0.3, 0.2]))
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    arms = np.concatenate([sizes[:, None] * turn, -sizes[:, None] * turn])
    found = jax.jit(statistics.tangent_pca)(space, space.expmap_frame(middle, arms))
    np.testing.assert_allclose(found.mean, middle, atol=1e-12)
    order = np.argsort(-sizes)
    np.testing.assert_allclose(found.variances, sizes[order] ** 2 / 3, atol=1e-12)
    np.testing.assert_allclose(np.abs(np.sum(found.directions * turn[order], -1)), 1, atol=1e-10)


@pytest.mark.quick()
@pytest.mark.parametrize("name", CURVED)
def test_a_geodesic_is_found_again(name, x64):
    space = CURVED[name]
    x = space.expmap_frame(space.origin(), 0.5 * np.eye(space.dim)[0])
    velocity = components(3, space.dim, 0.8)
    times = np.linspace(2, 3, 7)
    points = jax.vmap(lambda t: space.expmap_frame(x, t * velocity))(times)
    found = jax.jit(partial(statistics.geodesic_regression, space))(times, points)
    assert found.converged
    assert space.dist(found.point, x) < 1e-9
    np.testing.assert_allclose(found.velocity, velocity, atol=1e-9)


@pytest.mark.quick("2026.0")
@pytest.mark.parametrize("time", [0.0, 2026.0])
def test_regression_of_equal_times_stands_still_at_the_mean(time, key):
    sphere = Sphere(2)
    points = sphere.expmap_frame(sphere.origin(), 0.3 * jax.random.normal(key, (20, 2)))
    found = statistics.geodesic_regression(sphere, jnp.full(20, time), points)
    np.testing.assert_allclose(found.velocity, jnp.zeros(2), atol=1e-6)
    mean = statistics.frechet_mean(sphere, points).point
    np.testing.assert_allclose(found.point, mean, atol=1e-5)


@pytest.mark.quick("1e+20")
@pytest.mark.parametrize("unit", [1e20, 1e-23])
def test_times_of_any_unit(unit):
    line = jnp.array([[0.0], [1.0], [2.0]])
    times = np.float32(unit) * np.arange(3, dtype=np.float32)
    found = statistics.geodesic_regression(Euclidean(1), times, line)
    assert found.converged
    np.testing.assert_allclose(found.velocity * np.float32(unit), [1], rtol=1e-5)
    np.testing.assert_allclose(found.point, [0], atol=1e-5)


@pytest.mark.parametrize("space", [Hyperboloid(2), Sphere(2)], ids=str)
def test_points_as_close_as_floats_can_be(space, key):
    """1e-30 apart, where squared distances are 0: there every space is flat."""
    unit, a = np.float32(1e-30), jax.random.normal(key, (20, 2))
    times = jnp.linspace(-1, 1, 20)
    a = jnp.stack([times, 2 * times], -1) + 0.1 * a
    points = space.expmap_frame(space.origin(), unit * a)
    mean = statistics.frechet_mean(space, points)
    flat = statistics.geodesic_regression(Euclidean(2), times, a)
    line = statistics.geodesic_regression(space, times, points)
    assert mean.converged
    assert line.converged
    assert_close(space.normal_coordinates(mean.point) / unit, jnp.mean(a, 0), 1e-5)
    assert_close(line.velocity / unit, flat.velocity, 1e-4)
    widest, of_flat = (
        statistics.tangent_pca(space, points).directions[0],
        statistics.tangent_pca(Euclidean(2), a).directions[0],
    )
    np.testing.assert_allclose(jnp.abs(widest @ of_flat), 1, atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e-30])
def test_derivatives_of_the_mean_at_any_scale(scale):
    points = np.float32(scale) * jnp.array([[1.0, 0], [3, 1], [-2, 0.5]])
    weights = jnp.array([1.0, 2, 1])

    def mean(weights):
        return statistics.frechet_mean(Euclidean(2), points, weights).point / np.float32(scale)

    expected = (points / np.float32(scale) - mean(weights)).T / 4
    np.testing.assert_allclose(jax.jacfwd(mean)(weights), expected, atol=1e-6)
    np.testing.assert_allclose(jax.jacrev(mean)(weights), expected, atol=1e-6)
    assert jnp.isfinite(jax.jacfwd(jax.jacrev(mean))(weights)).all()


@pytest.mark.parametrize("space", [Euclidean(2), PoincareBall(2)], ids=str)
def test_derivatives_of_the_mean_of_equal_points(space):
    points, weights = jnp.array([[0.1, 0.2]] * 2), jnp.ones(2)

    def mean(weights, points):
        return statistics.frechet_mean(space, points, weights).point

    by_points = jnp.broadcast_to(jnp.eye(2)[:, None] / 2, (2, 2, 2))
    for derivative in (jax.jacfwd, jax.jacrev):
        np.testing.assert_allclose(derivative(mean)(weights, points), jnp.zeros((2, 2)), atol=1e-6)
        np.testing.assert_allclose(derivative(mean, 1)(weights, points), by_points, atol=1e-6)


@pytest.mark.parametrize("far", [1e17, 1e30])
def test_far_points_of_no_weight_and_far_starts_count_for_nothing(far):
    near = jnp.array([[1e-3, 0.0], [3e-3, 0]])
    start = jnp.array([far, 0])
    points, weights = jnp.concatenate([near, start[None]]), jnp.array([1.0, 1, 0])
    for found in (
        statistics.frechet_mean(Euclidean(2), points, weights),
        statistics.frechet_mean(Euclidean(2), near, start=start),
    ):
        assert found.converged
        np.testing.assert_allclose(found.point, [2e-3, 0], rtol=1e-5, atol=1e-9)


@pytest.mark.slow
def test_a_perfect_fit_has_converged():
    space = Grassmann(4, 2)
    times = jnp.linspace(0, 1, 20)
    points = space.expmap_frame(space.origin(), times[:, None] * 0.4 * jnp.ones(4))
    assert statistics.geodesic_regression(space, times, points).converged


def test_points_off_the_manifold_are_refused_with_batches_too(key):
    sphere = Sphere(2)
    points = jnp.abs(sphere.random_uniform(key, (2, 5)))
    with pytest.raises(ValueError, match="frechet_mean"):
        statistics.frechet_mean(sphere, 3 * points)
    with pytest.raises(ValueError, match="frechet_mean: start"):
        statistics.frechet_mean(sphere, points, start=3 * points[:, 0])
    with pytest.raises(ValueError, match="geodesic_regression"):
        statistics.geodesic_regression(sphere, jnp.arange(5.0), 3 * points)
    with pytest.raises(ValueError, match="kmeans"):
        statistics.kmeans(key, sphere, 3 * points[0], 2)
    with pytest.raises(ValueError, match="must be finite"):
        statistics.frechet_mean(sphere, points, jnp.array([1, jnp.inf, 1, 1, 1]))


def test_clusters_of_what_is_not_known_are_not_known(key):
    points = jnp.array([[0.0, 0], [1, 1], [jnp.nan, 1]])
    found = statistics.kmeans(key, Euclidean(2), points, 2)
    assert np.isnan(found.centers).all() and not found.converged and (found.labels == -1).all()


def test_a_start_of_another_precision(x64):
    points = np.arange(8, dtype=np.float32).reshape(4, 2)
    mean = statistics.frechet_mean(Euclidean(2), points, start=jnp.zeros(2)).point
    assert mean.dtype == jnp.float32
    np.testing.assert_allclose(mean, [3, 4], rtol=1e-6)


@pytest.mark.slow
def test_regression_with_noise_is_that_of_least_squares(x64):
    """On the sphere, by scipy and the textbook's formulas."""
    sphere, rng = Sphere(2), np.random.default_rng(0)
    times, weights = np.linspace(0, 1, 12), rng.uniform(0.2, 1, 12)
    points = np.stack([np.cos(times), np.sin(times), 0.3 * rng.normal(size=12)], -1)
    points /= np.linalg.norm(points, axis=-1, keepdims=True)

    def line(p):
        x, v = p[:3] / np.linalg.norm(p[:3]), p[3:]
        v = v - (x @ v) * x
        r = np.linalg.norm(v)
        return np.cos(r * times)[:, None] * x + np.sin(r * times)[:, None] * v / r

    def residuals(p):
        return np.sqrt(weights) * np.arccos(np.clip(np.sum(line(p) * points, -1), -1, 1))

    theirs = least_squares(residuals, np.array([1, 0, 0, 0, 1, 0.1]), xtol=1e-14, ftol=1e-14)
    found = statistics.geodesic_regression(sphere, times, points, weights)
    ours = jax.vmap(lambda t: sphere.expmap_frame(found.point, t * found.velocity))(times)
    assert found.converged
    np.testing.assert_allclose(ours, line(theirs.x), atol=1e-5)


@pytest.mark.slow
def test_clusters():
    space = Hyperboloid(2)
    middles = space.expmap_frame(
        space.origin(), 3 * np.eye(2)[[0, 1, 0]] * np.array([[1], [1], [-1.0]])
    )
    noise = 0.3 * jax.random.normal(jax.random.key(0), (40, 3, 2))
    points = space.expmap_frame(middles, noise).reshape(120, 3)
    found = jax.jit(statistics.kmeans, static_argnums=3)(jax.random.key(1), space, points, 3)
    assert found.converged
    nearest = jnp.argmin(space.dist(middles[:, None], found.centers), -1)
    assert sorted(nearest.tolist()) == [0, 1, 2]
    np.testing.assert_array_equal(found.labels.reshape(40, 3), jnp.broadcast_to(nearest, (40, 3)))
    exact = mean(space, points.reshape(40, 3, 3).swapaxes(0, 1)).point
    assert jnp.max(space.dist(found.centers[nearest], exact)) < 1e-4
