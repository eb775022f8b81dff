"""Latent spaces of a VAE: learned curvature, a scale for each dimension, products, two charts of one space."""

from functools import cache, partial

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from geodl import nn, vae
from geodl.distributions import RiemannianNormal, WrappedNormal
from geodl.manifolds import Euclidean, Hyperboloid, PoincareBall, Product, Sphere
from geodl.nn import mlp


ITEMS, HIDDEN, C = 6, 8, 0.8
CHARTS = {"ball": PoincareBall, "hyperboloid": Hyperboloid}
# nearly all of these tests' time is that of the compiler
jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
FAMILIES = {"wrapped": (WrappedNormal, 2), "Riemannian": (RiemannianNormal, 1)}


def make(manifold, family=WrappedNormal, scales=None, first=nn.Gyroplane, **options):
    """Model; ``first=vae.CoordinateLayer`` reads all coordinates of a point, the others ``manifold.dim`` components."""
    points = jax.eval_shape(manifold.origin)
    width = (
        sum(p.size for p in jax.tree.leaves(points))
        if first is vae.CoordinateLayer
        else manifold.dim
    )
    encoder = mlp([ITEMS, HIDDEN, manifold.dim + (scales or manifold.dim)])
    decoder = vae.decoder(first, width, [HIDDEN, ITEMS])
    return vae.vae(manifold, family, encoder, decoder, vae.gaussian, **options)


# ---------------------------------------------------------------------------------------------------
# Curvature as a parameter; the ball and the hyperboloid. In float64, both charts in one compilation.
# ---------------------------------------------------------------------------------------------------


