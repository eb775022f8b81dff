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
@pytest.mark.quick("Sphere(dim=2)", "Torus(dim=2)", "PoincareBall(dim=2, c=0.7)")
def test_paths_are_geodesics(space):
    """Ends, speed = distance, velocity = log_{x_t}(x_1) / (1 - t), for which the loss vanishes."""
    x0, x1 = points(space, 30, 1), points(space, 30, 2)
    t = np.random.default_rng(3).uniform(0.05, 0.9, 30).astype(np.float32)

    @jit
    def compute(times, x0, x1):
        def velocity(t, x):
            return jax.tree.map(
                lambda v: v / (1 - t).reshape(-1, *[1] * (v.ndim - 1)), space.logmap(x, x1)
            )

        x, u = jax.vmap(lambda t: flows.conditional_path(space, t, x0, x1))(times)
        return {
            "speed": space.norm(x, u)[2] - space.dist(x0, x1),
            "start": space.sqdist(jax.tree.map(lambda a: a[0], x), x0),
            "end": space.sqdist(jax.tree.map(lambda a: a[1], x), x1),
            "loss": flows.matching_loss(space, velocity, times[2], x0, x1),
        }

    times = jnp.stack([jnp.zeros(30), jnp.ones(30), t])
    for name, value in compute(times, x0, x1).items():
        assert np.max(np.abs(value)) < (3e-3 if name == "speed" else 1e-5), name


def test_antipodes_and_coincident_points_are_finite():
    space, x = Sphere(2), points(Sphere(2), 5)

    @jit
    def compute(end):
        def loss(end):
            return flows.matching_loss(space, lambda t, x: 0 * x, jnp.full(5, 0.5), x, end)

        return loss(end), jax.grad(lambda e: jnp.sum(loss(e)))(end), space.sqdist(x, end) / 2

    for end in (x, -x):
        loss, gradient, expected = compute(end)
        np.testing.assert_allclose(loss, expected, atol=1e-4)
        assert np.isfinite(gradient).all()


def test_optimal_pairs_are_those_of_scipy():
    space = Sphere(2)
    x0, x1 = points(space, 12, 4), points(space, 12, 5)

    @jit
    def compute(x0, x1):
        paired = flows.optimal_pairs(space, x0, x1)
        return paired, space.sqdist(paired, x1), space.sqdist(x0[:, None], x1[None])

    paired, found, cost = compute(x0, x1)
    i, j = linear_sum_assignment(cost)
    np.testing.assert_allclose(np.sum(found), np.asarray(cost)[i, j].sum(), rtol=1e-4)
    np.testing.assert_allclose(np.sort(paired, 0), np.sort(x0, 0), atol=0)


def test_jitter_has_the_asked_scale(key):
    space = Sphere(2)
    x = jnp.broadcast_to(points(space, 1), (20_000, 3))
    scale = jnp.where(jnp.arange(20_000) % 2 == 0, 0.0, 0.05)
    squares = np.asarray(jit(lambda x: space.sqdist(x, flows.jitter(space, key, x, scale)))(x))
    assert squares[::2].max() < 1e-12
    np.testing.assert_allclose(squares[1::2].mean(), 2 * 0.05**2, rtol=0.04)


def test_times_are_one_for_each_pair():
    """A column of times would be matched with all pairs; a number is that of all; integers are numbers."""
    space = Sphere(2)
    x0, x1 = points(space, 4, 1), points(space, 4, 2)

    def loss(t):
        return flows.matching_loss(space, lambda t, x: 0 * x, t, x0, x1)

    np.testing.assert_allclose(loss(0.5), space.sqdist(x0, x1) / 2, rtol=1e-5)
    np.testing.assert_array_equal(loss(np.full(4, 0.5, np.float32)), loss(0.5))
    np.testing.assert_allclose(loss(0), loss(0.5), rtol=1e-5)
    for shape in [(4, 1), (2, 4), (3,)]:
        with pytest.raises(ValueError, match=r"one for each point.*got"):
            loss(np.full(shape, 0.5, np.float32))
        with pytest.raises(ValueError, match=r"one for each point.*got"):
            jax.eval_shape(loss, np.full(shape, 0.5, np.float32))
    for x in (x0[0], x0[:0]):  # one pair, none
        assert flows.matching_loss(space, lambda t, x: 0 * x, 0.5, x, x).shape == x.shape[:-1]


def test_points_off_the_manifold_are_refused():
    on, off = points(Sphere(2), 4, 1), np.ones((4, 3), np.float32)
    for x0, x1 in ((on, off), (off, on)):
        with pytest.raises(ValueError, match="must lie on the unit sphere"):
            flows.matching_loss(Sphere(2), lambda t, x: x, 0.5, x0, x1)
        with pytest.raises(ValueError, match="must lie on the unit sphere"):
            flows.conditional_path(Sphere(2), 0.5, x0, x1)


def test_double_precision_is_switched_on(x64):
    """Points in single precision stay so, whatever the times are."""
    space = Sphere(2)
    x = points(space, 4)
    for t in (0.5, np.full(4, 0.5), flows.random_times(jax.random.key(0), 4)):
        x_t, u = flows.conditional_path(space, t, x, x)
        assert x_t.dtype == u.dtype == jnp.float32
    assert flows.random_times(jax.random.key(0), 4, jnp.float32).dtype == jnp.float32
