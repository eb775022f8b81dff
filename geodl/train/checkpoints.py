"""Checkpoints that are whole or not there: orbax writes, checksums of its files say it is done.

checkpoints/<step>/state/...          orbax (every process writes its shards)
                   checksums.json     SHA-256 of each file, written last
"""

import hashlib
import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

from geodl.train.runs import write_text


class CheckpointError(RuntimeError):
    """No checkpoint can be trusted, although some were finished."""


def save(folder: str | os.PathLike[str], step: int, state: Any, keep: int = 3) -> None:
    """Write `folder/<step>` and then delete all but the newest `keep`. Blocks until it is safe."""
    from orbax.checkpoint import v1 as ocp

    folder = Path(folder).absolute()
    path = folder / str(step)
    if jax.process_index() == 0 and path.exists():
        _delete(path)
    _barrier("geodl: before the checkpoint")
    ocp.save(path / "state", state)
    if jax.process_index() == 0:
        write_text(path / _CHECKSUMS, json.dumps(_checksums(path), indent=1))
        older = [s for s in _steps(folder) if s < step]
        # Later steps are broken ones that this run went back behind.
        later = [s for s in _steps(folder) if s > step]
        for stale in [*older[: max(0, len(older) - keep + 1)], *later]:
            _delete(folder / str(stale))
    _barrier("geodl: after the checkpoint")


def restore(folder: str | os.PathLike[str], like: Any) -> tuple[int, Any] | None:
    """The newest whole checkpoint as `(step, state)`; None where there is none to go back to.

    A checkpoint that is half-written, truncated or altered is passed over with a warning that
    names it. Where only unfinished ones lie (the run was killed in its first save) the answer is
    None: the run starts anew.

    Args:
        folder: as given to `save`.
        like: a state of the same structure, shapes, types and shardings.

    Raises:
        CheckpointError: checkpoints were finished, and all of them are damaged.
        ValueError: the checkpoint is whole but is not a state like `like`.
    """
    from orbax.checkpoint import v1 as ocp

    folder = Path(folder).absolute()
    damaged = []
    for step in reversed(_steps(folder)):
        path = folder / str(step)
        fault = _fault(path)
        if fault is None:
            try:
                return step, ocp.load(path / "state", like)
            except ValueError as error:
                raise ValueError(f"{path} is not a state of this model: {error}") from error
        warnings.warn(f"checkpoint {path} is broken and passed over: {fault}", stacklevel=2)
        if (path / _CHECKSUMS).exists():
            damaged.append(f"{path}: {fault}")
    if damaged:
        raise CheckpointError(
            f"no whole checkpoint in {folder}; delete it to start anew\n" + "\n".join(damaged)
        )
    return None


_CHECKSUMS = "checksums.json"


def _steps(folder: Path) -> list[int]:
    if not folder.exists():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def _checksums(path: Path) -> dict[str, str]:
    return {
        file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted((path / "state").rglob("*"))
        if file.is_file()
    }


def _fault(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        expected = json.loads((path / _CHECKSUMS).read_text())
    except FileNotFoundError:
        return "it was not finished"
    except ValueError as error:
        return f"{_CHECKSUMS} is unreadable ({error})"
    found = _checksums(path)
    if missing := sorted(expected.keys() - found.keys()):
        return f"{missing[0]} is missing"
    if altered := [name for name in expected if found[name] != expected[name]]:
        return f"{altered[0]} is truncated or altered"
    return None


def _delete(path: Path) -> None:
    # The mark of completeness goes first: killed in between, the rest is seen as unfinished.
    (path / _CHECKSUMS).unlink(missing_ok=True)
    shutil.rmtree(path)


def _barrier(name: str) -> None:
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
