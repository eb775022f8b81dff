"""Tables of many models, cell by cell: each is scored once, and its result kept as soon as it is there."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from experiments._run import Run, provenance, write_json
from geodl import train


class Cell(Protocol):
    """One model of a table: a frozen dataclass of what tells it from the others."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def folder(self) -> str:
        """Where its files lie in the run's folder."""
        ...


C = TypeVar("C", bound=Cell)


def fill(
    run: Run,
    cells: Iterable[C],
    score: Callable[[C, Path], Mapping[str, Any]],
    store: Path | None = None,
    shown: str | None = None,
) -> dict[C, dict[str, Any]]:
    """Score every cell that has no result yet.

    Args:
        run: the run, whose protocol all cells share.
        cells: what is asked for.
        score: from a cell and its folder to what is measured, as JSON can hold it.
        store: folder of the results, of this run and maybe of others; by default in the run's.
        shown: a measure to print as soon as a cell has it.

    Returns:
        The results of all cells of the store, asked for or not.

    Raises:
        ValueError: a result that is there was measured by another protocol.
    """
    cells, store = list(cells), store or run.folder / "results"
    paths = {cell: store / f"{cell.folder}.json" for cell in cells}
    # looked up before the first is scored, so that all processes of a run score the same cells
    done = [cell for cell, path in paths.items() if path.exists()]
    for cell in done:
        measured = json.loads(paths[cell].read_text())["protocol"]
        if measured != run.protocol:
            raise ValueError(
                f"{store}: {cell.folder} was measured by {measured}, asked for {run.protocol}"
            )
    train.wait_for_all()
    for cell, path in paths.items():
        if cell in done:
            continue
        folder = run.folder / cell.folder
        folder.mkdir(parents=True, exist_ok=True)
        result = score(cell, folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(cell) | {"protocol": run.protocol} | provenance() | dict(result))
        if shown:
            print(f"{cell.folder}: {shown} {result[shown]:z.3f}", flush=True)
    train.wait_for_all()
    return results(type(cells[0]), store) if cells else {}


def grouped(found: Mapping[C, Mapping[str, Any]], *names: str) -> dict[Any, dict[str, list[Any]]]:
    """What all cells that agree in the fields of these names have measured, a list for each measure; by the fields."""
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for cell, result in found.items():
        groups.setdefault(tuple(getattr(cell, name) for name in names), []).append(result)
    return {
        key: {name: [r[name] for r in some] for name in some[0] if all(name in r for r in some)}
        for key, some in groups.items()
    }


def results(kind: type[C], store: Path) -> dict[C, dict[str, Any]]:
    """What the finished cells of a folder of results have measured."""
    names = [field.name for field in fields(kind)]
    records = [json.loads(path.read_text()) for path in sorted(store.rglob("*.json"))]
    return {kind(*(record[name] for name in names)): record for record in records}
