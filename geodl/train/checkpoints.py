"""Checkpoints that are whole or not there.

Orbax writes ``checkpoints/<step>/``, every process its shards, under another name first; that it has
its own name says that it is finished. A truncated file is found on reading, and the checkpoint
before is used.
"""

import operator
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from typing import Any, SupportsFloat, cast

import jax
import numpy as np


class CheckpointError(RuntimeError):
    """No checkpoint can be trusted, although some were finished; or one cannot be written."""


def save(folder: str | os.PathLike[str], step: SupportsFloat, state: Any, keep: int = 3) -> None:
    """Write ``folder/<step>`` and then delete all but the newest ``keep`` checkpoints.

    It blocks until the checkpoint is safe.

    Args:
        folder: is made if need be.
        step: number of the checkpoint, a whole number from 0 on.
        state: a pytree of arrays and numbers.
        keep: at least 1.

    Raises:
        CheckpointError: it cannot be written, as on a full disk; those before stay.
        ValueError: ``step`` or ``keep`` is not such a number.
    """
    from orbax.checkpoint import v1 as ocp

    folder, name = Path(folder).absolute(), _whole("step", step, least=0)
    keep = _whole("keep", keep, least=1)
    path, about = str(folder / str(name)), cast(Any, {_LEAVES: _leaves(state)})
    try:
        ocp.save(path, _writable(state), overwrite=True, custom_metadata=about)
    except Exception as error:  # of many types, by who has met the full disk
        for part in folder.glob(f"{name}*{_UNFINISHED}*"):
            shutil.rmtree(part, ignore_errors=True)
        why = f"{type(error).__name__}: {str(error.__cause__ or error)[:300]}"
        raise CheckpointError(
            f"checkpoint {path} is not written, those before stay; {why}"
        ) from error
    if jax.process_index() == 0:
        older = [s for s in _steps(folder) if s < name]
        # Later steps are broken ones that this run went back behind.
        later = [s for s in _steps(folder) if s > name]
        for stale in [*older[: max(0, len(older) - keep + 1)], *later]:
            shutil.rmtree(folder / str(stale))


def restore(folder: str | os.PathLike[str], like: Any) -> tuple[int, Any] | None:
    """The newest whole checkpoint as ``(step, state)``; None where there is none to go back to.

    A checkpoint that cannot be read whole, or is of another model, is passed over with a warning that names it. A
    folder that holds other things, but no checkpoint, gives a warning too, and None.

    Args:
        folder: as given to ``save``, or to ``fit``.
        like: a state of the same structure, shapes, types and shardings.

    Returns:
        Step and state, or None.

    Raises:
        CheckpointError: checkpoints were finished, and all of them are damaged.
        ValueError: there are whole checkpoints, but none of a state with the leaves of ``like``.
    """
    from orbax.checkpoint import v1 as ocp

    def read(path: Path, leaves: dict[str, str]) -> Any:
        _check_leaves(path, leaves, like)
        return ocp.load(str(path), _writable(like))

    found = _newest(folder, read)
    if found is None:
        return None
    step, written = found
    return step, _as_it_was(like, written)


def load(folder: str | os.PathLike[str], part: str = "params") -> Any:
    """The parameters alone of the newest whole checkpoint, on this process's first device.

    No state has to be made first, and the rest of it is not read. Named tuples come as
    dictionaries, other tuples as lists.

    Args:
        folder: as given to ``save``, or to ``fit``; ``folder / "best"`` for the best state of ``fit``.
        part: name of another part of the state, e.g. "opt_state/average" with ``with_ema``.

    Returns:
        That part of the state.

    Raises:
        FileNotFoundError: there is no checkpoint.
        CheckpointError: as ``restore``.
        ValueError: the state has no such part.
    """
    from orbax.checkpoint import v1 as ocp

    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    names = part.split("/")
    a_part = ocp.Context()
    a_part.pytree.loading.partial_load = True

    def read(path: Path, leaves: dict[str, str]) -> Any:
        tree: Any = ocp.metadata(str(path)).metadata
        if tree is None:
            raise FileNotFoundError("its metadata cannot be read")
        for i, name in enumerate(names):
            if not isinstance(tree, Mapping) or name not in tree:
                has = ", ".join(tree) if isinstance(tree, Mapping) else "no parts with names"
                raise _Mismatch(
                    f"checkpoint {path} has no {part!r}; {'/'.join(names[:i]) or 'it'} has {has}"
                )
            tree = tree[name]
        tree = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=here), tree)
        tree = reduce(lambda tree, name: {name: tree}, reversed(names), tree)
        with a_part:
            return reduce(operator.getitem, names, ocp.load(str(path), tree))

    found = _newest(folder, read)
    if found is None:
        raise FileNotFoundError(f"there is no checkpoint in {Path(folder).absolute()}")
    return found[1]


