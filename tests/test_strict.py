"""The strict modes of JAX: no promotion of types, none of ranks. Traced only: that is where they raise.

Not ours, and not run here: optax' Adam raises b ** count, a float to an integer. Where distrax does has its own tests.
"""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from geodl import bijectors, distributions, explain, flows, nn, train, vae
from geodl import counterfactual as cf
from geodl.manifolds import Euclidean, PoincareBall, Sphere, Stereographic
from geodl.nn import mlp
from tests.manifolds.spaces import INFINITE, NEWER, SPACES, evaluate, random_setting


MODES = {
    "types": lambda: jax.numpy_dtype_promotion("strict"),
    "ranks": lambda: jax.numpy_rank_promotion("raise"),
}
N = 4


@pytest.fixture(params=MODES)
def strict(request):
    """The mode, for what a test does after it has made its arrays."""
    return MODES[request.param]


def traced(strict, f, *args):
    """Raises where ``f`` promotes; what it would return."""
    with strict():
        return jax.eval_shape(f, *args)


@pytest.mark.quick(
    *(
        f"{mode}-{name}"
        for mode in MODES
        for name in SPACES
        if name not in ("hyperboloid", "so3", *NEWER)
    )
)
@pytest.mark.parametrize("name", SPACES)
def test_vocabulary(strict, name):
    """Values and derivatives of every function."""
    space = SPACES[name]
    setting = random_setting(space, (N,))
    traced(strict, lambda *s: evaluate(space, *s), *setting)

    def scalar(*s):
        return sum(jnp.sum(a) for a in jax.tree.leaves(evaluate(space, *s)))

    traced(strict, jax.grad(scalar, (0, 1, 2, 3)), *setting)


@pytest.mark.parametrize("name", SPACES)
def test_origin_and_draws(strict, name):
    space = SPACES[name]
    traced(strict, space.origin)
    if name not in INFINITE:
        traced(strict, lambda key: space.random_uniform(key, (N,)), jax.random.key(0))


DISTRIBUTIONS = {
    "wrapped normal": lambda m: distributions.WrappedNormal(m, m.origin(), 1.0),
    "wrapped normals": lambda m: distributions.WrappedNormal(m, m.origin(), jnp.ones(m.dim)),
    "Riemannian normal": lambda m: distributions.RiemannianNormal(m, m.origin(), 0.7),
    "uniform": distributions.Uniform,
    "von Mises-Fisher": lambda m: distributions.VonMisesFisher(m.origin(), 3.0),
    "kernel density": lambda m: distributions.KernelDensity(m.origin()[None], 3.0),
}
CASES = [
    *(("wrapped normal", name) for name in SPACES if name not in ("box", "so", "grassmann")),
    *(("wrapped normals", name) for name in SPACES if name not in ("box", *NEWER)),
    *(("Riemannian normal", name) for name in ("ball", "hyperboloid")),
    *(("uniform", name) for name in ("sphere", "torus", "so3", "box")),
    ("von Mises-Fisher", "sphere"),
    ("kernel density", "sphere"),
]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_distributions(strict, kind, name):
    with strict():
        made = DISTRIBUTIONS[kind](SPACES[name])  # where values are concrete, they are checked
    x = random_setting(SPACES[name], (N,))[0]
    traced(strict, lambda q, x: q.log_prob(x), made, x)
    if kind != "kernel density":
        draw = lambda q, key: q.sample_and_log_prob(seed=key, sample_shape=N)  # noqa: E731
        traced(strict, draw, made, jax.random.key(0))


def training_step(strict, loss, params, batch):
    """A step on minibatches, of two seeds at once."""
    optimizer = optax.sgd(1e-3, momentum=0.9)

    def on_batch(params, batch, key):
        value = loss(params, batch.data, key)
        return jnp.sum(batch.weight) * value, {}

    rows = len(jax.tree.leaves(batch)[0])
    step = train.on_minibatches(train.make_step(on_batch, optimizer), N)
    run = train.chunked(jax.vmap(step, (0, None)))
    states = jax.vmap(lambda key: train.init(params, optimizer, key, rows))(
        jax.random.split(jax.random.key(0), 2)
    )
    traced(strict, lambda states, batch: run(states, batch, 3), states, batch)


