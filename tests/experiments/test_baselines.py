"""The GPLVM against linear algebra."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.pvae import baselines


N, COLUMNS = 12, 4
X = np.asarray(jax.random.normal(jax.random.key(3), (N, COLUMNS))) * [3.0, 0.5, 2.0, 1.0] + 7


def test_likelihood_of_the_gplvm_and_its_gradient_are_the_closed_forms(x64):
    z = jax.random.normal(jax.random.key(4), (N, 2))
    model = baselines.Gplvm(z, jnp.asarray(0.4), jnp.asarray(-0.7))
    likelihood = jax.jit(jax.value_and_grad(baselines.log_marginal_likelihood))
    value, gradient = likelihood(model, jnp.asarray(X))

    apart = np.asarray(z[:, None] - z[None, :])
    smooth = np.exp(2 * 0.4 - np.sum(apart**2, -1) / 2)
    covariance = smooth + np.exp(2 * -0.7) * np.eye(N)
    weights = np.linalg.solve(covariance, X)
    log_det = np.linalg.slogdet(covariance)[1]
    exact = -0.5 * (np.sum(X * weights) + COLUMNS * (log_det + N * np.log(2 * np.pi)))
    np.testing.assert_allclose(value, exact, rtol=1e-12)

    slope = 0.5 * (weights @ weights.T - COLUMNS * np.linalg.inv(covariance))  # in the covariance
    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(gradient.log_amplitude, np.sum(slope * 2 * smooth), **close)
    np.testing.assert_allclose(gradient.log_noise, 2 * np.exp(-1.4) * np.trace(slope), **close)
    moves = np.einsum("ij,ij,ijd->id", -2 * slope, smooth, apart)
    np.testing.assert_allclose(gradient.positions, moves, **close)


def test_gplvm_climbs_from_pca():
    x = X.astype(np.float32)
    model, values = baselines.gplvm(x, steps=60)
    assert model.positions.shape == (N, 2)
    assert np.all(np.isfinite(values))
    reached = baselines.log_marginal_likelihood(model, jnp.asarray(x - x.mean(0)))
    assert values[0] + 5 < values[30] < values[-1] <= reached
