"""Convolutional conditioners."""

import jax
import jax.numpy as jnp
import numpy as np

from geodl.nn import conv_net


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
