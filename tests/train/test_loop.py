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


def shown(number, drop_last=False, batch_size=BATCH, size=SIZE, maps=0, key=None):
    """Rows and weights (steps, *seeds, batch) of the first steps, the step mapped over leading axes of the key."""

    def look(state, batch):
        return state._replace(step=state.step + 1), batch._asdict()

    def start(key):
        return train.init((), optax.sgd(1.0), key, size)

    step = train.on_minibatches(look, batch_size, drop_last)
    for _ in range(maps):
        step, start = jax.vmap(step, (0, None)), jax.vmap(start)
    state = start(jax.random.key(3) if key is None else key)
    _, metrics = train.chunked(step)(state, jnp.arange(size), number)
    return np.asarray(metrics["data"]), np.asarray(metrics["weight"])


def rows_of_epoch(epoch, drop_last, batch_size=BATCH):
    """The rows and weights which the steps of an epoch see."""
    per_epoch = train.steps_per_epoch(SIZE, batch_size, drop_last)
    drawn = shown((epoch + 1) * per_epoch, drop_last, batch_size)
    return tuple(np.ravel(a[epoch * per_epoch :]) for a in drawn)


def test_seeds_under_one_or_two_maps_see_what_each_sees_alone():
    keys = jax.random.split(jax.random.key(5), (2, 3))
    twice, _ = shown(20, maps=2, key=keys)
    once, _ = shown(20, maps=1, key=keys[1])
    alone, _ = shown(20, key=keys[1, 2])
    np.testing.assert_array_equal(twice[:, 1], once)
    np.testing.assert_array_equal(once[:, 2], alone)


def test_an_order_is_drawn_in_an_epochs_first_step_only():
    """Also of seeds under vmap: a sort in every step of 60000 rows would cost more than the step."""
    step = train.on_minibatches(lambda state, batch: (state, {}), BATCH)
    state = jax.vmap(lambda key: train.init((), optax.sgd(1.0), key, SIZE))(
        jax.random.split(jax.random.key(0), 3)
    )
    program = jax.jit(jax.vmap(step, (0, None))).lower(state, jnp.arange(SIZE)).as_text()
    assert "stablehlo.sort" in program
    assert (
        program.count("stablehlo.case") == 1
    )  # a cond that is mapped over is none: both branches run


def test_the_orders_are_uniform():
    """24 orders of four rows, each as often as the others."""
    keys = jax.random.split(jax.random.key(1), 24_000)
    (orders,), _ = shown(1, batch_size=4, size=4, maps=1, key=keys)
    counts = np.unique(orders @ np.array([64, 16, 4, 1]), return_counts=True)[1]
    assert len(counts) == 24
    assert np.sum((counts - 1000.0) ** 2) / 1000 < 49.7  # chi-squared of 23, one in a thousand


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
    with pytest.raises(
        ValueError, match=r"data has 9 rows, but the state .* for rows \[53\]: init"
    ):
        step_on_data()(state, (jnp.zeros((9, 3)), jnp.zeros(9)))
    with pytest.raises(ValueError, match="data has 53 rows, but the state was made for no rows"):
        step_on_data()(state._replace(order=None), data())


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_has_a_row(batch_size):
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, got {batch_size}"):
        train.on_minibatches(lambda state, batch: (state, {}), batch_size)
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, got {batch_size}"):
        train.steps_per_epoch(10, batch_size)


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
