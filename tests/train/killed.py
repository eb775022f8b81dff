"""A run to be killed: `python -m tests.train.killed FOLDER` says how far it has come."""

import sys

import jax

from geodl import train
from tests.train.problem import data, initial, step_on_data


STEPS, CHUNK = 60, 4


def main(folder, announce=print):
    """Train, announcing each chunk, then evaluate; what a run ends with."""
    step = jax.vmap(step_on_data(), in_axes=(0, None))
    run = train.chunked(step)
    start = jax.vmap(initial)(jax.random.split(jax.random.key(0), 2))

    def spoken(state, data, n):
        state, metrics = run(state, data, n)
        announce(f"chunk {int(state.step[0])}")
        return state, metrics

    state, history = train.fit(spoken, start, data(), STEPS, folder, chunk=CHUNK, progress=False)

    def evaluate(seed):
        announce(f"evaluation {seed}")
        x = data(jax.random.key(seed))[0]
        return {"mean": jax.vmap(lambda w: x @ w["hidden"] @ w["out"])(state.params).mean(1)}

    results = train.resumable_map(
        evaluate, range(12), f"{folder}/evaluation", depends=state.params, progress=False
    )
    return state, history, results


if __name__ == "__main__":
    main(sys.argv[1], announce=lambda line: print(line, flush=True))
