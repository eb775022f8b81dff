"""The radius of the Riemannian normal against mpmath (tests/oracles/make_radius_distribution.py)."""

import functools
import itertools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from geodl.distributions import radial


pytestmark = pytest.mark.optimized


# The compiler works fastest so, and compiling is what these tests spend their time on.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

CELLS = json.loads((Path(__file__).parents[1] / "oracles" / "radius_distribution.json").read_text())
DIMS = sorted({cell["dim"] for cell in CELLS})
ANCHOR = list(itertools.product((0.1, 0.5, 1.0, 2.0, 5.0), (0.1, 0.7, 1.4)))  # scale, c


def columns(dim, *names):
    rows = [cell for cell in CELLS if cell["dim"] == dim]
    return [np.array([row[name] for row in rows]) for name in names]


@functools.partial(jit, static_argnums=2)
def log_normalizer_and_gradient(scale, c, dim):
    value, pullback = jax.vjp(lambda s, c: radial.log_normalizer(s, c, dim), scale, c)
    return value, pullback(jnp.ones_like(value))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-9)])
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.quick(
    "2-float32-1e-05",
    "10-float64-1e-09",
    "20-float32-1e-05",
    "100-float32-1e-05",
    "1000-float64-1e-09",
)
def test_log_normalizer_and_its_derivatives(dim, dtype, tolerance):
    scale, c, log_z, dscale, dc = columns(dim, "scale", "c", "log_z", "dscale", "dc")
    padding = 24 - len(
        scale
    )  # one shape for all dimensions, so that they share compiled operations
    with jax.enable_x64(dtype == "float64"):
        s, k = (jnp.asarray(np.pad(a, (0, padding), mode="edge"), dtype) for a in (scale, c))
        value, grads = log_normalizer_and_gradient(s, k, dim)
        assert value.dtype == dtype
    value, *grads = (np.asarray(a, float)[: len(scale)] for a in (value, *grads))
    # relative to log Z; scale itself, rounded to the dtype, moves log Z by dim eps
    error = np.abs(value - log_z) - dim * np.finfo(dtype).eps
    assert np.max(error / np.maximum(np.abs(log_z), 1)) < tolerance
    np.testing.assert_allclose(grads[0], dscale, rtol=tolerance)
    np.testing.assert_allclose(grads[1], dc, rtol=tolerance)


@functools.partial(jit, static_argnums=3)
def quantile_and_derivatives(u, scale, c, dim):
    def along(ds, dc):
        return jax.jvp(lambda s, c: radial.quantile(u, s, c, dim), (scale, c), (ds, dc))

    one, zero = jnp.ones_like(scale), jnp.zeros_like(scale)
    r, slopes = jax.vmap(along)(jnp.stack([one, zero]), jnp.stack([zero, one]))
    return r[0], *slopes


@pytest.mark.parametrize(
    ("dtype", "dim", "tolerance"),
    [
        pytest.param("float64", 2, 1e-9, marks=pytest.mark.slow),
        ("float64", 1000, 1e-9),
        ("float32", 30, 2e-4),
    ],
)
@pytest.mark.quick("float32-30-0.0002")
def test_quantile_and_its_derivatives_against_mpmath(dim, dtype, tolerance):
    rows = [
        (u, cell["scale"], cell["c"], r, ds, dc)
        for cell in CELLS
        if cell["dim"] == dim
        for r, u, ds, dc in cell["radii"]
    ]
    extremes = (0.0, 1e-30, 1e-7, 0.5, 1 - 6e-8, 1.0)  # these only have to be finite and ordered
    rows += [(u, 0.3, 1.0, *[np.nan] * 3) for u in extremes]
    u, scale, c, *expected = np.array(rows).T
    with jax.enable_x64(dtype == "float64"):
        arguments = (jnp.asarray(a, dtype) for a in (u, scale, c))
        found = quantile_and_derivatives(*arguments, dim)
    assert len(rows) > len(extremes) + 20
    for value, truth in zip(found, expected, strict=True):
        np.testing.assert_allclose(value[: -len(extremes)], truth[: -len(extremes)], rtol=tolerance)
        assert np.all(np.isfinite(value))
    assert np.all(np.diff(found[0][-len(extremes) :]) >= 0)


