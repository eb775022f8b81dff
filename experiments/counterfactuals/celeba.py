"""CelebA's faces, which the user has downloaded: for research only.

They may not be passed on, and nothing here fetches them: see mmlab.ie.cuhk.edu.hk/projects/CelebA.html for the terms.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geodl.datasets import Images, data_dir


def celeba(
    attribute: str,
    root: str | os.PathLike[str] | None = None,
    side: int = 64,
    most: int | None = None,
    progress: bool = True,
) -> Images:
    """CelebA's faces (n, side, side, 3), labeled 1 where they have the attribute and 0 where not.

    The folder ``celeba/`` holds what its authors distribute: img_align_celeba/ with the aligned JPEG files,
    list_attr_celeba.txt and list_eval_partition.txt, of whose parts 0 is to train on, 2 to test. Of each image the
    square of its center, as wide as 148 of 178 pixels, is taken and resized.

    Args:
        attribute: one of those that list_attr_celeba.txt names, as "Blond_Hair".
        root: folder that holds ``celeba/``; by default GEODL_DATA.
        side: of the resized images.
        most: the first so many of either part; by default all.
        progress: show a bar.

    Raises:
        FileNotFoundError: a list or an image is missing.
        ValueError: an attribute that there is not, a malformed line (named), a damaged image.
    """
    folder = (Path(root) if root is not None else data_dir()) / "celeba"
    attributes, parts = folder / "list_attr_celeba.txt", folder / "list_eval_partition.txt"
    labels = _attribute(attributes, attribute)
    chosen: dict[str, list[str]] = {"0": [], "2": []}
    for number, (name, part) in _rows(parts, 0, 2):
        if part not in ("0", "1", "2"):
            raise ValueError(f"{parts}, line {number}: a part 0, 1 or 2 is needed, got {part!r}")
        if name not in labels:
            raise ValueError(f"{parts}, line {number}: {name} is not in {attributes}")
        if part in chosen and (most is None or len(chosen[part]) < most):
            chosen[part].append(name)
    arrays = []
    for part, names in chosen.items():
        if not names:
            raise ValueError(f"{parts}: no image of part {part}")
        files = [folder / "img_align_celeba" / name for name in names]
        arrays += [_read(files, side, progress), np.array([labels[n] for n in names])]
    return Images(*arrays)


def _attribute(file: Path, attribute: str) -> dict[str, int]:
    """1 or 0 for each image's name."""
    names = next((fields for number, fields in _rows(file, 1, None) if number == 2), [])
    if attribute not in names:
        raise ValueError(f"{file}, line 2: no attribute {attribute!r} among {names}")
    column = names.index(attribute) + 1
    labels = {}
    for number, fields in _rows(file, 2, len(names) + 1):
        if fields[column] not in ("1", "-1"):
            raise ValueError(
                f"{file}, line {number}: {attribute} must be 1 or -1, got {fields[column]!r}"
            )
        labels[fields[0]] = int(fields[column] == "1")
    return labels


def _rows(file: Path, skip: int, fields: int | None):
    """Number and fields of each line that is not empty, after ``skip`` lines."""
    for number, line in enumerate(_existing(file).read_text().splitlines(), start=1):
        row = line.split()
        if number <= skip or not row:
            continue
        if fields is not None and len(row) != fields:
            raise ValueError(f"{file}, line {number}: {fields} fields are needed, got {line!r}")
        yield number, row


def _existing(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; the data set has to be downloaded by you")
    return path


def _read(files: Sequence[Path], side: int, progress: bool) -> np.ndarray:
    """Color images (n, side, side, 3): of each the centered square, as wide as 148 of 178 pixels."""
    from PIL import Image, UnidentifiedImageError
    from tqdm import tqdm

    images = np.empty((len(files), side, side, 3), np.uint8)
    for i, file in enumerate(tqdm(files, desc=files[0].parent.name, disable=not progress)):
        try:
            with Image.open(_existing(file)) as image:
                width, height = image.size
                half = width * 148 / 178 / 2
                box = (width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half)
                resized = image.convert("RGB").resize(
                    (side, side), Image.Resampling.LANCZOS, box=box
                )
        except (UnidentifiedImageError, OSError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise ValueError(f"{file} is damaged: {error}") from error
        images[i] = np.asarray(resized)
    return images
