"""The experiment's pictures, drawn small."""

import numpy as np
import pytest
from matplotlib.image import imread

from experiments.pvae import pictures
from geodl.plotting import Disk, Plane


PARENTS = np.array([-1, 0, 0, 1, 1, 2, 2])


def test_node_depths():
    assert pictures.node_depths(PARENTS).tolist() == [0, 1, 1, 2, 2, 2, 2]
    with pytest.raises(ValueError, match="node 1 has parent 1"):
        pictures.node_depths(np.array([-1, 1]))


def test_tree_figure(tmp_path):
    rng = np.random.default_rng(0)
    nodes, points = rng.uniform(-0.6, 0.6, (7, 2)), rng.uniform(-0.6, 0.6, (14, 2))
    owners = np.repeat(np.arange(7), 2)
    planes = pictures.Hyperplanes(rng.normal(size=(5, 2)), rng.normal(size=5))

    def prior(z):
        return np.exp(-np.sum(z**2, -1))

    panels = [
        pictures.Latents("N-VAE", Plane(1.0), nodes, points, planes, prior),
        pictures.Latents("P-VAE", Disk(1.2), nodes, points, planes, prior),
    ]
    path = pictures.tree_figure(tmp_path / "new" / "tree.png", PARENTS, owners, panels)
    height, width, _ = imread(path).shape
    assert width == 2 * 5.6 * pictures.DPI and height < width


def test_mnist_figures(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(10, 6, 6))
    paths = pictures.mnist_figures(
        tmp_path,
        images,
        images,
        Disk(0.7),
        rng.uniform(-0.5, 0.5, (30, 2)),
        np.arange(30) % 10,
        decode=lambda z: np.broadcast_to(z[:, :1, None] ** 2, (len(z), 6, 6)),
        cells=5,
    )
    assert set(paths) == {"reconstructions", "latent_grid", "latents"}
    for path in paths.values():
        assert np.ptp(imread(path)) > 0.5  # ink on paper
