"""Images of all experiments: loaded and split."""

from typing import Literal

import numpy as np

from geodl import datasets


Data = Literal["mnist", "digits", "auto"]


def load(data: Data, download: bool = False, validate: bool = False) -> tuple[datasets.Images, str]:
    """MNIST or scikit-learn's digits, and which; "auto" is MNIST where its files are found, else the digits.

    To ``validate``, that is to choose settings, the last sixth of the training images (MNIST: 10,000) is in place of
    the test images.

    Raises ``FileNotFoundError`` where MNIST is asked for and neither found nor downloaded.
    """
    images, source = _found(data, download)
    if validate:
        (x, labels), kept = images[:2], len(images.train_images) * 5 // 6
        held_out = datasets.Images(x[:kept], labels[:kept], x[kept:], labels[kept:])
        return held_out, f"{source}, held-out training images"
    return images, source


def _found(data, download):
    if data != "digits":
        try:
            return datasets.mnist(download=download), "mnist"
        except FileNotFoundError as error:
            if data == "mnist":
                raise
            print(f"{error}\nTraining on scikit-learn's 8x8 digits instead.")
    return datasets.digits(), "digits"


def split_in_two(images: datasets.Images) -> tuple[datasets.Images, datasets.Images]:
    """Two random halves of the training images, each with all test images: for models, and for held-out classifiers.

    The same halves at each call. An odd image is left out, so that they are of one size.
    """
    size = len(images.train_images) // 2
    order = np.random.default_rng(0).permutation(len(images.train_images))

    def part(index):
        x, labels = images.train_images[index], images.train_labels[index]
        return images._replace(train_images=x, train_labels=labels)

    return part(np.sort(order[:size])), part(np.sort(order[size : 2 * size]))


def with_channels(images: np.ndarray) -> np.ndarray:
    """Gray images (n, height, width) with an axis for their channel."""
    return images if images.ndim == 4 else images[..., None]
