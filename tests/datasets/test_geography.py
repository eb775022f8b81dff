import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from geodl import datasets
from geodl.datasets import files, geography, split
from geodl.datasets.geography import SETS


GOOD = "# a source\r\nLatitude,Longitude\r\n-30.2,-178.47\r\n\r\n 30.78, 130.28\r\n90,360"


@pytest.fixture
def write(tmp_path):
    (tmp_path / "earth").mkdir()

    def write(content, name="flood.csv"):
        path = tmp_path / "earth" / name
        path.write_bytes(content.encode())
        return path

    return write


def test_the_columns_of_a_file(write):
    latitude, longitude = datasets.read_latitude_longitude(write("\ufeff" + GOOD))
    np.testing.assert_array_equal(latitude, [-30.2, 30.78, 90])
    np.testing.assert_array_equal(longitude, [-178.47, 130.28, 360])
    assert latitude.dtype == np.float64


@pytest.mark.parametrize(
    "line",
    [
        *("90.5,0", "-91,0", "0,360.1", "0,-181"),  # out of range
        *("nan,0", "0,NaN", ",12", "12,", "inf,0", "12N,3"),  # not a number
        *("12;3", "1,2,3", "lat,lon"),  # not two columns; a header in the middle
    ],
)
def test_a_bad_line_is_named(write, line):
    path = write(f"{GOOD}\n{line}\n1,2\n")
    message = re.escape(f"{path}, line 7: {line!r}; expected a latitude in [-90, 90]")
    with pytest.raises(ValueError, match=f"^{message}"):
        datasets.read_latitude_longitude(path)
    with pytest.raises(ValueError, match=f"^{message}"):
        datasets.earth("flood", path.parents[1])


def test_a_long_bad_line_is_shortened(write):
    path = write("\xff" * 1000 + ",0")
    with pytest.raises(ValueError, match=r"line 1: '.{,40}'; expected"):
        datasets.read_latitude_longitude(path)


def test_columns_the_other_way_round_are_seen(write):
    path = write("# a source\nlong,lat\n1,2\n")
    with pytest.raises(ValueError, match="line 2: 'long,lat'; expected a latitude"):
        datasets.read_latitude_longitude(path)


@pytest.mark.parametrize("content", ["", "\n\n", "# a source\nlat,long\n"])
def test_an_empty_file_is_named(write, content):
    path = write(content)
    with pytest.raises(ValueError, match=f"^{path} has no line with a latitude"):
        datasets.earth("flood", path.parents[1])


def test_a_file_cut_short_is_refused(write):
    path = write(GOOD)
    with pytest.raises(ValueError, match=f"^{path} has 3 events; expected the 4875 of the flood"):
        datasets.earth("flood", path.parents[1])


def test_a_missing_file_is_named_with_a_way_to_get_it(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"earth/volerup.csv .*'volcano', download=True"):
        datasets.earth("volcano", tmp_path)
    monkeypatch.delenv("GEODL_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="GEODL_DATA is not set"):
        datasets.earth("volcano")
    with pytest.raises(ValueError, match="no set 'vulcano'; expected one of volcano, earthquake"):
        datasets.earth("vulcano")


@pytest.mark.parametrize("with_root", [True, False])
def test_what_is_missing_is_downloaded(write, tmp_path, monkeypatch, with_root):
    asked = []
    path = write("lat,long\n" + "0,90\n" * 4875, "elsewhere.csv")

    def fetch(name, urls, sha256, folder):
        asked.append((name, sha256, folder))
        assert all(url.startswith("https://") and url.endswith("/flood.csv") for url in urls)
        return path

    monkeypatch.setattr(files, "fetch", fetch)
    monkeypatch.delenv("GEODL_DATA", raising=False)
    root = tmp_path if with_root else None
    points = datasets.earth("flood", root, download=True)
    np.testing.assert_allclose(points, np.tile([0.0, 1, 0], (4875, 1)), atol=1e-15)
    assert asked == [("earth/flood.csv", geography._SHA256["flood.csv"], root)]


def test_latitude_and_longitude_are_points():
    latitude = np.array([0, 0, 90, 0, -90])
    axes = datasets.from_latitude_longitude(latitude, np.array([0, 90, 17, 270, -3]))
    expected = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, -1, 0], [0, 0, -1]]
    np.testing.assert_allclose(axes, expected, atol=1e-15)
    west, east = datasets.from_latitude_longitude(12.5, np.array([-180.0, 180.0]))
    np.testing.assert_array_equal(west, east)
    latitude, longitude = np.meshgrid(np.linspace(-89, 89, 7), np.linspace(-179, 179, 9))
    points = datasets.from_latitude_longitude(latitude, longitude)
    assert points.dtype == np.float64
    np.testing.assert_allclose(np.linalg.norm(points, axis=-1), 1, rtol=1e-15)
    found = datasets.to_latitude_longitude(3 * points)
    np.testing.assert_allclose(found, [latitude, longitude], rtol=1e-12)
    assert datasets.to_latitude_longitude(np.array([0.0, -2, 0])) == (0, -90)
    with pytest.raises(ValueError, match=r"latitude 91\.0; expected a number in \[-90, 90\]"):
        datasets.from_latitude_longitude([0.0, 91.0], 0.0)
    with pytest.raises(ValueError, match="longitude nan; expected"):
        datasets.from_latitude_longitude(0.0, [0.0, np.nan])
    with pytest.raises(ValueError, match=r"points have shape \(2,\); expected \(\.\.\., 3\)"):
        datasets.to_latitude_longitude(np.ones(2))


