"""Photographs that the user has downloaded: CelebA's faces and the Mall's pedestrians, both for research only.

Neither may be passed on, and nothing here fetches them: see mmlab.ie.cuhk.edu.hk/projects/CelebA.html and
personal.ie.cuhk.edu.hk/~ccloy/downloads_mall_dataset.html for their terms.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from geodl.datasets.files import data_dir
from geodl.datasets.images import Images


class Crowds(NamedTuple):
    """Photographs of crowds, and where every head is; usually frames 1 to 800 are for training, the rest to test."""

    images: UInt8[np.ndarray, "n side side 3"]
    counts: Int[np.ndarray, " n"]
    position: list[Float[np.ndarray, "count 2"]]
    """row and column of each head, in pixels of these images"""


def celeba(
    attribute: str,
    root: str | os.PathLike[str] | None = None,
    side: int = 64,
    most: int | None = None,
    progress: bool = True,
) -> Images:
    """CelebA's faces (n, side, side, 3), labelled 1 where they have the attribute and 0 where not.

    The folder ``celeba/`` holds what its authors distribute: img_align_celeba/ with the aligned JPEG files,
    list_attr_celeba.txt and list_eval_partition.txt, of whose parts 0 is to train on, 2 to test. Of each image the
    square of its centre, as wide as 148 of 178 pixels, is taken and resized.

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
        arrays += [_read(files, side, 148 / 178, progress), np.array([labels[n] for n in names])]
    return Images(*arrays)


def mall(
    root: str | os.PathLike[str] | None = None, side: int = 64, progress: bool = True
) -> Crowds:
    """The Mall data set (Chen et al. 2012): frames of a shopping mall's camera with every head marked.

    The folder ``mall_dataset/`` holds what its authors distribute: frames/seq_000001.jpg and on, and mall_gt.mat.
    Frames are resized to (side, side, 3), and the heads' positions with them.

    Raises:
        FileNotFoundError: mall_gt.mat or a frame is missing.
        ValueError: a file that is damaged, has not the fields of mall_gt.mat, or a count unlike its positions.
    """
    from PIL import Image
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    folder = (Path(root) if root is not None else data_dir()) / "mall_dataset"
    truth = _existing(folder / "mall_gt.mat")
    try:
        content = loadmat(truth, simplify_cells=True)
        frames = np.atleast_1d(np.asarray(content["frame"], dtype=object))
        count = np.atleast_1d(np.asarray(content["count"])).astype(int)
        position = [np.reshape(frame["loc"], (-1, 2)).astype(np.float32) for frame in frames]
    except (KeyError, TypeError, ValueError, MatReadError, NotImplementedError) as error:
        raise ValueError(
            f"{truth} is not as its authors made it, a cell 'frame' of 'loc' (n, 2) and a vector "
            f"'count': {error!r}"
        ) from error
    for i, (heads, number) in enumerate(zip(position, count, strict=False), start=1):
        if len(heads) != number:
            raise ValueError(f"{truth}, frame {i}: count {number}, but {len(heads)} positions")
    if len(position) != len(count):
        raise ValueError(f"{truth}: {len(position)} frames, but {len(count)} counts")
    files = [folder / "frames" / f"seq_{i:06d}.jpg" for i in range(1, len(count) + 1)]
    images = _read(files, side, None, progress)
    with Image.open(files[0]) as first:
        width, height = first.size
    scale = np.array([side / height, side / width], np.float32)
    return Crowds(images, count, [heads[:, ::-1] * scale for heads in position])


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


def _read(files: Sequence[Path], side: int, crop: float | None, progress: bool):
    """Colour images (n, side, side, 3), of each the centred square whose side is ``crop`` of its width, or all."""
    from PIL import Image, UnidentifiedImageError
    from tqdm import tqdm

    images = np.empty((len(files), side, side, 3), np.uint8)
    for i, file in enumerate(tqdm(files, desc=files[0].parent.name, disable=not progress)):
        try:
            with Image.open(_existing(file)) as image:
                width, height = image.size
                box = (0, 0, width, height)
                if crop is not None:
                    half = crop * width / 2
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
