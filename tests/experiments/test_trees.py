"""The experiments with trees, at a small size, and their figures of merit by the definitions."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from experiments.trees import data, learned, metrics, plane
from geodl import trees


def test_ranking_is_what_it_says():
    """Four points on a line at 0, 1, 2.5, 4.5; the neighbors of 0 are 1 and 3, those of 3 is 2."""
    x = np.array([0.0, 1.0, 2.5, 4.5])
    neighbors = np.zeros((4, 4), bool)
    neighbors[0, [1, 3]] = neighbors[3, 2] = True
    found = metrics.ranking(np.abs(x[:, None] - x), neighbors, np.arange(4))
    assert found.map == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)
    assert found.rank == pytest.approx((1 + 2 + 1) / 3)
    tied = metrics.ranking(np.array([[0.0, 1, 1, 2]]), neighbors[:1], np.array([0]))
    assert tied.map == pytest.approx((1 / 2 + 2 / 3) / 2)  # a tie counts against


def test_distortion_is_what_it_says():
    found = metrics.distortion(
        np.array([[0.0, 2.0], [2.0, 0.0], [3.0, 9.0]]), np.array([[0, 1], [1, 0], [1, 2]]), 2.0
    )
    assert found.worst == pytest.approx(4.5 / 2)
    assert found.mean == pytest.approx((0 + 0 + 0.5 + 1.25) / 4)


def test_what_is_not_finite_is_said():
    """NaN points sort last: without a word they would rank like points far away."""
    d, taxonomy = np.array([[0.0, np.nan, 1.0]] * 2), data.generated(depth=1)
    found = metrics.ranking(d, d == 1, np.arange(2))
    assert np.isnan([found.map, found.rank]).all()
    fine, broken = (
        metrics.distortion(d[:, 2:], np.ones((2, 1))),
        metrics.distortion(d, np.ones((2, 3))),
    )
    for both in (fine + broken, broken + fine):
        assert np.isnan([both.worst, both.mean]).all()
    one = {"map": np.array(0.5), "rank": np.array(2.0), "cpu_seconds": np.array(1.0)}
    seeds = [one | {"points": np.zeros((3, 2))}, one | {"points": d}]
    assert "ball-2: seeds 1 ended" in learned.table({"ball-2": seeds}, "generated", taxonomy)
    assert "not finite" not in learned.table({"ball-2": seeds[:1]}, "generated", taxonomy)


def test_the_closure_of_a_generated_taxonomy():
    found = data.generated(depth=3)
    parents = dict(found.edges)
    for low, high in found.pairs:
        assert found.names[low].startswith(found.names[high] + ".")
    assert len(parents) == len(found.names) - 1 and 0 not in parents


def test_the_loss_is_nickel_and_kielas():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(5, 2)).astype(np.float32)
    pairs, drawn = np.array([[1, 0], [2, 0], [2, 1]]), np.array([0, 3, 4])
    related = np.eye(5, dtype=bool)
    related[pairs[:, 0], pairs[:, 1]] = True
    expected = []
    for low, high in pairs:
        d = np.linalg.norm(points[low] - points, axis=-1)
        negatives = [w for w in drawn if not related[low, w]]
        expected.append(
            -np.log(np.exp(-d[high]) / (np.exp(-d[high]) + np.exp(-d[negatives]).sum()))
        )
    found = learned.loss(learned.space_of("euclidean-2"), points, pairs, related, drawn)
    np.testing.assert_allclose(found, np.mean(expected), rtol=1e-5)


def test_a_small_run_and_its_second_start(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(data, "generated", partial(data.generated, depth=2))
    config = learned.Learned(
        data="generated", spaces=("ball-2", "euclidean-2"), seeds=1, steps=20, root=str(tmp_path)
    )
    first = learned.run(config)
    second = learned.run(config)
    np.testing.assert_array_equal(first["ball-2"][0]["points"], second["ball-2"][0]["points"])
    folder = tmp_path / "trees-learned" / "default"
    assert (folder / "ball-2.png").exists() and (folder / "table.md").exists()
    assert "MAP" in capsys.readouterr().out
    with pytest.raises(ValueError, match="as ball-2, got 'disk-2'"):
        learned.run(replace(config, name="strange", spaces=("ball-2", "disk-2")))


@pytest.mark.slow
def test_a_plane_and_its_gap(tmp_path):
    config = plane.Plane(
        graphs=("binary",),
        lengths=(3.0,),
        pairs=60 * 511,
        dimensions=(2,),
        steps=20,
        root=str(tmp_path),
    )
    found = plane.run(config)
    for rows in found.values():
        assert rows[-1]["worst"] <= 1.01 and rows[-1]["map"] == 1.0
    assert (tmp_path / "trees-plane" / "default" / "distortion.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smalltree", "phylo_tree", "tree-20-3"])
def test_every_tree_of_the_paper(name, data_dir, tmp_path):
    """Worst distortion 1.01 and MAP 1 over all pairs, float32."""
    tree = trees.from_edges(data.graph(name), spanning=True)
    promised = plane.measure(plane.Plane(lengths=(), pairs=80_000_000), tree, tmp_path)[-1]
    assert promised["worst"] <= 1.01 and promised["map"] == 1.0
