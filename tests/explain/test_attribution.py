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


def occluded(f, x, window, baseline, stride):
    """Window by window, in double precision."""
    x, total, count = np.asarray(x, np.float64), np.zeros(x.shape), np.zeros(x.shape)
    for i in range(0, x.shape[0] - window[0] + 1, stride):
        for j in range(0, x.shape[1] - window[1] + 1, stride):
            here = np.s_[i : i + window[0], j : j + window[1]]
            covered = x.copy()
            covered[here] = np.broadcast_to(baseline, x.shape)[here]
            total[here] += f(x) - f(covered)
            count[here] += 1
    return total / np.maximum(count, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, jnp.bfloat16])
def test_no_arithmetic_in_an_integer_type(dtype):
    """An image of bytes, a baseline between two of them, a model that counts, in an unsigned type."""
    x = np.asarray(np.random.default_rng(0).integers(0, 256, (6, 5, 2)), dtype)
    wide = jnp.asarray(x, jnp.float32)
    found = occlusion(lambda x: jnp.sum(x > 99, dtype=jnp.uint8), x, (2, 3), 99.5)
    assert found.dtype == (dtype if dtype in (jnp.bfloat16, np.float32) else np.float32)
    rtol = 0.01 if dtype == jnp.bfloat16 else 1e-5
    expected = occluded(lambda x: np.sum(x > 99), np.asarray(wide), (2, 3), 99.5, 1)
    np.testing.assert_allclose(np.asarray(found, np.float64), expected, rtol, atol=1e-6)
    for method in METHODS.values():
        f = lambda x: jnp.sum(jnp.sin(x.astype(jnp.float32) / 100))  # noqa: E731
        got, want = np.asarray(method(f, x), np.float64), method(f, wide)
        scale = np.abs(want).max()
        np.testing.assert_allclose(got, want, atol=scale * (0.05 if rtol > 1e-3 else 1e-6))


def test_half_precision_is_averaged_in_single():
    """The mean of 1 and of 1 + 1/256, which bfloat16 does not have."""
    x = jnp.zeros(1, jnp.bfloat16)

    def f(x):
        return jnp.sum(jnp.where(x > 0, x, x))

    found = smooth_grad(f, x, KEY, 1.0, samples=1000)
    assert found == 1  # in bfloat16 the sum ends at 256
    assert integrated_gradients(f, x + 3, steps=200) == 3


@pytest.mark.parametrize("name", ["integrated gradients", "SmoothGrad", "occlusion"])
def test_batches_change_nothing(name):
    method = {
        "integrated gradients": lambda **o: integrated_gradients(smooth, X[0], 0.2, 10, **o),
        "SmoothGrad": lambda **o: smooth_grad(smooth, X[0], KEY, 0.1, 10, **o),
        "occlusion": lambda **o: occlusion(smooth, X[0], (2, 3), 0.1, 2, **o),
    }[name]
    whole = method(batch_size=None)
    for size in (1, 3, 10, 99):
        np.testing.assert_allclose(method(batch_size=size), whole, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        method(batch_size=0)


def test_the_memory_is_that_of_a_batch():
    """3721 windows of an image, and a thousand gradients."""
    x = jnp.ones((64, 64, 3))

    def wide(x):
        return jnp.sum(jnp.tanh(jnp.repeat(x, 16, -1) + jnp.flip(x).mean()))

    def megabytes(method):
        return jax.jit(method).lower(x).compile().memory_analysis().temp_size_in_bytes / 1e6

    assert megabytes(lambda x: occlusion(wide, x, (4, 4))) < 100
    assert megabytes(lambda x: integrated_gradients(wide, x, 0.0, 500)) < 200


def test_nan_stays_nan():
    spoiled = X[0].at[2, 1, 0].set(jnp.nan)
    for method in METHODS.values():
        assert np.isnan(method(smooth, spoiled)[2, 1, 0])
        assert np.all(np.isnan(method(lambda x: jnp.nan * jnp.sum(x), X[0])))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_occlusion_is_the_loop_over_its_windows(seed, x64):
    rng = np.random.default_rng(seed)
    sides, stride = rng.integers(3, 9, 2), int(rng.integers(1, 4))
    x = rng.normal(size=(*sides, 2))
    window = tuple(int(rng.integers(1, n + 1)) for n in sides)
    weights = rng.normal(size=x.shape)
    baseline = rng.normal(size=(1, 1, 2))
    found = occlusion(
        lambda x: jnp.sum(jnp.sin(weights * x)), x, window, baseline, stride, batch_size=5
    )
    expected = occluded(lambda x: np.sum(np.sin(weights * x)), x, window, baseline, stride)
    np.testing.assert_allclose(found, expected, atol=1e-12)


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
