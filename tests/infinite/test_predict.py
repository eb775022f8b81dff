"""Predictions: posteriors against scikit-learn, gradient flow against its differential equation and an ensemble."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from geodl import infinite
from geodl.infinite import Kernels


RNG = np.random.default_rng(0)
X, TEST = RNG.normal(size=(6, 3)), RNG.normal(size=(4, 3))
Y = RNG.normal(size=(6, 2))
DENSE = infinite.dense(1, 1.4, 0.3)
NET = infinite.serial(DENSE, infinite.relu(), DENSE, infinite.relu(), DENSE)


def test_the_posterior_is_scikit_learns(x64):
    kernel = ConstantKernel(2.0) * RBF(1.3)
    theirs = GaussianProcessRegressor(kernel, alpha=0.3**2, optimizer=None).fit(X, Y[:, :1])
    mean, covariance = theirs.predict(TEST, return_cov=True)
    found = jax.jit(infinite.posterior)(kernel(X), kernel(TEST, X), kernel(TEST), Y[:, :1], 0.3)
    np.testing.assert_allclose(np.ravel(found.mean), np.ravel(mean), atol=1e-10)
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-10)


@pytest.fixture(scope="module")
def matrices():
    with jax.enable_x64(True):
        pair = infinite.kernels(NET, X), infinite.kernels(NET, TEST, X)
        return *pair, infinite.kernels(NET, TEST).nngp


def test_gradient_flow_solves_its_differential_equation(matrices, x64):
    """df/dt = -Theta(., X) (f(X) - y) from draws f_0 of the Gaussian process, linearly: its covariance follows."""
    train, cross, test = matrices
    theta = np.block([[np.asarray(train.ntk)], [np.asarray(cross.ntk)]])
    prior = np.block(
        [
            [np.asarray(train.nngp), np.asarray(cross.nngp).T],
            [np.asarray(cross.nngp), np.asarray(test)],
        ]
    )
    columns = np.concatenate(
        [np.zeros((10, 2)), np.eye(10)], 1
    )  # of the zero function, and of unit vectors
    targets = np.concatenate([Y, np.zeros((6, 10))], 1)

    def rate(t, f):
        f = f.reshape(10, 12)
        return -(theta @ (f[:6] - targets)).ravel()

    time = 0.4
    end = (
        solve_ivp(rate, (0, time), columns.ravel(), rtol=1e-11, atol=1e-12).y[:, -1].reshape(10, 12)
    )
    found = jax.jit(infinite.gradient_flow)(train, cross, test, Y, time)
    np.testing.assert_allclose(found.mean, end[6:, :2], atol=1e-8)
    flow = end[:, 2:]
    np.testing.assert_allclose(found.covariance, (flow @ prior @ flow.T)[6:, 6:], atol=1e-8)


def test_the_ends_of_time(matrices, x64):
    train, cross, test = matrices
    start = infinite.gradient_flow(train, cross, test, Y, 0.0)
    np.testing.assert_allclose(start.mean, 0, atol=1e-14)
    np.testing.assert_allclose(start.covariance, test, atol=1e-12)
    end = infinite.gradient_flow(train, cross, test, Y)
    by_hand = np.asarray(cross.ntk) @ np.linalg.solve(train.ntk, Y)
    np.testing.assert_allclose(end.mean, by_hand, atol=1e-10)
    at_data = infinite.gradient_flow(train, train, train.nngp, Y)
    np.testing.assert_allclose(at_data.mean, Y, atol=1e-10)
    np.testing.assert_allclose(at_data.covariance, 0, atol=1e-10)
    late = jax.vmap(lambda t: infinite.gradient_flow(train, cross, test, Y, t).mean)(
        jnp.array([1e7, jnp.inf])
    )
    np.testing.assert_allclose(late[0], late[1], atol=1e-10)
    ridge = infinite.gradient_flow(train, cross, test, Y, ridge=0.5).mean
    by_hand = np.asarray(cross.ntk) @ np.linalg.solve(np.asarray(train.ntk) + 0.5 * np.eye(6), Y)
    np.testing.assert_allclose(ridge, by_hand, atol=1e-10)


@pytest.mark.slow
def test_trained_wide_networks_follow(x64):
    """Mean and spread of an ensemble of networks of width 512 by gradient descent with small steps."""
    net = infinite.serial(infinite.dense(512, 1.4, 0.3), infinite.erf(), infinite.dense(1)).net(
        (3,)
    )
    layer = infinite.serial(infinite.dense(1, 1.4, 0.3), infinite.erf(), infinite.dense(1))
    y, steps, rate = Y[:, :1], 100, 0.02

    def train(key):
        params = jax.tree.map(lambda a: a.astype(jnp.float64), net.init(key))

        def step(params, _):
            loss = lambda p: jnp.sum(jnp.square(net.apply(p, X) - y)) / 2  # noqa: E731
            return jax.tree.map(lambda p, g: p - rate * g, params, jax.grad(loss)(params)), None

        return net.apply(jax.lax.scan(step, params, None, steps)[0], TEST)[:, 0]

    found = jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(0), 96))
    pair = infinite.kernels(layer, X), infinite.kernels(layer, TEST, X)
    exact = infinite.gradient_flow(*pair, infinite.kernels(layer, TEST).nngp, y, steps * rate)
    deviation = jnp.sqrt(jnp.diagonal(exact.covariance))
    score = (found.mean(0) - exact.mean[:, 0]) / deviation * 96**0.5
    assert np.abs(score).max() < 4
    np.testing.assert_allclose(found.std(0) / deviation, 1, atol=4 / (2 * 96) ** 0.5)


def test_singular_kernels_are_named():
    k = infinite.kernels(NET, np.concatenate([X, X[:1]]).astype(np.float32))
    cross = Kernels(*(a[:2] for a in k))
    y = np.ones((7, 1), np.float32)
    for function in (
        lambda k, cross: infinite.posterior(k.nngp, cross.nngp, k.nngp[:2, :2], y),
        lambda k, cross: infinite.gradient_flow(k, cross, k.nngp[:2, :2], y),
    ):
        with pytest.raises(ValueError, match="kernel is singular in float32: its eigenvalues are"):
            function(k, cross)
        assert np.isnan(jax.jit(function)(k, cross).mean).all()
    soft = infinite.gradient_flow(k, cross, k.nngp[:2, :2], y, 1.0)
    assert np.isfinite(soft.mean).all()
    assert np.isfinite(infinite.posterior(k.nngp, cross.nngp, k.nngp[:2, :2], y, 0.1).mean).all()


def test_what_does_not_fit_is_named(matrices, x64):
    train, cross, test = matrices
    with pytest.raises(ValueError, match="posterior: kernels"):
        infinite.posterior(train.nngp, cross.nngp.T, test, Y)
    with pytest.raises(ValueError, match="noise must be at least 0, got -1"):
        infinite.posterior(train.nngp, cross.nngp, test, Y, -1.0)
    with pytest.raises(ValueError, match="time must be at least 0, got -2"):
        infinite.gradient_flow(train, cross, test, Y, -2.0)
    with pytest.raises(ValueError, match="gradient_flow: kernels"):
        infinite.gradient_flow(train, cross, test, Y[:, 0])
