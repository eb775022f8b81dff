"""The flow experiments, made small: they end, resume, and print and draw what they promise."""

from dataclasses import replace

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.flows import data, earth, known
from geodl.distributions import VonMisesFisher


@pytest.mark.slow
def test_earth_quick_ends_and_resumes(tmp_path, capsys):
    recipe = replace(earth.QUICK.recipe, steps=20, looks=2, width=8, batch=32)
    config = replace(
        earth.QUICK,
        root=str(tmp_path),
        sets=("cities",),
        methods=("uniform", "adaptive kernel density", "flow", "flow and adaptive kernel density"),
        recipe=recipe,
    )
    found = earth.run(config)
    folder = tmp_path / "earth" / "quick"
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


def test_every_baseline_has_the_same_floor():
    x = np.array([[0.0, 0, 1], [0, 0, -1], [1, 0, 0]], np.float32)
    kappa, weights = np.array([50.0, 1e3]), np.array([0.3, 0.7])
    kernels = VonMisesFisher(x[:2], kappa.astype(np.float32))
    law = earth.with_floor(
        distrax.MixtureSameFamily(distrax.Categorical(probs=jnp.asarray(weights)), kernels)
    )
    gaps = np.float64(1) - np.float64(x) @ x[:2].T
    densities = kappa / (2 * np.pi) * np.exp(-kappa * gaps)  # sinh is e^kappa / 2 here
    truth = 0.99 * densities @ weights + 0.01 / (4 * np.pi)
    np.testing.assert_allclose(np.exp(law.log_prob(x)), truth, rtol=1e-5)
    fit = 0.05 * np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32) + x[0]
    fit /= np.linalg.norm(fit, axis=-1, keepdims=True)
    for method in ("kernel density", "adaptive kernel density"):
        law = earth.baseline(method, fit[:15], fit[15:], jax.random.key(0))
        far = np.exp(law.log_prob(x[1]))  # the other pole
        np.testing.assert_allclose(far, 0.01 / (4 * np.pi), rtol=1e-4)


@pytest.mark.slow
def test_a_known_target(tmp_path):
    config = replace(
        known.TORUS,
        root=str(tmp_path),
        recipe=replace(known.PLAIN, steps=20, width=8, batch=32),
        test=50,
    )
    (result,) = known.run(config)
    assert result["mass"] == pytest.approx(1, abs=1e-3) and result["kl"] > 0
    assert known.run(config) == [result]


def test_splits_of_every_set_are_there():
    for name, size in (("cities", 50), ("mixture", 5000)):
        split = data.split(name, size, 1, False)
        assert sum(map(len, split)) == size
