"""CelebA: a tiny folder in the layout that its authors distribute."""

import numpy as np
import pytest
from PIL import Image

from experiments.counterfactuals.celeba import celeba


@pytest.fixture
def faces(tmp_path, monkeypatch):
    """Six faces with a square of one color in the middle of a black border."""
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
    monkeypatch.setenv("GEODL_DATA", str(tmp_path))
    return tmp_path


def test_faces_are_cropped_resized_and_labeled(faces):
    data = celeba("Blond_Hair", side=16)
    assert data.train_images.shape == (3, 16, 16, 3) and data.train_images.dtype == np.uint8
    assert data.train_labels.tolist() == [0, 1, 0] and data.test_labels.tolist() == [0, 1]
    # the border is cut away, but for the ringing of JPEG
    np.testing.assert_allclose(data.test_images.mean((1, 2, 3)), [160, 200], atol=4)
    assert data.test_images.min() > 120
    few = celeba("Smiling", side=16, most=1)
    assert few.train_images.shape == (1, 16, 16, 3) and few.test_labels.tolist() == [0]


@pytest.mark.parametrize(
    ("name", "old", "new", "error", "message"),
    [
        ("list_attr_celeba.txt", "  1 -1", "  yes -1", ValueError, "'yes'"),
        ("list_attr_celeba.txt", "  -1 -1", "", ValueError, "column"),
        ("list_attr_celeba.txt", "Blond", "Gray", ValueError, "no attribute 'Blond_Hair' among"),
        ("list_attr_celeba.txt", "000006", "000007", KeyError, "000006.jpg"),
        ("list_eval_partition.txt", "jpg 2", "jpg 1", ValueError, "no image of part 2"),
    ],
)
def test_a_bad_list_is_an_error(faces, name, old, new, error, message):
    path = faces / "celeba" / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(error, match=message):
        celeba("Blond_Hair", side=8)


def test_a_missing_or_damaged_face_is_named(faces):
    image = faces / "celeba" / "img_align_celeba" / "000002.jpg"
    image.write_bytes(b"not a picture")
    with pytest.raises(OSError, match=r"000002.jpg"):
        celeba("Blond_Hair")
    image.unlink()
    with pytest.raises(FileNotFoundError, match=r"000002.jpg"):
        celeba("Blond_Hair")
