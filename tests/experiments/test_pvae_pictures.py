"""The experiment's pictures, drawn small."""

from types import SimpleNamespace

import numpy as np
from matplotlib.image import imread

from experiments.pvae import pictures
from geodl.plotting import Disk, Plane


TREE = SimpleNamespace(
    parents=np.array([0, 0, 0, 1, 1, 2, 2]), depths=np.array([0, 1, 1, 2, 2, 2, 2])
)


def test_tree_figure(tmp_path):
    rng = np.random.default_rng(0)
    nodes, points = rng.uniform(-0.6, 0.6, (7, 2)), rng.uniform(-0.6, 0.6, (14, 2))
    owners = np.repeat(np.arange(7), 2)
    planes = rng.normal(size=(5, 2)), rng.normal(size=5)

    def prior(z):
        return np.exp(-np.sum(z**2, -1))

    panels = [
        pictures.Latents("N-VAE", Plane(1.0), nodes, points, planes, prior),
        pictures.Latents("P-VAE", Disk(1.2), nodes, points, planes, prior),
    ]
    path = pictures.tree_figure(tmp_path / "tree.png", TREE, owners, panels)
    height, width, _ = imread(path).shape
    assert width == 2 * 5.6 * 150 and height < width
    assert path.with_suffix(".svg").read_text().count("<svg") == 1


def test_mnist_figures(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(10, 6, 6))
    pictures.reconstructions(tmp_path, images, images)
    pictures.latent_grid(
        tmp_path, Disk(0.7), lambda z: np.broadcast_to(z[:, :1, None] ** 2, (len(z), 6, 6)), 5
    )
    pictures.digits(tmp_path, Disk(0.7), rng.uniform(-0.5, 0.5, (30, 2)), np.arange(30) % 10)
    for name in ("reconstructions", "latent_grid", "latents"):
        assert np.ptp(imread(tmp_path / f"{name}.png")) > 0.5  # ink on paper