@cache
def learners(family):
    """Model of each chart, parameters of both, and the ELBOs (items,) and d mean(ELBO) / d log c by chart."""
    family, scales = FAMILIES[family]
    with jax.enable_x64(True):
        models = {
            name: make(chart(2, C), family, scales, prior_scale=1.3, learn_curvature=True)
            for name, chart in CHARTS.items()
        }
        params = jit(models["ball"].init)(jax.random.key(0))
        params = jax.tree.map(lambda a: jnp.asarray(a, float), params)
        x = jax.random.uniform(jax.random.key(7), (5, ITEMS))

    @jit
    def bounds(log_c):
        def bound(log_c, model):
            theta = params | {"log_curvature": [log_c]}
            elbo = vae.elbo(model, theta, x, jax.random.key(1), samples=2).elbo
            return jnp.mean(elbo), elbo

        slopes = jax.grad(bound, has_aux=True)
        return {name: slopes(log_c, model)[::-1] for name, model in models.items()}

    return models, params, bounds


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_in_the_curvature_is_that_of_finite_differences(x64, family):
    _, params, bounds = learners(family)
    (log_c,) = params["log_curvature"]
    np.testing.assert_allclose(log_c, np.log(C), rtol=1e-6)  # of the network's precision
    step = 1e-5
    low, here, high = (bounds(log_c + shift) for shift in (-step, 0.0, step))
    for chart in CHARTS:
        difference = jnp.mean(high[chart][0] - low[chart][0]) / (2 * step)
        assert abs(difference) > 1e-3
        np.testing.assert_allclose(here[chart][1], difference, rtol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.slow
def test_ball_and_hyperboloid_are_the_same_model(x64, family):
    models, params, bounds = learners(family)
    same = jax.eval_shape(models["hyperboloid"].init, jax.random.key(0))
    assert jax.tree.map(jnp.shape, same) == jax.tree.map(jnp.shape, params)
    ball, hyperboloid = bounds(params["log_curvature"][0]).values()
    for a, b in zip(ball, hyperboloid, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8)


def test_manifold_is_the_record_with_the_parameters_curvature(x64):
    models, params, _ = learners("wrapped")
    latent = models["hyperboloid"].manifold(params | {"log_curvature": [jnp.log(2.5)]})
    assert isinstance(latent, Hyperboloid) and latent.dim == 2
    np.testing.assert_allclose(latent.c, 2.5, rtol=1e-12)
    fixed = make(PoincareBall(2, C))
    assert "log_curvature" not in jax.eval_shape(fixed.init, jax.random.key(0))
    assert fixed.manifold() == PoincareBall(2, C)


def test_a_flat_space_has_no_curvature_to_learn():
    with pytest.raises(ValueError, match=r"curvature, got Euclidean\(2\)"):
        make(Euclidean(2), first=vae.CoordinateLayer, learn_curvature=True)


# ---------------------------------------------------------------------------------------------------
# A prior scale for each dimension
# ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_equal_prior_scales_are_one_scale():
    one, each = (make(PoincareBall(2, C), prior_scale=scale) for scale in (1.3, jnp.full(2, 1.3)))
    params = jit(one.init)(jax.random.key(0))
    x = jax.random.uniform(jax.random.key(7), (5, ITEMS))

    @jit
    def bounds(params):
        return [vae.elbo(model, params, x, jax.random.key(1), 3) for model in (one, each)]

    for a, b in zip(*bounds(params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_unequal_prior_scales_are_those_of_the_dimensions():
    scales = jnp.array([0.3, 2.0])
    z = jax.random.normal(jax.random.key(3), (4, 2))
    prior = make(Euclidean(2), first=vae.CoordinateLayer, prior_scale=scales).prior()
    normal = distrax.Normal(0.0, scales).log_prob(z).sum(-1)
    np.testing.assert_allclose(prior.log_prob(z), normal, rtol=1e-6)


# ---------------------------------------------------------------------------------------------------
# A product of a hyperbolic, a spherical and a flat space
# ---------------------------------------------------------------------------------------------------

SEEDS, STEPS = 2, 100


def items():
    """32 points of R^6 on a bent surface, with noise."""
    plane, noise = (jax.random.normal(jax.random.key(k), (32, n)) for k, n in ((4, 2), (5, ITEMS)))
    weight = jax.random.normal(jax.random.key(6), (2, ITEMS))
    return 3 * jnp.sin(plane @ weight) + 0.1 * noise


@pytest.mark.slow
@pytest.mark.parametrize("first", [vae.LogmapLayer, vae.CoordinateLayer])
def test_product_latents_train_for_several_seeds_at_once(first):
    latent = Product(PoincareBall(2, C), Sphere(2), Euclidean(1))
    model = make(latent, first=first, learn_curvature=True)
    x, optimizer = items(), optax.adam(1e-2)

    def loss(params, key):
        return -jnp.mean(vae.elbo(model, params, x, key).elbo)

    def step(state, key):
        params, moments = state
        value, gradient = jax.value_and_grad(loss)(params, key)
        updates, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(params, updates), moments), value

    def fit(key):
        params = model.init(key)
        (params, _), losses = jax.lax.scan(
            step, (params, optimizer.init(params)), jax.random.split(key, STEPS)
        )
        return params, losses

    keys = jax.random.split(jax.random.key(8), SEEDS)
    params, losses = jit(jax.vmap(fit))(keys)
    assert np.all(np.isfinite(losses))
    # (the first draws, the last draws) of each seed: a fall far beyond the noise of one draw
    assert np.all(losses[:, -10:].mean(1) < losses[:, :10].mean(1) - 5)

    (log_c,) = params["log_curvature"]  # the ball's; sphere and line have none
    assert log_c.shape == (SEEDS,)
    assert np.all(np.abs(log_c - np.log(C)) > 1e-2)
    assert np.all(np.isfinite(log_c))

    def bounds(params, key):
        samples = {"samples": 64}
        low = vae.elbo(model, params, x, key, **samples).elbo
        return low, vae.iwae(model, params, x, key, chunk=32, **samples), model.manifold(params)

    low, tight, space = jit(jax.vmap(bounds))(params, keys)
    assert low.shape == tight.shape == (SEEDS, len(x))
    assert np.all(tight.mean(1) > low.mean(1))
    assert isinstance(space, Product)
    np.testing.assert_allclose(space.factors[0].c, np.exp(log_c), rtol=1e-6)
