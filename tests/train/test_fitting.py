import json
import os
import random
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl import train
from tests.train import killed
from tests.train.problem import CHUNK, RUN, data, initial, step_on_data


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return fit(RUN, tmp_path_factory.mktemp("unbroken"))


def fit(run, folder, steps=30, **options):
    options = {"chunk": CHUNK, "progress": False, **options}
    return train.fit(run, initial(jax.random.key(0)), data(), steps, folder, **options)


def timeless(history):
    return [{k: v for k, v in record.items() if not k.endswith("seconds")} for record in history]


def assert_identical(ours, unbroken):
    for a, b in zip(jax.tree.leaves(ours[0]), jax.tree.leaves(unbroken[0]), strict=True):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)
    assert timeless(ours[1]) == timeless(unbroken[1])


def logged(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


class Killed(Exception):
    pass


def killed_after(run, chunks):
    """`run` that dies when it has done so many chunks."""
    left = [chunks]

    def dying(state, data, n):
        if not left[0]:
            raise Killed
        left[0] -= 1
        return run(state, data, n)

    return dying


def test_the_log_and_the_checkpoints(unbroken, tmp_path):
    state, history = fit(
        RUN, tmp_path, save_every=2, keep=2, evaluate=lambda state: {"norm": state.params["out"][0]}
    )
    assert [record["step"] for record in history] == [5, 10, 15, 20, 25, 30]
    assert ["norm" in record for record in history] == [False, True] * 3
    assert history == logged(tmp_path)
    assert history[-1]["loss"] < history[0]["loss"]
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["20", "30"]
    assert_identical((state, unbroken[1]), unbroken)


@pytest.mark.parametrize("chunks", [0, 1, 3, 5])
def test_a_broken_run_resumes_bit_identical(unbroken, tmp_path, chunks):
    with pytest.raises(Killed):
        fit(killed_after(RUN, chunks), tmp_path, save_every=2)
    assert_identical(fit(RUN, tmp_path, save_every=2), unbroken)
    assert logged(tmp_path) == fit(RUN, tmp_path)[1]  # a finished run is only read


def test_the_callers_state_survives(tmp_path):
    state = initial(jax.random.key(0))
    train.fit(RUN, state, data(), 5, tmp_path, chunk=5, progress=False)
    assert np.isfinite(state.params["hidden"]).all()


def test_a_line_broken_off_is_dropped(unbroken, tmp_path):
    with pytest.raises(Killed):
        fit(killed_after(RUN, 3), tmp_path)
    with open(tmp_path / "metrics.jsonl", "a") as log:
        log.write('{"step": 20, "lo')
    assert_identical(fit(RUN, tmp_path), unbroken)
    assert [record["step"] for record in logged(tmp_path)] == [5, 10, 15, 20, 25, 30]


def largest(checkpoint):
    return max((p for p in checkpoint.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def truncate(checkpoint):
    file = largest(checkpoint / "state")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_a_bit(checkpoint):
    file = largest(checkpoint / "state")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def leave_unfinished(checkpoint):
    (checkpoint / "checksums.json").unlink()


def lose_a_file(checkpoint):
    largest(checkpoint / "state").unlink()


def garble_checksums(checkpoint):
    (checkpoint / "checksums.json").write_text("{")


DAMAGES = {
    truncate: "truncated or altered",
    flip_a_bit: "truncated or altered",
    leave_unfinished: "not finished",
    lose_a_file: "is missing",
    garble_checksums: "unreadable",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_checkpoint_is_passed_over(unbroken, tmp_path, damage):
    with pytest.raises(Killed):
        fit(killed_after(RUN, 4), tmp_path)
    damage(tmp_path / "checkpoints" / "20")
    with pytest.warns(UserWarning, match=rf"checkpoints/20 is broken.*{DAMAGES[damage]}"):
        resumed = fit(RUN, tmp_path)
    assert_identical(resumed, unbroken)
    assert logged(tmp_path) == resumed[1]


def test_no_whole_checkpoint(unbroken, tmp_path):
    with pytest.raises(Killed):
        fit(killed_after(RUN, 2), tmp_path)
    for checkpoint in (tmp_path / "checkpoints").iterdir():
        truncate(checkpoint)
    with (
        pytest.warns(UserWarning, match="is broken"),
        pytest.raises(train.CheckpointError, match=r"no whole checkpoint in .*delete it"),
    ):
        fit(RUN, tmp_path)
    for checkpoint in (tmp_path / "checkpoints").iterdir():
        leave_unfinished(checkpoint)
    with pytest.warns(UserWarning, match="not finished"):
        assert_identical(fit(RUN, tmp_path), unbroken)


def test_a_checkpoint_of_another_model(tmp_path):
    fit(RUN, tmp_path, steps=5)
    other = initial(jax.random.key(0))
    other.params["out"] = jnp.zeros(17)
    with pytest.raises(
        ValueError, match=r"another model: .*params\['out'\] is float32\[16\], not float32\[17\]"
    ):
        train.restore(tmp_path / "checkpoints", other)
    with pytest.raises(ValueError, match="already been trained for 5 steps, asked for 4"):
        fit(RUN, tmp_path, steps=4)
    assert train.restore(tmp_path / "elsewhere", other) is None


def test_a_metric_that_is_not_finite_stops_the_run(tmp_path):
    def nan_at_12(state, data, n):
        state, metrics = RUN(state, data, n)
        steps = state.step - n + np.arange(n)
        return state, {**metrics, "kl": jnp.where(steps == 12, jnp.nan, metrics["loss"])}

    with pytest.raises(train.NonFiniteError, match="kl is nan at step 12; the checkpoints in"):
        fit(nan_at_12, tmp_path)
    step, state = train.restore(tmp_path / "checkpoints", initial(jax.random.key(0)))
    assert step == state.step == 10
    assert [record["step"] for record in logged(tmp_path)] == [5, 10]


def test_the_seed_that_diverged_is_named(tmp_path):
    def chunk(state, data, n):
        return state, {"loss": np.stack([np.ones(n), np.r_[1.0, np.inf, np.ones(n - 2)]], 1)}

    with pytest.raises(train.NonFiniteError, match="loss is inf at step 1, seed 1;"):
        fit(chunk, tmp_path)


def test_a_gradient_that_is_not_finite_is_never_saved(tmp_path):
    def root(params, batch, key):  # the loss is 0, its gradient infinite
        return jnp.sqrt(jnp.sum(params["out"] ** 2)), {}

    with pytest.raises(
        train.NonFiniteError, match=r"parameter \['out'\] is not finite after step 0"
    ):
        fit(train.chunked(step_on_data(root)), tmp_path, chunk=1)
    assert not (tmp_path / "checkpoints").exists()


def test_the_progress_bar_shows_rate_and_remaining_time(tmp_path, capsys):
    fit(RUN, tmp_path, progress=True)
    shown = capsys.readouterr().err
    assert "30/30" in shown and "step/s" in shown and "<" in shown and "loss=" in shown


def start(folder):
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.train.killed", str(folder)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_at_random(folder, line, delay):
    """kill -9 some time after the run has printed `line`."""
    process = start(folder)
    with process:
        for printed in process.stdout:
            if printed.strip() == line:
                break
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.kill()
        errors = process.stderr.read()
    assert process.returncode in (-9, 0), errors


def check_killed(tmp_path, moments):
    unbroken = killed.main(tmp_path / "unbroken", announce=lambda _: None)
    for line, delay in moments:
        kill_at_random(tmp_path / "killed", line, delay)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "checkpoint .* is broken", UserWarning)
        resumed = killed.main(tmp_path / "killed", announce=lambda _: None)
    assert_identical(resumed[:2], unbroken[:2])
    for a, b in zip(resumed[2], unbroken[2], strict=True):
        np.testing.assert_array_equal(a["score"], b["score"])


def test_kill_9(tmp_path):
    check_killed(tmp_path, [(f"chunk {CHUNK * random.randint(1, 14)}", random.uniform(0, 0.1))])


@pytest.mark.slow
def test_kill_9_again_and_again(tmp_path):
    training = [(f"chunk {2 * i * CHUNK}", random.uniform(0, 0.15)) for i in range(1, 6)]
    evaluation = [(f"evaluation {i}", random.uniform(0, 0.01)) for i in (4, 12, 20, 28, 36)]
    check_killed(tmp_path, training + evaluation)


def test_the_best_state_is_kept(tmp_path):
    """The state of the least score, also when the run is killed and goes on."""
    scores = {10: 3.0, 20: 1.0, 30: np.nan, 40: 2.0}

    def evaluate(state):
        return {"score": scores[int(state.step)]}

    options = {"chunk": 10, "evaluate": evaluate, "best": "score"}
    with pytest.raises(Killed):
        fit(killed_after(RUN, 3), tmp_path, 40, **options)
    state, _ = fit(RUN, tmp_path, 40, **options)
    step, best = train.restore(tmp_path / "best", state)
    assert step == 20 == int(best.step)