def test_duplicates_leave_the_first():
    points = np.array([[3.0, 1], [0, 2], [3, 1], [1, 0], [0, 2], [0, 3]])
    np.testing.assert_array_equal(datasets.deduplicate(points), points[[0, 1, 3, 5]])


@pytest.mark.parametrize("deduplicated", [False, True])
@pytest.mark.parametrize("name", SETS)
def test_splits_are_disjoint_and_complete(name, deduplicated):
    n = SETS[name].places if deduplicated else SETS[name].events
    tests = []
    for seed in range(7):
        parts = split(name, seed, deduplicated)
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(n))
        assert len(parts.validation) == len(parts.test) == np.floor(n / 10 + 0.5)
        tests.append(frozenset(parts.test.tolist()))
        # a random subset: its mean is that of the whole
        assert abs(parts.train.mean() - (n - 1) / 2) < 4 * n / np.sqrt(12 * 5 * n)
    for i, one in enumerate(tests):
        for other in tests[:i]:
            assert len(one & other) < len(one) / 2


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("volcano", "be698e406d2c2e16"),
        ("earthquake", "6caece5f245acc72"),
        ("flood", "7c874330f2df5df1"),
        ("fire", "4a3a9132ca3c1340"),
    ],
)
def test_splits_never_change(name, digest):
    found = hashlib.sha256()
    for deduplicated in (False, True):
        for seed in range(5):
            for part in split(name, seed, deduplicated):
                found.update(part.astype("<i8").tobytes())
    assert found.hexdigest().startswith(digest)


def test_a_split_of_any_points():
    parts = split(10, 0)
    assert [len(part) for part in parts] == [8, 1, 1]
    assert sorted(np.concatenate(parts)) == list(range(10))
    for part, other in zip(split("volcano", 3, deduplicated=True), split(267, 3), strict=True):
        np.testing.assert_array_equal(part, other)
    for n in (0, 9, 12810):
        with pytest.raises(ValueError, match=f"{n} points cannot be split .* expected 10 to 12809"):
            split(n, 0)
    for seed in (-1, 7):
        with pytest.raises(ValueError, match=f"no split of seed {seed}; expected 0 to 6"):
            split("flood", seed)
    with pytest.raises(ValueError, match="no set 'floods'"):
        split("floods", 0)


def test_the_script_writes_orders(tmp_path):
    """Not these orders: they are numpy's of the day, which is why they are in a file."""
    script = Path(__file__).with_name("make_earth_splits.py")
    subprocess.run([sys.executable, script, tmp_path / "made.npy"], check=True)
    made, kept = np.load(tmp_path / "made.npy"), np.load(geography._ORDERS)
    assert made.shape == kept.shape and made.dtype == kept.dtype
    np.testing.assert_array_equal(np.sort(made), np.sort(kept))


@pytest.mark.parametrize("name", SETS)
def test_the_real_files(data_dir, name):
    path = data_dir / "earth" / SETS[name].file
    if not path.exists():
        pytest.skip(f"no earth/{path.name} in GEODL_DATA")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == geography._SHA256[SETS[name].file]
    points = datasets.earth(name)
    assert points.shape == (SETS[name].events, 3)
    assert len(datasets.deduplicate(points)) == SETS[name].places
    rows = np.genfromtxt(path, delimiter=",")  # a header is a row of NaN
    rows = rows[~np.isnan(rows).any(axis=1)]
    latitude, longitude = datasets.to_latitude_longitude(points)
    np.testing.assert_allclose(latitude, rows[:, 0], atol=1e-12)
    turn = (longitude - rows[:, 1] + 180) % 360 - 180
    np.testing.assert_allclose(turn, 0, atol=1e-12)


def test_copies_in_volcanos_test_set(data_dir):
    if not (data_dir / "earth" / SETS["volcano"].file).exists():
        pytest.skip("no earth folder in GEODL_DATA")
    points = datasets.earth("volcano", data_dir)
    train, _, test = split("volcano", 0)
    seen = set(map(tuple, points[train]))
    assert np.mean([tuple(x) in seen for x in points[test]]) == pytest.approx(0.795, abs=1e-3)
    distinct = datasets.deduplicate(points)
    train, _, test = split("volcano", 0, deduplicated=True)
    assert not set(map(tuple, distinct[train])) & set(map(tuple, distinct[test]))
