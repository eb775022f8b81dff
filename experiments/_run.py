"""A run: its command, its folder and configuration, where its figures come from, and its tables.

A run is ``<root>/<experiment>/<name>/``: ``config.json`` (what was asked, and at each start the revision, device, ...),
``table.md`` and ``result.json`` at the end, and what the experiment puts beside them: checkpoints, logs, pictures.
"""

import dataclasses
import json
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from scipy.stats import binomtest

from experiments import _devices
from geodl import train
from geodl.train import write_text


Commands = Mapping[str, tuple[Any, Callable[[Any], Any]]]


def main(family: str, description: str | None, commands: Commands, words: dict[str, str]) -> None:
    """Parse the command line of a family of experiments and run what it asks for.

    Args:
        family: its module.
        description: what all its commands are about.
        commands: by name the default configuration, and what runs one of its type.
        words: what each command does.
    """
    calls = {name: _call(config) for name, (config, _) in commands.items()}
    command = tyro.extras.subcommand_type_from_defaults(calls, words)
    call: Any = tyro.cli(command, description=description, prog=f"python -m {family}")
    _devices.use(call.devices)
    runs = {type(default): run for default, run in commands.values()}
    runs[type(call.config)](call.config)


def _call(config: Any) -> Any:
    """What a command line says: the configuration, and where it runs."""
    unnamed = tyro.conf.arg(name="")
    fields = {"config": config, "devices": _devices.Devices()}
    annotated = [(name, Annotated[type(d), unnamed], d) for name, d in fields.items()]
    return dataclasses.make_dataclass("Call", annotated, frozen=True)()


class Run:
    """One run of an experiment.

    Attributes:
        folder: where everything lands; a second start under the same name finds it again.
        protocol: what all results of the run share, as JSON holds it.
    """

    def __init__(self, experiment: str, config: Any, free: Sequence[str] = (), **found: Any):
        """Start the run, or go on with it.

        Args:
            experiment: ``<family>-<experiment>``, as the make target is called.
            config: a dataclass with a ``name`` and a ``root``.
            free: its fields that may differ between starts of one run, as the cells that are asked for.
            found: what replaces fields of the configuration, as the data set that ``data="auto"`` has found.

        Raises:
            TypeError: JSON cannot hold a field; tuples and arrays become lists, NaN and infinities their names.
            RuntimeError: the run is going on in another process.
            ValueError: the run was started with another protocol; the message names the fields.
        """
        asked = dataclasses.asdict(config) | found
        # where things lie and come from is not what is measured
        free = (*free, "name", "root", "download")
        protocol = {k: v for k, v in asked.items() if k not in free}
        protocol |= _devices.asked.protocol()
        folder = Path(config.root) / experiment / config.name
        holding = train.lock(folder / ".run.lock", f"the run {folder}")
        holding.__enter__()
        self._release = weakref.finalize(self, holding.__exit__, None, None, None)
        self.folder = start_run(experiment, config.name, protocol, config.root)
        self.protocol: dict[str, Any] = _read_json(json.dumps(protocol, default=_plain))

    def finish(self, table: str, result: Any = None, folder: Path | None = None) -> None:
        """Write ``table.md``, and ``result.json`` with the run's provenance, into the folder; print the table.

        With it the run is over, and may be started again.

        Args:
            table: in Markdown.
            result: what JSON can hold, arrays too.
            folder: of the files, where a run has several tables; by default the run's own.
        """
        folder = folder or self.folder
        if jax.process_index() == 0:
            write_text(folder / "table.md", table + "\n")
            if result is not None:
                write_json(folder / "result.json", provenance() | result)
            print(f"\n{table}\n\ntable: {folder / 'table.md'}")
            if any(folder.rglob("*.png")):
                print(f"pictures: {folder}/**/*.png")
        self._release()


def start_run(experiment: str, name: str, protocol: Mapping[str, Any], root: str | Path) -> Path:
    """The folder ``root/experiment/name``, made or found again; ``config.json`` records the start."""
    folder = Path(root) / experiment / name
    path = folder / "config.json"
    values = _read_json(json.dumps(protocol, default=_plain))
    record = _read_json(path.read_text()) if path.exists() else {"config": values, "starts": []}
    before, now = flat(record["config"]), flat(values)
    changed = [k for k in sorted(before | now) if before.get(k, _ABSENT) != now.get(k, _ABSENT)]
    if changed:
        fields = ", ".join(
            f"{k} (was {before.get(k, _ABSENT)}, now {now.get(k, _ABSENT)})" for k in changed
        )
        raise ValueError(
            f"{folder} was started with another configuration: {fields}; "
            "use its configuration to resume it, or another name"
        )
    if jax.process_index() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        record["starts"].append(provenance())
        write_json(path, record)
    return folder


