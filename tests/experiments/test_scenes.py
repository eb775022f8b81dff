"""Scenes: what is drawn is what is said to be there."""

import numpy as np
import pytest

from experiments.counterfactuals import scenes


@pytest.fixture(scope="module")
def drawn():
    return scenes.draw(200, seed=3)


def test_the_truth_is_in_the_scenes(drawn):
    assert drawn.images.shape == (200, 32, 32) and drawn.images.dtype == np.uint8
    np.testing.assert_array_equal(drawn.counts, np.sum(drawn.contrast > 0, -1))
    assert np.bincount(drawn.counts, minlength=13).min() > 5
    found = scenes.detect(drawn.images)
    assert [len(positions) for positions in found] == drawn.counts.tolist()
    for there, positions, count in zip(drawn.position, found, drawn.counts, strict=True):
        if count:
            off = np.abs(there[:count, None] - positions[None]).max(-1)
            assert off.min(1).max() <= 1 and off.min(0).max() <= 1


def test_brightness_does_not_count(drawn):
    brightness = drawn.images.mean((1, 2))
    assert abs(np.corrcoef(brightness, drawn.counts)[0, 1]) < 0.1
    few, many = (brightness[c].mean() for c in (drawn.counts <= 3, drawn.counts >= 9))
    assert abs(few - many) < 0.6  # of 255
    assert abs(np.corrcoef(drawn.contrast.sum(-1), drawn.counts)[0, 1]) > 0.9


def test_masks_lie_where_the_figures_are(drawn):
    empty = drawn.figures < 0.01
    clean = scenes.draw(200, seed=3, most=0)
    np.testing.assert_array_equal(clean.counts, 0)
    assert clean.figures.max() == 0 and clean.heads.max() == 0
    # away from the figures there is background and camera noise
    rest = np.where(empty, drawn.images / 255 - scenes.background(drawn.light), 0)
    assert np.abs(rest).max() < 0.06
    assert np.all(drawn.heads <= drawn.figures)
    assert 3 < drawn.heads.sum() / drawn.counts.sum() < 8


def test_redrawn_scenes_have_the_same_figures_elsewhere(drawn):
    redrawn = scenes.resampled_positions(drawn, seed=4)
    np.testing.assert_array_equal(redrawn.counts, drawn.counts)
    np.testing.assert_array_equal(redrawn.contrast, drawn.contrast)
    np.testing.assert_array_equal(redrawn.light, drawn.light)
    assert np.abs(redrawn.position - drawn.position).max((1, 2))[drawn.counts > 0].mean() > 8
    assert [len(positions) for positions in scenes.detect(redrawn.images)] == drawn.counts.tolist()


def test_a_seed_is_a_data_set():
    again, other = scenes.draw(20, seed=3), scenes.draw(20, seed=4)
    np.testing.assert_array_equal(again.images, scenes.draw(20, seed=3).images)
    assert np.any(again.images != other.images)
    with pytest.raises(ValueError, match="most <= 12 needed, got 5 and 13"):
        scenes.draw(5, most=13)
    with pytest.raises(ValueError, match="n >= 1"):
        scenes.draw(0)
