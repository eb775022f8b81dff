"""A flow trained to a sharp density: likelihood and gradient beside double precision at tolerances of 1e-10."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from geodl import datasets, flows, train
from geodl.distributions import Uniform
from geodl.manifolds import Sphere


SPHERE = Sphere(2)


def trained(data, steps=2000):
    """Field and weights after some matching."""
    field = flows.vector_field(SPHERE, width=64, frequencies=64)

    def loss(params, data, key):
        key_base, key_data, key_time = jax.random.split(key, 3)
        x1 = data[jax.random.randint(key_data, (256,), 0, len(data))]
        x0 = SPHERE.random_uniform(key_base, (256,))
        t = flows.random_times(key_time, 256)

        def velocity(t, x):
            return field.apply(params, t, x)

        return jnp.mean(flows.matching_loss(SPHERE, velocity, t, x0, x1)), {}

    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, steps))
    run = train.chunked(train.make_step(loss, optimizer))
    key = jax.random.key(0)
    state, _ = run(train.init(field.init(key), optimizer, key), data, steps)
    return field, state.params


@pytest.mark.slow
def test_likelihood_and_gradient_of_a_trained_flow():
    points = np.asarray(datasets.spherical_mixture(jax.random.key(1), 2000), np.float32)
    field, params = trained(jnp.asarray(points[:1800]))
    test = points[1800:]

    def compute(params, x, solver):
        def loss(params):
            flow = flows.ContinuousFlow(Uniform(SPHERE), field, params, solver)
            return jnp.mean(flows.nll(flow, x))

        value, gradient = jax.jit(jax.value_and_grad(loss))(params)
        return float(value), np.asarray(jax.flatten_util.ravel_pytree(gradient)[0], np.float64)

    value, gradient = compute(params, jnp.asarray(test), flows.Tsit5())
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), jnp.float64), (params, test))
        reference, direction = compute(*exact, flows.Tsit5(1e-10, 1e-10, 100_000))
    assert reference < 2.0  # the uniform distribution: 2.53
    assert abs(value - reference) < 1e-4
    error = np.linalg.norm(gradient - direction)
    assert error < 1e-2 * np.linalg.norm(direction)
