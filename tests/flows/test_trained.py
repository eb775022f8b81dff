"""A flow trained to a sharp density: likelihood and gradient beside double precision at tolerances of 1e-10."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from geodl import datasets, flows, nn, train
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


@pytest.mark.slow
@pytest.mark.optimized
def test_a_glow_that_overfits_reads_alike_in_double_precision():
    """What it finds impossible is so: the bits of images unlike its digits explode in float64 as well."""
    data = datasets.digits()
    net = flows.glow((8, 8, 1), [(4, 4)], 32, conditioner=nn.mixer_net)
    images = jnp.asarray(data.train_images[:64, ..., None])

    def loss(params, images, key):
        return jnp.mean(flows.bits_per_dim(net.distribution(params), images, key)), {}

    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(8e-3))
    key = jax.random.key(0)
    params = net.data_init(net.init(key), flows.dequantize(images, key))
    run = train.chunked(train.make_step(loss, optimizer), convolutional=True)
    state, _ = run(train.init(params, optimizer, key), images, 600)

    @jax.jit
    def evaluate(params, x):
        bijector = net.bijector(params)
        log_prob = net.distribution(params).log_prob(x)
        return log_prob, jnp.max(jnp.abs(bijector.forward(bijector.inverse(x)) - x))

    def both(images):
        x = flows.bin_centers(images[..., None])
        found = evaluate(state.params, x)
        with jax.enable_x64(True):
            exact = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), jnp.float64), state.params)
            expected = evaluate(exact, jnp.asarray(np.asarray(x), jnp.float64))
        return np.asarray(found[0]), np.asarray(expected[0]), found[1]

    log_p, expected, error = both(data.test_images)
    np.testing.assert_allclose(log_p, expected, rtol=1e-4, atol=0.01)
    assert error < 1e-4
    wild, expected_wild, _ = both(255 - data.test_images)
    np.testing.assert_allclose(wild, expected_wild, rtol=1e-2)
    assert np.median(expected_wild) < 100 * np.median(expected) < 0 or np.min(expected_wild) < -1e6
