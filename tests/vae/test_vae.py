"""The Poincaré VAE: its parts against formulas, its bounds against exact values and each other."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from geodl import datasets, nn, train, vae
from geodl.distributions import RiemannianNormal, WrappedNormal
from geodl.manifolds import SO3, Euclidean, Hyperboloid, PoincareBall, Product
from geodl.nn import mlp


ITEMS, HIDDEN = 6, 8
DATA = jax.random.uniform(jax.random.key(7), (5, ITEMS))


def make(
    manifold=None, family=WrappedNormal, first=nn.Gyroplane, likelihood=vae.gaussian, scales=None
):
    manifold = manifold or PoincareBall(2, 0.8)
    encoder = mlp([ITEMS, HIDDEN, manifold.dim + (scales or manifold.dim)])
    decoder = vae.decoder(first, manifold.dim, [HIDDEN, ITEMS])
    return vae.vae(manifold, family, encoder, decoder, likelihood, prior_scale=1.3)


def test_likelihoods():
    logits = 3 * DATA - 1
    gray = DATA * jax.nn.log_sigmoid(logits) + (1 - DATA) * jax.nn.log_sigmoid(-logits)
    np.testing.assert_allclose(vae.bernoulli(logits, DATA), gray.sum(-1), rtol=1e-5)
    normal = distrax.Normal(logits, 1.0).log_prob(DATA).sum(-1)
    np.testing.assert_allclose(vae.gaussian(logits, DATA), normal, rtol=1e-5)


MODELS = {
    "Euclidean": {"manifold": Euclidean(2), "first": vae.CoordinateLayer},
    "wrapped, gyroplane": {},
    "wrapped, logmap": {"first": vae.LogmapLayer},
    "wrapped, Möbius": {"first": vae.MobiusLayer},
    "wrapped, linear": {"first": vae.CoordinateLayer},
    "Riemannian, ball": {"manifold": PoincareBall(2, 0.8), "family": RiemannianNormal, "scales": 1},
}


SLOW = ("wrapped, Möbius", "Riemannian, ball")  # to compile


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in MODELS]
)
@pytest.mark.quick("wrapped, gyroplane")
def test_every_model_trains_under_jit(name):
    model = make(**MODELS[name])
    params = jax.jit(model.init)(jax.random.key(0))

    @jax.jit
    @jax.value_and_grad
    def loss(params):
        return -jnp.mean(vae.elbo(model, params, DATA, jax.random.key(1), samples=2).elbo)

    value, grads = loss(params)
    assert jnp.isfinite(value)
    for leaf in jax.tree.leaves(grads):
        assert jnp.all(jnp.isfinite(leaf)) and jnp.any(leaf != 0)


@pytest.mark.slow
def test_rotations_as_latents():
    """A linear decoder reads a matrix row by row."""
    encoder, decoder = mlp([ITEMS, 6]), vae.decoder(vae.CoordinateLayer, 9, [HIDDEN, ITEMS])
    model = vae.vae(SO3(), WrappedNormal, encoder, decoder, vae.gaussian, prior_scale=0.5)
    params = model.init(jax.random.key(0))
    z = SO3().random_uniform(jax.random.key(1), (3,))
    first, rest = params["decoder"]["first"]["linear"], params["decoder"]["rest"]["layers"][0]
    hidden = jax.nn.relu(z.reshape(3, 9) @ first["kernel"] + first["bias"])
    expected = hidden @ rest["kernel"] + rest["bias"]
    np.testing.assert_allclose(model.decode(params, z), expected, rtol=1e-5, atol=1e-5)
    bound = vae.elbo(model, params, DATA, jax.random.key(2)).elbo
    assert bound.shape == (5,) and jnp.all(jnp.isfinite(bound))


@pytest.mark.parametrize("manifold", [Product(PoincareBall(2), PoincareBall(2)), SO3()])
def test_decoders_that_need_hyperbolic_space(manifold):
    for first, dim in [(nn.Gyroplane, "to_hyperboloid"), (vae.MobiusLayer, "another dimension")]:
        decoder = vae.decoder(first, manifold.dim, [HIDDEN, ITEMS])
        params = jax.eval_shape(decoder.init, jax.random.key(0))
        with pytest.raises((NotImplementedError, TypeError), match=dim):
            jax.eval_shape(lambda p, d=decoder: d.apply(p, manifold.origin(), manifold), params)


@pytest.mark.parametrize("first", [vae.CoordinateLayer, vae.LogmapLayer])
def test_layers_for_points_of_another_size(first):
    decoder = vae.decoder(first, 4, [HIDDEN, ITEMS])
    params = jax.eval_shape(decoder.init, jax.random.key(0))
    space = PoincareBall(2)
    with pytest.raises(
        ValueError, match=r"Layer: made for 4 numbers, got 2 from PoincareBall\(dim=2"
    ):
        jax.eval_shape(lambda p: decoder.apply(p, space.origin(), space), params)


def test_kl_is_that_of_quadrature():
    """Monte Carlo KL of Euclidean normals against its closed form."""
    model = make(Euclidean(2), first=vae.CoordinateLayer)
    params = jax.jit(model.init)(jax.random.key(0))

    @jax.jit
    def estimate(params):
        bound = vae.elbo(model, params, DATA, jax.random.key(1), samples=20_000)
        q = model.encode(params, DATA)
        return bound, q.loc, q.scale

    bound, loc, scale = estimate(params)
    exact = 0.5 * ((loc**2 + scale**2) / 1.3**2 - 1 - 2 * jnp.log(scale / 1.3)).sum(-1)
    np.testing.assert_allclose(bound.kl, exact, rtol=0.03)
    np.testing.assert_allclose(bound.elbo, bound.log_likelihood - bound.kl, rtol=1e-5)


def test_iwae_is_the_evidence_of_a_linear_model():
    """With a linear Gaussian decoder log p(x) is known: N(x; b, I + 0.7^2 W W')."""
    manifold = Euclidean(2)
    encoder = mlp([ITEMS, 4])
    model = vae.vae(manifold, WrappedNormal, encoder, _affine(), vae.gaussian, prior_scale=0.7)
    params = jax.jit(model.init)(jax.random.key(0))

    @jax.jit
    def bounds(params):
        key = jax.random.key(2)
        low = vae.elbo(model, params, DATA, key, 1000).elbo
        return low, [vae.iwae(model, params, DATA, key, 4000, chunk) for chunk in (500, 4000)]

    low, (chunked, whole) = bounds(params)
    weight, bias = params["decoder"]["kernel"], params["decoder"]["bias"]
    covariance = np.eye(ITEMS) + 0.7**2 * weight.T @ weight
    exact = distrax.MultivariateNormalFullCovariance(bias, covariance).log_prob(DATA)
    np.testing.assert_allclose(chunked, exact, atol=0.05)
    np.testing.assert_allclose(whole, exact, atol=0.05)
    assert np.all(low < exact)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "bfloat16", "float32"])
