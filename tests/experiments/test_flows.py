"""The flow experiments, made small: they end, resume, and print and draw what they promise."""

import subprocess
import sys
from dataclasses import replace

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.flows import baselines, data, earth, known, pictures
from geodl import datasets, distributions
from geodl.distributions import VonMisesFisher


@pytest.mark.slow
def test_earth_quick_ends_and_resumes(tmp_path, capsys):
    recipe = replace(earth.QUICK.recipe, steps=20, evaluations=2, width=8, batch=32)
    config = replace(
        earth.QUICK,
        root=str(tmp_path),
        sets=("cities",),
        methods=("uniform", "adaptive kernel density", "flow", "flow and adaptive kernel density"),
        recipe=recipe,
    )
    found = earth.run(config)
    folder = tmp_path / "flow-earth" / "quick"
    assert (folder / "table.md").read_text() in capsys.readouterr().out + "\n"
    assert len(found) == 4 and all(np.isfinite(r["test"]) for r in found.values())
    (uniform,) = (r for cell, r in found.items() if cell.method == "uniform")
    assert uniform["test"] == pytest.approx(np.log(4 * np.pi), abs=1e-5)
    (flow,) = (r for cell, r in found.items() if cell.method == "flow")
    assert flow["solver_error"] < 1e-3
    validation = {cell.method: r["validation"] for cell, r in found.items()}
    mixture = validation.pop("flow and adaptive kernel density")
    assert mixture < min(validation.values()) + 0.02  # a weight is never less than 0.01
    assert (folder / "cities-raw" / "seed0" / "flow" / "density.png").stat().st_size > 10_000
    assert earth.run(config) == found  # read, not made again


def test_a_mixture_needs_its_parts(tmp_path):
    config = replace(
        earth.QUICK,
        root=str(tmp_path),
        sets=("cities",),
        methods=("flow and adaptive kernel density",),
    )
    with pytest.raises(FileNotFoundError, match="score this method before the mixture"):
        earth.run(config)


@pytest.mark.slow
def test_every_baseline_has_the_same_floor(tmp_path):
    x = np.array([[0.0, 0, 1], [0, 0, -1], [1, 0, 0]], np.float32)
    kappa, weights = np.array([50.0, 1e3]), np.array([0.3, 0.7])
    kernels = VonMisesFisher(x[:2], kappa.astype(np.float32))
    distribution = baselines.with_floor(
        distrax.MixtureSameFamily(distrax.Categorical(probs=jnp.asarray(weights)), kernels)
    )
    gaps = np.float64(1) - np.float64(x) @ x[:2].T
    densities = kappa / (2 * np.pi) * np.exp(-kappa * gaps)  # sinh is e^kappa / 2 here
    truth = 0.99 * densities @ weights + 0.01 / (4 * np.pi)
    np.testing.assert_allclose(np.exp(distribution.log_prob(x)), truth, rtol=1e-5)
    fit = 0.05 * np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32) + x[0]
    fit /= np.linalg.norm(fit, axis=-1, keepdims=True)
    for method in ("kernel density", "adaptive kernel density"):
        distribution, _ = baselines.baseline(method, fit[:15], fit[15:], tmp_path)
        far = np.exp(distribution.log_prob(x[1]))  # the other pole
        np.testing.assert_allclose(far, 0.01 / (4 * np.pi), rtol=1e-4)


@pytest.mark.slow
def test_a_known_target(tmp_path):
    config = replace(
        known.TORUS,
        root=str(tmp_path),
        recipe=replace(known.PLAIN, steps=20, width=8, batch=32),
        test=50,
    )
    found = known.run(config)
    (result,) = found.values()
    assert result["mass"] == pytest.approx(1, abs=1e-3) and result["kl"] > 0
    assert known.run(config) == found


def test_splits_of_every_set_are_there():
    for name, size in (("cities", 50), ("mixture", 5000)):
        split = data.split(name, size, 1, False)
        assert sum(map(len, split)) == size


def test_the_cities_are_where_they_lie():
    """geomstats's own points have a half turn more."""
    latitude, longitude = datasets.to_latitude_longitude(data.load("cities"))
    assert latitude[0] == pytest.approx(35.685) and longitude[0] == pytest.approx(139.7514)  # Tokyo
    assert latitude[1] == pytest.approx(40.6943) and longitude[1] == pytest.approx(-73.9249)


def test_loading_data_leaves_the_loggers_alone():
    code = (
        "import logging; from experiments.flows import data; data.load('cities')\n"
        "assert logging.getLogger().level == logging.WARNING and not logging.getLogger().handlers"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_mixture_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    x = np.asarray(data.load("mixture")[:60], np.float32)
    fit, validation, key = x[:40], x[40:], jax.random.key(0)
    whole, cpu_seconds = baselines.mixture(fit, validation, key, tmp_path)
    assert cpu_seconds > 0
    (tmp_path / "00001.npz").unlink()
    fitted, calls = distributions.fit_von_mises_fisher_mixture, []

    def counted(key, points, components, *rest):
        calls.append(components)
        return fitted(key, points, components, *rest)

    monkeypatch.setattr(distributions, "fit_von_mises_fisher_mixture", counted)
    again, _ = baselines.mixture(fit, validation, key, tmp_path)
    assert calls == [10]
    np.testing.assert_array_equal(whole.log_prob(validation), again.log_prob(validation))


def test_learning_curves(tmp_path):
    def found(fractions):
        return {
            earth.Cell("flood", "raw", seed, fraction, method): {
                "train_points": int(100 * fraction),
                "test": 1 / fraction + seed,
            }
            for fraction in fractions
            for seed in (0, 1)
            for method in ("flow", "kernel density")
        }

    pictures.learning_curves(tmp_path / "none.png", found([1.0]))
    assert not (tmp_path / "none.png").exists()
    pictures.learning_curves(tmp_path / "curves.png", found([0.1, 1.0]))
    assert (tmp_path / "curves.png").stat().st_size > 10_000
