"""Compiled steps on two and on eight devices, as a JSON line: ``python -m tests.multidevice.programs NAME ...``."""

import json
import sys
from functools import partial

import jax

from geodl import train
from geodl.train import lowering
from tests.export.laid_out import laid_out, over
from tests.flagships import TRAININGS, matching


MADE = TRAININGS | {"matching": partial(matching, width=256)}


def main(*names):
    """By name and mesh, as "2x1", what one device does and holds."""
    found = {}
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
