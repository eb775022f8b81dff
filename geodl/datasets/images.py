"""Handwritten digits: MNIST from its four files, and scikit-learn's small set for no download."""

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from geodl.datasets.files import find


class Images(NamedTuple):
    """Images, 0 black to 255 white, gray or with an axis of colors, and their labels."""

    train_images: UInt8[np.ndarray, "train height width *rgb"]
    train_labels: UInt8[np.ndarray, " train"]
    test_images: UInt8[np.ndarray, "test height width *rgb"]
    test_labels: UInt8[np.ndarray, " test"]


_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

# In the order of Images, each with the SHA-256 of the decompressed file.
_FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def mnist(root: str | os.PathLike[str] | None = None, download: bool = False) -> Images:
    """MNIST: 60000 images to train on and 10000 to test, 28 x 28.

    Args:
        root: folder with the four files in ``mnist/``, gzipped or not; by default GEODL_DATA.
        download: fetch what is missing from the public mirrors, once: into ``root`` where it is
            given, else into the user's cache.

    Returns:
        The images, uint8.

    Raises:
        FileNotFoundError: a file is missing; the message says where it was looked for.
        ValueError: a file is damaged, or images and labels do not match.
        OSError: no mirror could be reached, or gave the right content.
    """
    paths = [
        find(
            f"mnist/{name}",
            [f"{mirror}{name}.gz" for mirror in _MIRRORS],
            sha256,
            root,
            download,
            "mnist(download=True)",
        )
        for name, sha256 in _FILES.items()
    ]
    data = Images(*map(read_idx, paths))
    for images, labels in (data[:2], data[2:]):
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"{paths[0].parent}: images of shape {images.shape} do not go with labels of shape "
                f"{labels.shape}; expected (n, height, width) and (n,)"
            )
    return data


def read_idx(path: str | os.PathLike[str]) -> UInt8[np.ndarray, "..."]:
    """An array of bytes from a file in the IDX format, gzipped or not.

    Returns:
        The array, uint8.

    Raises:
        ValueError: it is not one, or its size is not what its header says.
    """
    content = Path(path).read_bytes()
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} starts with {content[:4].hex(' ')}, not 00 00 08 (IDX of bytes)")
    start = 4 + 4 * content[3]
    shape = tuple(int.from_bytes(content[i : i + 4]) for i in range(4, start, 4))
    values = np.frombuffer(content[start:], np.uint8)
    if len(content) < start or values.size != math.prod(shape):
        raise ValueError(f"{path} holds {values.size} values, its header says {shape}")
    return values.reshape(shape)


def digits() -> Images:
    """The 1797 digits that come with scikit-learn, 8 x 8, without any download.

    Their 17 gray levels are scaled to 0..255; a fifth of them, fixed, is the test set.

    Returns:
        The images, uint8.
    """
    from sklearn.datasets import load_digits

    levels, labels = (np.asarray(values) for values in load_digits(return_X_y=True))
    images = np.round(levels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    labels = labels.astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(images))
    test, train = np.split(order, [len(images) // 5])
    return Images(images[train], labels[train], images[test], labels[test])
