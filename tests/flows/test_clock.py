"""The clock of flows, its random times, and what the field sees of them."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from geodl import flows
from geodl.flows.clock import by_clock, time
from geodl.manifolds import Euclidean, Sphere
from tests.flows import problem


def test_the_clock_runs_down(x64):
    t = jnp.linspace(0.0, 1.0, 101)
    reading = flows.clock(t)
    np.testing.assert_allclose(reading[jnp.array([0, 100])], [1.0, 0.0], atol=1e-12)
    assert np.all(np.diff(reading) < 0)
    slope = jax.vmap(jax.grad(flows.clock))(t)
    np.testing.assert_allclose(slope * (1.01 - t), -1 / np.log(101), rtol=1e-9)
    np.testing.assert_allclose(time(reading), t, atol=1e-12)


def test_the_clock_keeps_the_type(x64):
    for function in (flows.clock, time):
        assert function(jnp.float32([0.0, 0.3])).dtype == jnp.float32
        assert function(np.array([0.0, 0.3])).dtype == jnp.float64


def test_a_rate_by_the_clock_has_the_same_integral(x64):
    """Of a change that is sharp at the end, by 16 even steps: as exact by the clock as by 256 in t."""

    def rate(t, x):
        return x / (1.02 - t), jnp.exp(-50 * (1 - t))

    x = jnp.ones((1, 1))
    exact = 51.0, (1 - np.exp(-50)) / 50
    y, integral, _ = jax.jit(
        lambda x: flows.RK4(16)(by_clock(rate), x, flows.clock(0.0), flows.clock(1.0), Euclidean(1))
    )(x)
    np.testing.assert_allclose([y.item(), integral.item()], exact, rtol=2e-4)


def test_times_are_uniform_by_the_clock(key):
    t = jax.jit(chex.assert_max_traces(flows.random_times, 1), static_argnums=1)(key, 1000)
    assert t.shape == (1000,) and t.dtype == jnp.float32
    assert 0 <= float(t.min()) and float(t.max()) <= 1
    part = np.sort(np.asarray(flows.clock(t))) * 1000
    np.testing.assert_array_less(np.abs(part - np.arange(1000) - 0.5), 0.51)


def test_fine_features_come_late():
    """At t = 0 a field does not see a shift of a tenth of a fast wave; at t = 1 it does."""
    sphere = Sphere(2)
    field = flows.vector_field(sphere, width=16, frequencies=32, band=(60.0, 60.0))
    params = jax.jit(field.init)(jax.random.key(0))
    x = problem.points(sphere, 50)
    y = sphere.project(x + jnp.array([0.01, 0.02, -0.01]))

    @jax.jit
    def change(t):
        return jnp.max(jnp.abs(field.components(params, t, x) - field.components(params, t, y)))

    assert 5 * change(0.0) < change(1.0)
