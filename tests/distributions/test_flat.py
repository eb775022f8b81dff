"""Curvature 0: the normals are those of flat space, and nothing jumps or breaks on the way there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from geodl.distributions import RiemannianNormal, WrappedNormal
from geodl.manifolds import Euclidean, PoincareBall
from tests.distributions.cases import jit


LOC, SCALE = np.array([0.4, -0.7]), 0.6
POINTS = np.random.default_rng(0).normal(size=(7, 2))


def test_the_riemannian_normal_of_flat_space_is_the_normal(x64):
    loc, z = jnp.asarray(LOC), jnp.asarray(POINTS)

    @jit
    def evaluate(loc, z):
        q = RiemannianNormal(Euclidean(2), loc, SCALE)
        return q.log_prob(z), q.sample(seed=jax.random.key(0), sample_shape=4000)

    log_prob, draws = evaluate(loc, z)
    exact = stats.norm.logpdf(POINTS, LOC, SCALE).sum(-1)
    np.testing.assert_allclose(log_prob, exact, rtol=1e-9)
    for column in np.transpose((draws - LOC) / SCALE):
        assert stats.kstest(column, "norm").pvalue > 1e-3


@pytest.mark.parametrize("family", [WrappedNormal, RiemannianNormal])
def test_the_flat_ball_is_the_normal_of_four_times_the_euclidean_metric(family, x64):
    loc, z = jnp.asarray(LOC), jnp.asarray(POINTS)

    @jit
    def evaluate(c):
        q = family(PoincareBall(2, c), loc, SCALE)
        draws = q.sample_and_log_prob(seed=jax.random.key(0), sample_shape=4000)
        return q.log_prob(z), *draws

    at_zero, draws, of_draws = evaluate(0.0)
    exact = stats.norm.logpdf(2 * POINTS, 2 * LOC, SCALE).sum(-1)
    np.testing.assert_allclose(at_zero, exact, rtol=1e-9)
    exact = stats.norm.logpdf(2 * draws, 2 * LOC, SCALE).sum(-1)
    np.testing.assert_allclose(of_draws, exact, rtol=1e-9)
    for column in np.transpose((2 * draws - 2 * LOC) / SCALE):
        assert stats.kstest(column, "norm").pvalue > 1e-3
    for c in (1e-300, 1e-14, 1e-10):  # no jump
        for near, there in zip(evaluate(c), (at_zero, draws, of_draws), strict=True):
            np.testing.assert_allclose(near, there, rtol=0, atol=1e-10 + 1e3 * c)


@pytest.mark.parametrize("family", [WrappedNormal, RiemannianNormal])
@pytest.mark.quick()
def test_derivatives_in_the_curvature_at_zero(family, x64):
    """Of densities and of samples, from the right, against one-sided differences."""

    def summary(c):
        q = family(PoincareBall(2, c), jnp.asarray(LOC), SCALE)
        z, log_p = q.sample_and_log_prob(seed=jax.random.key(3), sample_shape=5)
        return jnp.concatenate([q.log_prob(jnp.asarray(POINTS)), log_p, z.ravel()])

    @jit
    def evaluate(c):
        first = jax.jacrev(summary)
        return summary(c), first(c), jax.jvp(summary, (c,), (1.0,))[1], jax.jacfwd(first)(c)

    h = 1e-4
    values = [evaluate(k * h)[0] for k in range(4)]
    slope = (-11 * values[0] + 18 * values[1] - 9 * values[2] + 2 * values[3]) / (6 * h)
    _, reverse, forward, second = evaluate(0.0)
    np.testing.assert_allclose(reverse, slope, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(forward, reverse, rtol=1e-10)
    assert np.all(np.isfinite(second))
