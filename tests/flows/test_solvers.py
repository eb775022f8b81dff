import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from geodl import flows
from geodl.flows.continuous import divergence
from geodl.flows.continuous.time import in_warped_time
from geodl.manifolds import Sphere
from tests.flows.problem import jit, points, random_field


SPACE = Sphere(2)
TURN = np.array([[0, -1, 0.5], [1, 0, -2], [-0.5, 2, 0]], np.float32)


def rotation(t, x):
    return x @ TURN.T, jnp.cos(t) * jnp.ones(x.shape[:-1])


@pytest.mark.parametrize("solver", [flows.Tsit5(1e-6, 1e-6), flows.RK4(64)], ids=str)
def test_a_rotation_field_is_the_matrix_exponential(solver):
    x = points(SPACE, 20)
    y, integral, stats = jit(lambda x: solver(rotation, x, 0.0, 1.5, SPACE))(x)
    np.testing.assert_allclose(y, x @ expm(1.5 * TURN).T, atol=2e-5)
    np.testing.assert_allclose(integral, np.sin(1.5), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(y, axis=-1), 1, atol=3e-7)
    assert bool(stats.success)
    back, _, _ = jit(lambda y: solver(rotation, y, 1.5, 0.0, SPACE))(y)
    np.testing.assert_allclose(back, x, atol=3e-5)


def test_solvers_agree_and_order_is_four(x64):
    manifold, field, params = random_field("sphere")
    x, params = (
        jnp.asarray(points(manifold, 8), float),
        jax.tree.map(lambda a: a.astype(float), params),
    )
    rate = in_warped_time(divergence.exact(manifold, lambda t, x: field.apply(params, t, x)))

    def log_det(solver):
        return np.asarray(jit(lambda x: solver(rate, x, 1.0, 0.0, manifold)[1])(x))

    exact = log_det(flows.Tsit5(1e-10, 1e-10))
    assert exact.dtype == np.float64
    assert np.abs(log_det(flows.Tsit5()) - exact).mean() < 1e-4
    errors = [np.abs(log_det(flows.RK4(n)) - exact).mean() for n in (16, 32)]
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.4)


def test_giving_up_is_seen():
    solver = flows.Tsit5(max_steps=3)
    x, integral, stats = jit(lambda x: solver(rotation, x, 0.0, 50.0, SPACE))(points(SPACE, 5))
    assert np.isnan(x).all() and np.isnan(integral).all() and not stats.success
