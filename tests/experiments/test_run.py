"""A run's folder, its tables, and the cells of a table."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import _grid
from experiments._run import Run, citation, markdown_table, metric_rows, start_run
from experiments._training import by_batches


@dataclasses.dataclass(frozen=True)
class Model:
    dim: int = 2
    curvatures: tuple[float, ...] = (0.7, 1.4)


@dataclasses.dataclass(frozen=True)
class Config:
    model: Model = dataclasses.field(default_factory=Model)
    epochs: int = 80


def test_a_run_records_what_was_asked_and_each_start(tmp_path):
    folder = start_run("mnist", "d2", dataclasses.asdict(Config()), root=tmp_path)
    assert folder == tmp_path / "mnist" / "d2"
    assert start_run("mnist", "d2", dataclasses.asdict(Config()), root=tmp_path) == folder
    record = json.loads((folder / "config.json").read_text())
    assert record["config"] == {"model": {"dim": 2, "curvatures": [0.7, 1.4]}, "epochs": 80}
    assert len(record["starts"]) == 2
    assert record["starts"][0]["jax"] == jax.__version__
    assert {"date", "command", "revision", "device"} <= record["starts"][0].keys()


def test_a_changed_config_is_an_error_naming_the_fields(tmp_path):
    start_run("mnist", "d2", dataclasses.asdict(Config()), root=tmp_path)
    with pytest.raises(ValueError, match=r"epochs \(was 80, now 10\), model.dim \(was 2, now 5\);"):
        start_run("mnist", "d2", dataclasses.asdict(Config(Model(dim=5), epochs=10)), root=tmp_path)
    with pytest.raises(ValueError, match=r"lr \(was absent, now 0.1\)"):
        start_run("mnist", "d2", dataclasses.asdict(Config()) | {"lr": 0.1}, root=tmp_path)
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
        folder = start_run("a", "b", config, root=tmp_path)
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
        start_run("a", "b", config | {"none": 1.0}, root=tmp_path)
    with pytest.raises(TypeError, match=r"cannot hold <function test_a_config.* of type function"):
        start_run("a", "c", {"f": test_a_config_may_hold_numpys_numbers_and_nan}, tmp_path)


def test_markdown_table():
    rows = [{"model": "N", "nats": 57.0}, {"model": "P, c = 1.2", "nats": "55.6"}]
    assert markdown_table(rows) == (
        "| model      | nats  |\n"
        "| ---------- | ----- |\n"
        "| N          | 57.00 |\n"
        "| P, c = 1.2 | 55.6  |"
    )
    assert markdown_table([{"exponent": -0.001}]).endswith("| 0.00     |")
    with pytest.raises(ValueError, match="other columns"):
        markdown_table([{"model": "N"}, {"nats": 57.0}])


@dataclasses.dataclass(frozen=True)
class Experiment:
    name: str = "first"
    epochs: int = 3
    data: str = "auto"
    dims: tuple[int, ...] = (1, 2)
    root: str = "runs"


@dataclasses.dataclass(frozen=True)
class Cell:
    dim: int
    scale: float = 0.5

    @property
    def folder(self):
        return f"part/d{self.dim}"


def test_a_run_ends_with_its_table_and_its_provenance(tmp_path, capsys):
    run = Run("family-experiment", Experiment(root=str(tmp_path)), ("dims",), data="digits")
    assert run.folder == tmp_path / "family-experiment" / "first"
    assert run.protocol == {"epochs": 3, "data": "digits"}
    with pytest.raises(RuntimeError, match="is going on already"):
        Run("family-experiment", Experiment(root=str(tmp_path)), ("dims",), data="digits")
    run.finish("| a |", {"nats": np.arange(2)})
    Run("family-experiment", Experiment(root=str(tmp_path)), ("dims",), data="digits").finish("")
    run.finish("| a |", {"nats": np.arange(2)})
    assert "| a |" in capsys.readouterr().out
    assert (run.folder / "table.md").read_text() == "| a |\n"
    record = json.loads((run.folder / "result.json").read_text())
    assert record["nats"] == [0, 1] and record["jax"] == jax.__version__
    assert citation(record).startswith("`python ") and record["date"][:10] in citation(record)


def test_metrics_are_shares_with_intervals_and_means_with_errors():
    found = {"found": np.array([True, False, True]), "l1": np.array([0.0, np.nan, 1.0])}
    # Wilson 1927: (p - share)^2 = quantile^2 p (1 - p) / n has the roots 0.208 and 0.939
    assert metric_rows({"base": found, "data": {"l1": np.ones(2)}}) == [
        {"method": "base", "found": "0.667 [0.208, 0.939]", "l1": "0.5 ± 0.5"},
        {"method": "data", "found": "", "l1": "1 ± 0"},
    ]
    empty = {"found": np.zeros(0, bool), "l1": np.full(2, np.nan)}
    assert metric_rows({"none": empty}) == [
        {"method": "none", "found": "none", "l1": "none finite"}
    ]


def test_cells_are_scored_once(tmp_path):
    config = Experiment(root=str(tmp_path))
    scored = []

    def score(cell, folder):
        assert folder.is_dir()
        scored.append(cell)
        return {"nats": np.float32(cell.dim)}

    def fill(config, *dims):
        cells = [Cell(dim) for dim in dims]
        return _grid.fill(
            Run("a", config, ("dims",)), cells, score, tmp_path / "store", shown="nats"
        )

    fill(config, 1, 2)
    found = fill(dataclasses.replace(config, name="another"), 2, 3)
    assert scored == [Cell(1), Cell(2), Cell(3)] == list(found)
    assert [r["nats"] for r in found.values()] == [1, 2, 3]
    with pytest.raises(ValueError, match=r"part/d1 was measured by .*3.*, asked for .*4"):
        fill(dataclasses.replace(config, name="third", epochs=4), 1)


def test_cells_are_grouped_by_their_fields():
    found = {Cell(2, 0.1): {"nats": 1, "more": 0}, Cell(1): {"nats": 2}, Cell(2): {"nats": 3}}
    groups = _grid.grouped(found, "dim", "folder")
    assert groups == {(2, "part/d2"): {"nats": [1, 3]}, (1, "part/d1"): {"nats": [2]}}


def test_batches_are_of_one_size_and_kept(tmp_path):
    shapes = []

    def f(x, first):
        shapes.append(x.shape)
        return {"square": x**2, "first": np.full(len(x), first)}

    x = np.arange(10.0)
    for _ in range(2):
        found = by_batches(f, x, 4, tmp_path, 0)
        np.testing.assert_array_equal(found["square"], x**2)
        np.testing.assert_array_equal(found["first"], [0, 0, 0, 0, 4, 4, 4, 4, 8, 8])
    assert shapes == [(4,)] * 3
    np.testing.assert_array_equal(by_batches(lambda x, _: x + 1, x, 4), x + 1)
    with pytest.raises(ValueError, match="no samples"):
        by_batches(f, x[:0], 4)
