import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from geodl import train
from tests.train.problem import (
    BATCH,
    CHUNK,
    RUN,
    RUN_SEEDS,
    SIZE,
    data,
    initial,
    seeds,
    step_on_data,
)


def assert_equal(a, b, **tolerance):
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, **{"rtol": 0, "atol": 0, **tolerance}),
        *((s.params, s.opt_state, s.step) for s in (a, b)),
    )


def test_a_step_is_a_gradient_step():
    def square(params, batch, key):
        return jnp.sum(batch * params**2), {"batch": batch.sum()}

    optimizer = optax.sgd(0.1)
    state = train.init(jnp.array([1.0, 2.0]), optimizer, jax.random.key(0))
    state, metrics = train.make_step(square, optimizer)(state, jnp.array([1.0, 3.0]))
    np.testing.assert_allclose(state.params, [0.8, 0.8], rtol=1e-6)
    assert metrics == {"loss": 13.0, "batch": 4.0}
    assert state.step == 1


@pytest.mark.parametrize("size", [2, 53])
def test_shuffled_is_a_permutation_and_read_anywhere(size):
    @jax.jit
    def draw(key):
        last_and_first = jnp.array([size - 1, 0])
        return (
            train.shuffled(key, jnp.arange(size), size),
            train.shuffled(key, last_and_first, size),
        )

    whole, part = draw(jax.random.key(1))
    np.testing.assert_array_equal(np.sort(whole), np.arange(size))
    np.testing.assert_array_equal(part, whole[np.array([size - 1, 0])])


def test_shuffled_is_uniform():
    draws, size = 24_000, 4
    keys = jax.random.split(jax.random.key(1), draws)
    orders = jax.jit(jax.vmap(lambda key: train.shuffled(key, jnp.arange(size), size)))(keys)
    counts = np.unique(orders @ np.array([64, 16, 4, 1]), return_counts=True)[1]
    assert len(counts) == 24
    assert np.sum((counts - 1000.0) ** 2) / 1000 < 49.7  # chi-squared of 23, one in a thousand
    size = 61
    orders = jax.jit(jax.vmap(lambda key: train.shuffled(key, jnp.array([0, 1]), size)))(keys)
    pairs = np.zeros((size, size))
    np.add.at(pairs, tuple(np.asarray(orders).T), 1)
    expected = draws / (size * (size - 1))
    off_diagonal = pairs[~np.eye(size, dtype=bool)]
    assert np.trace(pairs) == 0
    assert np.sum((off_diagonal - expected) ** 2) / expected < 3934  # of 3659, one in a thousand


def rows_of_epoch(epoch, drop_last, batch_size=BATCH):
    """The rows and weights which the steps of an epoch see."""
    per_epoch = train.steps_per_epoch(SIZE, batch_size, drop_last)
    step = train.on_minibatches(
        lambda state, batch: (state, batch._asdict()), batch_size, drop_last
    )
    state = train.init((), optax.sgd(1.0), jax.random.key(3))
    steps = epoch * per_epoch + jnp.arange(per_epoch)
    draw = jax.jit(jax.vmap(lambda i: step(state._replace(step=i), jnp.arange(SIZE))[1]))
    drawn = draw(steps)
    return np.ravel(drawn["data"]), np.ravel(drawn["weight"])


def test_an_epoch_shows_each_row_once():
    first, weight = rows_of_epoch(0, drop_last=False)
    assert len(first) == 56 and weight.sum() == SIZE
    np.testing.assert_array_equal(np.sort(first[weight == 1]), np.arange(SIZE))
    second, weight = rows_of_epoch(1, drop_last=False)
    np.testing.assert_array_equal(np.sort(second[weight == 1]), np.arange(SIZE))
    assert (first != second).any()


def test_drop_last_shows_whole_batches_only():
    rows, weight = rows_of_epoch(0, drop_last=True)
    assert len(set(rows.tolist())) == len(rows) == 48
    np.testing.assert_array_equal(weight, 1)


def test_a_batch_larger_than_the_data():
    rows, weight = rows_of_epoch(0, drop_last=False, batch_size=100)
    np.testing.assert_array_equal(np.sort(rows[weight == 1]), np.arange(SIZE))


def test_bad_data_is_named():
    state = initial(jax.random.key(0))
    with pytest.raises(ValueError, match="no batch of 8 in 5 items, drop_last=True"):
        step_on_data(drop_last=True)(state, (jnp.zeros((5, 3)), jnp.zeros(5)))
    with pytest.raises(ValueError, match=r"share their leading axis, got \[5, 6\]"):
        step_on_data()(state, (jnp.zeros((5, 3)), jnp.zeros(6)))


def test_scan_and_host_loop_give_the_same_numbers():
    step = jax.vmap(step_on_data(), in_axes=(0, None))
    scanned, metrics = RUN_SEEDS(seeds(), data(), CHUNK)
    looped, metrics_looped = train.chunked(step, convolutional=True)(seeds(), data(), CHUNK)
    assert_equal(scanned, looped, rtol=1e-5, atol=1e-7)
    assert metrics["loss"].shape == (CHUNK, 2)
    for name in ("loss", "items"):
        np.testing.assert_allclose(metrics[name], metrics_looped[name], rtol=1e-5)


def test_seeds_by_vmap_are_single_runs_each_with_its_own_data():
    keys = jax.random.split(jax.random.key(2), 3)
    together = train.chunked(jax.vmap(step_on_data()))
    states, _ = together(jax.vmap(initial)(keys), jax.vmap(data)(keys), 2 * CHUNK)
    for i, key in enumerate(keys):
        alone, _ = RUN(initial(key), data(key), CHUNK)
        alone, _ = RUN(alone, data(key), CHUNK)
        assert_equal(jax.tree.map(lambda a, i=i: a[i], states), alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("convolutional", [False, True])
def test_one_trace_and_the_state_is_donated(convolutional):
    traces = []

    def counting(params, target, key):
        traces.append(1)
        return jnp.sum((params - target) ** 2), {}

    optimizer = optax.sgd(0.1)
    run = train.chunked(train.make_step(counting, optimizer), convolutional)
    key = jax.random.key(0)
    first = train.init(jnp.zeros(3), optimizer, key)
    state, metrics = run(first, jnp.ones(3), 5)
    state, metrics = run(state, 2 * jnp.ones(3), 5)
    assert len(traces) == 1
    assert metrics["loss"].shape == (5,)
    assert first.params.is_deleted() and not key.is_deleted()
    assert state.step == 10


def test_chunks_of_any_length_make_the_same_run():
    one, metrics = RUN(initial(jax.random.key(0)), data(), 2 * CHUNK)
    state, first = RUN(initial(jax.random.key(0)), data(), CHUNK)
    two, second = RUN(state, data(), CHUNK)
    assert_equal(one, two, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(
        metrics["loss"], np.concatenate([first["loss"], second["loss"]]), rtol=1e-5
    )
