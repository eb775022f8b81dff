import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from geodl import flows
from geodl.manifolds import SO3, Hyperboloid, PoincareBall, Product, Sphere, Torus
from tests.flows.problem import jit, points


SPACES = [
    Sphere(2),
    SO3(),
    Torus(2),
    PoincareBall(2, 0.7),
    Hyperboloid(2, 0.7),
    Product(Torus(1), Sphere(2)),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_paths_are_geodesics(space):
    """Ends, speed = distance, velocity = log_{x_t}(x_1) / (1 - t), and the loss vanishes for that velocity."""
    x0, x1 = points(space, 30, 1), points(space, 30, 2)
    t = jnp.asarray(np.random.default_rng(3).uniform(0.05, 0.9, 30), jnp.float32)

    @jit
    def compute(t, x0, x1):
        def velocity(t, x):
            return jax.tree.map(
                lambda v: v / (1 - t).reshape(-1, *[1] * (v.ndim - 1)), space.logmap(x, x1)
            )

        x, u = flows.conditional_path(space, t, x0, x1)
        return {
            "speed": space.norm(x, u) - space.dist(x0, x1),
            "end": space.dist(flows.conditional_path(space, jnp.ones(30), x0, x1)[0], x1),
            "start": space.dist(flows.conditional_path(space, jnp.zeros(30), x0, x1)[0], x0),
            "loss": flows.matching_loss(space, velocity, t, x0, x1),
        }

    for name, value in compute(t, x0, x1).items():
        assert np.max(np.abs(value)) < 3e-3 if name != "loss" else np.max(value) < 1e-5, name


def test_antipodes_and_coincident_points_are_finite():
    space, x = Sphere(2), points(Sphere(2), 5)

    def value(end):
        return flows.matching_loss(space, lambda t, x: 0 * x, jnp.full(5, 0.5), x, end)

    for end in (x, -x):
        loss, gradient = value(end), jax.grad(lambda e: jnp.sum(value(e)))(end)
        expected = space.sqdist(x, end) / 2
        np.testing.assert_allclose(loss, expected, atol=1e-4)
        assert np.isfinite(gradient).all()


def test_optimal_pairs_are_those_of_scipy():
    space = Sphere(2)
    x0, x1 = points(space, 12, 4), points(space, 12, 5)
    cost = np.asarray(space.sqdist(x0[:, None], x1[None]))
    i, j = linear_sum_assignment(cost)
    paired = jit(lambda a, b: flows.optimal_pairs(space, a, b))(x0, x1)
    np.testing.assert_allclose(np.sum(space.sqdist(paired, x1)), cost[i, j].sum(), rtol=1e-4)
    np.testing.assert_allclose(np.sort(paired, 0), np.sort(x0, 0), atol=0)


def test_jitter_has_the_asked_scale(key):
    space = Sphere(2)
    x = jnp.broadcast_to(points(space, 1), (20_000, 3))
    scale = jnp.where(jnp.arange(20_000) % 2 == 0, 0.0, 0.05)
    moved = flows.jitter(space, key, x, scale)
    squares = np.asarray(space.sqdist(x, moved))
    assert squares[::2].max() < 1e-12
    np.testing.assert_allclose(squares[1::2].mean(), 2 * 0.05**2, rtol=0.04)
