"""The host's side of training: chunk after chunk, with log, checkpoints, progress and resume."""

import errno
import json
import operator
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np

from geodl.train import checkpoints
from geodl.train.cache import lock, progress_bar, write_text
from geodl.train.loop import Metrics, TrainState
from geodl.train.sharding import wait_for_all


class NonFiniteError(FloatingPointError):
    """Training left the finite numbers; the message says where."""


def fit(
    run: Callable[[TrainState, Any, int], tuple[TrainState, Metrics]],
    state: TrainState,
    data: Any,
    steps: SupportsIndex,
    folder: str | os.PathLike[str],
    *,
    chunk: SupportsIndex,
    evaluate: Callable[[TrainState], Mapping[str, Any]] | None = None,
    best: str | None = None,
    save_every: SupportsIndex = 1,
    keep: int = 3,
    progress: bool = True,
) -> tuple[TrainState, list[dict[str, Any]]]:
    """Train up to ``steps``, from the newest whole checkpoint in ``folder`` or else from ``state``.

    Checkpoints after the one it goes on from, broken or of another model, are set aside under another name.
    After each chunk one line goes to ``folder/metrics.jsonl``: ``step``, the ``seconds`` and ``cpu_seconds``
    it took, the metrics averaged over the chunk (a list where several seeds are trained). Killed at
    any moment and started again with the same arguments, the run ends with the same state and the
    same log, but for the times.

    Args:
        run: ``run(state, data, n)`` as from ``chunked``.
        state: where to start; it is copied, so the caller's arrays stay valid.
        data: whatever the step takes as data.
        steps: total number of steps. A remainder of ``chunk`` costs a second compilation.
        folder: of the run, for its log and its checkpoints.
        chunk: steps between two looks by the host.
        evaluate: adds ``evaluate(state)``, a dict of numbers, to the line before each checkpoint.
        best: name of a number in the log, of ``evaluate`` or of the metrics: the state where it was least is kept in
            ``folder/best``, to be read by ``restore(folder / "best", state)``. NaN is never the least.
        save_every: chunks between two checkpoints; one is always written at the end, and where ``best`` is least.
            Steps go on while a checkpoint is written.
        keep: number of checkpoints kept.
        progress: show a progress bar.

    Returns:
        The state after ``steps``, and the whole log as a list of dicts.

    Raises:
        NonFiniteError: a metric or a parameter is not finite; the last checkpoint stays.
        checkpoints.CheckpointError: as ``checkpoints.restore``; a checkpoint cannot be written (a full disk): what was
            finished stays.
        RuntimeError: another process trains in this folder.
        ValueError: the checkpoint is past ``steps``, or of another model; ``chunk`` or ``save_every`` is below 1; the
            log has no number ``best``.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import optax
        >>> from geodl import train
        >>> def loss(slope, batch, key):
        ...     x, y = batch.data
        ...     return jnp.mean(batch.weight * (slope * x - y) ** 2), {}
        >>> x, optimizer = jnp.linspace(0, 1, 32), optax.adam(0.1)
        >>> step = train.on_minibatches(train.make_step(loss, optimizer), batch_size=8)
        >>> state = train.init(jnp.zeros(()), optimizer, jax.random.key(0), rows=32)
        >>> with TemporaryDirectory() as folder:
        ...     run, data = train.chunked(step), (x, 3 * x)
        ...     state, log = train.fit(run, state, data, 200, folder, chunk=100, progress=False)
        >>> state.params.round(1), [line["step"] for line in log]
        (Array(3., dtype=float32), [100, 200])
    """
    steps, chunk, save_every = map(operator.index, (steps, chunk, save_every))
    if chunk < 1 or save_every < 1:
        raise ValueError(f"chunk and save_every must be at least 1, got {chunk} and {save_every}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder / ".lock", f"training in {folder}"):
        state = jax.tree.map(jnp.copy, state)
        where, of_best = folder / "checkpoints", folder / "best"
        step, state = checkpoints.restore(where, state) or (0, state)
        if step > steps:
            raise ValueError(
                f"{folder} has already been trained for {step} steps, asked for {steps}"
            )
        log = folder / "metrics.jsonl"
        writes = jax.process_index() == 0
        history = _read_lines(log, step)
        if step < steps:
            checkpoints.set_aside(where, step)
        if best is not None and writes:
            _recover_best(where, of_best, [r for r in history if best in r], best)

        with (
            progress_bar(steps, step, progress, desc=folder.name, unit="step") as bar,
            checkpoints.CheckpointWriter(where, keep, of_best) as writer,
        ):
            while step < steps:
                n = min(chunk, steps - step)
                start, cpu_start = time.perf_counter(), time.process_time()
                state, metrics = run(state, data, n)
                metrics = {name: np.asarray(value) for name, value in metrics.items()}
                seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
                _check_finite(metrics, state.params, step, step + n, folder)
                step += n
                saves = step == steps or step // chunk % save_every == 0
                record = {
                    "step": step,
                    "seconds": round(seconds, 3),
                    "cpu_seconds": round(cpu_seconds, 3),
                }
                record |= {name: _number(_wide(value).mean(0)) for name, value in metrics.items()}
                if evaluate is not None and saves:
                    record |= {name: _number(value) for name, value in evaluate(state).items()}
                is_best = best is not None and _is_least(best, record, history, saves)
                history.append(record)
                # The log first: a line without its checkpoint is dropped on resume and written again.
                if writes:
                    _append_line(log, record)
                if saves or is_best:
                    writer.save(step, state, is_best)
                if "loss" in record:
                    bar.set_postfix(loss=f"{np.mean(record['loss']):.5g}", refresh=False)
                bar.update(n)
        wait_for_all()  # the first of them has put the best in its place
    return state, history


def _wide(value: Any) -> np.ndarray:
    """Floats of any width as float64: a sum of a thousand bf16 numbers is none of theirs."""
    value = np.asarray(value)
    return value.astype(np.float64) if jnp.issubdtype(value.dtype, jnp.floating) else value


def _number(value: Any) -> Any:
    return _wide(value).tolist()


def _is_least(best: str, record: dict[str, Any], history: list[dict[str, Any]], due: bool) -> bool:
    """Whether the record's number ``best`` is below all before it; it must be there where one is due."""
    value = record.get(best)
    if value is None and not due:
        return False
    if not isinstance(value, int | float):
        raise ValueError(f"best: no single number {best!r} in the log's {sorted(record)}")
    return all(not r[best] <= value for r in history if best in r) and not np.isnan(value)


def _recover_best(where: Path, of_best: Path, history: list[dict[str, Any]], best: str) -> None:
    """A run killed between a checkpoint and its copy among the best copies it now."""
    least = min((r for r in history if not np.isnan(r[best])), key=lambda r: r[best], default=None)
    if least is None:
        return
    checkpoint = where / str(least["step"])
    if checkpoint.is_dir() and not (of_best / checkpoint.name).exists():
        checkpoints.copy_checkpoint(checkpoint, of_best)


def _check_finite(
    metrics: dict[str, np.ndarray], params: Any, step: int, end: int, folder: Path
) -> None:
    """Metrics are (chunk, *seeds); the first step that went wrong is named."""
    kept = f"the checkpoints in {folder / 'checkpoints'} stay as they were"
    bad = {
        name: np.argwhere(~np.isfinite(value))[0]
        for name, value in metrics.items()
        if not np.isfinite(value).all()
    }
    if bad:
        name = min(bad, key=lambda name: bad[name][0])
        at = bad[name]
        seed = f", seed {', '.join(map(str, at[1:]))}" if len(at) > 1 else ""
        where = f"step {step + at[0]}{seed}"
        raise NonFiniteError(f"{name} is {metrics[name][tuple(at)]} at {where}; {kept}")
    # A gradient can overflow in the chunk's last step, after its loss was taken.
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not bool(jnp.isfinite(leaf).all()):
            name = jax.tree_util.keystr(path)
            raise NonFiniteError(f"parameter {name} is not finite after step {end - 1}; {kept}")


def _append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Append one JSON line in a single write."""
    line = (json.dumps(record) + "\n").encode()
    with open(path, "ab", buffering=0) as file:
        if file.write(line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _read_lines(path: Path, last_step: int) -> list[dict[str, Any]]:
    """The records up to ``last_step``; the first process drops later ones, and a line broken off, from the file.

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
    if len(kept) < len(lines) and jax.process_index() == 0:
        write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
    return kept
