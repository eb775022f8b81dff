"""Where an experiment runs: devices, processes, how the state is split, and in which precision its networks train.

``experiments._run.main`` gives every command these flags, and ``use`` holds what they ask for. Trainings go through
``fit``, functions of many samples through ``split`` and ``over_devices``; by default all of them change nothing.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import jax
import optax
from jax.sharding import Mesh, NamedSharding

from experiments._bfloat16 import in_bfloat16
from geodl import train
from geodl.train.loop import Step


T = TypeVar("T")


@dataclass(frozen=True)
class Devices:
    """Where an experiment runs."""

    devices: int | Literal["all"] = 1
    """of all processes; on the CPU as many are simulated. all: whatever a machine, a TPU pod or a Slurm job has"""
    processes: int = 1
    """started by hand, each with its number; TPU pods and Slurm need none of these three, but --devices all"""
    process: int | None = None
    """number of this one, from 0 on; or JAX_PROCESS_ID"""
    coordinator: str = "localhost:8476"
    """host and port of the process 0"""
    fsdp: int = 1
    """devices that share one copy of parameters and optimizer state"""
    accumulate: int = 1
    """parts of a batch, one after the other, whose gradients make one step: less memory"""
    bf16: bool = False
    """networks train in bfloat16; geometry, densities, weights and evaluations stay in float32"""

    def protocol(self) -> dict[str, Any]:
        """What changes results by more than rounding, where it is not the default."""
        chosen = {"accumulate": self.accumulate, "bf16": self.bf16}
        return {k: v for k, v in chosen.items() if v != getattr(Devices, k)}


asked = Devices()
_mesh: Mesh | None = None  # of all processes; None: one device


def use(devices: Devices) -> None:
    """Join the other processes, and lay out what follows over the devices.

    Raises:
        ValueError: there are fewer devices, or several processes and more devices than asked for; a number is below 1,
            or the processes do not divide the devices.
    """
    for name in ("devices", "processes", "fsdp", "accumulate"):
        value = getattr(devices, name)
        if value != "all" and value < 1:
            raise ValueError(f"--{name} must be at least 1, got {value}")
    global asked, _mesh
    asked = devices
    number, many = devices.devices, devices.processes > 1
    if number != "all" and "device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):  # JAX has started, as in tests
            jax.config.update("jax_num_cpu_devices", max(1, number // devices.processes))
    if many:
        if number != "all" and number % devices.processes:
            raise ValueError(f"--processes {devices.processes} must divide --devices {number}")
        print(f"waiting for the {devices.processes} processes at {devices.coordinator}", flush=True)
        train.initialize(devices.coordinator, devices.processes, devices.process)
    elif number == "all":
        train.initialize()
    found = jax.devices()
    count = len(found) if number == "all" else number
    if count > len(found) or (jax.process_count() > 1 and count != len(found)):
        raise ValueError(
            f"--devices {number}: there are {len(found)} in {jax.process_count()} processes"
        )
    alone = count == 1 and devices.fsdp == 1
    _mesh = None if alone else train.data_mesh(found[:count], devices.fsdp)


def count() -> int:
    """Number of devices in use, of all processes."""
    return 1 if _mesh is None else _mesh.size


def optimizer(plain: optax.GradientTransformation) -> optax.GradientTransformation:
    """The optimizer of the means of as many gradients as a batch has parts."""
    if asked.accumulate == 1:
        return plain
    return optax.MultiSteps(plain, asked.accumulate).gradient_transformation()


def rows(batch: int) -> int:
    """Of a batch those rows that one part of it has."""
    if batch % asked.accumulate:
        raise ValueError(f"--accumulate {asked.accumulate} must divide the batch of {batch}")
    return batch // asked.accumulate


def batches() -> NamedSharding | None:
    """How a training batch is split, for ``train.on_minibatches``."""
    return None if _mesh is None else train.batch_sharding(_mesh)


def over_batch(tree: T) -> T:
    """Within a training step, its rows over the devices of all processes."""
    return tree if _mesh is None else jax.lax.with_sharding_constraint(tree, batches())


def make_step(loss: Callable[..., Any], optimizer: optax.GradientTransformation) -> Step:
    """``train.make_step`` in the precision that is asked for."""
    return train.make_step(in_bfloat16(loss) if asked.bf16 else loss, optimizer)


def fit(
    step: Step,
    state: train.TrainState,
    data: Any,
    steps: int,
    folder: Path,
    *,
    chunk: int,
    convolutional: bool = False,
    evaluate: Callable[[Any], dict[str, Any]] | None = None,
    best: str | None = None,
    save_every: int = 1,
) -> tuple[train.TrainState, list[dict[str, Any]]]:
    """``train.fit`` on the devices that are asked for.

    Args:
        step: on the whole data, of an :func:`optimizer`.
        state: where to start.
        data: what the step takes.
        steps: of the optimizer.
        folder: of the run.
        chunk: steps between two looks by the host.
        convolutional: as of ``train.chunked``.
        evaluate: of the optimizer's own state.
        best: as of ``train.fit``.
        save_every: as of ``train.fit``.

    Returns:
        The state after the last step, or that of the least ``best``, on this process's first device; and the log.
    """
    parts, mesh = asked.accumulate, _mesh
    if mesh is not None:
        layout = train.fully_sharded(mesh, state)
        step, state, data = (
            train.held(step, layout),
            train.place(layout, state),
            train.replicate(mesh, data),
        )

    def plain(state: train.TrainState) -> train.TrainState:
        state = state if mesh is None else train.fetch(mesh, state)
        return state if parts == 1 else state._replace(opt_state=state.opt_state.inner_opt_state)

    looks: dict[str, Any] = {"best": best, "save_every": save_every}
    if evaluate is not None:
        looks["evaluate"] = lambda state: evaluate(plain(state))
    run = train.chunked(step, convolutional)
    state, log = train.fit(run, state, data, steps * parts, folder, chunk=chunk * parts, **looks)
    if best is not None:
        found = train.restore(folder / "best", state)
        if found is None:
            raise FloatingPointError(f"{folder}: {best} was never finite")
        state = found[1]
    return plain(state), log


def split(tree: T) -> T:
    """Samples of arrays (n, ...), laid out over as many of this process's devices as divide n."""
    if _mesh is None:
        return tree
    n, devices = len(jax.tree.leaves(tree)[0]), _mesh.local_devices
    most = max(k for k in range(1, len(devices) + 1) if n % k == 0)
    return jax.device_put(tree, train.batch_sharding(train.data_mesh(devices[:most])))


def over_devices(tree: T) -> T:
    """Within a jitted function, the rows of its arrays over this process's devices, whatever their number."""
    if _mesh is None:
        return tree
    mesh = train.data_mesh(_mesh.local_devices)
    return jax.lax.with_sharding_constraint(tree, train.batch_sharding(mesh))