@pytest.mark.quick("types-sphere")
@pytest.mark.parametrize("name", ["sphere", "hyperboloid", "so3"])
def test_a_flow(strict, name):
    space = SPACES[name]
    field = flows.vector_field(space, "frame" if name == "so3" else "ambient", width=8, depth=1)
    params = field.init(jax.random.key(0))
    base = (
        DISTRIBUTIONS["wrapped normal"](space)
        if name == "hyperboloid"
        else DISTRIBUTIONS["uniform"](space)
    )
    x = random_setting(space, (N,))[0]

    def matching(params, x1, key):
        key_base, key_time = jax.random.split(key)
        x0 = base.sample(seed=key_base, sample_shape=N)
        velocity = lambda t, x: field.apply(params, t, x)  # noqa: E731
        t = flows.random_times(key_time, N)
        return jnp.mean(flows.matching_loss(space, velocity, t, x0, x1))

    training_step(strict, matching, params, x)
    for solver in (flows.RK4(64), flows.Tsit5()):
        flow = flows.ContinuousFlow(base, field, params, solver)
        traced(strict, lambda flow, x: flow.log_prob(x), flow, x)
        draw = lambda flow, key: flow.sample_and_log_prob(seed=key, sample_shape=N)  # noqa: E731
        traced(strict, draw, flow, jax.random.key(0))


@pytest.mark.quick("types-realnvp")
@pytest.mark.parametrize("net", ["realnvp", "glow"])
def test_a_flow_by_couplings(strict, net):
    if net == "glow":
        net, x = flows.glow((4, 4, 2), [(1, 1)], 4), jnp.ones((N, 4, 4, 2))
    else:
        net, x = flows.realnvp(2, 2, (8,)), jnp.ones((N, 2))
    params = net.init(jax.random.key(0))
    training_step(strict, lambda p, x, key: flows.nll(net.distribution(p), x).mean(), params, x)
    draw = lambda p, key: net.distribution(p).sample(seed=key, sample_shape=N)  # noqa: E731
    traced(strict, draw, params, jax.random.key(0))


@pytest.mark.quick("types-wrapped")
@pytest.mark.parametrize("posterior", ["wrapped", "Riemannian"])
def test_a_vae(strict, posterior):
    kind = {"wrapped": distributions.WrappedNormal, "Riemannian": distributions.RiemannianNormal}
    family, outputs = kind[posterior], {"wrapped": 4, "Riemannian": 3}[posterior]
    decoder = vae.decoder(nn.Gyroplane, 2, [8, 5])
    model = vae.vae(PoincareBall(2, 1.2), family, mlp([5, 8, outputs]), decoder, vae.gaussian, 1.7)
    params, x = model.init(jax.random.key(0)), jnp.ones((N, 5))

    training_step(strict, lambda p, x, key: -jnp.sum(vae.elbo(model, p, x, key).elbo), params, x)
    iwae = lambda p, x, key: vae.iwae(model, p, x, key, 4, 2)  # noqa: E731
    traced(strict, iwae, params, x, jax.random.key(0))


def test_a_search(strict):
    sphere, optimizer = Sphere(2), optax.sgd(0.1, momentum=0.9)
    rule = cf.Search(cf.Generator(jnp.sin, sphere), jnp.sum, cf.interval(), optimizer, 5)
    z = sphere.project(np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32))
    goal = jnp.tile(jnp.array([1.0, 2.0]), (N, 1))
    with strict():
        state = jax.eval_shape(rule.init, z, goal)
        jax.eval_shape(rule.step, state)