_LEAVES, _UNFINISHED = "leaves", ".orbax-checkpoint-tmp"


class _Mismatch(ValueError):
    """The checkpoint is whole, but not what was asked for."""


def _newest(
    folder: str | os.PathLike[str], read: Callable[[Path, dict[str, str]], Any]
) -> tuple[int, Any] | None:
    """Step and content of the newest checkpoint that can be read: ``read(path, leaves)``."""
    from orbax.checkpoint import v1 as ocp

    folder = Path(folder).absolute()
    if not _steps(folder) and (folder / "checkpoints").is_dir():
        folder = folder / "checkpoints"
    damaged, foreign = [], None
    for step in reversed(_steps(folder)):
        path = folder / str(step)
        try:
            about = cast(Any, ocp.metadata(str(path)).custom_metadata)
            found = step, read(path, about[_LEAVES])
            if foreign:
                warnings.warn(f"passed over: {foreign}", stacklevel=3)
            return found
        except _Mismatch as error:
            foreign = foreign or error
            continue
        except Exception as error:  # whatever reading half a file raises
            fault = f"{type(error).__name__}: {str(error.__cause__ or error)[:200]}"
        warnings.warn(f"checkpoint {path} is broken and passed over: {fault}", stacklevel=3)
        damaged.append(f"{path}: {fault}")
    if foreign:
        raise foreign
    if damaged:
        raise CheckpointError(
            f"no whole checkpoint in {folder}; delete it to start anew\n" + "\n".join(damaged)
        )
    others = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    if others := [name for name in others if not name.endswith(_UNFINISHED)]:
        warnings.warn(f"no checkpoint in {folder}, but {', '.join(others[:5])}", stacklevel=3)
    return None


def _steps(folder: Path) -> list[int]:
    """The finished checkpoints; anything else in the folder is not ours."""
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir() if path.is_dir()]
    return sorted(int(name) for name in names if name.isdecimal() and name == str(int(name)))


def _whole(name: str, value: SupportsFloat, least: int) -> int:
    number = float(value)
    if not (number >= least and number.is_integer()):
        raise ValueError(f"{name} must be a whole number from {least} on, got {value!r}")
    return int(number)


def _writable(state: Any) -> Any:
    """The state as orbax can write it: no empty arrays, and numbers as arrays."""

    def leaf(x: Any) -> Any:
        if np.size(x) == 0:
            return None
        return np.asarray(x) if isinstance(x, _NUMBERS) else x

    return jax.tree.map(leaf, state)


def _as_it_was(like: Any, written: Any) -> Any:
    """What ``_writable(like)`` has made, with the values that were read."""

    def leaf(x: Any, y: Any) -> Any:
        if y is None:
            return x
        return type(x)(y) if isinstance(x, _NUMBERS) else y

    return jax.tree.map(leaf, like, written)


_NUMBERS = (np.generic, bool, int, float, complex)


def _leaves(state: Any) -> dict[str, str]:
    """Type and shape of each leaf by its name."""

    def kind(x: Any) -> str:
        return f"{x.dtype}{list(x.shape)}" if hasattr(x, "dtype") else type(x).__name__

    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(p, simple=True, separator="/"): kind(x) for p, x in leaves}


def _check_leaves(path: Path, stored: dict[str, str], like: Any) -> None:
    expected = _leaves(like)
    names = [n for n in sorted(stored | expected) if stored.get(n) != expected.get(n)]
    if names:
        name, more = names[0], f" (and {len(names) - 1} more)" if names[1:] else ""
        raise _Mismatch(
            f"checkpoint {path} is of another model, it differs in {name or 'its only leaf'}{more}:\n"
            f"  the checkpoint has {stored.get(name, 'no such leaf')}\n"
            f"  the state asked for has {expected.get(name, 'no such leaf')}"
        )
