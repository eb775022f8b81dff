"""One machine to a pod: the same code, its arrays laid out over the devices of a mesh.

    initialize()                                   # joins the other processes, where there are any
    mesh = data_mesh()
    step = on_minibatches(step, batch_size, sharding=batch_sharding(mesh))
    state, data = replicate(mesh, (state, data))

The loss is one number over the whole batch, so XLA inserts the reductions over devices. Where parameters are too large
for one device, ``data_mesh(fsdp=4)`` has a second axis over which :func:`fully_sharded` splits them:

    layout = fully_sharded(mesh, state)
    state, step = place(layout, state), held(step, layout)
"""

import os
import pickle
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from geodl._core.locks import held_file
from geodl.train.loop import Step, TrainState


T = TypeVar("T")


def initialize(
    coordinator: str | None = None, processes: int | None = None, index: int | None = None
) -> None:
    """Join the other processes of this run; nothing to do where there is only one.

    On clusters that JAX knows (TPU pods, Slurm, ...) they are found without help; elsewhere by the arguments, or by
    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, which are then all needed. Call it before any other
    JAX computation.

    Args:
        coordinator: host and port of the process 0, as ``localhost:8476``.
        processes: their number.
        index: of this one, from 0 on.

    Raises:
        RuntimeError: this process of that run is going on already on this machine.
        ValueError: some of the three are known, and not all.
    """
    if jax.distributed.is_initialized():
        return
    names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    known = {name: os.environ[name] for name in names if name in os.environ}
    given = zip(names, (coordinator, processes, index), strict=True)
    known |= {name: str(value) for name, value in given if value is not None}
    missing = [name for name in names if name not in known]
    if not missing:
        _join(*(known[name] for name in names))
    elif len(missing) < len(names):
        raise ValueError(f"{', '.join(missing)} must be set too, for a run of several processes")
    else:
        try:
            jax.distributed.initialize()
        except ValueError as error:  # no cluster found: a single process
            if "coordinator_address should be defined" not in str(error):
                raise


def _join(coordinator: str, processes: str, index: str) -> None:
    """Another process of one number would end both runs: its file is held until this one ends."""
    user = getattr(os, "getuid", int)()  # Windows has none
    name = f"geodl-{user}-{coordinator.replace(':', '-')}-{index}.lock"
    path, what = Path(tempfile.gettempdir()) / name, f"process {index} of the run at {coordinator}"
    with ExitStack() as held:
        held.enter_context(held_file(path, what, "coordinator"))
        jax.distributed.initialize(coordinator, int(processes), int(index))
        _joined.push(held.pop_all())


_joined = ExitStack()


def data_mesh(devices: Sequence[Any] | None = None, fsdp: int = 1) -> Mesh:
    """The axis ``data``, along which batches are split, and ``fsdp``, along which parameters may be as well.

    Args:
        devices: by default all of all processes.
        fsdp: devices that share one copy of the state.

    Returns:
        The mesh, of shape (number of devices / fsdp, fsdp).

    Raises:
        ValueError: fsdp does not divide the number of devices.
    """
    count = jax.device_count() if devices is None else len(devices)
    if fsdp < 1 or count % fsdp:
        raise ValueError(f"data_mesh: fsdp must divide the {count} devices, got {fsdp}")
    axes = (AxisType.Auto,) * 2
    return jax.make_mesh((count // fsdp, fsdp), ("data", "fsdp"), axis_types=axes, devices=devices)


def batch_sharding(mesh: Mesh | AbstractMesh) -> NamedSharding:
    """A leading axis of rows split over all devices, along both axes.

    Returns:
        The sharding.
    """
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def fully_sharded(mesh: Mesh | AbstractMesh, state: TrainState) -> TrainState:
    """Where each leaf of a state lies: matrices among parameters and optimizer state split along ``fsdp``.

    Of the axes that ``fsdp`` divides the longest is split. Vectors and all the rest are on every device, as is
    everything where the mesh has ``fsdp=1``.

    Returns:
        A sharding for each leaf.
    """
    parts = mesh.shape["fsdp"]

    def leaf(a: Any) -> NamedSharding:
        axes = [i for i, n in enumerate(a.shape) if a.ndim > 1 and n % parts == 0]
        split = max(axes, key=lambda i: a.shape[i], default=0)
        spec = [*[None] * split, "fsdp"] if axes and parts > 1 else []
        return NamedSharding(mesh, PartitionSpec(*spec))

    everywhere = jax.tree.map(lambda a: NamedSharding(mesh, PartitionSpec()), state)
    split = jax.tree.map(leaf, (state.params, state.opt_state))
    return everywhere._replace(params=split[0], opt_state=split[1])


def place(layout: Any, tree: T) -> T:
    """The tree laid out so; every process must pass the same values.

    Args:
        layout: one sharding, or a tree of them.
        tree: of arrays that every process has whole.

    Returns:
        The tree.
    """
    # device_put cannot place PRNG keys on devices of other processes.
    return jax.jit(lambda tree: tree, out_shardings=layout)(tree)


def held(step: Step, layout: Any) -> Step:
    """The step, its state laid out so after each call, and its metrics on every device.

    Returns:
        A step.
    """
    everywhere = NamedSharding(layout.step.mesh, PartitionSpec())

    def laid_out(state: TrainState, data: Any) -> Any:
        state, metrics = step(state, data)
        return jax.lax.with_sharding_constraint(
            (state, metrics), (layout, jax.tree.map(lambda _: everywhere, metrics))
        )

    return laid_out


def replicate(mesh: Mesh, tree: T) -> T:
    """The same values on every device; every process must pass the same.

    Returns:
        The tree, replicated.
    """
    return place(NamedSharding(mesh, PartitionSpec()), tree)


def fetch(mesh: Mesh, tree: T) -> T:
    """The whole of every array on this process's first device, whatever it was split over.

    Returns:
        The tree, which may be used with other arrays of this process.
    """

    def leaf(a: Any) -> jax.Array:
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(
                leaf(jax.random.key_data(a)), impl=jax.random.key_impl(a)
            )
        return jnp.asarray(np.asarray(a))

    return jax.tree.map(leaf, replicate(mesh, tree))


def shard_batch(mesh: Mesh, batch: T) -> T:
    """A global batch, split along its leading axis, from the rows that this process has loaded.

    Returns:
        The batch, sharded along both axes of the mesh.
    """
    rows = batch_sharding(mesh)
    return jax.tree.map(lambda a: jax.make_array_from_process_local_data(rows, a), batch)


def shared_map(fn: Callable[[Any], T], items: Sequence[Any]) -> list[T]:
    """``[fn(item) for item in items]``, the items dealt out to the processes of the run.

    All of them get all results, which must be ones that can be pickled; ``fn`` works with arrays of its own process.

    Returns:
        The results, in the order of the items.
    """
    count, first = jax.process_count(), jax.process_index()
    mine = [fn(item) for item in items[first::count]]
    if count == 1:
        return mine
    from jax.experimental.multihost_utils import process_allgather

    content = np.frombuffer(pickle.dumps(mine), np.uint8)
    sizes = process_allgather(np.asarray(len(content)))
    rows = process_allgather(np.pad(content, (0, sizes.max() - len(content))))
    lists = [pickle.loads(row[:size].tobytes()) for row, size in zip(rows, sizes, strict=True)]
    return [lists[i % count][i // count] for i in range(len(items))]


def wait_for_all() -> None:
    """Return when every process of the run has come here; for what one of them writes and others read."""
    shared_map(int, range(jax.process_count()))
