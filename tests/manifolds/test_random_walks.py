"""Random walks and Brownian motion against what the Laplacian's eigenfunctions say."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl.manifolds import Hyperboloid, PoincareBall, Sphere, random_walks
from tests.manifolds.spaces import SPACES


@pytest.mark.slow
def test_brownian_motion_has_the_heat_kernels_moments():
    """E<x, x_t> = e^(-d t / 2) on S^d and E cosh r_t = e^(d t / 2) on H^d: eigenfunctions of the Laplacian."""
    time, steps, n = 0.5, 100, 20_000

    @partial(jax.jit, static_argnums=0)
    def ends(space, key):
        x = space.origin()
        start = jnp.broadcast_to(x, (n, *x.shape))
        path = random_walks.brownian_motion(key, space, start, time, steps)
        return path[-1]

    on_sphere = ends(Sphere(2), jax.random.key(0))[:, 0]
    on_sheet = ends(Hyperboloid(2), jax.random.key(1))[:, 0]
    for values, expected in ((on_sphere, np.exp(-time)), (on_sheet, np.exp(time))):
        error = 4 * np.std(values) / n**0.5 + 2 * time / steps
        assert abs(np.mean(values) - expected) < error


def test_walks_step_by_one_length():
    space = SPACES["product"]
    start = jax.tree.map(lambda p: jnp.stack([p, p]), space.origin())
    lengths = jnp.array([0.1, 0.3])
    path = jax.jit(random_walks.random_walk, static_argnums=(1, 3))(
        jax.random.key(0), space, start, 5, lengths
    )
    here, there = (jax.tree.map(lambda p, s=s: p[s], path) for s in (slice(5), slice(1, 6)))
    np.testing.assert_allclose(
        space.dist(here, there), jnp.broadcast_to(lengths, (5, 2)), atol=2e-6
    )


def test_negative_times_and_lengths_are_refused():
    ball, points = PoincareBall(2), jnp.zeros((3, 2))
    with pytest.raises(ValueError, match="the time must be at least 0, got -1"):
        random_walks.brownian_motion(jax.random.key(0), ball, points, -1.0, 2)
    with pytest.raises(ValueError, match="length of a step must be at least 0, got -1"):
        random_walks.random_walk(jax.random.key(0), ball, points, 2, -1.0)
