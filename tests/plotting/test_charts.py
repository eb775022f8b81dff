"""The geometry that the charts hand to matplotlib, against the definitions."""

import jax
import numpy as np
import pytest

from geodl.manifolds import poincare
from geodl.plotting import Disk, Plane


CURVATURES = (0.3, 1.0, 1.4)
dist, expmap0 = jax.jit(poincare.dist), jax.jit(poincare.expmap0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def disk_points(rng, n, c):
    direction = rng.normal(size=(n, 2))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    return direction * rng.uniform(0, 0.97, (n, 1)) / np.sqrt(c)


def circle_through(arc):
    """Center and radius of the circle through an arc's ends and middle."""
    a, m, b = arc[..., 0, :], arc[..., arc.shape[-2] // 2, :], arc[..., -1, :]
    rows = 2 * np.stack([m - a, b - a], axis=-2)
    right = np.stack([np.sum(m**2 - a**2, -1), np.sum(b**2 - a**2, -1)], axis=-1)
    center = np.linalg.solve(rows, right[..., None])[..., 0]
    return center, np.linalg.norm(a - center, axis=-1)


@pytest.mark.parametrize("c", CURVATURES)
def test_disk_geodesic_is_equally_spaced_and_shortest(rng, c):
    x, y = disk_points(rng, 20, c), disk_points(rng, 20, c)
    path = Disk(c).geodesic(x, y, steps=9)
    assert path.shape == (20, 9, 2)
    np.testing.assert_allclose(path[:, 0], x, atol=1e-6)
    np.testing.assert_allclose(path[:, -1], y, atol=1e-5)
    steps = np.asarray(dist(path[:, :-1], path[:, 1:], c))
    whole = np.asarray(dist(x, y, c))
    np.testing.assert_allclose(steps, np.repeat(whole[:, None] / 8, 8, axis=1), rtol=1e-3)


@pytest.mark.parametrize("c", CURVATURES)
def test_gyroplane_is_orthogonal_to_the_boundary_and_passes_through_p(rng, c):
    w, b = rng.normal(size=(30, 2)), rng.uniform(0.05, 1.0, 30) * rng.choice([-1, 1], 30)
    disk = Disk(c)
    arc = disk.hyperplane(w, b)
    np.testing.assert_allclose(np.linalg.norm(arc[:, [0, -1]], axis=-1), disk.limit, rtol=1e-12)
    p = np.asarray(expmap0((w * b[:, None]).astype(np.float32), c))
    np.testing.assert_allclose(arc[:, arc.shape[1] // 2], p, atol=1e-6)
    center, radius = circle_through(arc)
    distance = np.linalg.norm(arc - center[:, None], axis=-1)
    np.testing.assert_allclose(distance, np.repeat(radius[:, None], arc.shape[1], axis=1))
    # two circles meet at right angles where |center|^2 = radius^2 + limit^2
    np.testing.assert_allclose(np.sum(center**2, axis=-1), radius**2 + disk.limit**2, rtol=1e-9)


def test_gyroplane_is_the_zero_set_of_the_distance(rng):
    c = 0.7
    w, b = rng.normal(size=(10, 2)), rng.uniform(-1, 1, 10)
    arc = Disk(c).hyperplane(w, b, steps=33)[:, 4:-4]
    p = expmap0((w * b[:, None]).astype(np.float32), c)
    distance = jax.jit(poincare.dist_to_gyroplane)(
        arc.astype(np.float32), p[:, None], w[:, None].astype(np.float32), c
    )
    np.testing.assert_allclose(distance, 0, atol=1e-5)


def test_gyroplane_limits(rng):
    diameter = Disk().hyperplane([0.0, 2.0], np.array(0.0))
    np.testing.assert_allclose(diameter[:, 1], 0, atol=1e-15)
    np.testing.assert_allclose(diameter[[0, -1], 0], [1, -1])
    far = Disk().hyperplane([3.0, 4.0], np.array(1e4))
    np.testing.assert_allclose(far, np.broadcast_to([0.6, 0.8], far.shape))


def test_plane_is_euclidean(rng):
    x, y, w, b = *rng.normal(size=(3, 12, 2)), rng.normal(size=12)
    plane = Plane(3.0)
    np.testing.assert_allclose(plane.geodesic(x, y, 3)[:, 1], (x + y) / 2)
    line = plane.hyperplane(w, b)
    p = w * b[:, None]
    np.testing.assert_allclose(line[:, 1], p)
    np.testing.assert_allclose(np.einsum("nki,ni->nk", line - p[:, None], w), 0, atol=1e-12)
    assert np.all(np.linalg.norm(line[:, 0] - line[:, -1], axis=-1) > 2 * np.sqrt(2) * 3.0)


@pytest.mark.parametrize("chart", [Disk(1.2), Plane(2.0)])
def test_bad_shapes_are_named(chart):
    with pytest.raises(ValueError, match=r"x has shape \(4, 3\)"):
        chart.geodesic(np.zeros((4, 3)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"b has shape \(3,\); expected \(4,\)"):
        chart.hyperplane(np.ones((4, 2)), np.ones(3))
    with pytest.raises(ValueError, match="zero row"):
        chart.hyperplane(np.zeros((4, 2)), np.ones(4))


def test_bad_values_are_named():
    with pytest.raises(ValueError, match=r"c is -1\.0"):
        Disk(-1.0)
    with pytest.raises(ValueError, match=r"limit is 0\.0"):
        Plane(0.0)
    with pytest.raises(ValueError, match=r"y has a norm 1\.5"):
        Disk().geodesic([[0.0, 0.0]], [[0.0, 1.5]])
