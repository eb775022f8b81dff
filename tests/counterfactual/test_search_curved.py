"""Optimizers with a memory on curved bases: it is carried along the path, not left in the coordinates."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from geodl.counterfactual import Generator, Search, Status, interval
from geodl.manifolds import Euclidean, PoincareBall, Sphere


pytestmark = pytest.mark.usefixtures("x64")
STEPS = 8
SPHERE, BALL = Sphere(2), PoincareBall(2, 0.7)


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def path(generator, start, optimizer):
    """The points that a search from one start visits, and its end: it looks for what there is not."""
    search = Search(generator, jnp.sum, interval(), optimizer, STEPS)
    state = search.init(start[None], jnp.array([[9.0, jnp.inf]]))
    state, visited = jax.lax.scan(
        lambda s, _: (search.step(s), s.position), state, length=STEPS + 1
    )
    return visited[:, 0], state


def test_a_velocity_that_is_kept_goes_along_one_geodesic():
    velocity = jnp.array([0.3, -0.2])
    inertia = optax.GradientTransformation(lambda _: velocity, lambda g, v, _=None: (v, v))
    start = SPHERE.project(random(3, seed=2))

    @jax.jit
    def found():
        visited, state = path(Generator(jnp.tanh, SPHERE), start, inertia)
        times = jnp.arange(STEPS + 1)
        return visited, jax.vmap(lambda t: SPHERE.expmap_frame(start, t * velocity))(times), state

    visited, geodesic, state = found()
    np.testing.assert_allclose(visited, geodesic, atol=1e-13)
    assert state.status == Status.MAX_STEPS
    np.testing.assert_allclose(state.frame[0] @ state.frame[0].T, np.eye(2), atol=1e-13)


def test_momentum_does_not_know_the_coordinates():
    """A Möbius map of the ball, composed into the generator, changes nothing (a rotation of the sphere: theorems)."""
    start, weights = jnp.array([0.3, -0.4]), random(3, 2, seed=1)

    @jax.jit
    @jax.vmap
    def found(shift):
        def decode(z):
            return jnp.tanh(weights @ BALL.mobius_add(shift, z))

        moved, momentum = Generator(decode, BALL), optax.sgd(0.05, momentum=0.9)
        visited, _ = path(moved, BALL.mobius_add(-shift, start), momentum)
        return BALL.mobius_add(shift, visited)

    plain, moved = found(jnp.array([[0.0, 0.0], [0.5, -0.2]]))
    np.testing.assert_allclose(plain, moved, atol=1e-12)
    assert BALL.dist(plain[0], plain[-1]) > 0.5  # far enough to see it


def test_flat_bases_carry_nothing():
    search = Search(Generator(jnp.tanh, Euclidean(2)), jnp.sum, interval(), optax.sgd(0.1), STEPS)
    assert search.init(jnp.zeros((1, 2)), jnp.array([[9.0, jnp.inf]])).frame is None
