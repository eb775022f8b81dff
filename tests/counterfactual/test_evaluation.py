"""The evaluation on data whose answers are known."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.neighbors import NearestNeighbors

from geodl import datasets
from geodl.counterfactual import (
    Generator,
    Search,
    Status,
    confidence,
    run,
)
from geodl.counterfactual.evaluation import (
    Neighbors,
    data_metrics,
    knn_agreement,
    search_metrics,
)
from geodl.manifolds import Euclidean


def test_neighbors_agree_with_brute_force():
    rng = np.random.default_rng(0)
    index, labels = rng.normal(size=(80, 3, 2)).astype(np.float32), rng.integers(0, 3, 80)
    x, goal = jnp.asarray(rng.normal(size=(20, 3, 2)), jnp.float32), rng.integers(0, 3, 20)
    share, majority = knn_agreement(x, goal, Neighbors(index, labels, 5))
    for i in range(20):
        order = np.argsort(np.sum((index - np.asarray(x[i])) ** 2, (1, 2)))[:5]
        votes = np.bincount(labels[order], minlength=3)
        assert share[i] == votes[goal[i]] / 5
        assert majority[i] == (votes[goal[i]] > np.delete(votes, goal[i]).max())
    with pytest.raises(ValueError, match=r"1 to .* neighbors .* got k = 100"):
        knn_agreement(x, goal, Neighbors(index, labels, 100))


def test_metrics_of_data():
    start = jnp.zeros((3, 2, 2))
    x = start.at[0, 0].set(0.5).at[1, 1, 1].set(jnp.nan)
    goal = jnp.array([1, 1, 0])
    data = Neighbors(
        jnp.concatenate([jnp.zeros((4, 4)), jnp.ones((4, 4))]), np.repeat([0, 1], 4), 4
    )
    held_out = {"bright": lambda x: np.asarray(x).mean((1, 2)) > 0.2}
    found = data_metrics(x, start, goal, held_out, data)
    np.testing.assert_allclose(found["l1"], [1, np.nan, 0])
    np.testing.assert_allclose(found["l2"], [0.5**0.5, np.nan, 0], rtol=1e-6)
    np.testing.assert_allclose(found["l∞"], [0.5, np.nan, 0])
    assert found["bright"].tolist() == [True, False, True]
    assert found["4-NN share"][1:].tolist() == [0, 1]
    assert found["4-NN majority"].dtype == bool

    with pytest.raises(ValueError, match=r"\(3,\) are needed, got \(3, 2, 2\)"):
        data_metrics(x, start, goal, {"none": lambda x: x})
    with pytest.raises(ValueError, match=r"got \(3, 2, 2\) and \(2,\)"):
        data_metrics(x, start, goal[:2])


def test_metrics_of_bytes():
    """Digits of scikit-learn as our loaders return them, against distances and neighbors in double precision."""
    images = datasets.digits()
    x, start = images.test_images[:40], images.test_images[1:41]
    goal = images.test_labels[:40]
    data = Neighbors(images.train_images, images.train_labels)
    found = data_metrics(x, start, goal, {"bytes": lambda x: np.asarray(x)[:, 0, 0]}, data)
    change = (x.astype(np.float64) - start).reshape(40, -1)
    for name, order in (("l1", 1), ("l2", 2), ("l∞", np.inf)):
        np.testing.assert_allclose(found[name], np.linalg.norm(change, order, -1), rtol=1e-12)
    index = images.train_images.reshape(len(images.train_images), -1).astype(np.float64)
    near = sklearn_nearest(index, x.reshape(40, -1).astype(np.float64), 10)
    np.testing.assert_array_equal(
        found["10-NN share"], (images.train_labels[near] == goal[:, None]).mean(-1)
    )
    assert found["10-NN share"].mean() > 0.9
    floats = data_metrics(x / 1.0, start / 1.0, goal, neighbors=data)
    for name, values in floats.items():
        np.testing.assert_array_equal(values, found[name])
    half = data_metrics(jnp.asarray(x, jnp.bfloat16), jnp.asarray(start, jnp.bfloat16), goal)
    assert half["l1"].dtype == np.float64


def sklearn_nearest(index, x, k):
    """By a tree, which takes differences."""
    found = NearestNeighbors(n_neighbors=k, algorithm="kd_tree").fit(index)
    return found.kneighbors(x, return_distance=False)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "place",
    [
        lambda x: x,
        lambda x: x + 100,
        lambda x: x + 1e4,
        lambda x: 1e-30 * x,
        lambda x: 1e25 * x,
        lambda x: 1e-3 * x + 1e3 * (np.arange(len(x))[:, None] % 2),  # two far clusters
    ],
    ids=["near", "far", "farther", "small", "large", "clusters"],
)
def test_neighbors_are_those_of_differences(place, dtype):
    rng = np.random.default_rng(0)
    index, x = (place(rng.normal(size=(n, 6))).astype(dtype) for n in (500, 60))
    labels = np.arange(500)  # who it is
    near = sklearn_nearest(index.astype(np.float64), x.astype(np.float64), 3)
    for goal in (near[:, 0], near[:, 2], (near[:, 0] + 1) % 500):
        share, _ = knn_agreement(x, goal, Neighbors(index, labels, 3))
        expected = np.any(near == goal[:, None], -1) / 3
        np.testing.assert_array_equal(share, expected)
    share, majority = knn_agreement(x, near[:, 0], Neighbors(index, labels, 1))
    assert np.all(share == 1) and np.all(majority)


def test_what_is_not_finite_has_no_neighbors():
    rng = np.random.default_rng(0)
    index, labels = rng.normal(size=(50, 4)), rng.integers(0, 2, 50)
    x = rng.normal(size=(5, 4))
    x[1, 2], x[3, 0] = np.nan, np.inf
    share, majority = knn_agreement(x, np.zeros(5, int), Neighbors(index, labels, 5))
    assert np.isnan(share).tolist() == [False, True, False, True, False]
    assert not majority[1] and not majority[3]
    plain, _ = knn_agreement(x[::2], np.zeros(3, int), Neighbors(index, labels, 5))
    np.testing.assert_array_equal(share[::2], plain)
    measured = data_metrics(x, x, np.zeros(5, int), neighbors=Neighbors(index, labels, 5))
    assert measured["5-NN share"][[1, 3]].tolist() == [0, 0]
    assert all(np.all(np.isnan(measured[name][[1, 3]])) for name in ("l1", "l2", "l∞"))
    index[7, 1] = np.nan
    with pytest.raises(ValueError, match="finite data are needed, row 7 is not"):
        knn_agreement(x, np.zeros(5, int), Neighbors(index, labels, 5))
    with pytest.raises(ValueError, match=r"labels \(50,\) are needed, got \(3,\)"):
        knn_agreement(x, np.zeros(5, int), Neighbors(x[:1].repeat(50, 0) * 0, labels[:3], 5))


def test_no_counterfactuals():
    none, data = np.zeros((0, 2, 2), np.uint8), Neighbors(np.zeros((5, 4)), np.zeros(5), 3)
    found = data_metrics(none, none, np.zeros(0, int), {"classifier": lambda x: x[:, 0, 0]}, data)
    assert all(values.shape == (0,) for values in found.values())


def test_metrics_of_a_search():
    generator = Generator(lambda z: 9 * z, Euclidean(2))
    search = Search(generator, lambda x: x, confidence(0.9), optax.sgd(0.01), steps=60)
    z = jnp.array([[0.0, 1.0], [-1.0, 0.5]])
    state, _ = run(search, search.init(z, jnp.array([0, 0])))
    found = search_metrics(generator.manifold, state)
    assert found["found"].all() and np.all(state.status == Status.FOUND)
    np.testing.assert_allclose(
        found["base distance"], np.linalg.norm(state.best.z - z, axis=-1), rtol=1e-6
    )
    assert found["steps"].tolist() == state.steps.tolist()