def write_json(path: Path, values: Any) -> None:
    """Write a file of JSON whole or not at all; arrays become lists."""
    write_text(path, json.dumps(values, indent=2, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    """What JSON knows for a number or array of numpy or JAX."""
    if isinstance(value, np.generic | np.ndarray | jax.Array):
        return np.asarray(value).tolist()
    raise TypeError(f"a configuration cannot hold {value!r} of type {type(value).__name__}")


def _read_json(text: str) -> Any:
    # NaN is no JSON, and not equal to itself: its name is.
    return json.loads(text, parse_constant=str)


_ABSENT = "absent"


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted names."""
    if not isinstance(tree, Mapping):
        return {prefix: tree}
    dotted = ((f"{prefix}.{key}" if prefix else str(key), value) for key, value in tree.items())
    return {name: leaf for key, value in dotted for name, leaf in flat(value, key).items()}


def provenance() -> dict[str, Any]:
    """Date, command, revision and versions: what a table has to say of its figures."""
    device = jax.devices()[0]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": ["python", *sys.orig_argv[1:]],
        "revision": _git_revision(),
        "python": sys.version.split()[0],
        "jax": jax.__version__,
        "device": f"{_devices.count()} x {device.device_kind}",
        "processes": jax.process_count(),
    }


def _git_revision() -> str | None:
    """Revision of the code that runs, ``-dirty`` where files differ from it; None outside of git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    options: dict[str, Any] = {"stderr": subprocess.DEVNULL, "text": True, "timeout": 10}
    try:
        return subprocess.check_output(command, cwd=Path(__file__).parent, **options).strip()
    except (OSError, subprocess.SubprocessError):
        return None


def date_and_revision(record: Mapping[str, Any]) -> dict[str, str]:
    """Two cells of a table: when and from which code a result is."""
    return {"date": record["date"][:10], "revision": str(record["revision"])[:7]}


def citation(record: Mapping[str, Any]) -> str:
    """Command, date and revision of a result, for the caption of a table."""
    where = date_and_revision(record)
    command = " ".join(record["command"][1:])
    return f"`python {command}`, {where['date']}, revision {where['revision']}"


def markdown_table(rows: Iterable[Mapping[str, object]]) -> str:
    """A Markdown table of rows {column: cell}, aligned in the source too; floats to two decimals, None is blank."""

    def text(cell):
        return f"{cell:z.2f}" if isinstance(cell, float) else "" if cell is None else str(cell)

    rows = [{column: text(cell) for column, cell in row.items()} for row in rows]
    header = list(rows[0])
    if any(list(row) != header for row in rows):
        raise ValueError(f"rows of one table have other columns: {[list(row) for row in rows]}")
    columns = [[name, *(row[name] for row in rows)] for name in header]
    widths = [max(3, *map(len, column)) for column in columns]
    lines = list(zip(*columns, strict=True))
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def mean_and_error(values: Sequence[float] | np.ndarray) -> str:
    """Mean over seeds ± its standard error (one seed: the value alone)."""
    if len(values) < 2:
        return f"{np.mean(values):z.2f}"
    return f"{np.mean(values):z.2f} ± {standard_error(values):.2f}"


def standard_error(values: Any) -> np.ndarray:
    """Of the mean of values (n, ...) over their first axis; NaN for one value."""
    values = np.asarray(values)
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    return values.std(0, ddof=1) / len(values) ** 0.5


def metric_rows(methods: Mapping[str, Mapping[str, np.ndarray]]) -> list[dict[str, str]]:
    """Rows of :func:`markdown_table` for metrics (n,), one per method.

    Booleans are shares with Wilson's interval of 95 %, numbers are means of the finite entries ± their standard error.
    A metric that a method lacks is left blank.
    """
    names = dict.fromkeys(name for metrics in methods.values() for name in metrics)
    return [
        {"method": method}
        | {name: _cell(metrics[name]) if name in metrics else "" for name in names}
        for method, metrics in methods.items()
    ]


def _cell(values):
    values = np.asarray(values)
    if len(values) == 0:
        return "none"
    if values.dtype == bool:
        low, high = binomtest(values.sum(), len(values)).proportion_ci(method="wilson")
        return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return "none finite"
    return f"{values.mean():.3g} ± {standard_error(values):.2g}"
