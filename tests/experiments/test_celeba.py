"""CelebA: a tiny folder in the layout that its authors distribute."""

import numpy as np
import pytest
from PIL import Image

from experiments.counterfactuals.celeba import celeba


@pytest.fixture
def faces(tmp_path):
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
    return tmp_path


def test_faces_are_cropped_resized_and_labeled(faces, monkeypatch):
    data = celeba("Blond_Hair", faces, side=16, progress=False)
    assert data.train_images.shape == (3, 16, 16, 3) and data.train_images.dtype == np.uint8
    assert data.train_labels.tolist() == [0, 1, 0] and data.test_labels.tolist() == [0, 1]
    # the border is cut away, but for the ringing of JPEG
    np.testing.assert_allclose(data.test_images.mean((1, 2, 3)), [160, 200], atol=4)
    assert data.test_images.min() > 120
    monkeypatch.setenv("GEODL_DATA", str(faces))
    few = celeba("Smiling", side=16, most=1, progress=False)
    assert few.train_images.shape == (1, 16, 16, 3) and few.test_labels.tolist() == [0]


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("list_attr_celeba.txt", "1 -1", "yes -1", r"attr_celeba.txt, line 4: .* got 'yes'"),
        ("list_attr_celeba.txt", "  -1 -1", " -1", r"line 3: 3 fields .* got '000001.jpg -1'"),
        ("list_attr_celeba.txt", "Blond", "Gray", r"line 2: no attribute 'Blond_Hair' among"),
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
        celeba("Blond_Hair", faces, side=8, progress=False)


def test_a_missing_or_damaged_face_is_named(faces):
    image = faces / "celeba" / "img_align_celeba" / "000002.jpg"
    image.write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"000002.jpg is damaged"):
        celeba("Blond_Hair", faces, progress=False)
    image.unlink()
    with pytest.raises(FileNotFoundError, match=r"000002.jpg is not there"):
        celeba("Blond_Hair", faces, progress=False)