BLOCKS = {
    "mixture of logistics": lambda x: bijectors.LogisticMixture(*jnp.ones((3, 5, 2))).forward(x),
    "masked coupling": lambda x: applied_flow(
        flows.image_realnvp((2, 2, 1), 1, 4), x.reshape(2, 2, 2, 1)
    ),
    "checkerboard": lambda x: bijectors.checkerboard_mask((4, 4, 1)),
    "Moebius layer": lambda x: applied(
        nn.functional(lambda rngs: nn.MobiusLinear(2, 3, rngs)), x, PoincareBall(2)
    ),
    "classifier": lambda x: applied(nn.conv_classifier((8, 8, 2), 3), jnp.ones((N, 8, 8, 2))),
    "decoder": lambda x: applied(nn.conv_decoder(2, (8, 8, 1)), x),
    "mixer": lambda x: applied(nn.mixer_net((2, 2, 2), 4, 3), jnp.ones((N, 2, 2, 2))),
    "radius": lambda x: distributions.radial.cdf(x, 1.0, jnp.ones(2), 3),
    "divergence": lambda x: distributions.VonMisesFisher(_POLE, 2.0).kl_divergence(
        distributions.VonMisesFisher(jnp.tile(_POLE, (N, 1)), jnp.ones(N))
    ),
    "tangent part": lambda x: cf.split_tangent_normal(
        cf.Generator(jnp.sin, Euclidean(2)), x[0], x[1], 1
    ),
    "integrated gradients": lambda x: explain.integrated_gradients(jnp.sum, x, jnp.zeros(2)),
    "occlusion": lambda x: explain.occlusion(jnp.sum, x, (2,), jnp.zeros(2)),
}
_POLE = jnp.array([0.0, 0.0, 1.0])


def applied(net, *args):
    return net.apply(net.init(jax.random.key(0)), *args)


def applied_flow(net, x):
    return net.bijector(net.init(jax.random.key(0))).inverse(x)


def spline(x):
    return bijectors.spline().bijector(jnp.ones((N, 2 * 27))).inverse(x)


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks(strict, name):
    traced(strict, BLOCKS[name], jnp.ones((N, 2)) / 2)


def test_the_spline_is_distrax_own():
    """It divides floats by integers. Ranks it does not promote."""
    traced(MODES["ranks"], spline, jnp.ones((N, 2)))
    with pytest.raises(jax.dtypes.TypePromotionError):
        traced(MODES["types"], spline, jnp.ones((N, 2)))


def test_mixtures_are_distrax_own():
    """MixtureSameFamily adds the weights to the densities of a batch."""
    components = distributions.VonMisesFisher(jnp.tile(_POLE, (2, 1)), 1.0)
    mixture = distrax.MixtureSameFamily(distrax.Categorical(logits=jnp.zeros(2)), components)
    with pytest.raises(ValueError, match="rank_promotion"):
        traced(MODES["ranks"], lambda x: mixture.log_prob(x), jnp.tile(_POLE, (N, 1)))


@pytest.mark.slow
def test_jitter_neighbors_and_mixtures(strict):
    x = random_setting(SPACES["sphere"], (N,))[0]
    key = jax.random.key(0)
    traced(strict, lambda x: flows.jitter(SPACES["sphere"], key, x, jnp.ones(N)), x)
    with strict():
        distributions.neighbor_distances(SPACES["sphere"], x, 2)
        distributions.fit_von_mises_fisher_mixture(key, x, 2, 2, 1)


def test_integers_are_floats_in_strict_modes(strict):
    x, y = np.array([0, 0, 1]), np.array([0, 1, 0])
    assert traced(strict, Sphere(2).dist, x, y).dtype == jnp.float32
    assert traced(strict, PoincareBall(2).expmap0, np.array([1, 2])).dtype == jnp.float32


@pytest.mark.parametrize("space", [PoincareBall(2), Stereographic(2, -0.5), Sphere(2)], ids=repr)
def test_gradients_through_a_loop_promote_nothing(space, strict):
    """They are traced after the formula itself was, outside of what it allows."""
    origin = np.asarray(space.origin())
    x, a = np.broadcast_to(origin, (5, *origin.shape)), np.full((5, 2), 0.1, np.float32)

    def end(a):
        return jax.lax.scan(lambda x, _: (space.expmap_frame(x, a), None), x, None, 2)[0].sum()

    assert traced(strict, jax.grad(end), a).shape == a.shape
