"""Networks as pure functions."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl.nn import mlp


NET = mlp([5, 16, 3])


def test_apply_is_the_matrix_formula():
    params = NET.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (4, 5))
    first, last = params["layers"].values()
    hidden = np.maximum(x @ first["kernel"] + first["bias"], 0)
    np.testing.assert_allclose(
        NET.apply(params, x), hidden @ last["kernel"] + last["bias"], rtol=1e-5
    )


def test_initial_values_are_uniform_in_the_fan_in():
    first = NET.init(jax.random.key(0))["layers"][0]
    for values in first.values():
        assert 0.8 * 5**-0.5 < jnp.max(jnp.abs(values)) <= 5**-0.5


@pytest.mark.parametrize("sizes", [[], [3]])
def test_sizes_are_at_least_two(sizes):
    with pytest.raises(ValueError, match=r"MLP: sizes are .* got \[3?\]"):
        mlp(sizes)


def test_an_ensemble_is_a_vmap():
    params = jax.vmap(NET.init)(jax.random.split(jax.random.key(0), 6))
    x = jnp.ones((4, 5))
    one = NET.apply(jax.tree.map(lambda a: a[2], params), x)
    np.testing.assert_allclose(jax.vmap(NET.apply, (0, None))(params, x)[2], one, rtol=1e-5)


def test_one_trace_for_all_parameters():
    apply = jax.jit(chex.assert_max_traces(NET.apply, n=1))
    for seed in range(3):
        apply(NET.init(jax.random.key(seed)), jnp.ones((4, 5)))


def test_bind_is_the_function_of_the_inputs():
    """Its parameters are leaves: one trace for all of them."""
    x, call = jnp.ones((4, 5)), jax.jit(chex.assert_max_traces(lambda f, x: f(x), n=1))
    for seed in range(3):
        params = NET.init(jax.random.key(seed))
        np.testing.assert_array_equal(NET.bind(params)(x), NET.apply(params, x))
        np.testing.assert_allclose(call(NET.bind(params), x), NET.apply(params, x), rtol=1e-5)


def test_the_last_layer_starts_as_it_is_asked_to():
    zeros, bias = jax.nn.initializers.zeros, jnp.arange(3.0)
    x = jnp.ones((4, 5))
    net = mlp([5, 16, 3], jax.nn.tanh, zeros, lambda key, shape, *_: bias)
    params = net.init(jax.random.key(0))
    np.testing.assert_array_equal(net.apply(params, x), jnp.tile(bias, (4, 1)))
    first = NET.init(jax.random.key(0))["layers"][0]
    np.testing.assert_array_equal(params["layers"][0]["kernel"], first["kernel"])
