"""Data in halves: what is explained sees one of them, who judges the explanations the other."""

import numpy as np

from geodl import datasets


def halves(images: datasets.Images) -> dict[str, datasets.Images]:
    """The training images in two halves "A" and "B", drawn at random and fixed; both with all test images.

    An odd image is left out, so that the halves are of one size.
    """
    size = len(images.train_images) // 2
    order = np.random.default_rng(0).permutation(len(images.train_images))
    parts = {"A": np.sort(order[:size]), "B": np.sort(order[size : 2 * size])}
    return {
        name: images._replace(
            train_images=images.train_images[part], train_labels=images.train_labels[part]
        )
        for name, part in parts.items()
    }
