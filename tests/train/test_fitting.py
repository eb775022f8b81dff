import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl import train
from tests.train import killed
from tests.train.problem import CHUNK, OPTIMIZER, RUN, data, initial, step_on_data


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
    """``run`` that dies when it has done so many chunks."""
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
    file = largest(checkpoint)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def lose_a_file(checkpoint):
    largest(checkpoint).unlink()


def truncate_metadata(checkpoint):
    (checkpoint / "state" / "_METADATA").write_text("{")


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def leave_a_folder(checkpoint):
    shutil.rmtree(checkpoint)
    checkpoint.mkdir()


@pytest.fixture
def collected():
    gc.freeze()  # what is older need not be looked through
    yield
    gc.collect()
    gc.unfreeze()


def passed_over(test):
    """Orbax leaves coroutines behind when it can't read a file: they are collected within the test."""
    ignored = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    return pytest.mark.usefixtures("collected")(ignored(test))


@passed_over
@pytest.mark.parametrize("damage", [truncate, lose_a_file, truncate_metadata, leave_a_folder])
def test_a_broken_checkpoint_is_passed_over(unbroken, tmp_path, damage):
    with pytest.raises(Killed):
        fit(killed_after(RUN, 4), tmp_path)
    damage(tmp_path / "checkpoints" / "20")
    left = contents(tmp_path / "checkpoints" / "20")
    with (
        pytest.warns(UserWarning, match=r"checkpoints/20 is broken and passed over: \w*Error: "),
        pytest.warns(UserWarning, match=r"20 was passed over, it is kept as .*20\.passed-over-1"),
    ):
        resumed = fit(RUN, tmp_path)
    assert_identical(resumed, unbroken)
    assert logged(tmp_path) == resumed[1]
    assert contents(tmp_path / "checkpoints" / "20.passed-over-1") == left


@passed_over
@pytest.mark.slow
def test_a_truncated_file_is_noticed_or_was_not_needed(tmp_path):
    """Every file of a checkpoint, cut anywhere."""
    state = initial(jax.random.key(0))
    state.params["large"] = jax.random.normal(jax.random.key(1), (300, 100))
    train.save(tmp_path / "whole", 1, state)
    rng = np.random.default_rng(0)
    files = [f for f in (tmp_path / "whole" / "1").rglob("*") if f.is_file() and f.stat().st_size]
    for i, file in enumerate(f for f in files for _ in range(4)):
        copy = tmp_path / str(i)
        shutil.copytree(tmp_path / "whole", copy)
        cut = copy / file.relative_to(tmp_path / "whole")
        cut.write_bytes(file.read_bytes()[: rng.integers(file.stat().st_size)])
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                found = train.restore(copy, state)
            except train.CheckpointError:
                assert any("is broken" in str(w.message) for w in warned)
            else:
                assert_identical((found[1], []), (state, []))


def leave_unfinished(checkpoint):
    """As a kill in a save leaves it."""
    checkpoint.rename(checkpoint.with_name(checkpoint.name + ".orbax-checkpoint-tmp"))


def test_an_unfinished_checkpoint_is_none(unbroken, tmp_path):
    with pytest.raises(Killed):
        fit(killed_after(RUN, 2), tmp_path)
    leave_unfinished(tmp_path / "checkpoints" / "10")
    assert train.restore(tmp_path, initial(jax.random.key(0)))[0] == 5
    leave_unfinished(tmp_path / "checkpoints" / "5")
    assert train.restore(tmp_path, initial(jax.random.key(0))) is None
    assert_identical(fit(RUN, tmp_path), unbroken)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["20", "25", "30"]


@passed_over
def test_no_whole_checkpoint(unbroken, tmp_path):
    with pytest.raises(Killed):
        fit(killed_after(RUN, 2), tmp_path)
    for checkpoint in (tmp_path / "checkpoints").iterdir():
        truncate(checkpoint)
    for attempt in (lambda: fit(RUN, tmp_path), lambda: train.load(tmp_path)):
        with (
            pytest.warns(UserWarning, match="is broken"),
            pytest.raises(train.CheckpointError, match=r"no whole checkpoint in .*delete it"),
        ):
            attempt()


