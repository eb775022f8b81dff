import jax
import numpy as np
import pytest

from geodl import datasets


def test_the_density_is_that_of_the_points(key):
    log_prob = jax.jit(datasets.spherical_mixture_log_prob)
    z, weight = np.polynomial.legendre.leggauss(300)
    longitude = 2 * np.pi * np.arange(600) / 600
    level = np.sqrt(1 - z * z)[:, None]
    grid = [level * np.cos(longitude), level * np.sin(longitude), z[:, None] + 0 * longitude]
    log_p = np.asarray(log_prob(np.stack(grid, -1)), np.float64)
    mass = weight[:, None] * (2 * np.pi / 600) * np.exp(log_p)
    assert mass.sum() == pytest.approx(1, abs=1e-4)
    assert -np.sum(mass * log_p) == pytest.approx(datasets.SPHERICAL_MIXTURE_ENTROPY, abs=1e-4)

    points = jax.jit(datasets.spherical_mixture, static_argnums=1)(key, 40_000)
    assert points.shape == (40_000, 3)
    found = log_prob(points)
    error = np.std(found) / 200
    assert abs(-np.mean(found) - datasets.SPHERICAL_MIXTURE_ENTROPY) < 4 * error
    # the mass of the cap about a spot
    spot = datasets.from_latitude_longitude(55.0, -20.0)
    near = np.mean(np.asarray(points) @ spot > np.cos(np.radians(4)))
    inside = np.einsum("ijk,k->ij", np.stack(grid, -1), spot) > np.cos(np.radians(4))
    assert near == pytest.approx(mass[inside].sum(), abs=0.006)
