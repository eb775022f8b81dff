"""The experiments, made small: they end, resume, and print and draw what they promise."""

import json
from dataclasses import replace
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import _grid, _images
from experiments.pvae import baselines, branching, mnist, mnist_tables, models


TINY = replace(branching.DEMO, seeds=2, posterior="wrapped", epochs=4, hidden=8, samples=20)


@pytest.mark.slow
def test_branching_ends(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(baselines, "gplvm", partial(baselines.gplvm, steps=2))
    losses = branching.run(replace(TINY, root=str(tmp_path)))
    folder = tmp_path / "pvae-branching" / "demo"
    table = (folder / "table.md").read_text()
    assert table in capsys.readouterr().out + "\n"
    assert "57.0 ± 0.2" in table  # the paper's N-VAE, beside ours
    assert all(loss.shape == (2,) and np.all(loss > 45.95) for loss in losses.values())
    for name in ("latents", "baselines"):
        assert (folder / f"{name}.png").stat().st_size > 10_000


@pytest.mark.slow
def test_branching_resumes(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "gplvm", partial(baselines.gplvm, steps=2))
    config = replace(TINY, root=str(tmp_path))
    losses = branching.run(config)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (tmp_path / "pvae-branching").rename(moved / "pvae-branching")
    log = moved / "pvae-branching" / "demo" / "n-vae-s1.7" / "metrics.jsonl"
    before = log.read_text()
    again = branching.run(replace(config, root=str(moved)))
    assert log.read_text() == before  # nothing was trained again
    for cell, loss in losses.items():
        np.testing.assert_array_equal(again[cell], loss)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"curvatures": ()}, "a curvature and a decoder are needed"),
        ({"picture_seed": 2}, "one of 2 seeds, from 0, got 2"),
    ],
)
def test_what_could_not_be_drawn_is_not_trained(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        branching.run(replace(TINY, root=str(tmp_path), **change))


@pytest.mark.slow
def test_another_seed_has_other_trees(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "gplvm", partial(baselines.gplvm, steps=2))
    losses = [
        branching.run(replace(TINY, root=str(tmp_path), name=f"seed{seed}", seed=seed, epochs=1))
        for seed in (0, 1)
    ]
    for cell, loss in losses[0].items():
        assert not np.isin(loss, losses[1][cell]).any()


@pytest.mark.slow
def test_mnist_experiment_falls_back_to_digits(tmp_path, monkeypatch):
    monkeypatch.delenv("GEODL_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = replace(
        mnist.QUICK,
        root=str(tmp_path),
        kinds=("wrapped",),
        epochs=1,
        hidden=8,
        samples=4,
        test_items=100,
    )
    results = mnist.run(config)
    folder = tmp_path / "pvae-mnist" / "quick"
    ((cell, result),) = results.items()
    assert np.isfinite(result["loss"]).all() and result["loss"] < result["negative_elbo"]
    parts = np.subtract(result["negative_elbo"], result["reconstruction"])
    np.testing.assert_allclose(parts, result["kl"], rtol=1e-3)
    assert np.shape(result["accuracy"]) == (1, 10)
    protocol = json.loads((folder / "config.json").read_text())["config"]
    assert protocol["data"] == "digits"
    assert "root" not in protocol  # a run can be moved
    for name in ("reconstructions", "latent_grid", "latents"):
        assert (folder / cell.folder / f"{name}.png").exists()


def test_mnist_without_its_files_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("GEODL_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="train-images"):
        _images.load("mnist")


def test_validation_images_are_of_the_training_set():
    whole, _ = _images.load("digits")
    held, source = _images.load("digits", validate=True)
    assert "held-out" in source
    for a, b, c in zip(held[:2], held[2:], whole[:2], strict=True):
        np.testing.assert_array_equal(np.concatenate([a, b]), c)
    assert len(held.test_images) == 240  # of 1438


def test_a_cell_with_a_result_is_not_run_again(tmp_path, monkeypatch):
    runs = []
    monkeypatch.setattr(mnist, "train_cell", lambda config, cell, *_: runs.append(cell))
    names = ("loss", "negative_elbo", "reconstruction", "kl", "active_units")
    figures = {name: [1.0, 2.0] for name in names}
    monkeypatch.setattr(mnist, "evaluate", lambda *_: figures)
    config = replace(
        mnist.QUICK, data="digits", dims=(5,), root=str(tmp_path), results=str(tmp_path / "cells")
    )
    mnist.run(config)
    assert len(runs) == 2
    mnist.run(replace(config, name="other", dims=(5, 10)))  # another name, machine or day
    assert [(cell.kind, cell.dim) for cell in runs[2:]] == [("N-VAE", 10), ("Riemannian", 10)]
    assert len(_grid.results(mnist.Cell, tmp_path / "cells")) == 4
    with pytest.raises(ValueError, match="n-vae-d5 was measured by"):
        mnist.run(replace(config, name="third", epochs=6))
    page = tmp_path / "page.md"
    page.write_text(f"before\n{mnist_tables.MARK}\nold\n{mnist_tables.MARK}\nafter\n")
    picture = tmp_path / "likelihoods.png"
    mnist_tables.write_table(mnist_tables.Table(str(tmp_path / "cells"), str(page), str(picture)))
    assert picture.stat().st_size > 10_000
    drawn = picture.with_suffix(".svg").read_text()
    assert all(f"<!-- d = {dim} -->" in drawn for dim in (5, 10))
    assert "<!-- d = 2 -->" not in drawn  # without a result
    text = page.read_text()
    assert text.startswith("before") and text.endswith("after\n") and "old" not in text
    assert "1.50 ± 0.50" in text  # mean and standard error of 1 and 2


def test_the_rate_falls_in_the_last_share_of_the_steps():
    optimizer = models.optimizer(0.1, 10, 0.5)
    state, sizes = optimizer.init(jnp.zeros(())), []
    for _ in range(10):
        update, state = optimizer.update(jnp.ones(()), state)
        sizes.append(-update)
    np.testing.assert_allclose(sizes[:6], 0.1, rtol=1e-4)
    assert np.all(np.diff(sizes[5:]) < 0) and 0 < sizes[-1] < 0.01
