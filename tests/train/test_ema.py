import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from geodl import train


def test_the_average_is_that_of_the_parameters():
    optimizer = train.with_ema(optax.sgd(0.1), 0.9)
    params = {"a": jnp.ones(2)}
    state = optimizer.init(params)
    expected = np.ones(2)
    for n in range(200):
        updates, state = jax.jit(optimizer.update)({"a": jnp.array([1.0, n % 3])}, state, params)
        params = optax.apply_updates(params, updates)
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * np.asarray(params["a"])
        np.testing.assert_allclose(state.average["a"], expected, rtol=1e-5)
    plain = optax.sgd(0.1)
    alone, _ = plain.update({"a": jnp.ones(2)}, plain.init(params))
    same, _ = optimizer.update({"a": jnp.ones(2)}, state, params)
    np.testing.assert_array_equal(alone["a"], same["a"])


def test_bad_decay():
    with pytest.raises(ValueError, match=r"got 1\.0"):
        train.with_ema(optax.sgd(0.1), 1.0)
