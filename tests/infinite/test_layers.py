"""Dense layers and nonlinearities: against quadrature, wide finite networks, and where inputs coincide."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from geodl import infinite
from geodl.infinite import duals
from tests.infinite._finite import limit


ACTIVATIONS = {
    "relu": (duals.relu, lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0),
    "erf": (
        duals.erf,
        scipy.special.erf,
        lambda x: 2 / np.sqrt(np.pi) * np.exp(-(x**2)),
    ),
    "gelu": (
        duals.gelu,
        lambda x: x * scipy.special.ndtr(x),
        lambda x: scipy.special.ndtr(x) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi),
    ),
}
COVARIANCES = np.array(
    [[0.3, 1.0, 0.5], [-0.9, 1.2, 0.8], [2.9, 3.0, 3.1], [0.0, 0.1, 2.0], [-0.02, 0.05, 0.04]]
)


def quadrature(f, k, v1, v2):
    """E[f(u) f(v)] in polar coordinates of two independent normals, in pieces between changes of the signs of u, v."""
    radius, of_radius = np.polynomial.legendre.leggauss(120)
    radius, of_radius = 5 * (radius + 1), 5 * of_radius
    c = k / np.sqrt(v1 * v2)
    root = np.sqrt(1 - c**2)
    kinks = np.sort(
        np.mod([np.pi / 2, -np.pi / 2, *(np.arctan2(-c, root) + np.array([0, np.pi]))], 2 * np.pi)
    )
    total, (node, weight) = 0.0, np.polynomial.legendre.leggauss(80)
    for a, b in zip(kinks, [*kinks[1:], kinks[0] + 2 * np.pi], strict=True):
        angle = (a + b) / 2 + (b - a) / 2 * node
        x, y = radius[:, None] * np.cos(angle), radius[:, None] * np.sin(angle)
        values = f(np.sqrt(v1) * x) * f(np.sqrt(v2) * (c * x + root * y))
        density = radius * np.exp(-(radius**2) / 2) / (2 * np.pi) * of_radius
        total += (b - a) / 2 * np.einsum("ra,r,a->", values, density, weight)
    return total


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_expectations_are_those_of_quadrature(name, x64):
    dual, *functions = ACTIVATIONS[name]
    # the quadrature ends at 10 standard deviations, beyond which is 2e-22
    expected = np.array([[quadrature(f, *row) for f in functions] for row in COVARIANCES])
    for dtype, tolerance in ((np.float64, 1e-10), (np.float32, 1e-6)):
        found = jax.jit(dual)(*COVARIANCES.T.astype(dtype))
        assert all(a.dtype == dtype for a in found)
        np.testing.assert_allclose(np.stack(found, -1), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_are_those_of_differences(name, x64):
    """And of the first expectation by k the second one (Price's theorem)."""
    dual = ACTIVATIONS[name][0]
    at = jnp.asarray(COVARIANCES.T)
    direction = jnp.asarray(np.random.default_rng(0).normal(size=at.shape) * at[1] / 10)
    h = 1e-5
    plus, minus = dual(*(at + h * direction)), dual(*(at - h * direction))
    _, found = jax.jvp(dual, tuple(at), tuple(direction))
    for a, b, c in zip(found, plus, minus, strict=True):
        np.testing.assert_allclose(a, (b - c) / (2 * h), rtol=2e-7, atol=1e-9)
    by_k = jax.jvp(dual, tuple(at), (jnp.ones(5), jnp.zeros(5), jnp.zeros(5)))[1][0]
    np.testing.assert_allclose(by_k, dual(*at)[1], rtol=1e-12)


@pytest.mark.quick("float32-relu")
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_coincident_opposite_and_zero_inputs(name, dtype, x64):
    """The kernels are exact and the derivatives finite where the arc-cosine form is 0/0."""
    net = infinite.serial(
        *[infinite.dense(1, 1.5, 0.1), getattr(infinite, name)()] * 2, infinite.dense(1)
    )
    x = np.random.default_rng(1).normal(size=(4, 7)).astype(dtype)
    x[3] = 0
    y = np.concatenate([x, -x, (1 + 1e-7) * x]).astype(dtype)
    found = jax.jit(infinite.kernels)(net, x, y)
    alone = jnp.stack([infinite.kernels(net, a[None])[1][0, 0] for a in x.astype(np.float64)])
    exact = found.ntk[jnp.arange(4), jnp.arange(4)]
    np.testing.assert_allclose(exact, alone, rtol=1e-5 if dtype == np.float32 else 1e-12)
    gradients = jax.grad(lambda x: sum(map(jnp.sum, infinite.kernels(net, x, y))))(x)
    assert np.isfinite(gradients).all() and gradients.dtype == dtype
    same = jax.grad(lambda x: jnp.sum(infinite.kernels(net, x).ntk))(jnp.asarray(x))
    assert np.isfinite(same).all()
    assert np.isnan(infinite.kernels(net, np.full((1, 7), np.nan, dtype)).ntk).all()


@pytest.mark.parametrize("unit", [1e-36, 1e-24, 1e24, 1e36])
def test_relu_of_variances_of_any_size(unit):
    """It is homogeneous; products of such variances are no floats."""
    unit, variances = np.float32(unit), np.float32([0.3, 1, 2])
    value, slope = duals.relu(*variances)
    scaled = duals.relu(*(unit * variances))
    np.testing.assert_allclose(scaled[0] / unit, value, rtol=1e-6)
    np.testing.assert_allclose(scaled[1], slope, rtol=1e-6)
    gradient = jax.grad(lambda a: duals.relu(*a)[0])
    np.testing.assert_allclose(gradient(unit * variances), gradient(variances), rtol=1e-5)


def test_the_diagonal_is_the_networks_own(x64):
    """NTK of ReLU in closed form: the variance is kept, and each layer adds as much."""
    depth = 3
    net = infinite.serial(*[infinite.dense(1, 2**0.5), infinite.relu()] * depth, infinite.dense(1))
    x = np.random.default_rng(2).normal(size=(6, 5))
    found, squares = infinite.kernels(net, x), (x**2).mean(-1)
    np.testing.assert_allclose(np.diagonal(found.nngp), squares, rtol=1e-12)
    np.testing.assert_allclose(np.diagonal(found.ntk), (depth + 1) * squares, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_diagonal_has_no_rounding_of_long_vectors(dtype, x64):
    """Where k = v up to rounding, the angle would be the root of that: 1e-4 in float32."""
    depth, rng = 3, np.random.default_rng(5)
    net = infinite.serial(*[infinite.dense(1, 2**0.5), infinite.relu()] * depth, infinite.dense(1))
    x = np.abs(rng.normal(size=(200, 784)))
    x[:, 150:] = -0.42  # the rounding of equal terms adds up
    permuted = rng.permutation(784)
    found = infinite.kernels(net, x.astype(dtype), x.astype(dtype)).ntk
    assert (
        np.abs(np.diagonal(found) / ((depth + 1) * (x**2).mean(-1)) - 1).max()
        < 64 * np.finfo(dtype).eps
    )
    again = infinite.kernels(net, x[:, permuted].astype(dtype)).ntk
    np.testing.assert_allclose(
        np.diagonal(again), np.diagonal(found), rtol=64 * np.finfo(dtype).eps
    )


def test_rows_in_batches_and_other_transformations():
    net = infinite.serial(infinite.dense(1), infinite.gelu(), infinite.dense(1))
    x = np.random.default_rng(3).normal(size=(5, 3)).astype(np.float32)
    found = infinite.kernels(net, x, x[:2])
    for a, b in zip(found, infinite.kernels(net, x, x[:2], batch_size=2), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    many = jax.vmap(lambda s: infinite.kernels(net, s * x, x[:2]).ntk)(jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(many[0], found.ntk, rtol=1e-6)
    assert infinite.kernels(net, np.eye(3, dtype=int)).ntk.dtype == jnp.float32


@pytest.mark.quick("relu")
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_wide_networks_have_these_kernels(name):
    def make(width, last):
        f = getattr(infinite, name)()
        hidden = infinite.dense(width, 1.4, 0.3), f, infinite.dense(width, 1.4, 0.3), f
        return infinite.serial(*hidden, infinite.dense(last, 1.2, 0.2))

    x = jnp.asarray(np.random.default_rng(4).normal(size=(3, 4)), jnp.float32)
    for scores in limit(make, (4,), x, 64, 32, 64):
        assert np.abs(scores).max() < 4.5


def test_what_does_not_fit_is_named():
    net = infinite.serial(infinite.dense(4), infinite.relu())
    with pytest.raises(ValueError, match=r"one shape are needed, got \(2, 3\) and \(2, 4\)"):
        infinite.kernels(net, np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="dense: vectors are needed"):
        infinite.kernels(net, np.ones((2, 3, 3, 1)))
    with pytest.raises(ValueError, match="dense: vectors are needed"):
        net.init(jax.random.key(0), (3, 3, 1))
    with pytest.raises(
        ValueError, match=r"inputs \(n, \*shape\) of one shape are needed, got \(3,\)"
    ):
        infinite.kernels(infinite.dense(1), jnp.ones(3))
    with pytest.raises(ValueError, match=r"dense: weight_std must be at least 0, got -1\.0"):
        infinite.dense(1, -1.0)
    with pytest.raises(ValueError, match="dense: bias_std must be at least 0, got nan"):
        infinite.dense(1, 1.0, float("nan"))
    with pytest.raises(ValueError, match="dense: width must be a positive integer, got 0"):
        infinite.dense(0)
