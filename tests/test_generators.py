"""Models as generators: each decodes what it should, encodes back, and compiles once for all its parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from geodl import counterfactual as cf
from geodl import distributions, flows, generators, nn, vae
from geodl.manifolds import Box, Euclidean, PoincareBall, Sphere


def reshaped_sigmoid(logits):
    return jax.nn.sigmoid(logits).reshape(2, 3, 1)


def poincare_vae():
    ball = PoincareBall(2, 0.7)
    encoder, decoder = nn.mlp([6, 8, 4]), vae.decoder(nn.Gyroplane, 2, [8, 6])
    family = distributions.WrappedNormal
    return vae.vae(ball, family, encoder, decoder, vae.bernoulli, learn_curvature=True)


def test_a_vae_decodes_means_and_encodes_by_the_posterior_mean():
    model = poincare_vae()
    params = model.init(jax.random.key(0)) | {"log_curvature": [jnp.log(2.0)]}
    generator = model.generator(params, reshaped_sigmoid)
    assert not generator.exact and float(generator.manifold.c) == pytest.approx(2)
    x = jax.random.uniform(jax.random.key(1), (2, 3, 1))
    z = model.encode(params, x.reshape(6)).loc
    np.testing.assert_allclose(generator.encode(x), z, rtol=1e-6)
    logits = model.decode(params, z)
    np.testing.assert_allclose(generator.decode(z).ravel(), jax.nn.sigmoid(logits), rtol=1e-6)
    np.testing.assert_allclose(model.generator(params).decode(z), logits, rtol=1e-6)
    # the parameters are leaves: one program for all of them
    others = model.generator(model.init(jax.random.key(2)), reshaped_sigmoid)
    assert jax.tree.structure(others) == jax.tree.structure(generator)


def test_a_search_in_the_base_of_a_vae():
    model = poincare_vae()
    generator = model.generator(model.init(jax.random.key(0)), reshaped_sigmoid)
    search = cf.Search(generator, jnp.mean, cf.interval(), optax.sgd(1.0), 50)
    x = 0.5 * jnp.ones((2, 2, 3, 1))
    z = jax.vmap(generator.encode)(x)
    better = float(jnp.mean(generator.decode(z[0]))) + 0.02
    state, _ = cf.run(search, search.init(z, jnp.array([[better, jnp.inf]] * 2)))
    assert np.all(state.status == cf.Status.FOUND) and state.best.x.shape == (2, 2, 3, 1)


def test_the_prior_and_the_manifold_before_training():
    model = poincare_vae()
    assert model.manifold() == PoincareBall(2, 0.7)
    params = model.init(jax.random.key(0))
    z = jnp.array([0.1, -0.3])
    np.testing.assert_allclose(
        model.prior().log_prob(z), model.prior(params).log_prob(z), rtol=1e-5
    )


def test_variance_of_posterior_means():
    """On R^2, against NumPy; a unit whose mean does not depend on x has none."""
    encoder, decoder = nn.mlp([5, 4]), vae.decoder(vae.CoordinateLayer, 2, [8, 5])
    model = vae.vae(Euclidean(2), distributions.WrappedNormal, encoder, decoder, vae.gaussian)
    params = model.init(jax.random.key(0))
    (layer,) = params["encoder"]["layers"].values()
    layer["kernel"] = layer["kernel"].at[:, 1].set(0)
    x = jax.random.normal(jax.random.key(1), (20, 5))
    variance = vae.posterior_mean_variance(model, params, x)
    means = np.float64(x) @ np.float64(layer["kernel"])[:, :2]
    np.testing.assert_allclose(variance, means.var(0), rtol=1e-5, atol=1e-12)
    assert (variance > vae.ACTIVE_UNIT_THRESHOLD).tolist() == [True, False]


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (flows.realnvp(3, couplings=2, widths=(8,)), (3,)),
        (flows.glow((4, 4, 1), ((2, 1),), 4), (4, 4, 1)),
    ],
    ids=["vectors", "images"],
)
def test_a_discrete_flow_is_exact(net, shape):
    params = jax.jit(net.init)(jax.random.key(0))
    generator = net.generator(params)
    assert generator.exact and generator.manifold == Euclidean(shape)
    x = jax.random.uniform(jax.random.key(1), shape, minval=0.1, maxval=0.9)
    z = jax.jit(generator.encode)(x)
    assert z.shape == shape
    np.testing.assert_allclose(jax.jit(generator.decode)(z), x, atol=1e-5)
    other = net.generator(jax.tree.map(lambda a: 2 * a, params))
    assert jax.tree.structure(other) == jax.tree.structure(generator)


def test_a_flow_along_a_field_is_exact_up_to_its_solver():
    sphere = Sphere(2)
    field = flows.vector_field(sphere, width=8, depth=1, frequencies=4)
    params = jax.tree.map(lambda a: a + 0.03, field.init(jax.random.key(0)))
    flow = flows.ContinuousFlow(distributions.Uniform(sphere), field, params)
    generator = flow.generator(flows.RK4(16))
    assert generator.exact and generator.manifold == sphere
    z = sphere.random_uniform(jax.random.key(1), (3,))

    @jax.jit
    @jax.vmap
    def there_and_back(z):
        x, push = jax.linearize(generator.decode, z)
        return x, generator.encode(x), push(jnp.ones(3))

    x, back, pushed = there_and_back(z)
    assert sphere.dist(z, x).min() > 1e-3 and np.isfinite(pushed).all()
    np.testing.assert_allclose(back, z, atol=1e-4)
    fixed = flows.ContinuousFlow(flow.base, field, params, flows.RK4(16))
    np.testing.assert_allclose(x, fixed.path(z, jnp.array([0.0, 1.0]))[-1], atol=1e-6)
    other = flows.ContinuousFlow(flow.base, field, field.init(jax.random.key(2)))
    assert jax.tree.structure(other.generator(flows.RK4(16))) == jax.tree.structure(generator)


def test_the_data_space_is_the_identity_in_a_box():
    generator = generators.data_space((2, 2), -1.0, 2.0)
    x = jnp.array([[0.5, -1.0], [2.0, 0.0]])
    assert generator.exact and generator.manifold == Box(-1.0, 2.0, (2, 2))
    np.testing.assert_array_equal(generator.decode(generator.encode(x)), x)
