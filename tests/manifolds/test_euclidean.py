"""Flat points of any shape, and boxes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl.distributions import Uniform, WrappedNormal
from geodl.manifolds import Box, Euclidean


def test_an_array_is_one_point():
    images, vectors = Euclidean((2, 3)), Euclidean(6)
    assert images.dim == 6 and images.event_shape == (2, 3)
    x, y = np.random.default_rng(0).normal(size=(2, 4, 2, 3)).astype(np.float32)
    flat_x, flat_y = x.reshape(4, 6), y.reshape(4, 6)
    np.testing.assert_array_equal(images.dist(x, y), vectors.dist(flat_x, flat_y))
    np.testing.assert_array_equal(images.to_frame(x, y), flat_y)
    np.testing.assert_array_equal(images.from_frame(x, flat_y), y)
    halfway = images.geodesic(jnp.full(4, 0.5), x, y)
    np.testing.assert_allclose(halfway, (x + y) / 2, atol=1e-6)
    np.testing.assert_array_equal(images.expmap(x, v=y[0]), x + y[0])
    density = WrappedNormal(images, jnp.zeros((2, 3)), 1.0).log_prob(x)
    expected = WrappedNormal(vectors, jnp.zeros(6), 1.0).log_prob(flat_x)
    np.testing.assert_allclose(density, expected, rtol=1e-6)


def test_shapes_are_said_and_checked():
    assert Euclidean(3) == Euclidean((3,)) and hash(Euclidean(3)) == hash(Euclidean((3,)))
    assert repr(Euclidean(3)) == "Euclidean(3)" and repr(Euclidean((2, 3))) == "Euclidean((2, 3))"
    for shape in (0, (2, 0), -1, True):
        with pytest.raises(ValueError, match="Euclidean: dim must be a positive integer"):
            Euclidean(shape)
    with pytest.raises(ValueError, match=r"x has shape \(..., 2, 3\), got \(2, 2\)"):
        Euclidean((2, 3)).dist(jnp.ones((2, 2)), jnp.ones((2, 3)))


def test_distances_of_integers_and_at_coincident_points():
    low, high = np.array([[3, 250]], np.uint8), np.array([[250, 3]], np.uint8)
    space = Euclidean((1, 2))
    assert space.sqdist(low, high) == space.sqdist(high, low) == 2 * 247**2
    assert jax.grad(space.dist)(jnp.ones((1, 2)), jnp.ones((1, 2))).tolist() == [[0, 0]]
    assert jnp.isnan(space.dist(jnp.array([[jnp.nan, 0]]), jnp.zeros((1, 2))))


def test_a_box_keeps_its_points_and_lets_them_leave_its_faces():
    box = Box(0.0, 1.0, (2, 2))
    x, step = jnp.zeros((2, 2)), jnp.array([-1.0, 0.5, 3.0, 0.0])
    np.testing.assert_array_equal(box.expmap_frame(x, step), [[0, 0.5], [1, 0]])
    np.testing.assert_array_equal(box.expmap(x, step.reshape(2, 2)), [[0, 0.5], [1, 0]])
    np.testing.assert_array_equal(box.geodesic(9.0, x, x + 0.25), np.ones((2, 2)))
    slope = jax.grad(lambda a: jnp.sum(box.expmap_frame(x, a)))(-jnp.ones(4))
    assert slope.tolist() == [1, 1, 1, 1]
    assert jnp.isnan(box.project(jnp.array([[jnp.nan, 0.0], [0.0, 0.0]]))[0, 0])
    np.testing.assert_array_equal(box.origin(), np.full((2, 2), 0.5))


def test_a_box_has_a_volume_and_no_wrapped_normal():
    box = Box(-1.0, 2.0, 3)
    uniform = Uniform(box)
    x = uniform.sample(seed=jax.random.key(0), sample_shape=(1000,))
    assert x.min() >= -1 and x.max() <= 2 and np.abs(x.mean(0) - 0.5).max() < 0.1
    np.testing.assert_allclose(uniform.log_prob(x[0]), -3 * np.log(3), rtol=1e-6)
    with pytest.raises(NotImplementedError, match="Box does not say which tangent vectors"):
        WrappedNormal(box, box.origin(), 0.3).log_prob(box.origin())
    for low, high in ((1.0, 0.0), (0.0, 0.0), (0.0, np.inf), (np.nan, 1.0)):
        with pytest.raises(ValueError, match=f"low must be below high.* got {low} and {high}"):
            Box(low, high, 2)
