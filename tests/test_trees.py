"""Trees in the plane: against disk coordinates of hundreds of digits, and what the edge length promises."""

from functools import partial

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from geodl import trees
from geodl.manifolds import poincare


def random_tree(n, seed=0, reach=4):
    """Every node below one of a few before it: deep, with nodes of many degrees; shuffled."""
    rng = np.random.default_rng(seed)
    parents = [rng.integers(max(0, i - reach), i) for i in range(1, n)]
    names = rng.permutation(n)
    return names[np.stack([np.arange(1, n), parents], 1)]


def in_the_disk(tree, lengths, angles, digits):
    """Coordinates of all nodes, composed along the paths from the root as the textbook has it."""
    with mp.workdps(digits):
        frames = {}
        for v in np.argsort(tree.depths, kind="stable"):
            if tree.depths[v] == 0:
                frames[v] = (mp.mpf(1), mp.mpf(0))
                continue
            half, turn = mp.mpf(float(lengths[v])) / 2, mp.expj(mp.mpf(float(angles[v])) / 2)
            c, d = turn * mp.cosh(half), turn * mp.sinh(half)
            a, b = frames[tree.parents[v]]
            frames[v] = (a * c + b * mp.conj(d), a * d + b * mp.conj(c))
        return {v: b / mp.conj(a) for v, (a, b) in frames.items()}


def distances_in_the_disk(z, pairs, digits):
    with mp.workdps(digits):
        ratio = [
            abs(z[i] - z[j]) ** 2 / ((1 - abs(z[i]) ** 2) * (1 - abs(z[j]) ** 2)) for i, j in pairs
        ]
        return np.array([float(2 * mp.asinh(mp.sqrt(q))) for q in ratio])


def hops(edges, n):
    """Distances in the graph, by powers of nothing but the definition."""
    d = np.full((n, n), np.inf)
    d[edges[:, 0], edges[:, 1]] = d[edges[:, 1], edges[:, 0]] = 1
    d[np.arange(n), np.arange(n)] = 0
    for k in range(n):
        d = np.minimum(d, d[:, k : k + 1] + d[k])
    return d


@pytest.mark.slow
def test_directions_of_a_code_in_more_dimensions():
    """Against Lorentz matrices of many digits, with what the edge length promises; gradients are finite."""
    edges, n, dim = random_tree(60, reach=8), 60, 6
    tree = trees.from_edges(edges)
    directions = trees.code_directions(tree, dim)
    for node in range(n):
        away = directions[(tree.parents == node) & (tree.depths > 0)]
        if tree.depths[node]:
            away = np.append(away, -np.eye(1, dim), 0)
        assert np.max(away @ away.T - np.eye(len(away))) <= 0
    length = trees.edge_length(tree, 1.05, dim)
    assert length < trees.edge_length(tree, 1.05)
    i, j = np.triu_indices(n, 1)

    @jax.jit
    def measured(length):
        drawing = trees.embed(tree, length, directions)
        return drawing.dist(i, j), drawing.to_disk()

    found, points = measured(jnp.float32(length))
    ratio = np.asarray(found) / (hops(edges, n)[i, j] * length)
    assert ratio.max() / ratio.min() <= 1.05
    with mp.workdps(200):
        boost = mp.eye(dim + 1)
        boost[0, 0] = boost[1, 1] = mp.cosh(mp.mpf(float(np.float32(length))))
        boost[0, 1] = boost[1, 0] = mp.sinh(mp.mpf(float(np.float32(length))))
        frames = {}
        for v in np.argsort(tree.depths, kind="stable"):
            if tree.depths[v] == 0:
                frames[v] = mp.eye(dim + 1)
                continue
            e, u = np.eye(dim)[0], directions[v]
            turn = np.diag(np.where(np.arange(dim) < 2, -1.0, 1.0))
            if u[0] >= 0:
                turn = np.eye(dim) + 2 * np.outer(u, e) - np.outer(e + u, e + u) / (1 + u[0])
            whole = mp.eye(dim + 1)
            whole[1:, 1:] = mp.matrix(turn.tolist())
            frames[v] = frames[tree.parents[v]] * whole * boost
        x = [[frames[v][k, 0] for k in range(dim + 1)] for v in range(n)]
        exact = [
            float(mp.acosh(x[a][0] * x[b][0] - mp.fdot(x[a][1:], x[b][1:])))
            for a, b in zip(i, j, strict=True)
        ]
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    assert np.all(np.sum(np.square(points), -1) < 1)
    slope = jax.jit(jax.grad(lambda length: jnp.sum(measured(length)[0])))(jnp.float32(length))
    np.testing.assert_allclose(slope, hops(edges, n)[i, j].sum(), rtol=0.05)
    with pytest.raises(ValueError, match="half of the largest degree"):
        trees.code_directions(trees.from_edges([[0, k] for k in range(1, 9)]), 3)


