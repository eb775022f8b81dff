"""Convolutional conditioners."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl.nn import (
    conv_classifier,
    conv_decoder,
    conv_features,
    conv_net,
    mixer_net,
)
from geodl.nn.conv import conv, relu


@pytest.mark.parametrize(
    ("n", "m", "side"),
    [(2, 9, 3), (9, 2, 3), (9, 10, 3), (3, 3, 5), (9, 2, 1), (2, 9, 2), (9, 2, 4)],
)
def test_convolution_is_that_of_lax(n, m, side):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4, 5, n)).astype(np.float32)
    kernel = rng.normal(size=(side, side, n, m)).astype(np.float32)
    v = rng.normal(size=(2, 4, 5, m)).astype(np.float32)

    def of_lax(x, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)

    @jax.jit
    def both(x, kernel):
        found, pull = jax.vjp(conv, x, kernel)
        asked, pull_asked = jax.vjp(of_lax, x, kernel)
        alone = jax.vmap(conv, (0, None))(x, kernel)
        return (found, pull(v), alone), (asked, pull_asked(v), asked)

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-4), *both(x, kernel))


def test_relu_and_its_derivatives_are_those_of_jax():
    x = jnp.array([-jnp.inf, -1.5, -0.0, 0.0, 1e-30, 2.0, jnp.inf, jnp.nan])

    @jax.jit
    def derivatives(x):
        def of(function):
            def curved(x):
                return jnp.sum(jnp.sin(function(x)) * jnp.cos(x))

            reverse = jax.vmap(jax.value_and_grad(function))(x)
            forward = jax.jvp(function, (x,), (jnp.cos(x),))
            return reverse, forward, jax.hessian(curved)(x[1:6])

        return of(relu), of(jax.nn.relu)

    jax.tree.map(np.testing.assert_array_equal, *derivatives(x))


def test_zero_at_first_and_any_batch():
    net = conv_net((5, 4, 2), 8, 6)
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 4, 2)).astype(np.float32)

    @jax.jit
    def evaluate(x):
        params = net.init(jax.random.key(0))
        moved = jax.tree.map(lambda a: a + 0.1, params)
        return net.apply(params, x), net.apply(moved, x), net.apply(moved, x[1, 2])

    first, y, alone = evaluate(x)
    np.testing.assert_array_equal(first, jnp.zeros((2, 3, 5, 4, 6)))
    np.testing.assert_allclose(alone, y[1, 2], rtol=1e-4, atol=1e-4)
    assert jnp.std(y) > 0.1


def test_classifier_of_any_batch_and_its_features():
    shape, options = (9, 8, 2), {"widths": (3, 4), "hidden": 6, "kernel": 5}
    net, features = conv_classifier(shape, 5, **options), conv_features(shape, **options)
    x = np.random.default_rng(0).normal(size=(2, 3, *shape)).astype(np.float32)

    @jax.jit
    def evaluate(x):
        params = net.init(jax.random.key(0))
        hidden = features.apply(params["features"], x)
        last = params["logits"]
        logits = hidden @ last["kernel"] + last["bias"]
        return net.apply(params, x), logits, hidden

    y, by_hand, hidden = evaluate(x)
    assert y.shape == (2, 3, 5) and hidden.shape == (2, 3, 6) and hidden.min() >= 0
    np.testing.assert_allclose(y, by_hand, rtol=1e-4, atol=1e-5)
    alone = net.apply(net.init(jax.random.key(0)), x[1, 2])
    np.testing.assert_allclose(alone, y[1, 2], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"at least 16 are needed, got \(9, 8, 2\)"):
        conv_classifier(shape, 5, (2, 2, 2, 2))


@pytest.mark.slow
def test_decoder_makes_images_of_the_shape():
    net = conv_decoder(3, (8, 12, 2), (4, 3))
    z = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)

    @jax.jit
    def evaluate(z):
        params = net.init(jax.random.key(0))
        return net.apply(params, z)

    x = evaluate(z)
    assert x.shape == (2, 5, 8, 12, 2) and jnp.std(x) > 0.01
    alone = net.apply(net.init(jax.random.key(0)), z[1, 4])
    np.testing.assert_allclose(alone, x[1, 4], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"multiples of 4, got \(6, 8, 1\)"):
        conv_decoder(3, (6, 8, 1))


def test_a_normalized_decoder_does_not_see_the_scale_of_its_input():
    net = conv_decoder(3, (4, 4, 1), (4,), normalized=True)
    z = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)

    @jax.jit
    def evaluate(scale):
        return net.apply(net.init(jax.random.key(0)), scale * z)

    assert jnp.std(evaluate(1.0)) > 0.01
    np.testing.assert_allclose(evaluate(10.0), evaluate(1.0), rtol=1e-4, atol=1e-5)
    gradient = jax.jit(jax.grad(lambda scale: jnp.sum(evaluate(scale))))(0.0)
    assert jnp.isfinite(gradient)  # no pixel has any channel


NETS = {
    "conv_net": (conv_net((8, 8, 2), 9, 3), (8, 8, 2)),
    "mixer_net": (mixer_net((8, 8, 2), 9, 3), (8, 8, 2)),
    "conv_features": (conv_features((8, 8, 2), (3,), 4), (8, 8, 2)),
    "conv_classifier": (conv_classifier((8, 8, 2), 5, (3,), 4), (8, 8, 2)),
    "conv_decoder": (conv_decoder(2, (8, 8, 2), (3,)), (2,)),
}


@pytest.mark.parametrize("name", NETS)
def test_no_images(name):
    """Empty batches in, empty batches out, and gradients of 0."""
    net, shape = NETS[name]
    params = net.init(jax.random.key(0))

    def outputs(params, batch):
        return jax.tree.leaves(net.apply(params, jnp.zeros((*batch, *shape))))

    for none, some in zip(outputs(params, (2, 0)), outputs(params, (2, 1)), strict=True):
        assert none.shape == (2, 0, *some.shape[2:])
    gradients = jax.grad(lambda params: sum(map(jnp.sum, outputs(params, (0,)))))(params)
    assert all(not np.any(g) for g in jax.tree.leaves(gradients))


@pytest.mark.parametrize("name", [name for name in NETS if name != "conv_decoder"])
def test_images_of_another_shape(name):
    """Also where the pixels that pooling drops would hide it."""
    net, _ = NETS[name]
    params = jax.eval_shape(net.init, jax.random.key(0))
    for shape in [(10, 10, 2), (9, 8, 2), (8, 8, 1)]:
        with pytest.raises(ValueError, match=r"\(8, 8, 2\).*are needed, got"):
            jax.eval_shape(net.apply, params, jnp.zeros((3, *shape)))
