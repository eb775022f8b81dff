"""Kernel densities on the sphere against float64, the neighbors' distances, the choice of bandwidths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.special import logsumexp

from geodl.distributions import (
    KernelDensity,
    adaptive_concentrations,
    kernel_density,
    neighbor_distances,
    select_kernel_density,
)
from geodl.manifolds import SO3, Hyperboloid, Product, Sphere, Torus
from tests.distributions.cases import jit


RNG = np.random.default_rng(0)
NORTH = (0, 0, 1)


@jit
def log_prob(points, concentrations, weight, x):
    return KernelDensity(points, concentrations, weight).log_prob(x)


def unit(x):
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


POINTS = unit(RNG.normal(size=(300, 3), loc=NORTH))
CONCENTRATIONS = np.geomspace(1, 1e8, 300).astype(np.float32)


def naive(points, kappa, x, weight):
    """On S^2, in float64."""
    points, kappa, x = (np.asarray(a, float) for a in (points, kappa, x))
    log_c = np.log(2 * np.pi / kappa) + np.log1p(-np.exp(-2 * kappa))
    gap = np.sum(np.square(x[:, None] - points), -1) / 2
    mixed = logsumexp(-kappa * gap - log_c, -1) - np.log(len(points))
    return np.logaddexp(mixed + np.log1p(-weight), np.log(weight / (4 * np.pi)))


@pytest.mark.parametrize("weight", [1e-30, 0.01])
def test_density_against_float64(weight):
    near = POINTS + 1 / np.sqrt(CONCENTRATIONS[:, None]) * RNG.normal(size=POINTS.shape)
    x = np.concatenate([POINTS, unit(near), unit(RNG.normal(size=(57, 3)))])
    found = log_prob(POINTS, CONCENTRATIONS, weight, x)
    expected = naive(POINTS, CONCENTRATIONS, x, weight)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-3)


def test_density_integrates_to_one():
    height, weights = np.polynomial.legendre.leggauss(200)
    phi = np.arange(400) * 2 * np.pi / 400
    ring = np.sqrt(1 - height**2)[:, None]
    grid = np.stack([ring * np.cos(phi), ring * np.sin(phi), height[:, None] + 0 * phi], -1).astype(
        np.float32
    )
    for weight in (0.0, 0.3):
        log_p = log_prob(POINTS[:20], np.geomspace(0.1, 1e3, 20, dtype=np.float32), weight, grid)
        mass = np.exp(np.asarray(log_p, float)) * weights[:, None] * 2 * np.pi / 400
        np.testing.assert_allclose(np.sum(mass), 1, atol=1e-5)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.quick("2")
def test_samples_have_the_density(dim):
    """E_q[p / q] and E_q[(p / q) x], q the samples' distribution, p uniform; and moments against the mixture's."""

    @jit
    def draw():
        q = KernelDensity(jnp.eye(dim + 1)[:2], jnp.array([3.0, 20.0]), 0.3)
        z = q.sample_and_log_prob(seed=jax.random.key(0), sample_shape=(40_000,))
        return *z, 0.7 * jnp.mean(q.kernels.mean(), 0)

    x, log_q, mean = draw()
    np.testing.assert_allclose(np.sum(np.square(x), -1), 1, atol=1e-5)
    np.testing.assert_allclose(np.mean(x, 0), mean, atol=4.5 / np.sqrt(40_000))
    area = {2: 4 * np.pi, 3: 2 * np.pi**2}[dim]
    ratio = np.exp(-np.asarray(log_q, float)) / area
    error = np.std(ratio) / np.sqrt(40_000)
    assert error < 0.02 and abs(np.mean(ratio) - 1) < 4.5 * error
    assert np.max(np.abs(np.mean(ratio[:, None] * x, 0))) < 4.5 * error


def test_chunks_change_nothing(monkeypatch):
    x = POINTS[:50].reshape(5, 10, 3)
    whole = log_prob(POINTS, CONCENTRATIONS, 0.01, x)
    monkeypatch.setattr(kernel_density, "PAIRS", 7 * len(POINTS))
    parts = jit(lambda x: KernelDensity(POINTS, CONCENTRATIONS, 0.01).log_prob(x))(x)
    np.testing.assert_allclose(parts, whole, rtol=1e-6)
    assert whole.shape == (5, 10)


def test_derivatives_are_finite_and_right():
    """Also at a kernel's center and without a uniform part."""
    x = np.concatenate([POINTS[:2], unit(RNG.normal(size=(2, 3)))])
    kappa = np.full(4, 5.0, np.float32)

    def mean(points, kappa, weight, x):
        return jnp.mean(KernelDensity(points, kappa, weight).log_prob(x))

    arguments = POINTS[:4], kappa, np.float32(0), x
    value, gradient = jit(jax.value_and_grad(mean, (0, 1, 3)))(*arguments)
    assert all(np.all(np.isfinite(g)) for g in gradient)
    direction = RNG.normal(size=4)
    up, down = (naive(POINTS[:4], kappa + h * direction, x, 1e-300).mean() for h in (1e-5, -1e-5))
    np.testing.assert_allclose(gradient[1] @ direction, (up - down) / 2e-5, rtol=1e-4)
    np.testing.assert_allclose(value, naive(POINTS[:4], kappa, x, 1e-300).mean(), rtol=1e-5)


