import dataclasses
import enum
import functools
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from geodl import flows, nn, train
from geodl.distributions import WrappedNormal
from geodl.manifolds import PoincareBall, Sphere


@dataclasses.dataclass(frozen=True)
class Model:
    dim: int = 2
    curvatures: tuple[float, ...] = (0.7, 1.4)


@dataclasses.dataclass(frozen=True)
class Config:
    model: Model = dataclasses.field(default_factory=Model)
    epochs: int = 80


def test_a_run_records_what_was_asked_and_each_start(tmp_path):
    folder = train.start_run("mnist", "d2", Config(), root=tmp_path)
    assert folder == tmp_path / "mnist" / "d2"
    assert train.start_run("mnist", "d2", Config(), root=tmp_path) == folder
    record = json.loads((folder / "config.json").read_text())
    assert record["config"] == {"model": {"dim": 2, "curvatures": [0.7, 1.4]}, "epochs": 80}
    assert len(record["starts"]) == 2
    assert record["starts"][0]["jax"] == jax.__version__
    assert {"date", "command", "revision", "device"} <= record["starts"][0].keys()


def test_a_changed_config_is_an_error_naming_the_fields(tmp_path):
    train.start_run("mnist", "d2", Config(), root=tmp_path)
    with pytest.raises(ValueError, match=r"epochs \(was 80, now 10\), model.dim \(was 2, now 5\);"):
        train.start_run("mnist", "d2", Config(Model(dim=5), epochs=10), root=tmp_path)
    with pytest.raises(ValueError, match=r"lr \(was absent, now 0.1\)"):
        train.start_run("mnist", "d2", dataclasses.asdict(Config()) | {"lr": 0.1}, root=tmp_path)
    record = json.loads((tmp_path / "mnist" / "d2" / "config.json").read_text())
    assert record["config"]["epochs"] == 80 and len(record["starts"]) == 1


def test_a_config_may_hold_numpys_numbers_and_nan(tmp_path):
    config = {
        "rate": np.float32(0.5),
        "steps": np.int64(3),
        "flag": np.bool_(True),
        "grid": jnp.arange(2),
        "nested": {"clip": math.inf, "bands": (math.nan, -math.inf)},
        "none": float("nan"),
    }
    for _ in range(2):
        folder = train.start_run("a", "b", config, root=tmp_path)
    record = json.loads((folder / "config.json").read_text(), parse_constant=pytest.fail)["config"]
    assert record == {
        "rate": 0.5,
        "steps": 3,
        "flag": True,
        "grid": [0, 1],
        "nested": {"clip": "Infinity", "bands": ["NaN", "-Infinity"]},
        "none": "NaN",
    }
    with pytest.raises(ValueError, match=r"none \(was NaN, now 1.0\)"):
        train.start_run("a", "b", config | {"none": 1.0}, root=tmp_path)
    with pytest.raises(TypeError, match=r"cannot hold <function test_a_config.* of type function"):
        train.start_run("a", "c", {"f": test_a_config_may_hold_numpys_numbers_and_nan}, tmp_path)


def test_markdown_table():
    assert train.markdown_table(["model", "nats"], [["N", 57.0], ["P, c = 1.2", "55.6"]]) == (
        "| model      | nats  |\n"
        "| ---------- | ----- |\n"
        "| N          | 57.00 |\n"
        "| P, c = 1.2 | 55.6  |"
    )
    assert train.markdown_table(["exponent"], [[-0.001]]).endswith("| 0.00     |")
    with pytest.raises(ValueError, match="2 cells, the header has 1"):
        train.markdown_table(["model"], [["N", 57.0]])


def test_write_text_replaces_a_file_whole(tmp_path):
    train.write_text(tmp_path / "a", "long text")
    train.write_text(tmp_path / "a", "short")
    assert (tmp_path / "a").read_text() == "short"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_map_goes_on_where_it_stopped(tmp_path):
    calls = []

    def square(chunk):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(int(chunk[0]))
        return {"square": chunk**2, "sum": chunk.sum()}

    chunks = list(jnp.arange(10.0).reshape(5, 2))
    with pytest.raises(KeyboardInterrupt):
        train.resumable_map(square, chunks, tmp_path, progress=False)
    calls = []
    results = train.resumable_map(square, chunks, tmp_path, progress=False)
    assert calls == [6, 8]
    squares = np.concatenate([result["square"] for result in results])
    np.testing.assert_array_equal(squares, np.arange(10) ** 2)
    assert [float(r["sum"]) for r in results] == [1, 5, 9, 13, 17]


