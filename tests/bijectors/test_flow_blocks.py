"""What flows are made of: every block inverts, knows its log-determinant, and is differentiable, jitted and batched."""

import functools

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from geodl import bijectors
from geodl.bijectors import (
    ActNorm,
    InvertibleConv,
    LogisticMixture,
    Logit,
    PartialChannels,
    Squeeze,
    channel_mask,
    checkerboard_mask,
    plu_of_rotation,
)


SHAPE = (4, 4, 2)


def squeeze(weights):
    return Squeeze(2)


def logit(weights):
    return Logit(event_ndims=3)


def actnorm(weights):
    return ActNorm(weights["a"], weights["b"])


def pixelwise_actnorm(weights):
    shift, log_scale = (jnp.resize(weights["wide"][i], SHAPE) for i in range(2))
    return ActNorm(shift, log_scale)


def conv(weights):
    rotation = plu_of_rotation(np.random.default_rng(3), 2)
    rotation = jax.tree.map(lambda a: a.astype(weights["a"].dtype), rotation)
    rotation["lower"] = rotation["lower"] + weights["c"]
    rotation["upper"] = rotation["upper"] + weights["c"]
    rotation["log_scale"] = rotation["log_scale"] + weights["b"]
    return InvertibleConv(**rotation)


def coupling(mask):
    def build(weights):
        inner = bijectors.affine()
        first = weights["wide"][:, :4] if mask else weights["wide"][:1, :2]

        def conditioner(x):
            return jnp.tanh(x) @ first

        if mask:
            return distrax.MaskedCoupling(checkerboard_mask(SHAPE), conditioner, inner.bijector)
        return distrax.SplitCoupling(1, 3, conditioner, inner.bijector)

    return build


def curve(make):
    """Of every coordinate by itself, with other parameters in every column and both channels."""

    def build(weights):
        inner = make(3)
        raw = jnp.tile(weights["wide"][:, : 2 * inner.outputs], (4, 2, 1))
        return distrax.Block(inner.bijector(raw), 3)

    return build


def two_scales(weights):
    return distrax.Chain([coupling(False)(weights), PartialChannels(leading(weights), 1)])


def leading(weights):
    return ActNorm(weights["a"][:1], weights["b"][:1])


BLOCKS = {
    "squeeze": squeeze,
    "unsqueeze": lambda weights: distrax.Chain([Squeeze(2), distrax.Inverse(Squeeze(2))]),
    "logit": logit,
    "actnorm": actnorm,
    "actnorm of pixels": pixelwise_actnorm,
    "conv": conv,
    "two scales": two_scales,
    "affine, masked": coupling(True),
    "spline": curve(bijectors.spline),
    "mixture": curve(bijectors.logistic_mixture),
}


def weights(dtype):
    rng = np.random.default_rng(1)
    sizes = {"a": (2,), "b": (2,), "c": (2, 2), "wide": (2, 60)}
    return {k: jnp.asarray(0.7 * rng.normal(size=s), dtype) for k, s in sizes.items()}


def block_and_input(name, dtype):
    shape = (2, 2, 8) if name == "unsqueeze" else SHAPE
    x = 1.5 * np.random.default_rng(0).normal(size=(5, *shape))
    x[0] = 0
    return BLOCKS[name], weights(dtype), jnp.asarray(x, dtype)


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.quick("squeeze", "logit", "actnorm of pixels", "conv", "spline")
def test_block(name):
    build, w, x = block_and_input(name, "float32")

    @jax.jit
    def evaluate(w, x):
        block = build(w)
        y, log_det = block.forward_and_log_det(x)
        back, inverse_log_det = block.inverse_and_log_det(y)
        flat = jax.jacfwd(lambda v: block.forward(v.reshape(x.shape[1:])).ravel())
        jacobian = jax.vmap(flat)(x.reshape(5, -1))
        one_by_one = jax.vmap(block.forward_and_log_det)(x)
        return y, log_det, back, inverse_log_det, jacobian, one_by_one, slopes(w, x)

    @functools.partial(jax.grad, argnums=(0, 1))
    def slopes(w, x):
        block = build(w)
        y, there = block.forward_and_log_det(3 * x)
        z, back = block.inverse_and_log_det(y)
        return jnp.sum(y**2) + jnp.sum(z**2) + jnp.sum(there) + jnp.sum(back)

    y, log_det, back, inverse_log_det, jacobian, one_by_one, gradients = evaluate(w, x)
    assert log_det.shape == inverse_log_det.shape == (5,)
    np.testing.assert_allclose(back, x, atol=1e-5)
    expected = np.linalg.slogdet(np.asarray(jacobian, float))[1]
    np.testing.assert_allclose(log_det, expected, atol=1e-4)
    np.testing.assert_allclose(inverse_log_det, -log_det, atol=1e-4)
    np.testing.assert_allclose(one_by_one[0], y, atol=1e-5)
    np.testing.assert_allclose(one_by_one[1], log_det, atol=1e-4)
    assert all(jnp.all(jnp.isfinite(s)) for s in jax.tree.leaves(gradients))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_types_stay(dtype, x64):
    def both_ways(w, x):
        y = build(w).forward_and_log_det(x)
        return y, build(w).inverse_and_log_det(y[0])

    for name in BLOCKS:
        build, w, x = block_and_input(name, dtype)
        found = jax.tree.leaves(jax.eval_shape(both_ways, w, x))
        assert {a.dtype for a in found} == {jnp.dtype(dtype)}, name


