"""Counting, faces and Clever Hans, made small: they end, resume, and print and draw what they promise."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.counterfactuals import clever_hans, crowd, faces, scenes
from experiments.counterfactuals.image_flows import FlowRecipe
from geodl import datasets


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return crowd.Crowd(
        root=str(tmp_path_factory.mktemp("runs")),
        scenes=300,
        tested=50,
        flow=FlowRecipe(levels=((4, 1),), width=4, steps=2),
        counter_widths=(4, 4),
        counter_steps=2,
        batch=8,
        searched=2,
        steps=2,
    )


@pytest.mark.slow
def test_crowd_ends_and_resumes(small, capsys):
    result = crowd.run(small)
    folder = Path(small.root) / "cf-crowd" / "crowd"
    assert (folder / "table.md").read_text() in capsys.readouterr().out + "\n"
    assert result["error"]["detector"] == 0 and result["positions"]["detector"] == 0
    assert result["error"]["counter"] > 0.1  # after two steps
    for method in ("base space", "data space"):
        assert len(result[method]["counter"]) == 4 and np.isfinite(result[method]["bits/dim"]).all()
    for name in ("samples", "panels", "trajectories", "spectrum"):
        assert (folder / f"{name}.png").stat().st_size > 10_000
    # read again, not made again
    before = {path: path.stat().st_mtime_ns for path in folder.glob("searches/*/*.npz")}
    assert before and crowd.run(small)["base space"] == result["base space"]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_searches_start_where_there_is_a_way(small):
    test = scenes.draw(60, seed=2)
    starts, goal, decrease = crowd.tasks(replace(small, searched=10), test)
    assert len(starts.images) == 20 and decrease.tolist() == [False] * 10 + [True] * 10
    assert starts.counts[~decrease].max() <= 8 and starts.counts[decrease].min() >= 1
    np.testing.assert_array_equal(goal[~decrease, 0], starts.counts[~decrease] + 4)
    np.testing.assert_array_equal(goal[decrease], [[-np.inf, 0.5]] * 10)


@pytest.mark.slow
def test_clever_hans_ends(tmp_path, capsys):
    config = clever_hans.CleverHans(
        root=str(tmp_path),
        classifier_steps=2,
        flow=FlowRecipe(levels=((4, 1),), width=4, steps=2),
        explained=4,
        steps=2,
    )
    result = clever_hans.run(config)
    folder = tmp_path / "cf-clever-hans" / "digits"
    assert (folder / "table.md").read_text() in capsys.readouterr().out + "\n"
    for shares in result["shares"].values():
        assert all(0 <= mean <= 1 for mean, _ in shares.values()) and len(shares) == 5
    for name in ("attributions", "counterfactuals"):
        assert (folder / f"{name}.png").stat().st_size > 10_000


def test_marks_tell_the_digit_or_nothing():
    clean = datasets.digits()
    marked, shuffled = (clever_hans.mark(clean, 3, again) for again in (False, True))
    strong = marked.train_images[:, 0, -1] >= 0.4 * 255
    np.testing.assert_array_equal(strong, clean.train_labels == 3)
    strong = shuffled.train_images[:, 0, -1] >= 0.4 * 255
    assert 0.05 < np.mean(strong) < 0.15
    assert abs(np.corrcoef(strong, clean.train_labels == 3)[0, 1]) < 0.1
    where = clever_hans.corner(8)
    assert where.sum() == 4
    np.testing.assert_array_equal(marked.test_images[:, ~where], clean.test_images[:, ~where])
    maps = np.ones((3, 8, 8)) * np.where(where, 2.0, -1.0)
    assert clever_hans.share(maps) == (pytest.approx(8 / 68), pytest.approx(0))


@pytest.mark.slow
def test_faces_in_the_layout_of_celeba(tmp_path, monkeypatch, capsys):
    """Bright faces have the attribute."""
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    rng, rows, parts = np.random.default_rng(0), [], []
    for i in range(40):
        picture = rng.integers(0, 80, (22, 18, 3)) + 150 * (i % 2)
        name = f"{i + 1:06d}.jpg"
        Image.fromarray(picture.astype(np.uint8)).save(folder / "img_align_celeba" / name)
        rows.append(f"{name} {2 * (i % 2) - 1}")
        parts.append(f"{name} {0 if i < 32 else 2}")
    (folder / "list_attr_celeba.txt").write_text("\n".join(["40", "Blond_Hair", *rows]))
    (folder / "list_eval_partition.txt").write_text("\n".join(parts))
    monkeypatch.setenv("GEODL_DATA", str(tmp_path))
    config = faces.Faces(
        root=str(tmp_path / "runs"),
        side=8,
        flow=FlowRecipe(levels=((2, 1),), width=4, steps=2, conditioner="conv"),
        classifier_widths=(4,),
        held_out_widths=(4, 4),
        classifier_steps=60,
        explained=3,
        steps=3,
        batch=3,
    )
    rows = faces.run(config)
    folder = tmp_path / "runs" / "cf-faces" / "faces"
    assert (folder / "table.md").read_text() in capsys.readouterr().out + "\n"
    assert all(len(measures["held-out classifier"]) == 3 for measures in rows.values())
    for name in ("panels", "paths", "spectrum"):
        assert (folder / f"{name}.png").stat().st_size > 10_000
