"""Checkpoints that are whole or not there.

Orbax writes `checkpoints/<step>/state/`, every process its shards. Then `checksums.json` beside
it, the SHA-256 of each file and the shapes of the state, says that the checkpoint is finished.
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
    ocp.save(str(path / "state"), state)
    if jax.process_index() == 0:
        seal = {"files": _checksums(path), "leaves": _leaves(state)}
        write_text(path / _CHECKSUMS, json.dumps(seal, indent=1))
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
        ValueError: the checkpoint is whole, but its state has not the leaves of `like`.
    """
    from orbax.checkpoint import v1 as ocp

    folder = Path(folder).absolute()
    damaged = []
    for step in reversed(_steps(folder)):
        path = folder / str(step)
        fault = _fault(path)
        if fault is None:
            stored, expected = json.loads((path / _CHECKSUMS).read_text())["leaves"], _leaves(like)
            names = [n for n in sorted(stored | expected) if stored.get(n) != expected.get(n)]
            if names:
                differ = "; ".join(f"{n} is {stored.get(n)}, not {expected.get(n)}" for n in names)
                raise ValueError(f"checkpoint {path} is of another model: {differ}")
            return step, ocp.load(str(path / "state"), like)
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


def _leaves(state: Any) -> dict[str, str]:
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): f"{x.dtype}{list(x.shape)}" for path, x in leaves}


def _fault(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        expected = json.loads((path / _CHECKSUMS).read_text())["files"]
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