@pytest.mark.quick("bool", "bfloat16")
def test_bounds_of_data_of_any_type(dtype):
    """Binary images as they come; the bounds are those of the same data in float32."""
    model = make(Euclidean(2), first=vae.CoordinateLayer, likelihood=vae.bernoulli)
    params = jax.jit(model.init)(jax.random.key(0))
    x = DATA > 0.5

    @jax.jit
    def bounds(x):
        key = jax.random.key(1)
        return *vae.elbo(model, params, x, key, 3), vae.iwae(model, params, x, key, samples=50)

    found, expected = bounds(x.astype(dtype)), bounds(x.astype("float32"))
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == jnp.float32
        np.testing.assert_allclose(a, b, rtol=0.02 if dtype == "bfloat16" else 1e-6)


@pytest.mark.parametrize("manifold", [Hyperboloid(2, 0.8), SO3()], ids=str)
def test_precision_is_the_parameters_whatever_the_default(manifold, x64):
    """And the linear decoder reads matrices."""
    sizes = int(np.prod(manifold.event_shape)), [HIDDEN, ITEMS]
    model = vae.vae(
        manifold,
        WrappedNormal,
        mlp([ITEMS, HIDDEN, manifold.dim + 1]),
        vae.decoder(vae.CoordinateLayer, *sizes),
        vae.bernoulli,
        learn_curvature=bool(jax.tree.leaves(manifold)),
    )

    def bounds(key, x):
        params = model.init(key)
        return params, vae.elbo(model, params, x, key), vae.iwae(model, params, x, key, 50)

    for x in (DATA, DATA > 0.5):
        found = jax.tree.leaves(jax.eval_shape(bounds, jax.random.key(0), x))
        assert {a.dtype.name for a in found} == {"float32"}


def _affine():
    from geodl.nn import Net

    net = mlp([2, ITEMS])

    def init(key):
        return net.init(key)["layers"][0]

    return Net(init, lambda params, z, manifold: z @ params["kernel"] + params["bias"])


def test_bad_input_is_named():
    model = make()
    with pytest.raises(ValueError, match=r"sizes are of the first layer, .* got \[3\]"):
        vae.decoder(nn.Gyroplane, 2, [3])
    with pytest.raises(ValueError, match="chunk 3 and samples 10"):
        vae.iwae(model, model.init(jax.random.key(0)), DATA, jax.random.key(1), 10, chunk=3)
    for attempt in (
        lambda: vae.iwae(model, {}, DATA, jax.random.key(1), 0),
        lambda: vae.iwae(model, {}, DATA, jax.random.key(1), 10, chunk=0),
        lambda: vae.elbo(model, {}, DATA, jax.random.key(1), 0),
    ):
        with pytest.raises(ValueError, match="must be at least 1, got 0"):
            attempt()


@pytest.mark.slow
def test_elbo_respects_the_entropy_floor():
    """The reference falls to -ELBO 36: its densities are not those of its samples."""
    tree = jax.jit(datasets.branching_diffusion)(jax.random.key(0))
    encoder = mlp([50, 64, 3])
    decoder = vae.decoder(nn.Gyroplane, 2, [64, 50])
    model = vae.vae(PoincareBall(2, 1.2), RiemannianNormal, encoder, decoder, vae.gaussian, 1.7)
    optimizer = optax.adam(1e-2)

    def loss(params, batch, key):
        return -jnp.sum(vae.elbo(model, params, batch, key).elbo), {}

    state = train.init(model.init(jax.random.key(1)), optimizer, jax.random.key(2))
    run = train.chunked(train.make_step(loss, optimizer))
    state, metrics = run(state, tree.train, 300)
    per_item = metrics["loss"] / len(tree.train)
    assert jnp.all(per_item > datasets.ENTROPY_FLOOR)
    assert (
        per_item[-1] < 61
    )  # and it has learned: an unconditional normal has 50/2 (1 + log 2 pi) = 70.9
