import gzip
import hashlib

import numpy as np
import pytest

from geodl import datasets
from geodl.datasets import files
from geodl.datasets import images as module


NAMES = list(module._FILES)


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, ">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


def arrays():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, shape) for shape in [(6, 28, 28), (6,), (4, 28, 28), (4,)]]


@pytest.fixture
def root(tmp_path):
    """A small MNIST, its second file not gzipped."""
    (tmp_path / "mnist").mkdir()
    for i, (name, array) in enumerate(zip(NAMES, arrays(), strict=True)):
        if i == 1:
            (tmp_path / "mnist" / name).write_bytes(idx(array))
        else:
            (tmp_path / "mnist" / f"{name}.gz").write_bytes(gzip.compress(idx(array), mtime=0))
    return tmp_path


def test_small_files(root, monkeypatch):
    data = datasets.mnist(root)
    for found, expected in zip(data, arrays(), strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.uint8
    monkeypatch.setenv("GEODL_DATA", str(root))
    np.testing.assert_array_equal(datasets.mnist().test_labels, data.test_labels)


def test_a_missing_file_is_named_with_a_way_to_get_it(root, monkeypatch):
    (root / "mnist" / f"{NAMES[2]}.gz").unlink()
    with pytest.raises(FileNotFoundError, match=rf"mnist/{NAMES[2]} .*download=True"):
        datasets.mnist(root)
    monkeypatch.delenv("GEODL_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="GEODL_DATA is not set"):
        datasets.mnist()


def test_what_is_missing_is_downloaded(root, monkeypatch):
    asked = []

    def fetch(name, urls, sha256, folder):
        asked.append((name, sha256, len(urls)))
        path = root / "fetched"
        path.write_bytes(idx(arrays()[2]))
        return path

    monkeypatch.setattr(files, "fetch", fetch)
    (root / "mnist" / f"{NAMES[2]}.gz").unlink()
    np.testing.assert_array_equal(datasets.mnist(root, download=True).test_images, arrays()[2])
    assert asked == [(f"mnist/{NAMES[2]}", module._FILES[NAMES[2]], 2)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"starts with , not 00 00 08"),
        (b"<htm", r"starts with 3c 68 74 6d, not 00 00 08"),
        (idx(np.zeros((6, 28, 28)))[:-1], r"holds 4703 values, its header says \(6, 28, 28\)"),
        (idx(np.zeros((6, 28, 28)))[:9], r"holds 0 values, its header"),
        (
            gzip.compress(idx(np.zeros((6, 28, 28))), mtime=0)[:-9],
            "is damaged: Compressed file ended",
        ),
        (idx(np.zeros((5, 28, 28))), r"shape \(5, 28, 28\) do not go with labels of shape \(6,\)"),
        (idx(np.zeros(6)), r"shape \(6,\) do not go with labels"),
    ],
)
def test_damaged_files_are_named(root, content, message):
    (root / "mnist" / f"{NAMES[0]}.gz").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        datasets.mnist(root)


def test_the_real_files(data_dir):
    if not (data_dir / "mnist").exists():
        pytest.skip("no mnist folder in GEODL_DATA")
    data = datasets.mnist(data_dir)
    assert data.train_images.shape == (60000, 28, 28) and data.test_images.shape == (10000, 28, 28)
    assert data.train_images.mean() == pytest.approx(33.318, abs=1e-3)
    assert np.bincount(data.test_labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009
    ]  # fmt: skip
    for array, sha256 in zip(data, module._FILES.values(), strict=True):
        assert hashlib.sha256(idx(array)).hexdigest() == sha256


def test_digits():
    data = datasets.digits()
    assert isinstance(data, datasets.Images)
    assert data.train_images.shape == (1438, 8, 8) and data.test_images.shape == (359, 8, 8)
    assert data.train_images.dtype == data.test_labels.dtype == np.uint8
    assert data.train_images.max() == 255
    assert np.bincount(data.test_labels).min() > 20
    np.testing.assert_array_equal(data.test_labels, datasets.digits().test_labels)