@pytest.mark.quick("float32-1e-06-0.05", "float32-1e-06-9.0", "float64-1e-14-3.0")
@pytest.mark.parametrize("length", [0.05, 3.0, 9.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-14)])
def test_distances_are_those_of_many_digits(length, dtype, tolerance, x64):
    n, digits = 120, 500
    tree = trees.from_edges(random_tree(n))
    rng = np.random.default_rng(1)
    lengths = (length * rng.uniform(0.5, 1.5, n)).astype(dtype)
    angles = trees.equal_angles(tree).astype(dtype)
    pairs = np.concatenate(
        [rng.integers(0, n, (150, 2)), np.stack([np.arange(n), tree.parents], 1)]
    )

    @jax.jit
    def found(lengths):
        drawing = trees.embed(tree, lengths, angles)
        return drawing.dist(*pairs.T), drawing.radii(), drawing.to_disk()

    ours, radii, disk = found(lengths)
    z = in_the_disk(tree, lengths, angles, digits)
    exact = distances_in_the_disk(z, pairs, digits)
    assert ours.dtype == radii.dtype == dtype
    np.testing.assert_allclose(ours, exact, rtol=tolerance, atol=0)
    root = int(np.argmin(tree.depths))
    from_root = distances_in_the_disk(z, [(root, v) for v in range(n)], digits)
    np.testing.assert_allclose(radii, from_root, rtol=tolerance, atol=0)
    near = from_root < 5
    np.testing.assert_allclose(
        disk[near],
        [[float(z[v].real), float(z[v].imag)] for v in np.flatnonzero(near)],
        atol=3 * tolerance,
    )
    assert np.all(np.sum(np.square(disk), -1) < 1)
    if length > 1:
        assert from_root.max() > 40  # where coordinates have long ended


def test_gradients_in_lengths_and_angles(x64):
    """Against central differences; finite also for a node and itself, and far out."""
    tree = trees.from_edges(random_tree(30))
    rng = np.random.default_rng(0)
    i, j = rng.integers(0, 30, (2, 40))
    i, j = np.append(i, 3), np.append(j, 3)
    start = 2 * rng.uniform(0.5, 1.5, 30), trees.equal_angles(tree)
    directions = rng.normal(size=(2, 30))
    weights = rng.normal(size=41)

    @jax.jit
    def f(lengths, angles):
        return weights @ trees.embed(tree, lengths, angles).dist(i, j)

    gradients = jax.jit(jax.grad(f, (0, 1)))
    h = 1e-6
    for k in range(2):
        ends = [
            [x + s * h * directions[k] * (m == k) for m, x in enumerate(start)] for s in (1, -1)
        ]
        expected = (f(*ends[0]) - f(*ends[1])) / (2 * h)
        np.testing.assert_allclose(
            gradients(*start)[k] @ directions[k], expected, rtol=1e-7, atol=1e-7
        )
    assert all(np.isfinite(g).all() for g in gradients(50 * start[0], start[1]))


def test_the_edge_length_keeps_the_distortion():
    edges = random_tree(150, seed=3)
    tree = trees.from_edges(edges)
    drawing = jax.jit(partial(trees.embed, tree))(jnp.float32(trees.edge_length(tree, 1.01)))
    found = jax.jit(lambda d: d.dist(jnp.arange(150)[:, None], jnp.arange(150)))(drawing)
    others = ~np.eye(150, dtype=bool)
    ratio = (np.asarray(found) / np.where(others, hops(edges, 150), 1))[others]
    assert ratio.max() / ratio.min() <= 1.01