def test_a_checkpoint_of_another_model(tmp_path):
    fit(RUN, tmp_path, steps=5)
    other = initial(jax.random.key(0))
    other.params["out"] = jnp.zeros(17)
    with pytest.raises(ValueError, match="another model") as error:
        train.restore(tmp_path / "checkpoints", other)
    assert str(error.value).splitlines() == [
        f"checkpoint {tmp_path}/checkpoints/5 is of another model, it differs in params/out:",
        "  the checkpoint has float32[16]",
        "  the state asked for has float32[17]",
    ]
    other.params["more"] = jnp.zeros(3)
    with pytest.raises(ValueError, match=r"differs in params/more \(and 1 more\):\n.*no such leaf"):
        train.restore(tmp_path / "checkpoints", other)
    with pytest.raises(ValueError, match="already been trained for 5 steps, asked for 4"):
        fit(RUN, tmp_path, steps=4)
    assert train.restore(tmp_path / "elsewhere", other) is None


def test_foreign_checkpoints_are_passed_over_and_stay(unbroken, tmp_path):
    """Their names are told, the one before is used, and no later save deletes them."""
    with pytest.raises(Killed):
        fit(killed_after(RUN, 2), tmp_path)
    for step in (3, 15, 25):
        train.save(tmp_path / "elsewhere", step, {"a": jnp.full(3, step)})
        shutil.move(tmp_path / "elsewhere" / str(step), tmp_path / "checkpoints" / str(step))
    with (
        pytest.warns(UserWarning, match=r"passed over: checkpoint .*/25 is of another model"),
        pytest.warns(UserWarning, match=r"/15 was passed over, it is kept as .*/15.passed-over-1"),
        pytest.warns(UserWarning, match=r"/25 was passed over, it is kept as .*/25.passed-over-1"),
    ):
        assert_identical(fit(RUN, tmp_path), unbroken)
    for step, name in ((3, "3"), (15, "15.passed-over-1"), (25, "25.passed-over-1")):
        shutil.copytree(tmp_path / "checkpoints" / name, tmp_path / "kept" / str(step))
        assert (train.load(tmp_path / "kept", "a") == step).all()
    assert fit(RUN, tmp_path)[1] == logged(tmp_path)  # nothing to pass over any more


def test_steps_go_on_while_a_checkpoint_is_written(tmp_path, monkeypatch):
    """What is written is the state that was given, whatever the steps make of its memory."""
    from orbax.checkpoint import v1 as ocp

    double = jax.jit(lambda state: jax.tree.map(lambda a: 2 * a, state), donate_argnums=0)
    state = double({str(i): jnp.full((300, 1000), 1.0 + i) for i in range(3)})
    waited = threading.Event()
    begin = ocp.save_async

    class Held:
        def __init__(self, writing):
            self.writing = writing

        def result(self):
            waited.set()
            return self.writing.result()

    monkeypatch.setattr(ocp, "save_async", lambda *args, **options: Held(begin(*args, **options)))
    with train.CheckpointWriter(tmp_path) as writer:
        writer.save(1, state)
        for _ in range(5):
            state = double(state)
        assert not waited.is_set()
        writer.save(2, state)  # one at a time
        assert waited.is_set() and (tmp_path / "1").is_dir()
    like = {str(i): jnp.zeros((300, 1000)) for i in range(3)}
    step, found = train.restore(tmp_path, like)
    assert step == 2 and all((found[str(i)] == 64 * (1.0 + i)).all() for i in range(3))
    shutil.rmtree(tmp_path / "2")
    step, found = train.restore(tmp_path, like)
    assert step == 1 and all((found[str(i)] == 2 * (1.0 + i)).all() for i in range(3))


