"""CelebA and the Mall: tiny folders in the layouts that their authors distribute."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from geodl import datasets


@pytest.fixture
def faces(tmp_path):
    """Six faces with a square of one colour in the middle of a black border."""
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    rows = []
    for i in range(6):
        picture = np.zeros((218, 178, 3), np.uint8)
        picture[35:183, 15:163] = 40 * i
        Image.fromarray(picture).save(folder / "img_align_celeba" / f"{i + 1:06d}.jpg", quality=95)
        rows.append(f"{i + 1:06d}.jpg  {'1' if i % 2 else '-1'} -1")
    names = "Blond_Hair Smiling "
    (folder / "list_attr_celeba.txt").write_text("\n".join(["6", names, *rows]) + "\n")
    parts = [f"{i + 1:06d}.jpg {part}" for i, part in enumerate([0, 0, 0, 1, 2, 2])]
    (folder / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    return tmp_path


def test_faces_are_cropped_resized_and_labelled(faces, monkeypatch):
    data = datasets.celeba("Blond_Hair", faces, side=16, progress=False)
    assert data.train_images.shape == (3, 16, 16, 3) and data.train_images.dtype == np.uint8
    assert data.train_labels.tolist() == [0, 1, 0] and data.test_labels.tolist() == [0, 1]
    # the border is cut away, but for the ringing of JPEG
    np.testing.assert_allclose(data.test_images.mean((1, 2, 3)), [160, 200], atol=4)
    assert data.test_images.min() > 120
    monkeypatch.setenv("GEODL_DATA", str(faces))
    few = datasets.celeba("Smiling", side=16, most=1, progress=False)
    assert few.train_images.shape == (1, 16, 16, 3) and few.test_labels.tolist() == [0]


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("list_attr_celeba.txt", "1 -1", "yes -1", r"attr_celeba.txt, line 4: .* got 'yes'"),
        ("list_attr_celeba.txt", "  -1 -1", " -1", r"line 3: 3 fields .* got '000001.jpg -1'"),
        ("list_attr_celeba.txt", "Blond", "Grey", r"line 2: no attribute 'Blond_Hair' among"),
        ("list_attr_celeba.txt", "000006", "000007", r"line 6: 000006.jpg is not in"),
        ("list_eval_partition.txt", "jpg 1", "jpg 3", r"partition.txt, line 4: .* got '3'"),
        ("list_eval_partition.txt", "jpg 2", "jpg 1", r"no image of part 2"),
    ],
)
def test_a_bad_list_is_named_with_line_and_value(faces, name, old, new, message):
    path = faces / "celeba" / name
    text = path.read_text()
    assert old in text
    path.write_text(
        text.replace("  1 -1", "  yes -1") if new == "yes -1" else text.replace(old, new)
    )
    with pytest.raises(ValueError, match=message):
        datasets.celeba("Blond_Hair", faces, side=8, progress=False)


def test_a_missing_or_damaged_face_is_named(faces):
    image = faces / "celeba" / "img_align_celeba" / "000002.jpg"
    image.write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"000002.jpg is damaged"):
        datasets.celeba("Blond_Hair", faces, progress=False)
    image.unlink()
    with pytest.raises(FileNotFoundError, match=r"000002.jpg is not there"):
        datasets.celeba("Blond_Hair", faces, progress=False)


def mall(root, count, positions):
    folder = root / "mall_dataset"
    (folder / "frames").mkdir(parents=True, exist_ok=True)
    for i in range(len(positions)):
        picture = np.full((480, 640, 3), 50 * i, np.uint8)
        Image.fromarray(picture).save(folder / "frames" / f"seq_{i + 1:06d}.jpg")
    cell = np.empty((1, len(positions)), object)
    for i, loc in enumerate(positions):
        cell[0, i] = {"loc": np.asarray(loc, float).reshape(-1, 2)}
    savemat(folder / "mall_gt.mat", {"frame": cell, "count": np.reshape(count, (-1, 1))})


def test_mall(tmp_path):
    mall(tmp_path, [2, 1, 0], [[[320, 120], [640, 480]], [[10, 30]], []])
    data = datasets.mall(tmp_path, side=32, progress=False)
    assert data.images.shape == (3, 32, 32, 3) and data.counts.tolist() == [2, 1, 0]
    np.testing.assert_allclose(data.images.mean((1, 2, 3)), [0, 50, 100], atol=1)
    np.testing.assert_allclose(data.position[0], [[8, 16], [32, 32]])
    np.testing.assert_allclose(data.position[1], [[2, 0.5]])
    assert data.position[2].shape == (0, 2)


def test_a_bad_mall_is_named(tmp_path):
    mall(tmp_path, [2], [[[1, 2]]])
    with pytest.raises(ValueError, match=r"mall_gt.mat, frame 1: count 2, but 1 positions"):
        datasets.mall(tmp_path, progress=False)
    mall(tmp_path, [1, 1], [[[1, 2]]])
    with pytest.raises(ValueError, match=r"mall_gt.mat: 1 frames, but 2 counts"):
        datasets.mall(tmp_path, progress=False)
    mall(tmp_path, [1], [[[1, 2]]])
    (tmp_path / "mall_dataset/frames/seq_000001.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"seq_000001.jpg is not there"):
        datasets.mall(tmp_path, progress=False)
    savemat(tmp_path / "mall_dataset/mall_gt.mat", {"count": [1]})
    with pytest.raises(ValueError, match=r"mall_gt.mat is not as its authors made it"):
        datasets.mall(tmp_path, progress=False)
    (tmp_path / "mall_dataset/mall_gt.mat").write_bytes(b"broken" * 100)
    with pytest.raises(ValueError, match=r"mall_gt.mat is not as its authors made it"):
        datasets.mall(tmp_path, progress=False)