def test_squeeze_keeps_squares_together():
    image = np.arange(4 * 6 * 2).reshape(4, 6, 2)
    squeezed = Squeeze(2).forward(image)
    np.testing.assert_array_equal(squeezed[1, 2], image[2:4, 4:6].ravel())


def test_logits_are_exact_to_the_last_gray_value(x64):
    v = np.arange(256) / 255
    y, log_det = Logit(0.05).inverse_and_log_det(jnp.float32(v))
    expected = scipy.special.logit(0.05 + 0.9 * v)
    np.testing.assert_allclose(y, expected, atol=2e-6)
    np.testing.assert_allclose(Logit(0.05).forward(y), v, atol=1e-6)
    steep = np.log(0.9) - np.log(0.05 + 0.9 * v) - np.log(0.95 - 0.9 * v)
    np.testing.assert_allclose(log_det, steep, atol=2e-6)


def test_logit_survives_what_forward_gives():
    y = jnp.array([-200.0, -40.0, 40.0, 200.0])
    for alpha in (0.0, 0.05):
        x, log_det = Logit(alpha).forward_and_log_det(y)
        back, inverse_log_det = Logit(alpha).inverse_and_log_det(x)
        assert jnp.all(jnp.isfinite(jnp.stack([x, log_det, back, inverse_log_det])))
    assert jnp.isnan(jax.jit(Logit().inverse)(1.2))


def test_convolution_starts_as_a_rotation_and_is_solved_once():
    params = plu_of_rotation(np.random.default_rng(0), 6)
    x = jax.random.normal(jax.random.key(1), (3, 2, 2, 6))
    y, log_det = InvertibleConv(**params).forward_and_log_det(x)
    np.testing.assert_allclose(jnp.sum(y**2, -1), jnp.sum(x**2, -1), rtol=1e-4)
    np.testing.assert_allclose(log_det, 0, atol=1e-4)

    def search(params, x):
        block = InvertibleConv(**params)
        return jax.lax.scan(lambda x, _: (block.forward(x), None), x, length=5)

    jaxpr = jax.make_jaxpr(search)(params, x)
    (scan,) = (e for e in jaxpr.eqns if e.primitive.name == "scan")
    assert "triangular_solve" in str(jaxpr) and "triangular_solve" not in str(scan.params["jaxpr"])


def test_mixture_is_its_distribution_function(x64):
    rng = np.random.default_rng(0)
    logits, loc, log_scale = rng.normal(size=(3, 4, 1)) * np.array([1, 3, 0.7])[:, None, None]
    y = np.linspace(-30, 30, 41)
    x = LogisticMixture(logits, loc, log_scale).inverse(y)
    weights = scipy.special.softmax(logits, 0)
    u = (y - loc) / np.exp(log_scale)
    cdf, survival = ((weights * scipy.special.expit(s * u)).sum(0) for s in (1, -1))
    np.testing.assert_allclose(x, np.log(cdf) - np.log(survival), atol=1e-9)


