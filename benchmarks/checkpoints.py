"""How long a checkpoint stops the steps: written before they go on, and beside them.

``python benchmarks/checkpoints.py [--saves 20] [--megabytes 50]``: a state of random float32 matrices on a disk of this
machine; saves of both kinds take turns, and steps follow each until it is written. Wall time, as waiting is what
counts: median and least.
"""

import argparse
import datetime
import os
import tempfile
import time


os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
from _report import cpu_name, revision, table

from geodl import train


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--saves", type=int, default=20, help="of each kind")
    parser.add_argument("--megabytes", type=int, default=50, help="of the state")
    asked = parser.parse_args()
    count = asked.megabytes * 10**6 // (4 * 1024**2)
    keys = jax.random.split(jax.random.key(0), count)
    state = [jax.random.normal(key, (1024, 1024)) for key in keys]
    step = jax.jit(lambda state: jax.tree.map(lambda a: 0.999 * a, state), donate_argnums=0)
    stopped = {"blocking": [], "beside the steps": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        train.CheckpointWriter(f"{folder}/beside") as writer,
    ):
        for i in range(asked.saves + 1):
            for kind, times in stopped.items():
                state = jax.block_until_ready(step(state))
                started = time.perf_counter()
                if kind == "blocking":
                    train.save(f"{folder}/blocking", i, state)
                else:
                    writer.save(i, state)
                times.append(time.perf_counter() - started)
                for _ in range(10):
                    state = step(state)
                jax.block_until_ready(state)
                writer.wait()
    rows = [
        [kind, *(f"{1e3 * f(times[1:]):.1f}" for f in (np.median, np.min))]
        for kind, times in stopped.items()
    ]
    print(
        f"A state of {count * 4.194304:.0f} MB, {asked.saves} saves of each kind in turns; {cpu_name()}, "
        f"load {os.getloadavg()[0]:.0f}, {datetime.date.today()}, revision {revision()}:\n"
    )
    print(table(["save", "median, ms", "least, ms"], rows))


if __name__ == "__main__":
    main()
