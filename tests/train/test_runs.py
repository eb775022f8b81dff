import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl import train


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