@functools.cache
def cells_cdf(dim, scale, c):
    """The distribution function on a fine grid, by the trapezoidal rule."""
    k = np.sqrt(c)
    high = 12 * scale + (dim - 1) * k * scale**2 + scale * np.sqrt(dim)
    r = np.linspace(0, high, 200_001)[1:]
    log_sinh = k * r + np.log(-np.expm1(-2 * k * r) / 2)
    h = -(r**2) / (2 * scale**2) + (dim - 1) * log_sinh
    cdf = np.cumsum(np.exp(h - h.max()))
    return r, (cdf - np.exp(h - h.max()) / 2) / cdf[-1]


@pytest.mark.parametrize("dim", [2, 5, 10, 20, 50, 100])
@pytest.mark.quick("2", "100")
def test_radii_follow_the_distribution_in_every_cell_of_the_grid(dim, key):
    scale, c = (jnp.asarray(a, jnp.float32) for a in zip(*ANCHOR, strict=True))
    r = jit(radial.sample, static_argnums=(1, 4))(key, (5000,), scale, c, dim)
    assert r.shape == (5000, len(ANCHOR)) and r.dtype == jnp.float32
    for column, cell in zip(np.asarray(r, float).T, ANCHOR, strict=True):
        grid, cdf = cells_cdf(dim, *cell)
        p = stats.kstest(np.interp(column, grid, cdf), "uniform").pvalue
        assert p > 1e-4, f"scale, c = {cell}: p = {p}"


def test_cdf_quantile_and_density_agree(x64):
    dim, scale, c = 3, 0.7, 1.3
    z = jnp.linspace(-8.0, 8.0, 33)

    @jit
    def all_of_it(z):
        r = radial.quantile_of_score(z, scale, c, dim)
        cdf = jax.jvp(lambda r: radial.cdf(r, scale, c, dim), (r,), (jnp.ones_like(r),))
        return r, *cdf, radial.log_density(r, scale, c, dim)

    r, cdf, slope, log_density = all_of_it(z)
    assert jnp.all(jnp.diff(r) > 0)
    np.testing.assert_allclose(cdf, special.ndtr(z), rtol=1e-9)
    np.testing.assert_allclose(slope, jnp.exp(log_density), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("c", [0.0, 1e-12])
def test_flat_limit_is_the_chi_distribution(c, x64):
    """c = 0 itself too, with the derivative from the right."""
    u = jnp.asarray([0.01, 0.3, 0.9])

    @jit
    def all_of_it(u, c):
        log_z = jax.jvp(lambda c: radial.log_normalizer(2.0, c, 5), (c,), (1.0,))
        return radial.quantile(u, 2.0, c, 5), *log_z

    r, log_z, slope = all_of_it(u, c)
    np.testing.assert_allclose(r, 2 * stats.chi(5).ppf(u), rtol=1e-9)
    gaussian = 5 * np.log(2 * np.sqrt(2 * np.pi)) - np.log(2 * np.pi**2.5 / special.gamma(2.5))
    np.testing.assert_allclose(log_z, gaussian, rtol=1e-10)
    np.testing.assert_allclose(slope, 4 * 5 * 4 / 6, rtol=1e-9)  # (d - 1) E r^2 / 6


def test_negative_curvature_parameters_and_nan_give_nan():
    bad = jnp.array([-1.0, np.nan])

    @jit
    def all_of_it(c):
        return [
            f(0.5, c, dim)
            for dim in (1, 3)
            for f in (radial.log_normalizer, lambda *p: radial.quantile(0.3, *p))
        ]

    assert np.all(np.isnan(all_of_it(bad)))


@pytest.mark.slow
def test_second_derivatives(x64):
    def along(t):
        return radial.quantile_of_score(-0.8, 0.5 + 0.3 * t, 0.7 + t, 4)

    def derivative(f):
        return lambda t: jax.jvp(f, (t,), (jnp.ones_like(t),))[1]

    first = derivative(along)
    h = 1e-5
    t = jnp.asarray([-h, 0, h])
    slopes, second = jit(lambda t: jax.jvp(first, (t,), (jnp.ones_like(t),)))(t)
    np.testing.assert_allclose(second[1], (slopes[2] - slopes[0]) / (2 * h), rtol=1e-6)


def test_dimension_one_is_the_half_normal(x64):
    log_z, r = jit(lambda s: (radial.log_normalizer(s, 1.0, 1), radial.quantile(0.3, s, 1.0, 1)))(
        0.5
    )
    np.testing.assert_allclose(log_z, np.log(0.5 * np.sqrt(np.pi / 2)))
    np.testing.assert_allclose(r, stats.halfnorm.ppf(0.3) * 0.5)
