"""The U-Net that counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.counterfactuals.counter import unet_counter


def test_counts_and_maps_of_any_batch():
    net = unet_counter((8, 8, 1), (4, 6), patch=2)
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8, 1)).astype(np.float32)

    @jax.jit
    def evaluate(x):
        first = net.init(jax.random.key(0))
        params = jax.tree.map(lambda a: a + 0.1, first)
        low = params | {"count": params["count"] | {"bias": jnp.full(1, -16.0)}}

        def count(x):
            return net.apply(low, x).counts

        counts = net.apply(first, x).counts
        nothing = jax.value_and_grad(count)(x[0, 0])
        return counts, net.apply(params, x), net.apply(params, x[1, 2]), nothing

    at_first, found, alone, (nothing, slope) = evaluate(x)
    np.testing.assert_allclose(at_first, np.log(2.0), rtol=1e-6)
    assert found.counts.shape == (2, 3) and found.map_logits.shape == (2, 3, 8, 8)
    assert np.all(found.counts > 0) and np.ptp(found.counts) > 0
    np.testing.assert_allclose(alone.counts, found.counts[1, 2], rtol=1e-4)
    np.testing.assert_allclose(alone.map_logits, found.map_logits[1, 2], rtol=1e-3, atol=1e-4)
    # where nothing is counted there still is a way out
    assert nothing < 1e-3 and np.abs(slope).max() > 0


def test_the_map_lies_over_the_image():
    """A shift of the image by a patch shifts the map, away from the border."""
    net = unet_counter((32, 32, 1), (3, 3), patch=2)
    x = np.zeros((32, 32, 1), np.float32)
    x[10, 13] = 1

    @jax.jit
    def maps(x):
        return net.apply(net.init(jax.random.key(0)), x).map_logits

    here, there = maps(np.stack([x, np.roll(x, 4, 1)]))
    np.testing.assert_allclose(there[:, 12:24], here[:, 8:20], atol=1e-6)
    row, column = np.unravel_index(np.abs(here - here[-1, -1]).argmax(), here.shape)
    assert abs(row - 10) <= 6 and abs(column - 13) <= 6


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match=r"sides that 8 divides.* shape \(12, 16, 1\)"):
        unet_counter((12, 16, 1), (4, 4, 4), patch=2)
    with pytest.raises(ValueError, match=r"got widths \(4,\)"):
        unet_counter((12, 16, 1), (4,))
    net = unet_counter((8, 8, 2), (3, 4))
    params = jax.eval_shape(net.init, jax.random.key(0))
    for shape in [(10, 10, 2), (9, 8, 2), (8, 8, 1)]:
        with pytest.raises(ValueError, match=r"\(8, 8, 2\).*are needed, got"):
            jax.eval_shape(net.apply, params, jnp.zeros((3, *shape)))


@pytest.mark.slow
def test_no_images():
    """Empty batches in, empty batches out, and gradients of 0."""
    net = unet_counter((8, 8, 2), (3, 4))
    params = net.init(jax.random.key(0))

    def outputs(params, batch):
        return jax.tree.leaves(net.apply(params, jnp.zeros((*batch, 8, 8, 2))))

    for none, some in zip(outputs(params, (2, 0)), outputs(params, (2, 1)), strict=True):
        assert none.shape == (2, 0, *some.shape[2:])
    gradients = jax.grad(lambda params: sum(map(jnp.sum, outputs(params, (0,)))))(params)
    assert all(not np.any(g) for g in jax.tree.leaves(gradients))
