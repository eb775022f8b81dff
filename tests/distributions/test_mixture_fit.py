"""Mixtures of von Mises-Fisher distributions by EM: monotone, right on known data, safe on degenerate data."""

import functools

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl.distributions import VonMisesFisher, fit_von_mises_fisher_mixture
from geodl.distributions.mixture_fit import em_step, initial_mixture
from geodl.distributions.von_mises_fisher import concentration_from_variance, mean_resultant_length
from tests.distributions.cases import jit


LOC = np.array([[0, 0, 1], [0, 0.6, 0.8], [-1, 0, 0]], np.float32)
CONCENTRATION = np.array([200.0, 20.0, 2.0], np.float32)
WEIGHTS = np.array([0.2, 0.5, 0.3], np.float32)
TRUE = distrax.MixtureSameFamily(
    distrax.Categorical(probs=WEIGHTS), VonMisesFisher(LOC, CONCENTRATION)
)


@functools.cache
def sampled():
    return jit(lambda: TRUE.sample(seed=jax.random.key(0), sample_shape=(4000,)))()


@pytest.mark.parametrize("dim", [1, 2, 30])
def test_concentration_inverts_the_mean_resultant_length(dim):
    kappa = jnp.array([0.0, 0.05, 1.0, 7.0, 300.0])
    gap = 1 - mean_resultant_length(kappa, dim)
    found = jit(concentration_from_variance, static_argnums=1)(gap, dim, 1e4)
    np.testing.assert_allclose(found, kappa, rtol=5e-4, atol=1e-4)


def test_concentration_is_capped():
    found = jit(concentration_from_variance, static_argnums=1)(
        jnp.array([0, 1e-9, 1e-2, 1]), 2, 50.0
    )
    np.testing.assert_allclose(found, [50, 50, 50, 0], rtol=1e-5, atol=1e-4)


def test_likelihood_never_falls_and_the_mixture_is_found():
    x = sampled()

    @jit
    def climb(key):
        start = initial_mixture(key, x, 3)
        mixture, climbed = jax.lax.scan(lambda mixture, _: em_step(mixture, x), start, length=150)
        return mixture, climbed, jnp.mean(TRUE.log_prob(x))

    mixture, climbed, truth = climb(jax.random.key(3))
    assert np.all(np.diff(climbed) > -2e-6) and climbed[-1] > climbed[0] + 0.01
    assert truth < climbed[-1] < truth + 0.005  # 11 parameters on 4000 points gain about 0.0014
    found = mixture.components_distribution
    order = np.argsort(-found.concentration)
    assert np.all(np.sum(found.loc[order] * LOC, -1) > np.array([0.9995, 0.995, 0.95]))
    np.testing.assert_allclose(found.concentration[order], CONCENTRATION, rtol=0.15)
    np.testing.assert_allclose(mixture.mixture_distribution.probs[order], WEIGHTS, atol=0.03)


@pytest.mark.slow
def test_best_of_the_restarts():
    """Over two seeds by vmap."""
    x = sampled()[:500]

    def score(key):
        start = initial_mixture(key, x, 3)
        return jax.lax.scan(lambda mixture, _: em_step(mixture, x), start, length=7)[1]

    @jit
    @jax.vmap
    def evaluate(key):
        mixture = fit_von_mises_fisher_mixture(key, x, 3, steps=6, restarts=4)
        return mixture, jnp.mean(mixture.log_prob(x)), jax.vmap(score)(jax.random.split(key, 4))

    mixtures, best, scores = evaluate(jax.random.split(jax.random.key(1), 2))
    assert mixtures.event_shape == (3,) and mixtures.components_distribution.loc.shape == (2, 3, 3)
    np.testing.assert_allclose(best, np.max(scores[..., -1], 1), atol=1e-5)
    assert np.all(best > np.min(scores[..., -1], 1) + 1e-4)


def test_one_component_is_maximum_likelihood():
    x = sampled()
    mixture, length = jit(one_component)(x)
    mean = np.mean(np.asarray(x, float), 0)
    np.testing.assert_allclose(mixture.loc[0], mean / np.linalg.norm(mean), atol=1e-5)
    np.testing.assert_allclose(length, np.linalg.norm(mean), rtol=1e-5)


def one_component(x):
    mixture, _ = em_step(initial_mixture(jax.random.key(0), x, 1), x)
    mixture = mixture.components_distribution
    return mixture, mean_resultant_length(mixture.concentration[0], 2)


@pytest.mark.parametrize("dtype", ["int32", "bfloat16"])
def test_integers_and_half_precision_are_fitted_in_float32(dtype):
    fit = jit(lambda x: fit_von_mises_fisher_mixture(jax.random.key(0), x, 2, steps=2, restarts=2))
    x = jnp.concatenate([jnp.eye(3), -jnp.eye(3)])
    found, expected = fit(x.astype(dtype)), fit(x)
    assert {a.dtype.name for a in jax.tree.leaves(found)} == {"float32"}
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_duplicates_reach_the_cap_and_no_further():
    x = jnp.repeat(jnp.eye(3), 10, 0)

    @jit
    def evaluate():
        mixture = fit_von_mises_fisher_mixture(jax.random.key(0), x, 4, steps=8, restarts=2)
        return mixture.components_distribution.concentration, mixture.log_prob(x)

    concentration, log_p = (
        evaluate()
    )  # with more components than places: two share one, or one is empty
    assert np.max(concentration) <= 1e4
    np.testing.assert_allclose(log_p, np.log(1e4 / (2 * np.pi) / 3), rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.eye(3), 4), r"\(3, 3\) and 4 components"),
        ((np.eye(3), 0), "0 components"),
        ((np.eye(3)[0], 1), r"\(3,\) and 1 components"),
        ((2 * np.eye(3), 1), "unit sphere"),
        ((np.eye(3), 1, 0), "steps.*got 0"),
        ((np.eye(3), 1, 1, 1, -1.0), "max_concentration.*-1.0"),
    ],
)
def test_bad_input(arguments, message):
    points, *rest = arguments
    with pytest.raises(ValueError, match=message):
        fit_von_mises_fisher_mixture(jax.random.key(0), points.astype("float32"), *rest)
