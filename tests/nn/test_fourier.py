"""Sine and cosine as features."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl.nn import fourier_features, sincos_2pi


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 4e-7), (jnp.float64, 1e-15)])
def test_sincos_2pi_is_sine_and_cosine_of_turns(dtype, tolerance):
    with jax.enable_x64(dtype == jnp.float64):
        turns = jnp.asarray(np.append(np.linspace(-2, 2, 4001), [0.25, 30.123, -1e4 / 3]), dtype)
        angle = 2 * np.pi * (np.asarray(turns, np.longdouble) % 1)
        for value, exact in zip(
            jax.jit(sincos_2pi)(turns), (np.sin(angle), np.cos(angle)), strict=True
        ):
            assert value.dtype == dtype
            np.testing.assert_allclose(value, exact.astype(float), rtol=0, atol=tolerance)


def test_derivatives_of_sincos_2pi():
    turns = jnp.linspace(-1.3, 1.3, 41)
    sine, cosine = sincos_2pi(turns)
    both = jax.vmap(jax.jacfwd(lambda y: jnp.stack(sincos_2pi(y))))(turns)
    np.testing.assert_allclose(both, 2 * np.pi * jnp.stack([cosine, -sine], -1), atol=1e-6)
    second = jax.vmap(jax.grad(jax.grad(lambda y: sincos_2pi(y)[0])))(turns)
    np.testing.assert_allclose(second, -4 * np.pi**2 * sine, atol=1e-5)


def test_features_are_those_of_products():
    x, frequencies = (jax.random.normal(jax.random.key(i), (3, 3)) for i in range(2))
    angle = 2 * np.pi * np.asarray(x) @ np.asarray(frequencies)
    found = jax.jit(chex.assert_max_traces(fourier_features, n=1))(x, frequencies)
    np.testing.assert_allclose(found, np.concatenate([np.sin(angle), np.cos(angle)], -1), atol=2e-6)
    assert jax.vmap(fourier_features, (0, None))(x[None], frequencies).shape == (1, 3, 6)
