"""Noise within the bins: its density, and a bound that holds for known distributions of images."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl import flows


LEARNED = flows.logit_normal_noise()


def test_gray_values_and_their_bins():
    gray = jnp.arange(256, dtype=jnp.uint8)
    centers = flows.bin_centers(gray)
    np.testing.assert_allclose(centers, (np.arange(256) + 0.5) / 256)
    np.testing.assert_array_equal(flows.quantize(centers), gray)
    noisy = flows.dequantize(jnp.tile(gray, (100, 1)), jax.random.key(0))
    np.testing.assert_array_equal(flows.quantize(noisy), np.tile(gray, (100, 1)))
    residue = np.asarray(noisy * 256 - np.arange(256))
    assert abs(residue.mean() - 0.5) < 0.01 and abs(residue.std() - 12**-0.5) < 0.01
    np.testing.assert_array_equal(flows.quantize(jnp.array([-1.0, 0, 1, 2])), [0, 0, 255, 255])


def test_density_on_the_bin():
    """Every cell of the bin gets its length from its draws, each weighed by 1 / density: the densities are right."""
    draws = 20_000
    images = jnp.repeat(jnp.array([0, 100, 255], jnp.uint8), draws).reshape(-1, 1, 1, 1)
    x, log_q = jax.jit(LEARNED.noise(LEARNED.init(jax.random.key(0))))(images, jax.random.key(1))
    np.testing.assert_array_equal(flows.quantize(x), images)
    u, q = np.asarray(x * 256 - images, float).reshape(3, -1), np.exp(log_q, dtype=float)
    np.testing.assert_allclose(np.median(u, 1), 0.5, atol=0.02)  # of a search's start
    assert u[0].std() < u[1].std() / 2 and u[2].std() < u[1].std() / 2
    for value, (low, high) in enumerate([(0.3, 0.7), (0.05, 0.95), (0.3, 0.7)]):
        cells = np.linspace(low, high, 9)
        weights = 1 / q.reshape(3, -1)[value] / draws
        lengths, _ = np.histogram(u[value], cells, weights=weights)
        np.testing.assert_allclose(lengths, np.diff(cells), rtol=0.1)


def test_no_bound_beats_the_probability():
    """Under a density uniform on four gray values, 2 bits each: exact with uniform noise, a bound with any other."""
    shape = (4, 2, 2)
    images = jnp.tile(jnp.arange(4, dtype=jnp.uint8)[:, None, None], (500, 1, 2, 2))
    p = distrax.Independent(distrax.Uniform(jnp.zeros(shape), jnp.full(shape, 4 / 256)), 3)
    uniform = flows.bits_per_dim(p, images, jax.random.key(0))
    np.testing.assert_allclose(uniform, 2, rtol=1e-5)
    noise = LEARNED.noise(LEARNED.init(jax.random.key(0)))
    bound = flows.bits_per_dim(p, images, jax.random.key(0), noise)
    assert bound.shape == (500,) and 2.1 < jnp.mean(bound) < 3


def test_the_bound_is_exact_for_the_density_of_the_noise():
    """A density that knows the image, and is that of the noise in its bins: 0 bits, in every draw."""
    params = LEARNED.init(jax.random.key(0))
    images = jnp.tile(jnp.array([0, 9, 255], jnp.uint8)[:, None], (5, 1, 1, 1))
    v, width = images[0], jnp.exp(params["log_scale"])[images[0]]
    bins = distrax.Chain(
        [distrax.ScalarAffine(v / 256, jnp.full(v.shape, 1 / 256)), distrax.Sigmoid()]
    )
    normal = distrax.Normal(jnp.zeros(v.shape), width)
    p = distrax.Independent(distrax.Transformed(normal, bins), 3)
    bits = flows.bits_per_dim(p, images, jax.random.key(1), LEARNED.noise(params))
    np.testing.assert_allclose(bits, 0, atol=1e-3)


def test_the_noise_learns():
    """For a density that is normal in every bin the bound has finite slopes, and the noise gets narrower."""
    images = jnp.full((64, 2, 2, 1), 100, jnp.uint8)
    loc = jnp.full((2, 2, 1), 100.5 / 256)
    p = distrax.Independent(distrax.Normal(loc, 0.1 / 256), 3)

    @jax.jit
    @jax.grad
    def slope(params):
        noise = LEARNED.noise(params)
        return jnp.mean(flows.bits_per_dim(p, images, jax.random.key(0), noise))

    slopes = slope(LEARNED.init(jax.random.key(0)))["log_scale"]
    assert slopes[100] > 0 and jnp.all(jnp.delete(slopes, 100) == 0)


def test_gray_values_must_be_bytes():
    noise, key = LEARNED.noise(LEARNED.init(jax.random.key(0))), jax.random.key(0)
    for bad in (
        lambda v: flows.uniform_noise(v, key),
        lambda v: noise(v, key),
        lambda v: flows.dequantize(v, key),
        flows.bin_centers,
    ):
        with pytest.raises(TypeError, match="uint8 are needed, got float32"):
            bad(jnp.ones((2, 2, 1)))
