"""A run's folder: its configuration, its log, its tables, and evaluations that survive a kill.

A run is `runs/<experiment>/<name>/`: `config.json` (what was asked, and at each start the
revision, device, ...), `metrics.jsonl` (one line per chunk), `checkpoints/` (the newest few).
"""

import dataclasses
import hashlib
import io
import json
import os
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np


if TYPE_CHECKING:
    from tqdm import tqdm


def start_run(
    experiment: str, name: str, config: Any, root: str | os.PathLike[str] = "runs"
) -> Path:
    """The folder `root/experiment/name`, made or found again; `config.json` records the start.

    Args:
        experiment: family of runs.
        name: a second start under the same name resumes.
        config: a dataclass or mapping of values that JSON can hold (tuples become lists).
        root: where the runs lie.

    Raises:
        ValueError: the run was started with another configuration; the message names the fields.
    """
    folder = Path(root) / experiment / name
    path = folder / "config.json"
    values = dict(config) if isinstance(config, Mapping) else dataclasses.asdict(config)
    values = json.loads(json.dumps(values))
    record = json.loads(path.read_text()) if path.exists() else {"config": values, "starts": []}
    before, now = _flat(record["config"]), _flat(values)
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
        record["starts"].append(circumstances())
        write_text(path, json.dumps(record, indent=2) + "\n")
    return folder


_ABSENT = "absent"


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted names."""
    if not isinstance(tree, Mapping):
        return {prefix: tree}
    dotted = ((f"{prefix}.{key}" if prefix else str(key), value) for key, value in tree.items())
    return {name: leaf for key, value in dotted for name, leaf in _flat(value, key).items()}


def circumstances() -> dict[str, Any]:
    """Date, command, revision and versions: what a table has to say of its figures."""
    device = jax.devices()[0]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.orig_argv,
        "revision": _git_revision(),
        "python": sys.version.split()[0],
        "jax": jax.__version__,
        "device": f"{jax.device_count()} x {device.device_kind}",
        "processes": jax.process_count(),
    }


def _git_revision() -> str | None:
    """Revision of the code that runs, `-dirty` where files differ from it; None outside of git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: str | os.PathLike[str], content: bytes | memoryview) -> None:
    """Write a file whole or not at all: beside it first, then renamed onto it."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    with open(part, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Append one JSON line in a single write."""
    with open(path, "ab", buffering=0) as file:
        file.write((json.dumps(record) + "\n").encode())


def read_lines(path: Path, last_step: int) -> list[dict[str, Any]]:
    """The records up to `last_step`; later ones, and a line broken off, are dropped from the file.

    A run killed between its log and its checkpoint writes those lines again.
    """
    lines = path.read_text().splitlines() if path.exists() else []
    records = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    kept = [record for record in records if record["step"] <= last_step]
    if len(kept) < len(lines):
        write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
    return kept


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, its columns aligned in the source too; floats to two decimals."""
    cells = [[f"{c:z.2f}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    for row in cells:
        if len(row) != len(header):
            raise ValueError(f"row {row} has {len(row)} cells, the header has {len(header)}")
    widths = [max(3, *(len(row[i]) for row in [list(header), *cells])) for i in range(len(header))]
    lines = [list(header), ["-" * width for width in widths], *cells]
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def progress_bar(total: int, initial: int = 0, show: bool = True, **options: Any) -> "tqdm":
    """A bar with rate and remaining time, on the first process; rarely refreshed off a terminal."""
    from tqdm import tqdm

    quiet = not show or jax.process_index() != 0
    pace = 0.1 if sys.stderr.isatty() else 30.0
    return tqdm(total=total, initial=initial, disable=quiet, mininterval=pace, **options)


def resumable_map(
    fn: Callable[[Any], Mapping[str, Any]],
    chunks: Sequence[Any],
    folder: str | os.PathLike[str],
    depends: Any = None,
    progress: bool = True,
) -> list[dict[str, np.ndarray]]:
    """`[fn(chunk) for chunk in chunks]`, each result kept on disk as soon as it is there.

    A second call reads what the first has finished, however it ended, so a long evaluation that
    was killed goes on where it stopped and ends with the same figures.

    Args:
        fn: from a chunk to a dict of arrays.
        chunks: pytrees of arrays, numbers or slices.
        folder: gets one `.npz` per finished chunk.
        depends: pytree of all else that the results depend on (parameters, key, number of
            samples): a file made from other values, or from another chunk, is computed anew.
        progress: show a bar.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    with progress_bar(len(chunks), show=progress, desc=folder.name) as bar:
        for i, chunk in enumerate(chunks):
            path = folder / f"{i:05d}.npz"
            digest = fingerprint((depends, chunk))
            result = _read_result(path, digest)
            if result is None:
                result = {name: np.asarray(value) for name, value in fn(chunk).items()}
                if jax.process_index() == 0:
                    _write_result(path, digest, result)
            results.append(result)
            bar.update()
    return results


def fingerprint(tree: Any) -> str:
    """SHA-256 of a pytree: structure, types, shapes and values."""
    leaves, structure = jax.tree.flatten(tree)
    digest = hashlib.sha256(repr(structure).encode())
    for leaf in leaves:
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        if isinstance(leaf, jax.Array | np.ndarray):
            values = np.asarray(leaf)
            digest.update(f"{values.dtype}{values.shape}".encode())
            digest.update(np.ascontiguousarray(values).tobytes())
        else:
            digest.update(repr(leaf).encode())
    return digest.hexdigest()


_DIGEST = "__depends__"


def _read_result(path: Path, digest: str) -> dict[str, np.ndarray] | None:
    if not path.exists():
        return None
    try:
        stored = dict(np.load(io.BytesIO(path.read_bytes())))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        warnings.warn(f"{path} is damaged ({error}) and computed anew", stacklevel=3)
        return None
    return stored if str(stored.pop(_DIGEST, "")) == digest else None


def _write_result(path: Path, digest: str, result: Mapping[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {**result, _DIGEST: np.asarray(digest)}
    np.savez(buffer, **arrays)
    write_bytes(path, buffer.getbuffer())
