"""Digits on the sphere: the projection, the baselines' sizes, and an experiment that ends."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from experiments.spherical import data, digits, grids, models, segments
from geodl.equivariant import harmonics


GRID = harmonics.gauss_legendre(16)


def test_bilinear_is_scipys():
    image = np.random.default_rng(0).uniform(size=(5, 7)).astype(np.float32)
    rows, columns = np.random.default_rng(1).uniform(-3, 9, (2, 200))
    expected = scipy.ndimage.map_coordinates(
        np.pad(image, 1), np.stack([rows, columns]) + 1, order=1, mode="grid-constant", cval=0
    )
    np.testing.assert_allclose(data.bilinear(image, rows, columns), expected, atol=1e-5)


def test_projection_is_the_ray_through_the_sphere():
    """The sphere about (0, 0, 1) lies on the plane z = 0; rays start just above its north pole."""
    x = np.random.default_rng(0).normal(size=(20, 3))
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    point, eye = x + np.array([0, 0, 1]), np.array([0, 0, 2 + data.EYE])
    t = eye[2] / (eye[2] - point[:, 2])
    np.testing.assert_allclose(
        data.to_plane(x), (eye + t[:, None] * (point - eye))[:, :2], rtol=1e-6
    )


def test_pictures_and_masks(key):
    images = np.zeros((6, 8, 8), np.float32)
    images[:, 1:7, 1:7] = 1
    labels = np.arange(6)
    plain = data.on_sphere(key, images, labels, data.points(GRID), rotated=False, batch=4)
    assert plain.images.shape == (6, 16, 32, 1) and plain.masks.shape == (6, 16, 32)
    # The digit is at the south pole, and nothing at the north.
    assert (plain.images[:, -1] > 0.99).all() and not plain.images[:, :6].any()
    np.testing.assert_array_equal(plain.masks[:, -1, 0], labels + 1)
    rotated = data.on_sphere(key, images, labels, data.points(GRID), rotated=True)
    assert rotated.images[:, :6].any() and not np.allclose(rotated.images[0], rotated.images[1])
    # A rotation keeps the area.
    weights = np.array(GRID.weights)[:, None, None]
    areas = [np.sum(weights * s.images, (1, 2, 3)) for s in (plain, rotated)]
    np.testing.assert_allclose(*areas, rtol=0.1)
    four = data.on_sphere(key, images, labels, data.points(GRID), rotated=False, digits=4)
    assert (np.array([len(np.unique(m)) for m in four.masks]) > 2).any()
    assert all(label + 1 in np.unique(m) for m, label in zip(four.masks, labels, strict=True))
    with pytest.raises(ValueError, match="1 to 4 digits"):
        data.on_sphere(key, images, labels, data.points(GRID), rotated=False, digits=5)


@pytest.mark.parametrize(
    ("size", "parameters"), [("218k", 218_144), ("1M", 1_042_013), ("5.5M", 5_519_335)]
)
def test_planar_baselines_are_the_papers(size, parameters):
    net = models.conv_segmenter(size)
    assert models.count(net) == parameters
    shape = jax.eval_shape(
        net.apply, jax.eval_shape(net.init, jax.random.key(0)), jnp.zeros((2, 100, 100, 1))
    )
    assert shape.shape == (2, 100, 100, 11)


def test_unet_sees_the_whole_picture_in_any_batch(key):
    net = models.unet((4, 6, 8))
    params, apply = jax.jit(net.init)(key), jax.jit(net.apply)
    images = jax.random.normal(key, (2, 3, 16, 16, 1))
    logits = apply(params, images)
    assert logits.shape == (2, 3, 16, 16, 11)
    np.testing.assert_allclose(logits[1, 2], apply(params, images[1, 2]), atol=1e-5)
    far = jax.jit(jax.grad(lambda x: net.apply(params, x)[0, 0, 0]))(images[0, 0])
    assert np.count_nonzero(np.abs(far) > 1e-6) > 0.9 * 256


def test_a_picture_between_its_points():
    """A smooth function on the grid, read at any direction; constant beyond the rings."""
    x = np.random.default_rng(0).normal(size=(50, 3))
    x = (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)
    grid = harmonics.gauss_legendre(64)
    picture = data.points(grid)[..., 0] * data.points(grid)[..., 2]
    np.testing.assert_allclose(data.sample(picture, grid, x), x[:, 0] * x[:, 2], atol=3e-3)
    pole = data.sample(jnp.arange(64.0)[:, None] + jnp.zeros(128), grid, jnp.array([0, 0, 1.0]))
    assert float(pole) == 0


def test_intersections_over_unions():
    masks = np.array([[[0, 1], [1, 2]]])
    found = np.array([[[0, 1], [2, 2]]])
    counted = segments.confusion(masks, found, np.ones((2, 2)))
    assert counted.sum() == 4 and counted[1, 2] == 1
    whole = np.arange(11)
    counted = segments.confusion(whole[None, :, None], whole[None, :, None], np.ones((11, 1)))
    assert segments.iou(counted) == 1
    counted[1, 2] = 1  # a pixel of class 1 that was taken for 2
    assert segments.iou(counted) == pytest.approx((8 + 0.5 + 0.5) / 10)
    weighted = segments.confusion(masks, found, np.array([[1, 2], [3, 4]]))
    assert weighted[1, 1] == 2 and weighted[1, 2] == 3


@pytest.mark.slow
def test_segments_end(tmp_path):
    config = segments.Segments(
        root=str(tmp_path),
        data="digits",
        rotated=(False, True),
        bands=(16, 6, 16),
        channels=(1, 4, 11),
        betas=(0.8, 0.8),
        pictures=320,
        steps=20,
        planar_steps=20,
        seeds=(0,),
        test=50,
    )
    found = segments.run(config)
    assert len(found) == 4
    assert all(0 <= r["rotated_iou"] <= 100 for r in found.values())


@pytest.mark.slow
def test_grids_are_compared(tmp_path, monkeypatch):
    """Linear maps commute exactly, more rings lessen what ReLU adds."""
    monkeypatch.setattr(grids, "LAYOUTS", ((10, 20, 20, 9), (15, 30, 19, 9)))
    config = grids.Grids(data="digits", images=2, rotations=2, root=str(tmp_path))
    coarse, fine = grids.run(config)["rotations"]
    assert float(coarse["none"]) < 1e-6
    assert float(fine["ReLU"]) < 0.6 * float(coarse["ReLU"])


@pytest.mark.slow
def test_quick_ends_and_resumes(tmp_path, capsys):
    config = replace(
        digits.QUICK,
        root=str(tmp_path),
        bands=(8, 5, 4),
        channels=(1, 4, 6),
        widths=(4, 8),
        betas=(0.8, 1.0),
        hidden=8,
        pictures=640,
        steps=60,
        planar_steps=60,
        sizes=(320,),
        test=100,
        finer=1.5,
    )
    found = digits.run(config)
    assert len(found) == 6
    for cell, result in found.items():
        assert ("finer_flips" in result) == (cell.model != "planar")
        if cell.model == "turned":
            assert min(result["rotated_accuracy"], result["finer_rotated_accuracy"]) > 15
    assert (
        tmp_path / "spherical" / "quick" / "table.md"
    ).read_text() in capsys.readouterr().out + "\n"
    assert digits.run(config) == found
