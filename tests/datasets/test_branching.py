import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl import datasets


@pytest.fixture(scope="module")
def trees():
    return jax.jit(jax.vmap(datasets.branching_diffusion))(jax.random.split(jax.random.key(0), 40))


def everything(trees):
    return np.concatenate([trees.train, trees.test], 1), np.concatenate(
        [trees.train_node, trees.test_node], 1
    )


def test_shapes_and_the_tree(trees):
    assert trees.train.shape == (40, 444, 50) and trees.test.shape == (40, 191, 50)
    parents, depths = np.asarray(trees.parents[0]), np.asarray(trees.depths[0])
    assert np.bincount(depths).tolist() == [1, 2, 4, 8, 16, 32, 64]
    assert parents[0] == 0
    assert (depths[parents[1:]] == depths[1:] - 1).all()
    assert (np.bincount(parents[1:], minlength=127)[:63] == 2).all()


def test_standardized_before_the_split(trees):
    data, _ = everything(trees)
    np.testing.assert_allclose(data.mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(data.std(1), 1, rtol=1e-5)
    assert np.abs(np.asarray(trees.test).mean(1)).max() > 0.05


def test_each_node_has_five_siblings_split_at_random(trees):
    _, node = everything(trees)
    for row in node:
        assert (np.bincount(row, minlength=127) == 5).all()
    assert (trees.test_node[0] != trees.test_node[1]).any()
    # Each sibling is in the test set with probability 191/635.
    in_test = np.bincount(np.ravel(trees.test_node), minlength=127) / (40 * 5)
    np.testing.assert_allclose(in_test, 191 / 635, atol=5 * np.sqrt(0.3 * 0.7 / 200))


def test_variances_of_the_steps(trees):
    """Variance 1 from parent to child and 0.2 from node to sibling, in units of one another."""
    data, node = everything(trees)
    nodes = np.asarray(trees.nodes)
    steps = nodes[:, 1:] - np.take_along_axis(nodes, np.asarray(trees.parents)[:, 1:, None], 1)
    noise = data - np.take_along_axis(nodes, node[..., None], 1)
    np.testing.assert_allclose((steps**2).mean(1) / (noise**2).mean(1), 5, rtol=0.6)
    assert abs(((steps**2).mean(1) / (noise**2).mean(1)).mean() - 5) < 0.1
    # On the scale of the data, one unit is the deviation over the tree: depth + 0.2 on average,
    # less what all share.
    depth_mean = (np.arange(7) * 2 ** np.arange(7)).sum() / 127
    assert 1 / (depth_mean + 0.2) < (steps**2).mean() < 0.4


def test_pure_in_the_key(trees):
    key = jax.random.split(jax.random.key(0), 40)[3]
    tree = datasets.branching_diffusion(key)
    np.testing.assert_allclose(tree.train, trees.train[3], atol=1e-5)
    np.testing.assert_array_equal(tree.train_node, trees.train_node[3])


def test_entropy_floor_is_the_likelihood_at_its_mean():
    at_mean = jax.scipy.stats.norm.logpdf(jnp.zeros(50)).sum()
    assert datasets.ENTROPY_FLOOR == pytest.approx(-float(at_mean), rel=1e-6)
    assert datasets.ENTROPY_FLOOR == pytest.approx(45.9469, abs=1e-4)
