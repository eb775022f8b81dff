"""Nets of few positions: 0 at first, and then every position sees every other one."""

import jax
import jax.numpy as jnp
import numpy as np

from geodl.nn import mixer_net


def test_every_position_sees_every_other_one():
    net = mixer_net((3, 4, 2), 32, 5)
    params, apply = jax.jit(net.init)(jax.random.key(0)), jax.jit(net.apply)
    x = jax.random.normal(jax.random.key(1), (2, 3, 3, 4, 2))
    assert jnp.all(apply(params, x) == 0) and apply(params, x).shape == (2, 3, 3, 4, 5)
    moved = jax.tree.map(lambda a: a + 0.1, params)
    np.testing.assert_allclose(apply(moved, x)[1, 2], apply(moved, x[1, 2]), rtol=1e-5)
    seen = jax.jit(jax.jacobian(lambda x: apply(moved, x).sum(-1)))(x[0, 0])
    assert seen.shape == (3, 4, 3, 4, 2) and jnp.all(jnp.abs(seen).sum(-1) > 0)
