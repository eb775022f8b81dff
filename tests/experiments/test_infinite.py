"""The experiments with networks of infinite width, at a small size."""

import numpy as np
import pytest

from experiments.infinite import emergence, orbits, width


@pytest.mark.slow
def test_a_small_run_of_widths_and_its_second_start(tmp_path, monkeypatch):
    monkeypatch.setattr(width, "NETWORKS", {"dense": (width.dense, (3,))})
    config = width.Width(widths=(8, 64), seeds=12, inputs=2, root=str(tmp_path))
    first, second = width.run(config), width.run(config)
    np.testing.assert_array_equal(first["dense"]["ntk"], second["dense"]["ntk"])
    for kernel in ("nngp", "ntk"):
        found = width.rate(first["dense"]["widths"], first["dense"][kernel])
        assert abs(found.slope + 0.5) < 4 * found.slope_error < 1.5
    assert (tmp_path / "infinite-width" / "default" / "rates.png").exists()


@pytest.mark.slow
def test_a_small_run_of_the_theorem(tmp_path, capsys):
    config = emergence.Emergence(
        images=12, test=6, noise=3, width=32, members=32, steps=40, root=str(tmp_path)
    )
    found = emergence.run(config)
    np.testing.assert_allclose(found["augmented"], found["group kernel"], atol=1e-10)
    for name in ("augmented", "averaged", "canonical"):
        assert orbits.disagreement(found[name][1]) < 1e-9
    assert orbits.disagreement(found["plain"][1]) > 0.02
    for kind in ("plain", "augmented"):  # finite ensembles are at the time of their limit
        pair = found[f"members {kind}"].mean(0), found[kind][0]
        assert np.corrcoef(*map(np.ravel, pair))[0, 1] > 0.5
    assert "Largest difference" in capsys.readouterr().out
    assert (tmp_path / "infinite-emergence" / "default" / "emergence.png").exists()


def test_canonical_images_are_turned_ones():
    x = np.random.default_rng(0).normal(size=(3, 4, 4))
    for turned in orbits.orbit(x):
        np.testing.assert_array_equal(orbits.canonical(turned), orbits.canonical(x))
    outputs = np.stack([np.full((2, 1), c) for c in (1.0, 1.0, -1.0, -1.0)])
    assert orbits.disagreement(outputs) == pytest.approx(1.0)


def test_rates_and_their_errors():
    """Squares of mean 1 / width: normal deviations of many seeds, whose root mean square has a known error."""
    widths, seeds = np.array([4, 16, 64]), 400
    draws = np.random.default_rng(1).normal(size=(3, seeds)) / np.sqrt(widths)[:, None]
    found = width.rate(widths, np.abs(draws))
    np.testing.assert_allclose(found.deviation, widths**-0.5, rtol=0.15)
    np.testing.assert_allclose(
        found.deviation_error / found.deviation, (2 * seeds) ** -0.5, rtol=0.2
    )
    assert abs(found.slope + 0.5) < 4 * found.slope_error
