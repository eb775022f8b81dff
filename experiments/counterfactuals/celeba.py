"""CelebA's faces, which the user has downloaded: for research only.

They may not be passed on, and nothing here fetches them: see mmlab.ie.cuhk.edu.hk/projects/CelebA.html for the terms.
"""

import numpy as np
from PIL import Image
from tqdm import tqdm

from geodl.datasets import Images, data_dir


def celeba(attribute: str, side: int = 64, most: int | None = None) -> Images:
    """CelebA's faces (n, side, side, 3), labeled 1 where they have the attribute and 0 where not.

    The folder ``celeba/`` of GEODL_DATA holds what its authors distribute: img_align_celeba/ with the aligned JPEG
    files, list_attr_celeba.txt and list_eval_partition.txt, of whose parts 0 is to train on, 2 to test. Of each image
    the square of its center, as wide as 148 of 178 pixels, is taken and resized.

    Args:
        attribute: one of those that list_attr_celeba.txt names, as "Blond_Hair".
        side: of the resized images.
        most: the first so many of either part; by default all.

    Raises:
        FileNotFoundError: a list or an image is missing.
        ValueError: an attribute that there is not, a malformed line, a list without images of a part.
        OSError: a damaged image.
    """
    folder = data_dir() / "celeba"
    attributes, parts = folder / "list_attr_celeba.txt", folder / "list_eval_partition.txt"
    names = np.loadtxt(attributes, str, skiprows=1, max_rows=1, ndmin=1).tolist()
    if attribute not in names:
        raise ValueError(f"{attributes}, line 2: no attribute {attribute!r} among {names}")
    rows = np.loadtxt(attributes, str, skiprows=2, usecols=(0, names.index(attribute) + 1))
    labels = dict(zip(rows[:, 0], rows[:, 1].astype(int) > 0, strict=True))
    files, part = np.loadtxt(parts, str).T
    arrays: list[np.ndarray] = []
    for number in ("0", "2"):
        chosen = files[part == number][:most]
        if not len(chosen):
            raise ValueError(f"{parts}: no image of part {number}")
        paths = [folder / "img_align_celeba" / name for name in chosen]
        arrays.append(np.stack([_face(path, side) for path in tqdm(paths, desc="faces")]))
        arrays.append(np.array([labels[name] for name in chosen], int))
    return Images(*arrays)


def _face(path, side: int) -> np.ndarray:
    """A color image (side, side, 3): the centered square, as wide as 148 of 178 pixels."""
    with Image.open(path) as image:
        width, height = image.size
        half = width * 148 / 178 / 2
        box = (width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half)
        size, lanczos = (side, side), Image.Resampling.LANCZOS
        return np.asarray(image.convert("RGB").resize(size, lanczos, box=box))
