"""Convolutional conditioners."""

import jax
import jax.numpy as jnp
import numpy as np

from geodl.nn import conv_net


def test_zero_at_first_and_any_batch():
    net = conv_net((5, 4, 2), 8, 6)
    params = jax.jit(net.init)(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (2, 3, 5, 4, 2))
    np.testing.assert_array_equal(jax.jit(net.apply)(params, x), jnp.zeros((2, 3, 5, 4, 6)))
    moved = jax.tree.map(lambda a: a + 0.1, params)
    y, alone = jax.jit(lambda p, x: (net.apply(p, x), net.apply(p, x[1, 2])))(moved, x)
    np.testing.assert_allclose(alone, y[1, 2], rtol=1e-4, atol=1e-4)
    assert jnp.std(y) > 0.1
