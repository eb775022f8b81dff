"""The evaluation on data whose answers are known."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from geodl.counterfactual import (
    Generator,
    Search,
    Status,
    confidence,
    run,
)
from geodl.counterfactual.evaluate import (
    Neighbours,
    agreement,
    data_measures,
    search_measures,
    summary,
    wilson,
)


def test_wilson():
    """Against the textbook's solution of (p - share)^2 = quantile^2 p (1 - p) / n."""
    for successes, n in ((0, 10), (7, 10), (45, 100), (1000, 1000)):
        for bound in wilson(successes, n):
            deviation = (bound - successes / n) ** 2
            assert deviation == pytest.approx(1.959964**2 * bound * (1 - bound) / n, abs=1e-12)
    assert all(0 <= wilson(0, n)[0] < 1e-12 for n in range(1, 20)) and wilson(10, 10)[
        1
    ] == pytest.approx(1)
    with pytest.raises(ValueError, match="got 3 of 2"):
        wilson(3, 2)


def test_neighbours_agree_with_brute_force():
    rng = np.random.default_rng(0)
    index, labels = rng.normal(size=(80, 3, 2)).astype(np.float32), rng.integers(0, 3, 80)
    x, goal = jnp.asarray(rng.normal(size=(20, 3, 2)), jnp.float32), rng.integers(0, 3, 20)
    share, majority = agreement(x, goal, Neighbours(index, labels, 5))
    for i in range(20):
        order = np.argsort(np.sum((index - np.asarray(x[i])) ** 2, (1, 2)))[:5]
        votes = np.bincount(labels[order], minlength=3)
        assert share[i] == votes[goal[i]] / 5
        assert majority[i] == (votes[goal[i]] > np.delete(votes, goal[i]).max())
    with pytest.raises(ValueError, match="at least 100"):
        agreement(x, goal, Neighbours(index, labels, 100))


def test_measures_of_data():
    start = jnp.zeros((3, 2, 2))
    x = start.at[0, 0].set(0.5).at[1, 1, 1].set(jnp.nan)
    goal = jnp.array([1, 1, 0])
    data = Neighbours(
        jnp.concatenate([jnp.zeros((4, 4)), jnp.ones((4, 4))]), np.repeat([0, 1], 4), 4
    )
    judges = {"bright": lambda x: np.asarray(x).mean((1, 2)) > 0.2}
    found = data_measures(x, start, goal, judges, data)
    np.testing.assert_allclose(found["l1"], [1, np.nan, 0])
    np.testing.assert_allclose(found["l2"], [0.5**0.5, np.nan, 0], rtol=1e-6)
    np.testing.assert_allclose(found["l∞"], [0.5, np.nan, 0])
    assert found["bright"].tolist() == [True, False, True]
    assert found["4-NN share"][1:].tolist() == [0, 1]
    assert found["4-NN majority"].dtype == bool

    header, rows = summary({"base": found, "data": {"l1": np.ones(2)}})
    assert header == ["method", *found] and rows[1][:2] == ["data", "1 ± 0"]
    assert rows[0][header.index("bright")] == "0.667 [0.208, 0.939]"
    assert rows[0][header.index("l1")] == "0.5 ± 0.5" and rows[1][-1] == ""

    with pytest.raises(ValueError, match=r"\(3,\) are needed, got \(3, 2, 2\)"):
        data_measures(x, start, goal, {"none": lambda x: x})
    with pytest.raises(ValueError, match=r"got \(3, 2, 2\) and \(2,\)"):
        data_measures(x, start, goal[:2])


def test_measures_of_a_search():
    generator = Generator(lambda z: 9 * z)
    search = Search(generator, lambda x: x, confidence(0.9), optax.sgd(0.01), steps=60)
    z = jnp.array([[0.0, 1.0], [-1.0, 0.5]])
    state, _ = run(search, search.init(z, jnp.array([0, 0])))
    found = search_measures(generator.manifold, state)
    assert found["found"].all() and np.all(state.status == Status.FOUND)
    np.testing.assert_allclose(
        found["base distance"], np.linalg.norm(state.best.z - z, axis=-1), rtol=1e-6
    )
    assert found["steps"].tolist() == state.steps.tolist()
