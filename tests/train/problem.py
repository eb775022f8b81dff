"""A small regression with noise in the loss, shared by the tests of training."""

import jax
import jax.numpy as jnp
import optax

from geodl import train


SIZE, BATCH = 53, 8  # seven steps an epoch, the last of five items
OPTIMIZER = optax.amsgrad(1e-2)


def data(key=None):
    x_key, y_key = jax.random.split(jax.random.key(7) if key is None else key)
    x = jax.random.normal(x_key, (SIZE, 3))
    return x, x @ jnp.array([1.0, -2.0, 0.5]) + 0.1 * jax.random.normal(y_key, (SIZE,))


def initial(key):
    weights = {"hidden": 0.3 * jax.random.normal(key, (3, 16)), "out": jnp.zeros(16)}
    return train.init(weights, OPTIMIZER, key, SIZE)


def loss(params, batch, key):
    (x, y), weight = batch
    noisy = x + 0.01 * jax.random.normal(key, x.shape)
    error = jnp.tanh(noisy @ params["hidden"]) @ params["out"] - y
    return jnp.sum(weight * error**2), {"items": jnp.sum(weight)}


def step_on_data(loss=loss, **options):
    return train.on_minibatches(train.make_step(loss, OPTIMIZER), BATCH, **options)


def seeds(number=2):
    return jax.vmap(initial)(jax.random.split(jax.random.key(0), number))


# Compilation is most of the tests' time: one run and one of two seeds, in chunks of 5, for all.
CHUNK = 5
RUN = train.chunked(step_on_data())
RUN_SEEDS = train.chunked(jax.vmap(step_on_data(), in_axes=(0, None)))
