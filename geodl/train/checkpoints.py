"""Checkpoints that are whole or not there.

Orbax writes ``checkpoints/<step>/``, every process its shards, under another name first; that it has
its own name says that it is finished. A truncated file is found on reading, and the checkpoint
before is used. Nothing but what a run has written itself is ever deleted.
"""

import itertools
import operator
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any, SupportsFloat, cast

import jax
import jax.numpy as jnp
import numpy as np

from geodl.train.sharding import shared_map, wait_for_all


class CheckpointError(RuntimeError):
    """No checkpoint can be trusted, although some were finished; or one cannot be written."""


class CheckpointWriter:
    """Writes ``folder/<step>`` while the steps go on, one checkpoint at a time.

    A state that was given to ``save`` may be donated or changed at once. Whatever ends the context, what has been begun
    is waited for: a checkpoint is whole when it has its name::

        with CheckpointWriter(folder) as writer:
            writer.save(step, state)
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        keep: int = 3,
        best: str | os.PathLike[str] | None = None,
    ):
        """Nothing is written yet.

        Args:
            folder: is made if need be.
            keep: at least 1; of the checkpoints of this state's kind the newest so many.
            best: folder of the one checkpoint that is ``best``.

        Raises:
            ValueError: ``keep`` is not such a number.
        """
        self._folder, self._keep = Path(folder).absolute(), _whole("keep", keep, least=1)
        self._best = None if best is None else Path(best).absolute()
        self._begun: tuple[Any, int, dict[str, str], bool] | None = None

    def save(self, step: SupportsFloat, state: Any, best: bool = False) -> None:
        """Begin to write ``folder/<step>``, when the one before is safe.

        Args:
            step: number of the checkpoint, a whole number from 0 on.
            state: a pytree of arrays and numbers.
            best: whether it is to be found in the folder of the best too, and no other.

        Raises:
            CheckpointError: it cannot be written, or the one before could not, as on a full disk; what was finished
                stays.
            ValueError: ``step`` is not such a number.
        """
        from orbax.checkpoint import v1 as ocp

        name, leaves = _whole("step", step, least=0), _leaves(state)
        self.wait()
        _check_place(self._folder / str(name))
        with self._named_errors(name):
            writing = ocp.save_async(
                str(self._folder / str(name)),
                _writable(state),
                overwrite=True,
                custom_metadata=cast(Any, {_LEAVES: leaves}),
            )
        self._begun = writing, name, leaves, best

    def wait(self) -> None:
        """Return when what was begun is safe, and older checkpoints are deleted.

        Raises:
            CheckpointError: as ``save``.
        """
        if self._begun is None:
            return
        (writing, name, leaves, best), self._begun = self._begun, None
        with self._named_errors(name):
            writing.result()
            if jax.process_index() == 0:
                if best and self._best is not None:
                    copy_checkpoint(self._folder / str(name), self._best)
                older = [s for s in _steps(self._folder) if s < name]
                ours = [s for s in older if _is_of(self._folder / str(s), leaves)]
                for stale in ours[: max(0, len(ours) - self._keep + 1)]:
                    shutil.rmtree(self._folder / str(stale))

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, *_: Any) -> None:
        self.wait()

    @contextmanager
    def _named_errors(self, name: int) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # of many types, by who has met the full disk
            for part in self._folder.glob(f"{name}{_UNFINISHED}*"):
                shutil.rmtree(part, ignore_errors=True)
            raise CheckpointError(
                f"checkpoint {self._folder / str(name)} is not written, those before stay; {_fault(error)}"
            ) from error


def save(folder: str | os.PathLike[str], step: SupportsFloat, state: Any, keep: int = 3) -> None:
    """Write ``folder/<step>`` and then delete all but the newest ``keep`` checkpoints of this state's kind.

    It blocks until the checkpoint is safe; :class:`CheckpointWriter` does not.

    Args:
        folder: is made if need be.
        step: number of the checkpoint, a whole number from 0 on.
        state: a pytree of arrays and numbers.
        keep: at least 1.

    Raises:
        CheckpointError: it cannot be written, as on a full disk; those before stay.
        ValueError: ``step`` or ``keep`` is not such a number.
    """
    with CheckpointWriter(folder, keep) as writer:
        writer.save(step, state)


def copy_checkpoint(checkpoint: Path, folder: Path) -> None:
    """The checkpoint as the only one of its kind in another folder, of the same files where the disk has links."""

    def link(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    part, whole = folder / f"{checkpoint.name}{_UNFINISHED}", folder / checkpoint.name
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(checkpoint, part, copy_function=link)
    _check_place(whole)
    if whole.exists():
        shutil.rmtree(whole)
    part.rename(whole)
    leaves = _recorded(whole)
    for stale in (folder / str(step) for step in _steps(folder)):
        if stale != whole and _is_of(stale, leaves):
            shutil.rmtree(stale)


def set_aside(folder: Path, step: int) -> None:
    """Rename the checkpoints after ``step``, which could not be used, and say so: new ones come in their place."""
    wait_for_all()  # nobody reads them any more
    if jax.process_index() != 0:
        return
    for later in (s for s in _steps(folder) if s > step):
        kept = next(
            path
            for i in itertools.count(1)
            if not (path := folder / f"{later}.passed-over-{i}").exists()
        )
        (folder / str(later)).rename(kept)
        warnings.warn(
            f"checkpoint {folder / str(later)} was passed over, it is kept as {kept}", stacklevel=3
        )


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

    # No process waits in orbax for one that cannot read its part: they agree afterwards.
    me = jax.process_index()
    alone = ocp.Context()
    alone.multiprocessing.primary_host, alone.multiprocessing.active_processes = me, {me}

    def read(path: Path) -> Any:
        found = fault = None
        try:
            _check_leaves(path, _recorded(path), like)
            with alone:
                found = ocp.load(str(path), _writable(like))
        except Exception as error:
            fault = error
        others = shared_map(lambda _: fault and _fault(fault), range(jax.process_count()))
        if fault is not None:
            raise fault
        if any(others):
            raise CheckpointError(f"in another process: {next(filter(None, others))}")
        return found

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

    def read(path: Path) -> Any:
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
            found = reduce(operator.getitem, names, ocp.load(str(path), tree))
        return _with_empty_arrays(found, part, _recorded(path))

    found = _newest(folder, read)
    if found is None:
        raise FileNotFoundError(f"there is no checkpoint in {Path(folder).absolute()}")
    return found[1]


_LEAVES, _UNFINISHED = "leaves", ".orbax-checkpoint-tmp"


class _Mismatch(ValueError):
    """The checkpoint is whole, but not what was asked for."""


def _newest(folder: str | os.PathLike[str], read: Callable[[Path], Any]) -> tuple[int, Any] | None:
    """Step and content of the newest checkpoint that ``read(path)`` can read."""
    folder = Path(folder).absolute()
    if not _steps(folder) and (folder / "checkpoints").is_dir():
        folder = folder / "checkpoints"
    damaged, foreign = [], None
    for step in reversed(_steps(folder)):
        path = folder / str(step)
        try:
            found = step, read(path)
            if foreign:
                warnings.warn(f"passed over: {foreign}", stacklevel=3)
            return found
        except _Mismatch as error:
            foreign = foreign or error
            continue
        except Exception as error:  # whatever reading half a file raises
            fault = _fault(error)
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


def _fault(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error.__cause__ or error)[:300]}"


def _recorded(path: Path) -> dict[str, str]:
    """The leaves of a checkpoint, as ``save`` has noted them."""
    from orbax.checkpoint import v1 as ocp

    return cast(Any, ocp.metadata(str(path)).custom_metadata)[_LEAVES]


def _check_place(path: Path) -> None:
    """What is there already is a checkpoint, which may be overwritten, and nothing else."""
    if path.exists():
        try:
            _recorded(path)
        except Exception as error:  # whatever reading something else raises
            raise CheckpointError(
                f"{path} is there already and is no checkpoint that can be read: move it away, it is not overwritten"
            ) from error


def _is_of(path: Path, leaves: dict[str, str]) -> bool:
    """Whether a checkpoint is of a state with these leaves; a broken one is of none."""
    try:
        return _recorded(path) == leaves
    except Exception:  # whatever reading half a file raises
        return False


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


def _with_empty_arrays(tree: Any, name: str, leaves: dict[str, str]) -> Any:
    """What ``_writable`` has left out, by the leaves that were noted."""
    if isinstance(tree, Mapping):
        return {k: _with_empty_arrays(x, f"{name}/{k}", leaves) for k, x in tree.items()}
    if isinstance(tree, list):
        return [_with_empty_arrays(x, f"{name}/{i}", leaves) for i, x in enumerate(tree)]
    if tree is None and "[" in leaves.get(name, ""):
        dtype, shape = leaves[name].rstrip("]").split("[")
        return jnp.zeros([int(n) for n in shape.split(", ")], dtype)
    return tree


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
