"""Compiled steps on two and on eight devices, as a JSON line: ``python -m tests.multidevice.programs NAME ...``."""

import json
import sys
from functools import partial

import jax

from experiments import _devices
from geodl import distributions, flows, train
from geodl.manifolds import Sphere
from geodl.train import lowering
from tests.export.laid_out import laid_out, over
from tests.flagships import EVALUATIONS, TRAININGS, field, matching


MADE = TRAININGS | EVALUATIONS | {"matching": partial(matching, width=256)}


def drawn(mesh):
    """Samples with their log-densities, that an evaluation draws itself."""
    vectors, base = field(), distributions.Uniform(Sphere(2))

    def sample(params, key):
        flow = flows.ContinuousFlow(base, vectors, params, flows.RK4(4))
        return _devices.over_devices(flow.sample_and_log_prob(seed=key, sample_shape=64))

    with over(mesh):
        lowered = jax.jit(sample).lower(vectors.init(jax.random.key(0)), jax.random.key(1))
        return lowering.compiled(lowered.compile())


def main(*names):
    """By name and mesh, as "2x1", what one device does and holds."""
    meshes = (train.data_mesh(jax.devices()[:n]) for n in (2, 8))
    found = {"drawn": {f"{mesh.size}x1": drawn(mesh)._asdict() for mesh in meshes}}
    for name in names or ["matching"]:
        for data, fsdp in ((2, 1), (8, 1), (2, 4)):
            mesh = train.data_mesh(jax.devices()[: data * fsdp], fsdp)
            with over(mesh):
                step, arguments = laid_out(MADE[name](), mesh)
                program = lowering.compiled(jax.jit(step).lower(*arguments).compile())
            found.setdefault(name, {})[f"{data}x{fsdp}"] = program._asdict()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
