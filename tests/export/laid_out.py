"""Flagship steps and the shapes of their arguments, laid out over a mesh as experiments do it."""

from contextlib import contextmanager

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from experiments import _devices
from geodl import train
from geodl.train import lowering
from tests.flagships import EVALUATIONS, TRAININGS, Evaluation


# by platform the devices along data and fsdp: 8 and 256 of them
LAYOUTS = [("tpu", (8, 1)), ("cuda", (64, 4))]


def abstract_mesh(*shape):
    """Of devices that need not be there."""
    return AbstractMesh(shape, ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)


@contextmanager
def over(mesh):
    """Experiments use the mesh."""
    previous, _devices._mesh = _devices._mesh, mesh
    try:
        yield
    finally:
        _devices._mesh = previous


def laid_out(made, mesh):
    """The step of a training or evaluation, made within ``over(mesh)``, and its arguments."""
    everywhere = NamedSharding(mesh, PartitionSpec())
    if isinstance(made, Evaluation):
        f, params, samples = made
        samples = jax.tree.map(lambda a: np.broadcast_to(a[:1], (mesh.size, *a.shape[1:])), samples)
        rows = lowering.abstract(samples, train.batch_sharding(mesh))
        return f, (lowering.abstract(params, everywhere), rows)
    step, state, data, _ = made
    layout = train.fully_sharded(mesh, state)
    arguments = lowering.abstract(state, layout), lowering.abstract(data, everywhere)
    return train.held(step, layout), arguments


def lowered(name, shape, platform):
    """A flagship's program."""
    mesh = abstract_mesh(*shape)
    with over(mesh):
        step, arguments = laid_out((TRAININGS | EVALUATIONS)[name](), mesh)
        return lowering.lower(step, *arguments, platform=platform)