@pytest.mark.quick("2-1.5", "3-3.0")
@pytest.mark.parametrize("distortion", [1.1, 1.5, 3.0])
@pytest.mark.parametrize("dim", [2, 3])
def test_short_edges_keep_it_on_paths_that_always_turn_one_way(distortion, dim):
    edges = np.array([[(i - 1) // 2, i] for i in range(1, 127)])
    tree = trees.from_edges(edges)
    directions = None if dim == 2 else trees.code_directions(tree, dim)
    drawing = trees.embed(tree, np.float64(trees.edge_length(tree, distortion, dim)), directions)
    found = drawing.dist(jnp.arange(127)[:, None], jnp.arange(127))
    others = ~np.eye(127, dtype=bool)
    ratio = (np.asarray(found) / np.where(others, hops(edges, 127), 1))[others]
    assert 1.05 < ratio.max() / ratio.min() <= distortion * (1 + 1e-6)


def test_nodes_that_fit_have_the_distances_of_the_disk():
    tree = trees.from_edges(random_tree(40, reach=12))
    i = jnp.arange(40)

    @jax.jit
    def both(length):
        drawing = trees.embed(tree, length)
        disk = drawing.to_disk()
        in_disk = poincare.dist(disk[:, None], disk, 1.0)
        return drawing.radii(), drawing.dist(i[:, None], i), in_disk

    radii, ours, in_disk = both(jnp.float32(1.3))
    assert 4 < radii.max() < 12
    np.testing.assert_allclose(ours, in_disk, rtol=2e-4, atol=1e-4)


def test_the_root_is_the_middle():
    line = np.stack([np.arange(8), np.arange(1, 9)], 1)
    tree = trees.from_edges(line)
    assert tree.depths.max() == 4 and tree.depths[4] == 0
    assert trees.from_edges(line, root=0).depths.max() == 8
    np.testing.assert_array_equal(trees.degrees(tree), [1, 2, 2, 2, 2, 2, 2, 2, 1])


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([[0, 1], [1, 2], [2, 0]], r"edge \(\d, \d\) closes one"),
        ([[0, 1], [1, 3]], "no edge has node 2"),
        ([[0, 1], [2, 3]], "none reaches node 2"),
        ([[0, 1], [2, 3], [3, 4], [4, 2]], "none reaches node 2"),
        ([[0, -1]], "numbers from 0, got -1"),
        ([[0, 1, 2]], r"shape \(m, 2\)"),
        ([[0.0, 1.0]], "integers, got float64"),
        ([[0, 1], [1, 1]], r"edge \(1, 1\) closes one"),
    ],
)
def test_what_is_no_tree_is_named(edges, message):
    with pytest.raises(ValueError, match=message):
        trees.from_edges(edges)


def test_other_bad_input_is_named():
    tree = trees.from_edges([[0, 1], [1, 2], [2, 0]], spanning=True)
    assert tree.depths.max() == 1
    with pytest.raises(ValueError, match="must be positive, got 0"):
        trees.embed(tree, 0.0)
    with pytest.raises(ValueError, match=r"one for each of 3 nodes, got \(2,\)"):
        trees.embed(tree, np.ones(2))
    with pytest.raises(ValueError, match=r"direction for each of 3 nodes, got \(5,\)"):
        trees.embed(tree, 1.0, np.zeros(5))
    with pytest.raises(ValueError, match=r"nodes are 0, ..., 2, got 3"):
        trees.embed(tree, 1.0).dist(0, np.array([1, 3]))
    with pytest.raises(ValueError, match="above 1, got 1"):
        trees.edge_length(tree, 1.0)
    with pytest.raises(ValueError, match="above 1, got inf"):
        trees.edge_length(tree, np.inf)
    star = trees.from_edges(np.array([[0, i] for i in range(1, 30)], np.uint8))
    with pytest.raises(ValueError, match="half of the largest degree 29, got 3"):
        trees.edge_length(star, 1.1, 3)
    with pytest.raises(ValueError, match=r"unit vectors, of length, got 2"):
        trees.embed(tree, 1.0, 2 * np.eye(3))
    with pytest.raises(ValueError, match=r"dim >= 3, got \(3, 1\)"):
        trees.embed(tree, 1.0, np.ones((3, 1)))
    assert np.isnan(jax.jit(lambda length: trees.embed(tree, length).dist(0, 1))(-1.0))
    assert len(trees.from_edges(np.array([[i, i + 1] for i in range(255)], np.uint8)).depths) == 256
    with pytest.raises(ValueError, match="got 7"):
        trees.from_edges([[0, 1]], root=7)
