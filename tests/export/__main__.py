"""What flagship steps are on accelerators, from this host: ``python -m tests.export``.

Every step is lowered for TPU and CUDA, over 8 and 256 devices. With ``--compile`` and libtpu installed the steps of the
experiments' own sizes are compiled for TPU v5e as well, without a TPU: the work, the memory, the collectives of a chip.
"""

import argparse
import os
import time
from functools import partial

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from experiments._run import markdown_table
from geodl import nn
from geodl.train import lowering
from tests.export.laid_out import LAYOUTS, laid_out, lowered, over
from tests.flagships import EVALUATIONS, TRAININGS, glow, matching, pvae


# of the experiments: the Poincaré VAE of MNIST, the flows of the Earth, the flow of MNIST
OWN_SIZES = {
    "pvae": partial(pvae, width=600, items=784),
    "matching": partial(matching, width=128, depth=3, frequencies=128),
    "glow": partial(glow, shape=(28, 28, 1), levels=((4, 8),), width=64, conditioner=nn.mixer_net),
}
CHIPS = {8: "2x4", 64: "8x8", 256: "16x16"}


def lower_all():
    """One row a program; the whole's FLOPs and bytes, before XLA has fused anything."""
    for name in sorted({*TRAININGS, *EVALUATIONS}):
        for platform, shape in LAYOUTS:
            start = time.process_time()
            program = lowered(name, shape, platform)
            assert not program.faults(), (name, program.faults())
            yield {
                "step": name,
                "platform": platform,
                "data x fsdp": "{} x {}".format(*shape),
                "MFLOP": program.flops / 1e6,
                "MB": program.bytes_accessed / 1e6,
                "CPU s": time.process_time() - start,
            }


def with_rows(made, rows):
    """The training, on data of so many rows, of which only the shapes count."""
    data = jax.tree.map(lambda a: np.broadcast_to(a[:1], (rows, *a.shape[1:])), made.data)
    order = None if made.state.order is None else np.arange(rows, dtype=np.int32)
    return made._replace(data=data, state=made.state._replace(order=order))


def compile_all(names, batch):
    """One row a program; of one chip."""
    from jax.experimental import topologies

    for name in names:
        for chips, shape in CHIPS.items():
            for fsdp in (1, 8) if chips == 64 else (1,):
                topology = topologies.get_topology_desc(f"v5e:{shape}", "tpu")
                devices = np.array(topology.devices).reshape(-1, fsdp)
                mesh = Mesh(devices, ("data", "fsdp"), axis_types=(AxisType.Auto,) * 2)
                with over(mesh):
                    made = with_rows(OWN_SIZES[name](batch=batch * chips), 60_000)
                    step, arguments = laid_out(made, mesh)
                    program = jax.jit(step).lower(*arguments).compile()
                found = lowering.compiled(program)
                yield {
                    "step": name,
                    "chips": chips,
                    "fsdp": fsdp,
                    "MFLOP": found.flops / 1e6,
                    "MB moved": found.bytes_accessed / 1e6,
                    "MB arguments": found.arguments / 1e6,
                    "MB temporary": found.temporary / 1e6,
                    "collectives": ", ".join(
                        f"{n} {kind}" for kind, (n, _) in found.collectives.items()
                    ),
                    "MB in collectives": sum(b for _, b in found.collectives.values()) / 1e6,
                }


def main():
    """Print a table, row by row on the way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compile", nargs="*", choices=OWN_SIZES, help="steps to compile for v5e")
    parser.add_argument("--batch", type=int, default=64, help="rows of a chip")
    asked = parser.parse_args()
    rows = []
    for row in lower_all() if asked.compile is None else compile_all(asked.compile, asked.batch):
        rows.append(row)
        print(*row.values(), flush=True)
    print(f"\n{markdown_table(rows)}")


if __name__ == "__main__":
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    main()
