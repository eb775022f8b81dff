"""A user's manifold, written with the base class alone, goes through everything rightly, or is refused by name."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from geodl import counterfactual as cf
from geodl import distributions, flows, nn, vae
from geodl.flows.continuous import divergence
from geodl.manifolds import Hyperboloid, PoincareBall, Torus
from tests.manifolds.foreign import ClockTorus, HalfSpace, Undeclared


jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
PLANE, TORUS = HalfSpace(2), ClockTorus(2)


def to_ball(x):
    """The ball's point of a half-space's, curvature -1."""
    return Hyperboloid(2).to_ball(PLANE.to_hyperboloid(x))


def random_points(space, n, seed=0, spread=0.7):
    a = spread * np.random.default_rng(seed).normal(size=(n, space.dim)).astype(np.float32)
    return space.expmap_frame(space.origin(), a)


def test_a_wrapped_normal_has_mass_one():
    """On a torus that says how it winds; 0.884 were its windings left out."""
    side = (np.arange(64) + 0.5) / 64
    x = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    density = jit(lambda x: distributions.WrappedNormal(TORUS, TORUS.origin(), 0.3).log_prob(x))
    assert np.mean(np.exp(density(x))) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("make", "missing"),
    [
        (
            lambda m: distributions.WrappedNormal(m, m.origin(), 0.3).log_prob(m.origin()),
            "which tangent vectors share an end",
        ),
        (lambda m: distributions.Uniform(m), "finite volume"),
        (lambda m: flows.vector_field(m, "ambient"), "flat space"),
        (lambda m: flows.vector_field(m, "frame"), "divergence of its frame"),
        (lambda m: flows.vector_field(m, "killing"), "Killing"),
        (
            lambda m: divergence.exact(m, lambda t, x: x)(0.0, jnp.zeros(2)),
            "volume element|flat space",
        ),
        (lambda m: m.to_hyperboloid(m.origin()), "hyperboloid"),
    ],
)
def test_what_is_not_declared_is_refused_by_name(make, missing):
    with pytest.raises(NotImplementedError, match=f"Undeclared does not say .*({missing})"):
        make(Undeclared(2))


def test_an_incomplete_manifold_cannot_be_made():
    class Incomplete(Undeclared):
        logmap = None

        expmap = ClockTorus.__mro__[1].expmap

    with pytest.raises(TypeError, match="expmap"):
        Incomplete(2)


def test_densities_are_those_of_the_same_space_of_ours():
    x, z = random_points(PLANE, 5), random_points(PLANE, 5, seed=1)

    @jit
    def both(x, z):
        found, expected = [], []
        for family in (distributions.WrappedNormal, distributions.RiemannianNormal):
            found.append(family(PLANE, x, 0.6).log_prob(z))
            expected.append(family(PoincareBall(2), to_ball(x), 0.6).log_prob(to_ball(z)))
        return found, expected

    found, expected = both(x, z)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_divergence_knows_the_volume():
    """Of x d/dx_1 + x_2 d/dx_2 on the half-plane, volume dx / x_2^2: 2 - 2; the coordinates' trace is 2."""
    x = random_points(PLANE, 4)
    _, div = jit(divergence.exact(PLANE, lambda t, x: x))(0.0, x)
    np.testing.assert_allclose(div, 0, atol=1e-5)


def test_a_flow_is_the_one_of_the_same_space_of_ours():
    """Frame components that depend on the point alone, through the isometry."""
    weights = np.random.default_rng(2).normal(size=(2, 2)).astype(np.float32)

    def field(t, x):
        return PLANE.from_frame(x, jnp.tanh(PLANE.normal_coordinates(x) @ weights))

    def on_ball(t, y):
        x = from_ball(y)
        return jax.jvp(to_ball, (x,), (field(t, x),))[1]

    def from_ball(y):
        p = PoincareBall(2).to_hyperboloid(y)
        return PLANE._from_hyperboloid(p)

    x = random_points(PLANE, 4, seed=3)

    @jit
    def both(x):
        found = divergence.exact(PLANE, field)(0.5, x)[1]
        return found, divergence.exact(PoincareBall(2), on_ball)(0.5, to_ball(x))[1]

    found, expected = both(x)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("space", [PLANE, TORUS])
def test_a_field_is_trained_and_solved(space):
    field = flows.vector_field(space, "frame", width=8, depth=1, frequencies=0)
    params = field.init(jax.random.key(0))
    x0, x1 = random_points(space, 6), random_points(space, 6, seed=1)

    def step(params):
        v = functools.partial(field.apply, params)
        loss = flows.matching_loss(space, v, jnp.linspace(0, 1, 6), x0, x1).mean()
        _, div = field.rate(params, 0.4, x0)
        _, exact = divergence.exact(space, v)(0.4, x0)
        return loss, div, exact

    loss, div, exact = jit(step)(params)
    gradient = jit(jax.grad(lambda params: step(params)[0]))(params)
    assert np.isfinite(loss)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    np.testing.assert_allclose(div, exact, atol=1e-4)


def test_a_vae_bounds_the_likelihood_as_on_the_same_space_of_ours():
    """The same latents, since both draw frame components; the frames at a mean differ by a rotation."""

    def bound(manifold, key):
        model = vae.vae(
            manifold,
            distributions.RiemannianNormal,
            nn.mlp([6, 8, 3]),
            vae.decoder(nn.Gyroplane, 2, [8, 6]),
            vae.gaussian,
        )
        params = model.init(jax.random.key(0))
        x = jax.random.normal(jax.random.key(1), (3, 6))
        return vae.elbo(model, params, x, key, samples=400)

    found = jit(lambda key: bound(PLANE, key))(jax.random.key(2))
    expected = jit(lambda key: bound(PoincareBall(2), key))(jax.random.key(2))
    assert np.isfinite(found.elbo).all()
    np.testing.assert_allclose(found.kl, expected.kl, rtol=0.1)


def test_a_search_goes_the_same_way_as_on_the_same_space_of_ours():
    def found(manifold, decode, start):
        generator = cf.Generator(decode, manifold)
        search = cf.Search(generator, lambda x: x[0], cf.interval(), optax.sgd(0.2), steps=20)
        state = search.init(start[None], jnp.array([[1.2, jnp.inf]]))
        return cf.run(search, state)[0]

    start = random_points(PLANE, 1, seed=5)[0]
    ours = found(PoincareBall(2), lambda y: 3 * y, to_ball(start))
    theirs = found(PLANE, lambda x: 3 * to_ball(x), start)
    assert theirs.status == ours.status == cf.Status.FOUND
    assert theirs.steps == ours.steps
    np.testing.assert_allclose(to_ball(theirs.best.z), ours.best.z, atol=1e-4)


def test_a_torus_is_ours_in_other_units():
    x, z = random_points(TORUS, 5), random_points(TORUS, 5, seed=1)
    found = distributions.WrappedNormal(TORUS, x, 0.4).log_prob(z)
    ours = distributions.WrappedNormal(Torus(2), 2 * np.pi * x, 0.8 * np.pi).log_prob(2 * np.pi * z)
    np.testing.assert_allclose(found, ours + 2 * np.log(2 * np.pi), rtol=1e-4)
