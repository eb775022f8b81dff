"""The Gaussian process latent variable model, to draw beside the latent spaces."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from sklearn.decomposition import PCA


class Gplvm(NamedTuple):
    """Positions of the points, and the Gaussian process that maps them to the data.

    Its covariance is amplitude^2 exp(-|z - z'|^2 / 2) + noise^2 [z = z']: the length scale is the
    unit of the positions.
    """

    positions: Float[Array, "n d"]
    log_amplitude: Float[Array, ""]
    log_noise: Float[Array, ""]


def log_marginal_likelihood(model: Gplvm, x: Float[Array, "n D"]) -> Float[Array, ""]:
    """log p(x | positions) in nats, a Gaussian process for each column of x (Lawrence 2004, equation 3)."""
    n, columns = x.shape
    z = model.positions
    squares = jnp.sum((z[:, None] - z[None, :]) ** 2, -1)
    covariance = jnp.exp(2 * model.log_amplitude - squares / 2)
    covariance += jnp.exp(2 * model.log_noise) * jnp.eye(n)
    root = jnp.linalg.cholesky(covariance)
    whitened = jax.scipy.linalg.solve_triangular(root, x, lower=True)
    log_det = 2 * jnp.sum(jnp.log(jnp.diagonal(root)))
    return -0.5 * (jnp.sum(whitened**2) + columns * (log_det + n * jnp.log(2 * jnp.pi)))


def gplvm(
    x: Float[np.ndarray, "n D"], dim: int = 2, steps: int = 500
) -> tuple[Gplvm, Float[Array, " steps"]]:
    """Maximize the marginal likelihood over positions, amplitude and noise, from PCA, by Adam.

    Neil Lawrence (2004), "Gaussian Process Latent Variable Models for Visualisation of High
    Dimensional Data", with all points in the active set.

    Returns:
        The model, and its log marginal likelihood before each step.
    """
    plane = PCA(dim).fit(x)
    start = plane.transform(x)
    residual = x - plane.inverse_transform(start)
    first = Gplvm(start / start.std(), np.log(x.std()), np.log(residual.std()))
    centered = jnp.asarray(x - x.mean(0))
    optimizer = optax.adam(optax.cosine_decay_schedule(0.05, steps))

    def step(state, _):
        model, moments = state
        value, gradient = jax.value_and_grad(log_marginal_likelihood)(model, centered)
        updates, moments = optimizer.update(jax.tree.map(jnp.negative, gradient), moments, model)
        return (optax.apply_updates(model, updates), moments), value

    @jax.jit
    def ascend(model):
        (model, _), values = jax.lax.scan(step, (model, optimizer.init(model)), length=steps)
        return model, values

    return ascend(jax.tree.map(jnp.asarray, first))
