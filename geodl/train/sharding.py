"""One machine to a pod: data-parallel training with the same code.

    initialize()                                   # joins the other processes, where there are any
    mesh = data_mesh()
    step = on_minibatches(step, batch_size, sharding=NamedSharding(mesh, P("data")))
    state, data = replicate(mesh, (state, data))

The loss is one number over the whole batch, so XLA inserts the reductions over devices.
"""

import os
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def initialize() -> None:
    """Join the other processes of this run; nothing to do where there is only one.

    On clusters that JAX knows (TPU pods, Slurm, ...) they are found without help; elsewhere by
    JAX_COORDINATOR_ADDRESS (host:port), JAX_NUM_PROCESSES and JAX_PROCESS_ID, which are then all
    needed. Call it before any other JAX computation.
    """
    if jax.distributed.is_initialized():
        return
    names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    missing = [name for name in names if name not in os.environ]
    if not missing:
        address, processes, index = (os.environ[name] for name in names)
        jax.distributed.initialize(address, int(processes), int(index))
    elif len(missing) < len(names):
        raise ValueError(f"{', '.join(missing)} must be set too, for a run of several processes")
    else:
        try:
            jax.distributed.initialize()
        except ValueError as error:  # no cluster found: a single process
            if "coordinator_address should be defined" not in str(error):
                raise


def data_mesh() -> Mesh:
    """All devices of all processes along one axis, ``data``.

    Returns:
        The mesh, of one axis named ``data``.
    """
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def replicate(mesh: Mesh, tree: Any) -> Any:
    """The same values on every device; every process must pass the same.

    Returns:
        The tree, replicated.
    """
    everywhere = NamedSharding(mesh, PartitionSpec())
    # device_put cannot place PRNG keys on devices of other processes.
    return jax.jit(lambda tree: tree, out_shardings=everywhere)(tree)


def shard_batch(mesh: Mesh, batch: Any) -> Any:
    """A global batch, split along its leading axis, from the rows that this process has loaded.

    Returns:
        The batch, sharded along ``data``.
    """
    rows = NamedSharding(mesh, PartitionSpec("data"))
    return jax.tree.map(lambda a: jax.make_array_from_process_local_data(rows, a), batch)