@pytest.mark.parametrize("error", [Killed, KeyboardInterrupt, SystemExit])
def test_what_is_begun_is_waited_for(tmp_path, error):
    def writes():
        with train.CheckpointWriter(tmp_path, keep=1, best=tmp_path / "best") as writer:
            writer.save(1, {"a": jnp.ones(3)}, best=True)
            writer.save(2, {"a": jnp.ones((1000, 1000))})
            writer.save(3, {"a": jnp.zeros((1000, 1000))})
            raise error

    with pytest.raises(error):
        writes()
    # the first is of another state, and not of those of which one is kept
    assert {p.name for p in tmp_path.iterdir()} == {"1", "3", "best"}
    assert (train.load(tmp_path, "a") == 0).all() and (
        train.load(tmp_path / "best", "a") == 1
    ).all()


def test_two_runs_in_one_folder(unbroken, tmp_path):
    with train.lock(tmp_path / ".lock", "training"):
        with pytest.raises(
            RuntimeError,
            match=rf"training in {tmp_path} is going on already, in .* {os.getpid()} on",
        ):
            fit(RUN, tmp_path)
        assert not (tmp_path / "metrics.jsonl").exists()
    assert_identical(fit(RUN, tmp_path), unbroken)


@pytest.fixture
def small_disk(tmp_path):
    """Of two megabytes; a function that mounts it anew, as mount's options say."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no right to mount a small disk")

    mount("size=2m")
    yield folder, mount
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder):
    with (folder / "filling").open("wb", buffering=0) as file:
        with pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
    return folder / "filling"


@passed_over
def test_a_disk_that_is_full_at_the_last_save(small_disk):
    """The error comes, although the writing went on beside the steps."""
    disk, _ = small_disk
    state = {"a": jax.random.normal(jax.random.key(0), (200, 1000))}
    with pytest.raises(train.CheckpointError, match=f"checkpoint {disk}/9 is not written, those"):
        with train.CheckpointWriter(disk) as writer:
            writer.save(8, state)
            writer.wait()
            fill(disk)
            writer.save(9, state)
    assert {p.name for p in disk.iterdir()} == {"8", "filling"}


@passed_over
def test_a_full_disk_and_one_that_is_read_only(unbroken, small_disk):
    disk, mount = small_disk
    fit(RUN, disk, steps=10)
    filling = fill(disk)
    with pytest.raises((OSError, train.CheckpointError), match=rf"(?s){disk}.*(stays?|space)"):
        fit(RUN, disk, steps=20)
    assert {p.name for p in (disk / "checkpoints").iterdir()} == {"5", "10"}
    with pytest.raises(OSError, match="stays"):
        train.write_text(disk / "table.md", "x" * 10_000)
    assert not list(disk.glob("*.part"))
    filling.unlink()
    mount("remount,ro,size=2m")
    with pytest.raises(OSError, match=rf"Read-only file system: '{disk}"):
        fit(RUN, disk)
    assert train.restore(disk, initial(jax.random.key(0)))[0] == 10
    mount("remount,rw,size=2m")
    assert_identical(fit(RUN, disk), unbroken)


def test_the_folder_given_to_fit_is_enough(tmp_path):
    state, _ = fit(RUN, tmp_path, steps=10)
    step, found = train.restore(tmp_path, initial(jax.random.key(0)))
    assert step == 10
    assert_identical((found, []), (state, []))


def test_a_folder_of_other_things_is_told(tmp_path):
    for name in ("checkpoint", "7.txt", "-1", "007"):
        (tmp_path / name).mkdir()
    (tmp_path / "8").write_text("a file")
    with pytest.warns(
        UserWarning, match=r"no checkpoint in .*, but -1, 007, 7\.txt, 8, checkpoint"
    ):
        assert train.restore(tmp_path, {"a": jnp.ones(3)}) is None
    train.save(tmp_path, 6, {"a": jnp.ones(3)})
    assert train.restore(tmp_path, {"a": jnp.ones(3)})[0] == 6  # and the others stay
    assert len(list(tmp_path.iterdir())) == 6


def test_parameters_alone(tmp_path):
    state, _ = fit(RUN, tmp_path, steps=10)
    for folder in (tmp_path, tmp_path / "checkpoints", str(tmp_path)):
        params = train.load(folder)
        assert params.keys() == state.params.keys()
        jax.tree.map(np.testing.assert_array_equal, params, dict(state.params))
    assert train.load(tmp_path, "step") == 10
    np.testing.assert_array_equal(train.load(tmp_path, "params/out"), state.params["out"])
    with pytest.raises(ValueError, match=r"has no 'params/average'; params has hidden, out"):
        train.load(tmp_path, "params/average")
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint in .*elsewhere"):
        train.load(tmp_path / "elsewhere")


def test_average_alone(tmp_path):
    optimizer = train.with_ema(OPTIMIZER, 0.9)
    state = train.init({"a": jnp.arange(3.0)}, optimizer, jax.random.key(0))
    train.save(tmp_path, 1, state)
    average = train.load(tmp_path, "opt_state/average")
    np.testing.assert_array_equal(average["a"], [0.0, 1.0, 2.0])


LEAVES = {
    "empty": jnp.zeros((0, 3)),
    "keys": jax.random.split(jax.random.key(0), 0),
    "int": 3,
    "float": 0.5,
    "bool": True,
    "text": "relu",
    "scalar": np.float32(2.5),
    "bf16": jnp.ones(3, jnp.bfloat16),
    "numpy": np.arange(3),
    "none": None,
    "pair": (jnp.ones(2), ()),
}


@pytest.mark.parametrize("number", [0, 10.0, np.int64(10), jnp.int32(10)], ids=str)
def test_any_leaf_and_any_whole_step(tmp_path, number):
    for leaves in ({"empty": LEAVES["empty"]}, LEAVES):
        train.save(tmp_path, number, leaves)
        step, found = train.restore(tmp_path, leaves)
        assert step == int(number) and type(step) is int
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(leaves), strict=True):
            assert type(a) is type(b) and np.shape(a) == np.shape(b)
            if np.size(a):
                np.testing.assert_array_equal(a, b)
        assert jax.tree.structure(found) == jax.tree.structure(leaves)


@pytest.mark.parametrize("number", [-1, 10.5, np.nan])
def test_a_step_is_a_whole_number(tmp_path, number):
    with pytest.raises(ValueError, match=f"step must be a whole number from 0 on, got {number}"):
        train.save(tmp_path, number, LEAVES)
    with pytest.raises(ValueError, match="keep must be a whole number from 1 on, got 0"):
        train.save(tmp_path, 1, LEAVES, keep=0)


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
    """kill -9 some time after the run has printed ``line``."""
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


def kill_in_a_write(folder):
    """kill -9 while a checkpoint is there in part."""
    with start(folder) as process:
        while process.poll() is None:
            if unfinished(folder):
                process.send_signal(signal.SIGSTOP)
                if unfinished(folder):
                    process.kill()
                    break
                process.send_signal(signal.SIGCONT)
            time.sleep(1e-4)
    assert unfinished(folder)


def unfinished(folder):
    return list(folder.glob("checkpoints/*.orbax-checkpoint-tmp"))


def check_killed(tmp_path, moments, writes=1):
    unbroken = killed.main(tmp_path / "unbroken", announce=lambda _: None)
    for _ in range(writes):
        kill_in_a_write(tmp_path / "killed")
    for line, delay in moments:
        kill_at_random(tmp_path / "killed", line, delay)
    resumed = killed.main(tmp_path / "killed", announce=lambda _: None)
    assert_identical(resumed[:2], unbroken[:2])
    for a, b in zip(resumed[2], unbroken[2], strict=True):
        np.testing.assert_array_equal(a["score"], b["score"])


def test_kill_9(tmp_path):
    """In a write, in training, in an evaluation."""
    training = f"chunk {CHUNK * random.randint(3, 14)}", random.uniform(0, 0.1)
    check_killed(tmp_path, [training, ("evaluation 8", random.uniform(0, 0.01))])


@pytest.mark.slow
def test_kill_9_again_and_again(tmp_path):
    """Twenty times: in a step, in the writing of a checkpoint, in an evaluation."""
    training = [(f"chunk {i * CHUNK}", random.uniform(0, 0.15)) for i in range(4, 14)]
    evaluation = [(f"evaluation {i}", random.uniform(0, 0.01)) for i in range(4, 36, 4)]
    check_killed(tmp_path, training + evaluation, writes=2)


@pytest.mark.parametrize("scores", [(3.0, 1.0, np.nan, 2.0), (np.nan, 1.0, 4.0, np.nan)])
def test_the_best_state_is_kept(tmp_path, scores):
    """The state of the least score, also when the run is killed and goes on, whatever is NaN."""

    def evaluate(state):
        return {"score": scores[int(state.step) // 10 - 1]}

    options = {"chunk": 10, "evaluate": evaluate, "best": "score"}
    with pytest.raises(Killed):
        fit(killed_after(RUN, 3), tmp_path, 40, **options)
    state, _ = fit(RUN, tmp_path, 40, **options)
    step, best = train.restore(tmp_path / "best", state)
    assert step == 20 == int(best.step)
    # killed between a checkpoint and its copy among the best
    for folder in ("best/20", "checkpoints/30", "checkpoints/40"):
        shutil.rmtree(tmp_path / folder)
    fit(RUN, tmp_path, 40, **options)
    assert train.restore(tmp_path / "best", state)[0] == 20


def test_the_best_may_be_a_metric(tmp_path):
    _, history = fit(RUN, tmp_path, 30, best="loss", save_every=2)
    least = min(history, key=lambda record: record["loss"])
    assert train.restore(tmp_path / "best", initial(jax.random.key(0)))[0] == least["step"]
    with pytest.raises(ValueError, match=r"best: no single number 'los' in the log's \['cpu_sec"):
        fit(RUN, tmp_path / "other", 5, best="los")


def test_metrics_of_any_names_and_types(tmp_path):
    """bf16 is averaged in double precision; no loss is needed; numpy's numbers are numbers."""

    def run(state, data, n):
        metrics = {"nats": np.ones(n, jnp.bfloat16), "count": np.full(n, True)}
        return state._replace(step=state.step + n), metrics

    _, history = fit(
        run,
        tmp_path,
        np.int64(2000),
        chunk=np.int64(1000),
        evaluate=lambda state: {"score": jnp.bfloat16(0.5)},
        progress=True,
    )
    assert [record["nats"] for record in history] == [1.0, 1.0]
    assert history[1]["score"] == 0.5 and history[1]["count"] == 1.0
    assert history == logged(tmp_path)


def test_a_run_without_metrics(tmp_path):
    def run(state, data, n):
        return state._replace(step=state.step + n), {}

    state, history = fit(run, tmp_path, 10)
    assert state.step == 10 and len(history) == 2


@pytest.mark.parametrize("name", ["chunk", "save_every"])
def test_chunks_have_a_length(tmp_path, name):
    with pytest.raises(ValueError, match="chunk and save_every must be at least 1, got"):
        fit(RUN, tmp_path, **{name: 0})


def test_what_is_no_checkpoint_is_not_overwritten(tmp_path):
    (tmp_path / "7").write_text("precious")
    with pytest.raises(train.CheckpointError, match="it is not overwritten"):
        train.save(tmp_path, 7, {"x": jnp.ones(2)})
    assert (tmp_path / "7").read_text() == "precious"


def test_empty_arrays_are_loaded(tmp_path):
    train.save(tmp_path, 1, {"params": {"a": jnp.ones(2), "b": [jnp.zeros((0, 3), jnp.int32)]}})
    (empty,) = train.load(tmp_path)["b"]
    assert empty.shape == (0, 3) and empty.dtype == jnp.int32
