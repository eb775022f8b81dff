import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl.explain import integrated_gradients, occlusion, saliency, smooth_grad


WEIGHTS = jnp.asarray(np.random.default_rng(0).normal(size=(6, 5, 2)), jnp.float32)
X = jnp.asarray(np.random.default_rng(1).normal(size=(3, 6, 5, 2)), jnp.float32)
KEY = jax.random.key(0)


def linear(x):
    return jnp.sum(WEIGHTS * x)


def smooth(x):
    return jnp.tanh(0.3 * linear(x)) + jnp.sum(x**3) / 10


METHODS = {
    "saliency": saliency,
    "integrated gradients": lambda f, x: integrated_gradients(f, x, 0.2),
    "SmoothGrad": lambda f, x: smooth_grad(f, x, KEY, 0.1),
    "occlusion": lambda f, x: occlusion(f, x, (1, 1)),
}


@pytest.mark.parametrize("name", METHODS)
def test_one_signature_in_batches(name):
    batch = jax.jit(jax.vmap(lambda x: METHODS[name](smooth, x)))(X)
    assert batch.shape == X.shape and batch.dtype == X.dtype
    np.testing.assert_allclose(batch[1], METHODS[name](smooth, X[1]), rtol=2e-4, atol=1e-5)


def test_what_they_say_of_a_linear_function():
    x = X[0]
    np.testing.assert_allclose(saliency(linear, x), WEIGHTS, rtol=1e-6)
    np.testing.assert_allclose(smooth_grad(linear, x, KEY, 0.5), WEIGHTS, rtol=1e-5)
    np.testing.assert_allclose(integrated_gradients(linear, x, 0.2), WEIGHTS * (x - 0.2), rtol=1e-5)
    pixel = jnp.sum(WEIGHTS * x, -1, keepdims=True) + jnp.zeros(2)
    np.testing.assert_allclose(occlusion(linear, x, (1, 1)), pixel, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("baseline", [0.0, X[2]])
def test_integrated_gradients_are_complete(baseline, x64):
    x = jnp.asarray(X[0], float)
    found = jnp.sum(integrated_gradients(smooth, x, baseline, steps=64))
    expected = smooth(x) - smooth(jnp.broadcast_to(jnp.asarray(baseline, float), x.shape))
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_smooth_grad_is_the_gradient_of_the_smoothed_function(x64):
    """E (x + e)^3 = x^3 + 3 x scale^2."""
    found = smooth_grad(lambda x: x**3, jnp.array(0.7), KEY, 0.5, samples=100_000)
    assert found == pytest.approx(3 * 0.7**2 + 3 * 0.5**2, abs=0.03)


def test_occlusion_finds_the_mark():
    """Windows of 2 x 2 in strides of 2; the last column of five is covered by none."""
    found = occlusion(lambda x: x[2, 1, 0], X[0], (2, 2), stride=2)
    expected = np.zeros(X[0].shape)
    expected[2:4, :2] = X[0, 2, 1, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    whole = occlusion(linear, X[0], (6, 5))
    np.testing.assert_allclose(whole, linear(X[0]), rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: integrated_gradients(linear, X[0], jnp.zeros(3)), r"broadcast|incompatible"),
        (lambda: integrated_gradients(linear, X[0], X), r"broadcast to \(6, 5, 2\), got \(3,"),
        (lambda: integrated_gradients(linear, X[0], steps=0), "got 0"),
        (lambda: smooth_grad(linear, X[0], KEY, 0.1, samples=0), "got 0"),
        (lambda: occlusion(linear, X[0], (7, 1)), r"fit into \(6, 5, 2\), got \(7, 1\)"),
        (lambda: occlusion(linear, X[0], (1, 1, 1, 1)), "must fit"),
        (lambda: occlusion(linear, X[0], (1, 1), stride=0), "got 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
