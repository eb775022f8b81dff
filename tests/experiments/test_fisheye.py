"""A fisheye camera's image on the sphere and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.spherical import data, fisheye
from geodl.equivariant import harmonics
from geodl.manifolds import SO3


CAMERA = fisheye.Camera((34.0, -3.2, 4.8, -0.7), (97, 129))
GRID = harmonics.gauss_legendre(64)


def test_pixels_and_rays_are_inverse():
    rays, seen = CAMERA.rays()
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1, atol=1e-6)
    found = jnp.stack(CAMERA.pixels(rays), -1)
    expected = np.moveaxis(np.mgrid[:97, :129], 0, -1)
    np.testing.assert_allclose(found[seen], expected[seen], atol=1e-3)
    # The angle is numpy's root of the polynomial.
    theta = CAMERA.angle(jnp.array([3.0, 20.0, 45.0]))
    for r, angle in zip((3.0, 20.0, 45.0), theta, strict=True):
        roots = np.roots([-0.7, 4.8, -3.2, 34.0, -r])
        assert np.abs(roots - float(angle)).min() < 1e-5
    # Straight ahead is the center; a ray to the right is to its right, in its row.
    assert [float(p) for p in CAMERA.pixels(jnp.array([0.0, 0.0, 1.0]))] == [48, 64]
    row, column = CAMERA.pixels(jnp.array([1.0, 0.0, 0.0]))
    assert float(row) == 48
    assert float(column) == pytest.approx(64 + np.polyval([-0.7, 4.8, -3.2, 34.0, 0], np.pi / 2))


@pytest.mark.slow
def test_a_smooth_world_survives_the_way_to_the_sphere_and_back():
    world = lambda x: 0.5 + 0.3 * x[..., 0] * x[..., 1] - 0.2 * x[..., 2]  # noqa: E731
    rays, seen = CAMERA.rays()
    image = jnp.where(seen, world(rays), 0)
    picture = fisheye.to_sphere(CAMERA, image, GRID)
    x = jnp.asarray(data.points(GRID), jnp.float32)
    inner = np.array(CAMERA.sees(x, margin=1))
    assert 0.3 < inner.mean() < 0.5
    np.testing.assert_allclose(picture[inner], world(x)[inner], atol=5e-3)
    assert not picture[x[..., 2] < np.cos(CAMERA.field) - 1e-3].any()
    back = fisheye.to_image(CAMERA, picture, GRID)
    inner = np.array(seen & CAMERA.sees(rays, margin=4))
    np.testing.assert_allclose(back[inner], image[inner], atol=5e-3)
    # On the sphere the camera's turn is a rotation.
    q = SO3().random_uniform(jax.random.key(0))
    turned = data.sample(world(x), GRID, x @ q)
    seen_turned = fisheye.to_image(CAMERA, turned, GRID)
    np.testing.assert_allclose(seen_turned[inner], world(rays @ q)[inner], atol=2e-2)
