"""Polyhedra and their formulas: counts by known solids, bad input, the read-out, a small run."""

import itertools

import numpy as np
import pytest

from experiments.intuition import conjectures, polyhedra


CUBE = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
OCTAHEDRON = np.concatenate([np.eye(3), -np.eye(3)])


def test_solids_that_everyone_knows():
    cube = polyhedra.measure(CUBE)
    assert cube[:3] == (12, 8, 6)
    assert cube[3:] == pytest.approx((8, 24, 3 * np.pi / 2))
    octahedron = polyhedra.measure(OCTAHEDRON)
    assert octahedron[:3] == (12, 6, 8)
    assert octahedron[3:] == pytest.approx((4 / 3, 4 * 3**0.5, 4 * np.pi / 3))
    # the cuboctahedron: squares and triangles
    edges = np.array(
        [p for p in itertools.product((-1.0, 0.0, 1.0), repeat=3) if np.sum(np.abs(p)) == 2]
    )
    assert polyhedra.measure(edges)[:3] == (24, 12, 14)


def test_families_are_what_they_say():
    rng = np.random.default_rng(0)
    found = {f.__name__: [polyhedra.measure(f(rng)) for _ in range(12)] for f in polyhedra.FAMILIES}
    assert all(2 * p.edges == 3 * p.faces for p in found["simplicial"])
    assert all(2 * p.edges == 3 * p.vertices for p in found["simple"] + found["prism"])
    mixed = [p for p in found["truncated"] if 2 * p.edges not in (3 * p.faces, 3 * p.vertices)]
    assert len(mixed) >= 6
    for p in itertools.chain(*found.values()):
        assert p.vertices - p.edges + p.faces == 2
        assert p.angle == pytest.approx(2 * np.pi - 4 * np.pi / p.vertices)


def test_what_is_no_convex_polyhedron():
    with pytest.raises(ValueError, match="not the vertices of a convex polyhedron: 1 of 9 points"):
        polyhedra.measure(np.concatenate([CUBE, [[0.1, 0.2, 0.0]]]))
    with pytest.raises(ValueError, match="1 of 9 points"):  # in the middle of an edge
        polyhedra.measure(np.concatenate([CUBE, [[1.0, 1.0, 0.0]]]))
    with pytest.raises(ValueError, match=r"finite points \(n, 3\) are needed, got \(8, 2\)"):
        polyhedra.measure(np.ones((8, 2)))
    with pytest.raises(ValueError, match="finite points"):
        polyhedra.measure(np.full((8, 3), np.nan))
    with pytest.raises(ValueError, match="the 4 points do not span space"):
        polyhedra.measure(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.0]]))


def test_a_read_out_of_a_perfect_network():
    x, y = conjectures.arrays(polyhedra.sample(np.random.default_rng(1), 60))
    shares = np.array([[0.6, 0.38, 0.01, 0.01], [0.04, 0.94, 0.01, 0.01], [0.1, 0.9, 0, 0]])
    found = conjectures.read_out({"x": x, "y": y, "predicted": y, "integrated gradients": shares})
    assert found["faces"]["terms"] == ["1", "edges", "vertices"]
    assert found["faces"]["whole"] == [2, 1, -1] and found["faces"]["right"] == 1
    assert found["angle"]["terms"] == ["1", "1 / vertices"]
    assert found["angle"]["whole"] == [2, -4] and found["angle"]["right"] == 1


def test_a_small_run(tmp_path, capsys):
    config = conjectures.Conjectures(
        seeds=2, train=60, test=20, width=8, depth=1, steps=20, batch=16, root=str(tmp_path)
    )
    found = conjectures.run(config)
    np.testing.assert_allclose(found[0]["integrated gradients"].sum(-1), 1, rtol=1e-6)
    folder = tmp_path / "intuition" / "default"
    assert (folder / "shares.png").exists() and "integrated" in (folder / "table.md").read_text()
    assert "edges" in capsys.readouterr().out
