"""A run to be killed: ``python -m tests.train.killed FOLDER`` says how far it has come."""

import sys

from geodl import train
from tests.train.problem import CHUNK, RUN_SEEDS, data, seeds


STEPS = 15 * CHUNK


def main(folder, announce=print):
    """Train and evaluate, announcing each chunk; what a run ends with."""
    x = data()[0]

    def run(state, data, n):
        state, metrics = RUN_SEEDS(state, data, n)
        announce(f"chunk {int(state.step[0])}")
        return state, metrics

    state, history = train.fit(run, seeds(), data(), STEPS, folder, chunk=CHUNK, progress=False)

    def evaluate(rows):
        announce(f"evaluation {rows.start}")
        return {"score": x[rows] @ state.params["hidden"]}

    results = train.cached_map(
        evaluate,
        [slice(i, i + 4) for i in range(0, 48, 4)],
        f"{folder}/evaluation",
        depends=state.params,
        progress=False,
    )
    return state, history, results


if __name__ == "__main__":
    main(sys.argv[1], announce=lambda line: print(line, flush=True))