def test_mixture_quantiles_and_their_derivatives(x64):
    """Far in the tails too; derivatives of first and second order against finite differences."""
    mixture, moved = np.random.default_rng(2).normal(size=(2, 3, 4, 1))
    x = np.array([-300.0, -5, -0.3, 0, 2, 80])

    @jax.jit
    def evaluate(times):
        def quantile(t):
            return LogisticMixture(*(mixture + t * moved)).forward(x + t)

        y = quantile(0.0)
        first = jax.jacfwd(quantile)
        back = LogisticMixture(*mixture).inverse(y)
        return y, back, first(0.0), jax.jacrev(first)(0.0), jax.vmap(quantile)(times)

    h = 1e-3
    y, back, first, second, (before, after) = evaluate(np.array([-h, h]))
    np.testing.assert_allclose(back, x, atol=1e-9)
    np.testing.assert_allclose(first, (after - before) / (2 * h), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(second, (after - 2 * y + before) / h**2, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["affine", "spline"])
def test_couplings_start_at_the_identity(kind):
    inner = getattr(bijectors, kind)()
    x = jnp.linspace(-8, 8, 41)[:, None]
    bijector = inner.bijector(jnp.zeros((41, inner.outputs)))
    y, log_det = jax.jit(lambda x: bijector.forward_and_log_det(x))(x)
    np.testing.assert_allclose(y, x, atol=1e-5)
    np.testing.assert_allclose(log_det, 0, atol=1e-5)


def corners(rng, outputs):
    """Raw parameters as training may reach them: normal, ten times that, and each at one of its ends."""
    normal = rng.normal(size=(3, 2000, outputs))
    normal[1] *= 10
    ends = 100 * rng.choice([-1.0, 0.0, 1.0], size=(2000, outputs))
    ends[:, 0] = rng.normal(size=2000)  # the shift, which is not bounded
    normal[2] = ends
    return normal


@pytest.mark.optimized
@pytest.mark.parametrize("kind", ["affine", "spline", "logistic_mixture"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.quick("float32-spline", "float32-logistic_mixture")
def test_couplings_invert_for_any_parameters(dtype, kind, x64):
    """Both round trips, relative to the largest number on the way."""
    inner, rng = getattr(bijectors, kind)(), np.random.default_rng(0)
    raw = corners(rng, inner.outputs)
    x = rng.uniform(-5, 5, size=(3, 2000, 1))

    @jax.jit
    def evaluate(raw, x):
        bijector = inner.bijector(raw)
        y, z = bijector.forward(x), bijector.inverse(x)
        return y, bijector.inverse(y), z, bijector.forward(z)

    y, back, z, forth = map(np.asarray, evaluate(jnp.asarray(raw, dtype), jnp.asarray(x, dtype)))
    bound = 2e-5 if dtype == "float32" else 1e-12
    assert np.max(np.abs(back - x) / (1 + np.abs(y))) < bound
    assert np.max(np.abs(forth - x) / (1 + np.abs(z))) < bound


def test_masks():
    board = np.asarray(checkerboard_mask((3, 4, 2)))
    assert board.shape == (3, 4, 1) and board.sum() == 6 and board[0, 0, 0] and not board[0, 1, 0]
    assert np.all(board != checkerboard_mask((3, 4, 2), odd=True))
    np.testing.assert_array_equal(channel_mask(3), [True, False, False])
    assert np.all(channel_mask(3) != channel_mask(3, second=True))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Squeeze(0), "at least 1, got 0"),
        (lambda: Squeeze(2).forward(jnp.ones((4, 5, 1))), "multiples of 2, got 4 x 5"),
        (lambda: Squeeze(2).inverse(jnp.ones((4, 4, 6))), "multiple of 4, got 6"),
        (lambda: Squeeze(2).forward(jnp.ones((4, 4))), "3"),
        (lambda: Logit(0.5), r"\[0, 1/2\), got 0.5"),
        (lambda: Logit().inverse(jnp.array([0.5, 200.0])), r"\[0, 1\], got 200"),
        (lambda: Logit().inverse(-0.1), r"\[0, 1\], got -0.1"),
        (lambda: Logit(event_ndims=3).inverse(jnp.ones((28, 28))), "dimensions"),
        (lambda: ActNorm(jnp.ones(2), jnp.ones(2)).inverse(jnp.ones((4, 4, 3))), r"2 channels.*3"),
        (lambda: ActNorm(jnp.ones(2), jnp.ones(2)).forward(jnp.ones((4, 2))), "3 axes"),
        (
            lambda: ActNorm(jnp.ones(SHAPE), jnp.ones(SHAPE)).inverse(jnp.ones((4, 3, 2))),
            r"shape \(4, 4, 2\), got \(4, 3, 2\)",
        ),
        (
            lambda: InvertibleConv(*3 * [jnp.eye(2)], *2 * [jnp.ones(2)]).forward(
                jnp.ones((4, 4, 3))
            ),
            r"2 channels.*3",
        ),
        (lambda: PartialChannels(Squeeze(1), 3).forward(jnp.ones((4, 4, 2))), "at least 3"),
        (lambda: bijectors.spline(0), "0 and 5"),
        (lambda: bijectors.logistic_mixture(0), "got 0"),
    ],
)
def test_bad_input(build, message):
    with pytest.raises(ValueError, match=message):
        build()
