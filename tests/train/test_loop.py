import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from geodl import train
from tests.train.problem import BATCH, SIZE, data, initial, loss, step_on_data


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


@pytest.mark.parametrize("size", [2, 53, 444])
def test_shuffled_is_a_permutation_and_read_anywhere(size):
    keys = jax.random.split(jax.random.key(0), 5)
    whole = jax.vmap(lambda key: train.shuffled(key, jnp.arange(size), size))(keys)
    np.testing.assert_array_equal(np.sort(whole, 1), np.broadcast_to(np.arange(size), (5, size)))
    part = train.shuffled(keys[3], jnp.array([size - 1, 0]), size)
    np.testing.assert_array_equal(part, whole[3][jnp.array([size - 1, 0])])


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
    seen = []
    step = train.on_minibatches(lambda state, batch: seen.append(batch), batch_size, drop_last)
    per_epoch = train.steps_per_epoch(SIZE, batch_size, drop_last)
    for i in range(epoch * per_epoch, (epoch + 1) * per_epoch):
        step(initial(jax.random.key(3))._replace(step=jnp.int32(i)), jnp.arange(SIZE))
    return (np.concatenate(part) for part in zip(*seen, strict=True))


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
    seeds = jax.vmap(initial)(jax.random.split(jax.random.key(0), 2))
    step = jax.vmap(step_on_data(), in_axes=(0, None))
    scanned, metrics = train.chunked(step)(jax.tree.map(jnp.copy, seeds), data(), 9)
    looped, metrics_looped = train.chunked(step, convolutional=True)(seeds, data(), 9)
    assert_equal(scanned, looped, rtol=1e-5, atol=1e-7)
    assert metrics["loss"].shape == (9, 2)
    for name in ("loss", "items"):
        np.testing.assert_allclose(metrics[name], metrics_looped[name], rtol=1e-5)


def test_seeds_by_vmap_are_single_runs_each_with_its_own_data():
    keys = jax.random.split(jax.random.key(2), 3)
    together, _ = train.chunked(jax.vmap(step_on_data()))(
        jax.vmap(initial)(keys), jax.vmap(data)(keys), 20
    )
    run = train.chunked(step_on_data())
    for i, key in enumerate(keys):
        alone, _ = run(initial(key), data(key), 20)
        assert_equal(jax.tree.map(lambda a, i=i: a[i], together), alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("convolutional", [False, True])
def test_one_trace_and_the_state_is_donated(convolutional):
    traces = []

    def counting(params, batch, key):
        traces.append(1)
        return loss(params, batch, key)

    run = train.chunked(step_on_data(counting), convolutional)
    first = initial(jax.random.key(0))
    state, metrics = run(first, data(), 5)
    state, metrics = run(state, data(), 5)
    assert len(traces) == 1
    assert metrics["loss"].shape == (5,)
    assert first.params["hidden"].is_deleted()
    assert state.step == 10


def test_chunks_of_any_length_make_the_same_run():
    run = train.chunked(step_on_data())
    one, metrics = run(initial(jax.random.key(0)), data(), 10)
    state, first = run(initial(jax.random.key(0)), data(), 4)
    two, second = run(state, data(), 6)
    assert_equal(one, two, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(
        metrics["loss"], np.concatenate([first["loss"], second["loss"]]), rtol=1e-5
    )