def test_a_map_reads_only_results_of_the_same_inputs(tmp_path):
    calls = []

    def run(scale, chunks=(slice(0, 3), slice(3, 5)), seed=0):
        calls.clear()
        depends = (scale, jax.random.key(seed))
        return train.resumable_map(
            lambda c: calls.append(c) or {"n": np.arange(5)[c] * scale},
            chunks,
            tmp_path,
            depends=depends,
            progress=False,
        )

    run(jnp.float32(2))
    assert len(calls) == 2
    run(jnp.float32(2))
    assert not calls
    assert run(jnp.float32(3))[1]["n"].tolist() == [9, 12] and len(calls) == 2
    run(jnp.float32(3), (slice(0, 3), slice(2, 5)))
    assert calls == [slice(2, 5)]
    run(jnp.float32(3), (slice(0, 3), slice(2, 5)), seed=1)
    assert len(calls) == 2
    file = tmp_path / "00001.npz"
    file.write_bytes(file.read_bytes()[:50])
    with pytest.warns(UserWarning, match=r"00001.npz is damaged"):
        run(jnp.float32(3), (slice(0, 3), slice(2, 5)), seed=1)
    assert calls == [slice(2, 5)]


def scaled(scale, chunk):
    return scale * chunk


@jax.jit
def jitted(x):
    return x


class Power(NamedTuple):
    apply: Callable
    exponent: int = 2


class Colour(enum.Enum):
    RED = 1


class Bound:
    def method(self):
        pass


def closure(scale):
    return lambda chunk: scale * chunk


# Pairwise different, and each the same in every process.
LASTING = {
    "function": scaled,
    "jitted": jitted,
    "jit of a function": jax.jit(scaled),
    "partial": Partial(scaled, jnp.float32(2)),
    "other partial": Partial(scaled, jnp.float32(3)),
    "partial of functools": functools.partial(scaled, scale=2),
    "numpy": np.exp,
    "jax": jnp.exp,
    "class": Power,
    "named tuple": Power(scaled),
    "named tuple of other": Power(scaled, 3),
    "record": PoincareBall(2, 1.0),
    "other record": PoincareBall(2, 2.0),
    "larger record": PoincareBall(3, 1.0),
    "space": Sphere(2),
    "method of a record": Sphere(2).dist,
    "another method": Sphere(2).sqdist,
    "law": WrappedNormal(Sphere(2), jnp.array([1.0, 0.0, 0.0]), 1.0),
    "wider law": WrappedNormal(Sphere(2), jnp.array([1.0, 0.0, 0.0]), 2.0),
    "enum": Colour.RED,
    "dtype": np.dtype("f4"),
    "none": None,
    "zero": 0,
    "false": False,
    "zero as a float": 0.0,
    "minus zero": -0.0,
    "text": "0",
    "numpy zero": np.float32(0),
    "array": np.zeros(2, np.float32),
    "other array": np.zeros(2),
    "list": [0, [1, 2]],
    "list of other depth": [[0, 1], 2],
    "tuple": (0, (1, 2)),
    "mapping": {"a": 1, "b": 2},
    "key": jax.random.key(1),
    "key of another kind": jax.random.key(1, impl="rbg"),
    "slice": slice(0, 3),
}

PASSING = {
    "lambda": lambda chunk: chunk,
    "closure": closure(2),
    "jit of a closure": jax.jit(closure(2)),
    "partial of a closure": Partial(closure(2)),
    "network": nn.mlp([2, 3, 1]),
    "flow": flows.vector_field(Sphere(2), width=4, depth=1),
    "object": object(),
    "objects": np.array([object()]),
    "method of an object": Bound().method,
    "nested": {"a": (1, [closure(1)])},
}


def fingerprints():
    return {name: train.fingerprint(value) for name, value in LASTING.items()}


def test_fingerprints_tell_values_apart_and_last():
    ours = fingerprints()
    assert len(set(ours.values())) == len(ours)
    assert train.fingerprint({"b": 2, "a": 1}) == ours["mapping"]
    assert train.fingerprint(Partial(scaled, np.float32(2))) == ours["partial"]
    code = "import json; from tests.train.test_runs import fingerprints; print(json.dumps(fingerprints()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ours


@pytest.mark.parametrize("name", PASSING)
def test_what_is_known_by_its_address_is_refused(tmp_path, name):
    with pytest.raises(TypeError, match=r"^it.* is .*: known by its address in memory"):
        train.resumable_map(lambda c: {"n": c}, [1], tmp_path, PASSING[name], progress=False)
