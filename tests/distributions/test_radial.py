"""The radius of the Riemannian normal against mpmath (tests/oracles/make_radial_law.py)."""

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


CELLS = json.loads((Path(__file__).parents[1] / "oracles" / "radial_law.json").read_text())
DIMS = sorted({cell["dim"] for cell in CELLS})
ANCHOR = list(itertools.product((0.1, 0.5, 1.0, 2.0, 5.0), (0.1, 0.7, 1.4)))  # scale, c


def columns(dim, *names):
    rows = [cell for cell in CELLS if cell["dim"] == dim]
    return [np.array([row[name] for row in rows]) for name in names]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-9)])
@pytest.mark.parametrize("dim", DIMS)
def test_log_normalizer_and_its_derivatives(dim, dtype, tolerance):
    scale, c, log_z, dscale, dc = columns(dim, "scale", "c", "log_z", "dscale", "dc")
    padding = 24 - len(scale)  # one shape for all dimensions
    with jax.enable_x64(dtype == "float64"):
        s, k = (jnp.asarray(np.pad(a, (0, padding), mode="edge"), dtype) for a in (scale, c))
        value, pullback = jax.vjp(lambda s, c: radial.log_normalizer(s, c, dim), s, k)
        grads = pullback(jnp.ones_like(value))
        assert value.dtype == dtype
    value, *grads = (np.asarray(a, float)[: len(scale)] for a in (value, *grads))
    # relative to log Z; scale itself, rounded to the dtype, moves log Z by dim eps
    error = np.abs(value - log_z) - dim * np.finfo(dtype).eps
    assert np.max(error / np.maximum(np.abs(log_z), 1)) < tolerance
    np.testing.assert_allclose(grads[0], dscale, rtol=tolerance)
    np.testing.assert_allclose(grads[1], dc, rtol=tolerance)


def quantile_and_derivatives(u, scale, c, dim):
    def along(ds, dc):
        return jax.jvp(lambda s, c: radial.quantile(u, s, c, dim), (scale, c), (ds, dc))

    one, zero = jnp.ones_like(scale), jnp.zeros_like(scale)
    r, dscale = along(one, zero)
    return r, dscale, along(zero, one)[1]


@pytest.mark.parametrize(
    ("dtype", "dim", "tolerance"),
    [("float64", 2, 1e-9), ("float64", 30, 1e-9), ("float64", 1000, 1e-9), ("float32", 30, 2e-4)],
)
def test_quantile_and_its_derivatives_against_mpmath(dim, dtype, tolerance):
    rows = [
        (u, cell["scale"], cell["c"], r, ds, dc)
        for cell in CELLS
        if cell["dim"] == dim
        for r, u, ds, dc in cell["radii"]
    ]
    u, scale, c, *expected = np.array(rows).T
    with jax.enable_x64(dtype == "float64"):
        arguments = (jnp.asarray(a, dtype) for a in (u, scale, c))
        found = jax.jit(quantile_and_derivatives, static_argnums=3)(*arguments, dim)
    assert len(rows) > 20
    for value, truth in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, truth, rtol=tolerance)


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
def test_radii_follow_the_law_in_every_cell_of_the_grid(dim, key):
    scale, c = (jnp.asarray(a, jnp.float32) for a in zip(*ANCHOR, strict=True))
    r = jax.jit(radial.sample, static_argnums=(1, 4))(key, (5000,), scale, c, dim)
    assert r.shape == (5000, len(ANCHOR)) and r.dtype == jnp.float32
    for column, cell in zip(np.asarray(r, float).T, ANCHOR, strict=True):
        grid, cdf = cells_cdf(dim, *cell)
        p = stats.kstest(np.interp(column, grid, cdf), "uniform").pvalue
        assert p > 1e-4, f"scale, c = {cell}: p = {p}"


def test_cdf_quantile_and_density_agree(x64):
    dim, scale, c = 3, 0.7, 1.3
    z = jnp.linspace(-8.0, 8.0, 33)
    r = jax.jit(radial.quantile_of_score, static_argnums=3)(z, scale, c, dim)
    cdf = jax.jit(radial.cdf, static_argnums=3)
    assert jnp.all(jnp.diff(r) > 0)
    np.testing.assert_allclose(cdf(r, scale, c, dim), special.ndtr(z), rtol=1e-9)
    slope = jax.vmap(jax.grad(cdf), (0, None, None, None))(r, scale, c, dim)
    np.testing.assert_allclose(
        slope, jnp.exp(radial.log_density(r, scale, c, dim)), rtol=1e-9, atol=1e-15
    )


def test_extreme_probabilities_stay_finite():
    u = jnp.asarray([0.0, 1e-30, 1e-7, 0.5, 1 - 6e-8, 1.0], jnp.float32)
    found = jax.jit(quantile_and_derivatives, static_argnums=3)(
        u, jnp.full(6, 0.3), jnp.full(6, 1.0), 30
    )
    assert all(bool(jnp.all(jnp.isfinite(a))) for a in found)
    assert bool(jnp.all(jnp.diff(found[0]) >= 0))


def test_flat_limit_is_the_chi_law(x64):
    u = jnp.asarray([0.01, 0.3, 0.9])
    r = radial.quantile(u, 2.0, 1e-12, 5)
    np.testing.assert_allclose(r, 2 * stats.chi(5).ppf(u), rtol=1e-9)
    gaussian = 5 * np.log(2 * np.sqrt(2 * np.pi)) - np.log(2 * np.pi**2.5 / special.gamma(2.5))
    np.testing.assert_allclose(radial.log_normalizer(2.0, 1e-12, 5), gaussian, rtol=1e-10)
    slope = jax.grad(radial.log_normalizer, 1)(2.0, 1e-12, 5)  # (d - 1) E r^2 / 6
    np.testing.assert_allclose(slope, 4 * 5 * 4 / 6, rtol=1e-9)


def test_second_derivatives(x64):
    def along(t):
        return radial.quantile(0.2, 0.5 + 0.3 * t, 0.7 + t, 4)

    first = jax.jit(jax.grad(along))
    second = jax.jit(jax.grad(jax.grad(along)))(0.1)
    np.testing.assert_allclose(second, (first(0.1 + 1e-5) - first(0.1 - 1e-5)) / 2e-5, rtol=1e-6)


def test_dimension_one_is_the_half_normal(x64):
    np.testing.assert_allclose(radial.log_normalizer(0.5, 1.0, 1), np.log(0.5 * np.sqrt(np.pi / 2)))
    np.testing.assert_allclose(radial.quantile(0.3, 0.5, 1.0, 1), stats.halfnorm.ppf(0.3) * 0.5)
