"""RealNVP and Glow: bijectors with any parameters, densities of mass one, exact in pixels."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from geodl import bijectors, flows, nn, train
from geodl.flows import bin_centers, quantize
from geodl.flows.discrete.net import actnorm


SHAPE = (4, 4, 2)
NETS = {
    "realnvp, vectors": flows.realnvp(3, 4, (8,)),
    "realnvp, images": flows.image_realnvp(SHAPE, 2, 8),
    "glow": flows.glow(SHAPE, [(2, 1), (2, 1)], 8, bijectors.affine(), 1e-3, nn.mixer_net),
}


def random_params(net, dtype="float32"):
    """Not the identity that training starts from; of images not what saturates the pixels either."""
    rng = np.random.default_rng(0)
    scale = 0.2 if len(net.shape) == 1 else 0.05

    def moved(leaf):
        return jnp.asarray(np.asarray(leaf) + scale * rng.normal(size=leaf.shape), dtype)

    return jax.tree.map(moved, jax.jit(net.init)(jax.random.key(0)))


def check_bijection(net, dtype, digits):
    params = random_params(net, dtype)
    z = jnp.asarray(np.random.default_rng(1).normal(size=(3, *net.shape)), dtype)

    @jax.jit
    def evaluate(params, z):
        bijector = net.bijector(params)

        def forward(z):
            x, log_det = bijector.forward_and_log_det(z.reshape(net.shape))
            return x.ravel(), (x, log_det)

        jacobians, found = jax.vmap(jax.jacfwd(forward, has_aux=True))(z.reshape(3, -1))
        return jacobians, *found, *bijector.inverse_and_log_det(found[0])

    jacobians, x, log_det, back, inverse_log_det = evaluate(params, z)
    assert x.shape == z.shape and log_det.shape == inverse_log_det.shape == (3,)
    assert {a.dtype for a in (x, log_det, back, inverse_log_det)} == {jnp.dtype(dtype)}
    np.testing.assert_allclose(back, z, atol=digits)
    expected = np.linalg.slogdet(np.asarray(jacobians, float))[1]
    np.testing.assert_allclose(log_det, expected, atol=10 * digits)
    np.testing.assert_allclose(inverse_log_det, -log_det, atol=10 * digits)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.quick("glow")
def test_bijection_with_random_weights(name):
    check_bijection(NETS[name], "float32", 1e-4)


@pytest.mark.slow
def test_bijection_in_double_precision(x64):
    check_bijection(NETS["glow"], "float64", 1e-11)


@pytest.mark.parametrize("transformer", ["affine", "spline", "logistic_mixture"])
@pytest.mark.quick("affine")
def test_mass_is_one(transformer):
    net = flows.realnvp(2, 2, (8,), getattr(bijectors, transformer)())
    ticks = np.linspace(-15, 15, 1200, dtype=np.float32)
    grid = np.stack(np.meshgrid(ticks, ticks), -1)
    log_p = jax.jit(lambda p, x: net.distribution(p).log_prob(x))(random_params(net), grid)
    mass = np.exp(np.asarray(log_p, float)).sum() * (ticks[1] - ticks[0]) ** 2
    assert mass == pytest.approx(1, abs=1e-3)


def test_weight_decay_spares_the_constants():
    """After 500 steps the log-determinant is still the Jacobian's, and the round trip exact; single precision stays."""
    net = flows.glow((4, 4, 1), [(2, 2)], 8)
    params = net.init(jax.random.key(0))
    assert {a.dtype for a in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    optimizer = optax.adamw(1e-3, weight_decay=0.1)
    images = jax.random.randint(jax.random.key(1), (32, 4, 4, 1), 0, 256).astype(jnp.uint8)

    def loss(params, key):
        return jnp.mean(flows.bits_per_dim(net.distribution(params), images, key))

    @jax.jit
    def step(state, key):
        params, opt_state = state
        updates, opt_state = optimizer.update(jax.grad(loss)(params, key), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    state = params, optimizer.init(params)
    for key in jax.random.split(jax.random.key(2), 500):
        state = step(state, key)

    @jax.jit
    def evaluate(params, x):
        bijector = net.bijector(params)
        z, log_det = bijector.inverse_and_log_det(x)
        jacobian = jax.jacfwd(lambda x: bijector.inverse(x.reshape(4, 4, 1)).ravel())(x.ravel())
        return bijector.forward(z), log_det, jacobian

    back, log_det, jacobian = evaluate(state[0], bin_centers(images[0]))
    np.testing.assert_allclose(back, bin_centers(images[0]), atol=1e-5)
    np.testing.assert_allclose(
        log_det, np.linalg.slogdet(np.asarray(jacobian, float))[1], atol=1e-3
    )


def test_constants_are_those_of_the_seed():
    nets = [flows.glow((2, 2, 1), [(2, 1)], 4, seed=seed) for seed in (0, 0, 1)]
    x = jnp.linspace(0.1, 0.9, 4).reshape(2, 2, 1)
    first, same, other = (net.bijector(net.init(jax.random.key(0))).inverse(x) for net in nets)
    np.testing.assert_array_equal(first, same)
    assert jnp.max(jnp.abs(first - other)) > 0.1


@pytest.mark.parametrize("name", NETS)
@pytest.mark.quick("glow")
def test_no_images(name):
    """Empty batches in, empty batches out."""
    net = NETS[name]
    distribution, none = net.distribution(random_params(net)), jnp.zeros((2, 0, *net.shape))
    assert distribution.log_prob(none).shape == (2, 0)
    x, log_p = distribution.sample_and_log_prob(seed=jax.random.key(0), sample_shape=(2, 0))
    assert x.shape == none.shape and log_p.shape == (2, 0)
    if len(net.shape) == 3:
        bits = flows.bits_per_dim(distribution, none.astype(jnp.uint8), jax.random.key(0))
        assert bits.shape == (2, 0)


def test_single_precision_where_double_is_switched_on(x64):
    for net in NETS.values():
        params = jax.eval_shape(net.init, jax.random.key(0))
        x = jax.ShapeDtypeStruct((3, *net.shape), jnp.float32)
        z = jax.eval_shape(lambda p, x, net=net: net.bijector(p).inverse_and_log_det(x), params, x)
        assert {a.dtype for a in jax.tree.leaves((params, z))} == {jnp.dtype("float32")}


def test_data_dependent_initialization():
    """Every ActNorm puts out mean 0 and variance 1: so does the net, whose couplings are the identity at first."""
    x = jnp.array([3.0, -50.0, 0.1]) + jnp.array([0.1, 9.0, 2.0]) * jax.random.normal(
        jax.random.key(0), (64, 3)
    )
    net = NETS["realnvp, vectors"]
    params = jax.jit(net.data_init)(jax.jit(net.init)(jax.random.key(1)), x)
    z = jax.jit(lambda p, x: net.bijector(p).inverse(x))(params, x)
    np.testing.assert_allclose(jnp.mean(z, 0), 0, atol=1e-4)
    np.testing.assert_allclose(jnp.std(z, 0), 1, rtol=1e-4)

    net = NETS["glow"]
    images = jax.random.uniform(jax.random.key(2), (64, *SHAPE)) ** 2
    params = jax.jit(net.data_init)(jax.jit(net.init)(jax.random.key(1)), images)
    z = jax.jit(lambda p, x: net.bijector(p).inverse(x))(params, images)
    inner = params["rest"]["step00"]["actnorm"]
    assert jnp.std(inner["log_scale"]) > 0.01  # the second level has seen its part of the data
    assert jnp.abs(jnp.mean(z)) < 0.02 and jnp.abs(jnp.mean(z**2) - 1) < 0.2


def test_images():
    """decode(encode(x)) is x to the gray value; black and white ones too; finite gradients of the loss."""
    net = NETS["glow"]
    images = np.random.default_rng(0).integers(0, 256, (4, *SHAPE)).astype(np.uint8)
    images[0], images[1] = 0, 255

    @jax.jit
    def evaluate(params, images, key):
        def loss(params):
            bits = flows.bits_per_dim(net.distribution(params), images, key)
            return jnp.mean(bits), bits

        x, bijector = bin_centers(images), net.bijector(params)
        decoded = bijector.forward(bijector.inverse(x))
        return x, decoded, *jax.grad(loss, has_aux=True)(params)

    x, decoded, gradients, bits = evaluate(random_params(net), images, jax.random.key(0))
    np.testing.assert_allclose(decoded, x, atol=1e-4)
    np.testing.assert_array_equal(quantize(decoded), images)
    assert bits.shape == (4,) and jnp.all(jnp.isfinite(bits))
    assert all(jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(gradients))


def test_temperature_scales_the_base():
    net, key = NETS["realnvp, vectors"], jax.random.key(0)
    params = random_params(net)

    @jax.jit
    def evaluate(params):
        return [net.distribution(params, t).sample(seed=key, sample_shape=50) for t in (1.0, 0.5)]

    warm, cold = (net.bijector(params).inverse(x) for x in evaluate(params))
    np.testing.assert_allclose(cold, warm / 2, atol=1e-4)
    assert 0.8 < jnp.std(warm) < 1.2
    asked = distrax.Independent(distrax.Normal(jnp.zeros(net.shape), 0.5), len(net.shape))
    found = net.distribution(params, 0.5).distribution.log_prob(cold)
    np.testing.assert_allclose(found, asked.log_prob(cold), rtol=1e-5)


def test_bijectors_are_arguments():
    """One trace for all parameters, and the inverses of the convolutions are in what is passed."""
    net, z = flows.glow(SHAPE, [(4, 1)], 8), jnp.ones(SHAPE)
    traces = []

    @jax.jit
    def decode(bijector, z):
        traces.append(jax.make_jaxpr(bijector.forward)(z))
        return bijector.forward(z)

    params = random_params(net)
    make = jax.jit(net.bijector)
    found = [decode(make(p), z) for p in (params, jax.tree.map(lambda a: 0.99 * a, params))]
    assert len(traces) == 1 and "triangular_solve" not in str(traces)
    assert jnp.any(found[0] != found[1])


def test_bits_of_known_distributions():
    """Uniform pixels cost 8 bits each; a density that knows the image costs the bits that are left."""
    images = jnp.zeros((3, *SHAPE), jnp.uint8)
    uniform = distrax.Independent(distrax.Uniform(jnp.zeros(SHAPE), jnp.ones(SHAPE)), 3)
    np.testing.assert_allclose(flows.bits_per_dim(uniform, images, jax.random.key(0)), 8)
    dark = distrax.Independent(distrax.Uniform(jnp.zeros(SHAPE), jnp.full(SHAPE, 1 / 64)), 3)
    np.testing.assert_allclose(flows.bits_per_dim(dark, images, jax.random.key(0)), 2, rtol=1e-6)


def test_training_learns_two_modes_with_one_trace():
    """Twice the same step, traced once: nothing in it is weakly typed."""
    net = flows.realnvp(2, 4, (16,))
    side = jnp.sign(jax.random.normal(jax.random.key(0), (512, 1)))
    x = 0.3 * jax.random.normal(jax.random.key(1), (512, 2)) + side
    traces = []

    def loss(params, batch, key):
        traces.append(())
        return flows.nll(net.distribution(params), batch).mean(), {}

    optimizer = optax.adam(1e-2)
    params = net.data_init(net.init(jax.random.key(2)), x)
    run = train.chunked(train.make_step(loss, optimizer))
    state, first = run(train.init(params, optimizer, jax.random.key(3)), x, 100)
    state, last = run(state, x, 100)
    assert len(traces) == 1
    entropy = np.log(2) + np.log(2 * np.pi * np.e * 0.3**2)  # the modes hardly overlap
    assert first["loss"][0] > 2.4 and last["loss"][-1] < entropy + 0.15


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: flows.realnvp(1), "at least 2.*got 1"),
        (lambda: flows.glow((4, 6, 1), [(4, 1)]), r"multiples of 4.*\(4, 6, 1\)"),
        (lambda: flows.glow((4, 4, 1), []), r"at least one step.*got \(\)"),
        (lambda: flows.glow((4, 4, 1), [(2, 0)]), r"at least one step.*\(2, 0\)"),
        (lambda: flows.image_realnvp((4, 4, 1), 0), "at least one level.*got 0"),
        (lambda: flows.glow((4, 4, 1), [(1, 1)]), "at least 2 channels"),
        (lambda: flows.image_realnvp((6, 6, 1), 3), r"multiples of 4.*\(6, 6, 1\)"),
    ],
)
def test_bad_architectures(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_bad_images():
    net = NETS["glow"]
    distribution = net.distribution(random_params(net))
    with pytest.raises(ValueError, match="multiples of 2, got 3 x 4"):
        distribution.log_prob(jnp.ones((3, 4, 2)))
    with pytest.raises(ValueError, match=r"\[0, 1\], got 7"):
        distribution.log_prob(jnp.full(SHAPE, 7.0))
    with pytest.raises(ValueError, match=r"8 channels.*12"):
        distribution.log_prob(jnp.ones((4, 4, 3)))
    with pytest.raises(TypeError, match="uint8"):
        flows.bits_per_dim(distribution, jnp.ones(SHAPE), jax.random.key(0))


def test_actnorm_starts_by_standardizing_a_batch():
    def standardized(y, shape, **options):
        net = actnorm(shape, **options)
        return net.bijector(net.data_init(net.init(jax.random.key(0)), y)).inverse(y)

    y = 3 + jnp.array([1.0, 20.0]) * jax.random.normal(jax.random.key(0), (50, 4, 4, 2))
    x = standardized(y, (4, 4, 2))
    np.testing.assert_allclose(jnp.mean(x, (0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(jnp.std(x, (0, 1, 2)), 1, rtol=1e-5)
    x = standardized(y * jnp.arange(1.0, 5)[:, None], (4, 4, 2), pixelwise=True)
    np.testing.assert_allclose(jnp.mean(x, 0), 0, atol=1e-5)
    np.testing.assert_allclose(jnp.std(x, 0), 1, rtol=1e-5)
    assert jnp.all(jnp.isfinite(standardized(jnp.ones((5, 3)), (3,))))  # a constant
