"""The von Mises-Fisher distribution against Bessel functions, its moments, and its divergences."""

import functools

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from scipy import stats

from geodl.distributions import Uniform, VonMisesFisher
from geodl.distributions.von_mises_fisher import (
    _circular_variance,
    log_normalizer,
    mean_resultant_length,
)
from geodl.manifolds import Sphere
from tests.distributions.cases import jit


CONCENTRATIONS = (0, 1e-6, 1e-3, 0.3, 2, 5, 6.5, 7.9, 10, 14, 20, 30, 90, 300, 500, 1e4, 1e6)


@functools.cache
def bessel(kappa, dim):
    """log C, mean resultant length, one minus it, and its derivative, at 60 digits."""
    with mp.workdps(60):
        nu, kappa = mp.mpf(dim - 1) / 2, mp.mpf(kappa)
        if kappa == 0:
            log_c = mp.log(2 * mp.pi ** (nu + 1) / mp.gamma(nu + 1))
            return float(log_c), 0.0, 1.0, 1 / (dim + 1)
        i, up = mp.besseli(nu, kappa), mp.besseli(nu + 1, kappa)
        log_c, a = (nu + 1) * mp.log(2 * mp.pi) + mp.log(i) - nu * mp.log(kappa), up / i
        return tuple(map(float, (log_c, a, 1 - a, 1 - a * a - dim * a / kappa)))


@pytest.mark.parametrize(
    ("dtype", "dim", "tolerance"),
    [("float32", d, 2e-6) for d in (1, 2, 3, 5, 30, 300, 1000)]
    + [("float64", d, 2e-11) for d in (1, 2, 3, 5, 30, 300, 1000)],
)
@pytest.mark.quick(
    "float32-1-2e-06",
    "float32-2-2e-06",
    "float32-1000-2e-06",
    "float64-1-2e-11",
    "float64-2-2e-11",
    "float64-30-2e-11",
)
def test_normalizer_mean_and_derivatives_against_bessel_functions(dtype, dim, tolerance):
    """All of them relative to themselves; log C to 1 at least, as a density is."""

    def evaluate(kappa):
        one = jnp.ones_like(kappa)
        log_c, slope = jax.jvp(lambda k: log_normalizer(k, dim), (kappa,), (one,))
        length, variance = jax.jvp(lambda k: mean_resultant_length(k, dim), (kappa,), (one,))
        return log_c, slope, length, _circular_variance(kappa, dim), variance

    with jax.enable_x64(dtype == "float64"):
        kappa = jnp.asarray(CONCENTRATIONS, dtype)
        log_c, slope, length, gap, variance = jit(evaluate)(kappa)
        exact = np.array([bessel(float(k), dim) for k in kappa]).T
    np.testing.assert_allclose(log_c, exact[0], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(slope, exact[1], atol=tolerance)
    for found, expected in zip((length, gap, variance), exact[1:], strict=True):
        np.testing.assert_allclose(found, expected, rtol=tolerance)


def test_known_values():
    """Where other libraries go wrong by many nats."""
    for dim, value in ((1, 497.81188), (2, 495.62327), (30, 434.13884)):
        np.testing.assert_allclose(bessel(500.0, dim)[0], value, rtol=1e-7)


@pytest.mark.parametrize("dim", [1, 2, 5])
@pytest.mark.quick("2")
def test_samples_and_their_derivatives(dim):
    n, kappa = 10_000, jnp.array([0.0, 1.0, 8.0, 1e4])
    loc = jnp.eye(dim + 1)[-1]

    def draw(kappa):
        x = VonMisesFisher(loc, kappa).sample(seed=jax.random.key(0), sample_shape=n)
        w = x - loc
        return x, jnp.sum(w * w, -1) / 2  # 1 - cos

    (x, gap), (_, dgap) = jit(lambda k: jax.jvp(draw, (k,), (jnp.ones_like(k),)))(kappa)
    np.testing.assert_allclose(np.sum(np.square(x), -1), 1, atol=1e-6)
    for lane, k in enumerate(np.asarray(kappa, float)):
        scale = min(np.pi, 12 * np.sqrt(dim / max(k, 1e-9)))
        t = np.linspace(0, scale, 100_001)
        with np.errstate(divide="ignore"):
            h = -2 * k * np.sin(t / 2) ** 2 + (
                (dim - 1) * np.log(np.abs(np.sin(t))) if dim > 1 else 0
            )
        cdf = np.cumsum(np.exp(h - h.max()))
        angle = 2 * np.arcsin(np.sqrt(np.asarray(gap[:, lane], float) / 2))
        assert stats.kstest(np.interp(angle, t, cdf / cdf[-1]), "uniform").pvalue > 1e-4
        # E of the pathwise derivative is that of E cos: A' = 1 - A^2 - d A / kappa, at 0 1 / (d + 1)
        a = bessel(k, dim)[1]
        slope = 1 - a * a - dim * a / k if k else 1 / (dim + 1)
        if k > 1e3:
            slope = dim / 2 / k**2  # the difference cancels
        error = np.std(dgap[:, lane]) / np.sqrt(n)
        assert abs(-np.mean(dgap[:, lane]) - slope) < 4.5 * error + 0.01 * slope
    # the turn about loc is uniform
    mean = np.mean(x[..., :-1], 0)
    assert np.max(np.abs(mean) * np.sqrt(n) / np.std(x[..., :-1], 0)) < 4.5


def test_samples_at_both_poles():
    def draw(loc):
        return VonMisesFisher(loc, 1e6).sample(seed=jax.random.key(0), sample_shape=(5,))

    for pole in (1.0, -1.0):
        loc = jnp.array([pole, 0.0, 0.0])
        x, slope = sample_and_jacobian(draw, loc)
        np.testing.assert_allclose(x, jnp.broadcast_to(loc, x.shape), atol=0.01)
        assert jnp.all(jnp.isfinite(slope))


@functools.partial(jit, static_argnums=0)
def sample_and_jacobian(draw, loc):
    return draw(loc), jax.jacobian(draw)(loc)


def test_divergences_and_entropy():
    first, second = np.eye(3, dtype=np.float32)[:2]

    @jit
    def evaluate(first, second):
        p = VonMisesFisher(first, 5.0)
        q = VonMisesFisher(jnp.stack([first, second]), jnp.array([5.0, 2.0]))
        z, log_p = p.sample_and_log_prob(seed=jax.random.key(0), sample_shape=(40_000, 1))
        divergences = p.kl_divergence(q), p.kl_divergence(Uniform(Sphere(2)))
        return log_p, q.log_prob(z), *divergences, p.entropy(), p.mean()

    log_p, log_q, kl, kl_uniform, entropy, mean = evaluate(first, second)
    np.testing.assert_allclose(kl[0], 0, atol=1e-5)
    np.testing.assert_allclose(np.mean(log_p[:, 0] - log_q[:, 1]), kl[1], rtol=0.02)
    np.testing.assert_allclose(entropy, -np.mean(log_p), rtol=0.02)
    np.testing.assert_allclose(kl_uniform, np.log(4 * np.pi) - entropy, rtol=1e-5)
    np.testing.assert_allclose(mean, bessel(5.0, 2)[1] * first, atol=1e-6)
