"""The tangent kernel of finite networks, both ways, against finite differences' Jacobian and for networks of ours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl import infinite, nn
from geodl.infinite import empirical


RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def case():
    net = nn.mlp([4, 16, 8, 3], jnp.tanh)
    params = net.init(jax.random.key(0))
    x1, x2 = (jnp.asarray(RNG.normal(size=(n, 4)), jnp.float32) for n in (5, 3))
    leaves, tree = jax.tree.flatten(params)
    sizes = np.cumsum([leaf.size for leaf in leaves])

    def jacobian(x):
        def output(flat):
            parts = jnp.split(flat, sizes[:-1])
            shaped = [p.reshape(leaf.shape) for p, leaf in zip(parts, leaves, strict=True)]
            return net.apply(tree.unflatten(shaped), x)

        flat = jnp.concatenate([leaf.ravel() for leaf in leaves])
        return jax.jit(jax.jacfwd(output))(flat)

    expected = np.einsum("aop,bqp->aboq", jacobian(x1), jacobian(x2))
    return net, params, x1, x2, expected


@pytest.mark.parametrize("function", [empirical.ntk, empirical.ntk_by_products])
@pytest.mark.parametrize("batch_size", [None, 2])
def test_both_implementations(case, function, batch_size):
    net, params, x1, x2, expected = case
    found = jax.jit(lambda p: function(net, p, x1, x2, batch_size))(params)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_products_with_vectors(case):
    net, params, x1, x2, expected = case
    v = RNG.normal(size=(3, 3)).astype(np.float32)
    found = empirical.ntk_vector_product(net, params, x1, x2, v)
    np.testing.assert_allclose(found, np.einsum("aboq,bq->ao", expected, v), rtol=1e-5, atol=1e-5)


def test_one_set_and_images():
    net = infinite.serial(infinite.dense(8), infinite.relu(), infinite.dense(1)).net((5,))
    x = RNG.normal(size=(4, 5)).astype(np.float32)
    params = net.init(jax.random.key(0))
    theta = jax.jit(lambda p: empirical.ntk(net, p, x)[..., 0, 0])(params)
    np.testing.assert_allclose(theta, theta.T, rtol=1e-6)
    assert np.linalg.eigvalsh(theta)[0] > 0


def test_outputs_that_are_no_vectors_are_named():
    net = nn.Net(lambda key: {"w": jnp.ones(4)}, lambda params, x: x @ params["w"])
    for kernel in (empirical.ntk, empirical.ntk_by_products):
        with pytest.raises(ValueError, match="outputs must be vectors"):
            kernel(net, net.init(None), jnp.ones((2, 4)))
