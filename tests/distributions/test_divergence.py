"""The Monte Carlo KL of the ELBO against quadrature, on the hyperbolic plane."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl.distributions import RiemannianNormal, WrappedNormal
from geodl.manifolds import PoincareBall


C = 1.2


@pytest.mark.parametrize("family", [RiemannianNormal, WrappedNormal])
@pytest.mark.quick("RiemannianNormal")
def test_monte_carlo_kl_is_that_of_quadrature(family):
    ball = PoincareBall(2, C)
    radius, width = np.polynomial.legendre.leggauss(200)
    radius, width = 4 * (1 + radius), 4 * width  # geodesic polar coordinates around loc, to 8
    angle = 2 * np.pi * (np.arange(200) + 0.5) / 200
    direction = np.stack([np.cos(angle), np.sin(angle)], -1)
    area = (width * np.sinh(C**0.5 * radius) / C**0.5)[:, None] * 2 * np.pi / 200

    @jax.jit
    def divergences(key):
        q = family(ball, jnp.array([0.4, -0.2]), 0.8)
        p = family(ball, ball.origin(), 1.7)
        z, log_q = q.sample_and_log_prob(seed=key, sample_shape=(40_000,))
        steps = jnp.asarray(radius[:, None, None] * direction, jnp.float32)
        nodes = ball.expmap(q.loc, ball.from_frame(q.loc, steps))
        log_at_nodes = q.log_prob(nodes)
        exact = jnp.sum(area * jnp.exp(log_at_nodes) * (log_at_nodes - p.log_prob(nodes)))
        ratio = log_q - p.log_prob(z)
        return jnp.mean(ratio), jnp.std(ratio) / 200, exact

    sampled, error, exact = divergences(jax.random.key(0))
    assert exact > 0.1
    assert abs(sampled - exact) < 4 * error + 1e-3