def test_in_double_precision(x64):
    points = POINTS[:20].astype(float) / np.linalg.norm(POINTS[:20].astype(float), axis=1)[:, None]
    kappa = np.geomspace(1, 1e14, 20)
    x = points + 1e-7 * np.roll(points, 1, axis=1)
    found = log_prob(points, kappa, 0.01, x)
    assert found.dtype == jnp.float64
    np.testing.assert_allclose(found, naive(points, kappa, x, 0.01), rtol=1e-9)


# ---------------------------------------------------------------------------------------------------
# Neighbors
# ---------------------------------------------------------------------------------------------------


def test_neighbors_on_the_sphere_against_a_tree():
    chord = cKDTree(POINTS.astype(float)).query(POINTS.astype(float), 4)[0][:, 1:]
    np.testing.assert_allclose(
        jit(lambda x: neighbor_distances(Sphere(2), x, 3))(POINTS),
        2 * np.arcsin(chord / 2),
        rtol=1e-4,
    )


@pytest.mark.parametrize("manifold", [Hyperboloid(2, 0.7), Product(Torus(1), SO3())])
@pytest.mark.quick("manifold1")
def test_neighbors_on_other_spaces(manifold):
    points = manifold.random_uniform(jax.random.key(1), (40,))

    @jit
    def pairs_and_near(points):
        rows = jax.tree.map(lambda p: p[:, None], points)
        columns = jax.tree.map(lambda p: p[None], points)
        return manifold.dist(rows, columns), neighbor_distances(manifold, points, 5)

    pairs, near = map(np.array, pairs_and_near(points))
    np.fill_diagonal(pairs, np.inf)
    expected = np.sort(pairs, 1)[:, :5]
    np.testing.assert_allclose(near, expected, rtol=1e-4, atol=1e-5)


def test_duplicates_and_close_points():
    x = POINTS[:8].copy()
    x[1] = x[0]  # twice, and then a point as near as float32 can say
    x[2] = unit(x[0] + np.array([1e-6, -1e-6, 0]))

    @jit
    def evaluate(x):
        d = neighbor_distances(Sphere(2), x, 2)
        kappa = adaptive_concentrations(x, (1, 2), (1.0, 2.0), max_concentration=1e9)
        return d, kappa, KernelDensity(x, kappa[0]).log_prob(x)

    d, kappa, log_p = map(np.asarray, evaluate(x))
    assert d[0, 0] == d[1, 0] == 0
    chord = np.linalg.norm(x[2].astype(float) - x[0])
    np.testing.assert_allclose(d[2], chord, rtol=1e-3)
    assert kappa.shape == (4, 8)
    np.testing.assert_array_equal(kappa[:2, :2], 1e9)  # at distance 0
    np.testing.assert_array_equal(kappa[2, :3], 1e9)  # min(1e9, 1 / 1e-12)
    np.testing.assert_allclose(kappa[3, 3:], 2 / np.square(d[3:, 1]), rtol=1e-5)
    assert np.all(np.isfinite(log_p))


# ---------------------------------------------------------------------------------------------------
# The choice
# ---------------------------------------------------------------------------------------------------


def test_the_best_on_validation_is_selected():
    validation = unit(RNG.normal(size=(100, 3), loc=NORTH))
    candidates = np.array([1.0, 30.0, 1e4], np.float32)
    plain = jit(select_kernel_density)(POINTS, validation, candidates)
    np.testing.assert_array_equal(plain.kernels.concentration, 30)
    scores = [naive(POINTS, np.full(300, c), validation, 0.01).mean() for c in candidates]
    assert np.argmax(scores) == 1
    rows = candidates[:, None] * np.linspace(0.9, 1.1, 300, dtype=np.float32)
    adaptive = jit(select_kernel_density)(POINTS, validation, rows, 0.01)
    np.testing.assert_array_equal(adaptive.kernels.concentration, rows[1])
    np.testing.assert_allclose(adaptive.uniform_weight, 0.01)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: KernelDensity(POINTS[0], 1.0), r"\(3,\)"),
        (lambda: KernelDensity(POINTS, np.ones(3)), r"\(300, 3\) and \(3,\)"),
        (lambda: KernelDensity(POINTS[:0], 1.0), r"\(0, 3\)"),
        (lambda: KernelDensity(2 * POINTS, 1.0), "unit sphere"),
        (lambda: KernelDensity(POINTS, -1.0), "concentration.*-1.0"),
        (lambda: KernelDensity(POINTS, 1.0, 1.0), r"uniform_weight.*\[0, 1\).*1.0"),
        (lambda: KernelDensity(POINTS, 1.0).log_prob(np.ones(2)), r"\(3,\).*\(2,\)"),
        (lambda: neighbor_distances(Sphere(2), POINTS, 0), "300 points, got 0"),
        (lambda: neighbor_distances(Sphere(2), POINTS, 300), "300 points, got 300"),
        (lambda: neighbor_distances(Sphere(2), 2 * POINTS, 1), "unit sphere"),
        (lambda: adaptive_concentrations(POINTS * np.nan), "finite"),
        (lambda: adaptive_concentrations(POINTS, (0, 2)), r"neighbors.*\(0, 2\)"),
        (lambda: adaptive_concentrations(POINTS, scales=(1.0, -0.5)), "scales.*-0.5"),
    ],
)
def test_bad_input(build, message):
    with pytest.raises(ValueError, match=message):
        build()
