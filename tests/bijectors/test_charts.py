"""Charts as bijectors: inverses, log-determinants in orthonormal frames, and the distributions made with them."""

import functools

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl.bijectors import ExponentialMap, Stereographic
from geodl.distributions import WrappedNormal
from geodl.manifolds import SO3, Euclidean, Hyperboloid, PoincareBall, Product, Sphere, Torus


jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

CHARTS = {
    "stereographic 2": (Stereographic(2), Sphere(2)),
    "stereographic 4": (Stereographic(4), Sphere(4)),
    "ball": (ExponentialMap(PoincareBall(2, 1.4)), PoincareBall(2, 1.4)),
    "hyperboloid": (ExponentialMap(Hyperboloid(3, 0.7)), Hyperboloid(3, 0.7)),
    "euclidean": (ExponentialMap(Euclidean(2)), Euclidean(2)),
    "sphere": (ExponentialMap(Sphere(2)), Sphere(2)),
    "torus": (ExponentialMap(Torus(2)), Torus(2)),
    "so3": (ExponentialMap(SO3()), SO3()),
}


@pytest.mark.parametrize("name", CHARTS)
@pytest.mark.quick("hyperboloid", "sphere", "stereographic 2", "torus", "euclidean")
def test_inverse_and_log_determinant(name, x64):
    chart, manifold = CHARTS[name]
    a = jnp.asarray(np.random.default_rng(0).normal(size=(5, manifold.dim)))
    a = a.at[0].set(0)

    def jacobian(a):
        y = chart.forward(a)
        columns = jax.jacfwd(chart.forward)(a)
        return jax.vmap(lambda v: manifold.to_frame(y, v), -1, -1)(columns)

    @jit
    def evaluate(a):
        y, log_det = chart.forward_and_log_det(a)
        return y, log_det, *chart.inverse_and_log_det(y), jax.vmap(jacobian)(a)

    y, log_det, back, inverse_log_det, matrices = evaluate(a)
    assert y.shape == (5, *manifold.event_shape) and log_det.shape == (5,)
    np.testing.assert_allclose(manifold.project(y), y, atol=1e-12)
    np.testing.assert_allclose(back, a, atol=1e-12)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(matrices)[1], atol=1e-10)
    np.testing.assert_allclose(inverse_log_det, -log_det, atol=1e-12)


def normal(scale):
    return distrax.Independent(distrax.Normal(jnp.zeros_like(scale), scale), 1)


def grid():
    """Nodes on S^2 and their weights."""
    height, weights = np.polynomial.legendre.leggauss(120)
    phi = (np.arange(160) + 0.5) * 2 * np.pi / 160
    ring = np.sqrt(1 - height**2)[:, None]
    x = np.stack([height[:, None] + 0 * phi, ring * np.cos(phi), ring * np.sin(phi)], -1)
    return x.astype(np.float32), weights[:, None] * 2 * np.pi / 160


def test_stereographic_distribution():
    """Integrates to one, samples have its density; shapes, batches and derivatives through distrax."""
    x, weights = grid()
    scale = jnp.array([0.8, 0.4])

    @jit
    def evaluate(scale, x):
        distribution = distrax.Transformed(normal(scale), Stereographic(2))
        z, log_p = distribution.sample_and_log_prob(seed=jax.random.key(0), sample_shape=(20_000,))
        return distribution.log_prob(x), z, log_p, distribution.log_prob(z)

    log_prob, z, log_p, at_z = evaluate(scale, x)
    mass = np.exp(np.asarray(log_prob, float)) * weights
    np.testing.assert_allclose(np.sum(mass), 1, atol=1e-5)
    np.testing.assert_allclose(at_z, log_p, atol=1e-4)
    first = np.sum(mass[..., None] * x, (0, 1))
    np.testing.assert_allclose(np.mean(z, 0), first, atol=4.5 / np.sqrt(20_000))

    distribution = distrax.Transformed(normal(jnp.stack([scale, 2 * scale])), Stereographic(2))
    assert (
        distribution.event_shape == (3,)
        and distribution.batch_shape == (2,)
        and distribution.dtype == jnp.float32
    )
    each = jax.vmap(lambda s: distrax.Transformed(normal(s), Stereographic(2)).log_prob(x[0, 0]))
    np.testing.assert_allclose(
        distribution.log_prob(x[0, 0]), each(jnp.stack([scale, 2 * scale])), rtol=1e-5
    )
    pole = -jnp.eye(3)[0]  # the point that the chart lacks
    value, slope = jit(jax.value_and_grad(lambda s: evaluate_at(s, pole)))(scale)
    assert jnp.isfinite(value) and value < -1e6 and jnp.all(jnp.isfinite(slope))


def evaluate_at(scale, x):
    return distrax.Transformed(normal(scale), Stereographic(2)).log_prob(x)


@pytest.mark.parametrize("space", [Hyperboloid(2, 0.7), SO3()])
def test_exponential_distribution_is_the_wrapped_normal(space):
    """On SO(3) with scales at which nothing is wound."""
    scale = jnp.array([0.5, 0.3, 0.4])[: space.dim]
    a = 0.7 * jax.random.normal(jax.random.key(0), (7, space.dim))

    @jit
    def evaluate(space, a):
        distribution = distrax.Transformed(normal(scale), ExponentialMap(space))
        wrapped = WrappedNormal(space, space.origin(), scale)
        z, log_p = distribution.sample_and_log_prob(seed=jax.random.key(0), sample_shape=7)
        x = space.expmap_frame(space.origin(), a)
        return distribution.log_prob(x), wrapped.log_prob(x), log_p, wrapped.log_prob(z)

    found, expected, of_samples, expected_of_samples = evaluate(space, a)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(of_samples, expected_of_samples, rtol=1e-4, atol=1e-4)
    distribution = distrax.Transformed(normal(scale), ExponentialMap(space))
    assert distribution.event_shape == space.event_shape and distribution.batch_shape == ()


def test_curvature_can_be_learned():
    def value(c):
        distribution = distrax.Transformed(normal(jnp.ones(2)), ExponentialMap(PoincareBall(2, c)))
        return distribution.log_prob(jnp.array([0.3, 0.2]))

    c = jnp.array([0.5, 1.0])
    values, slopes = jit(jax.vmap(jax.vmap(jax.value_and_grad(value))))(
        jnp.stack([c - 0.01, c, c + 0.01]).T
    )
    numeric = (values[:, 2] - values[:, 0]) / 0.02
    np.testing.assert_allclose(slopes[:, 1], numeric, rtol=1e-2)


def test_float32_stays_float32(x64):
    for chart, manifold in CHARTS.values():
        a = jax.ShapeDtypeStruct((manifold.dim,), jnp.float32)
        y, log_det = jax.eval_shape(chart.forward_and_log_det, a)
        back, inverse_log_det = jax.eval_shape(chart.inverse_and_log_det, y)
        assert {v.dtype for v in (y, log_det, back, inverse_log_det)} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Stereographic(0), "at least 1, got 0"),
        (lambda: Stereographic(2).forward(jnp.ones(3)), r"\(2,\).*\(3,\)"),
        (lambda: Stereographic(2).inverse(jnp.ones(2)), r"\(3,\).*\(2,\)"),
        (lambda: Stereographic(2).inverse(jnp.ones(3)), "unit sphere"),
        (lambda: ExponentialMap(Product(Sphere(2), Torus(1))), "tuples.*Product"),
        (lambda: ExponentialMap(Sphere(2)).forward(jnp.ones(3)), r"\(2,\).*\(3,\)"),
        (lambda: ExponentialMap(SO3()).inverse(jnp.ones(3)), r"\(3, 3\).*\(3,\)"),
    ],
)
def test_bad_input(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("name", ["stereographic 2", "ball", "sphere"])
def test_integers_are_numbers(name):
    chart, manifold = CHARTS[name]
    x, y = np.array([1, 2]), manifold.origin().astype(int)
    for function, a in [(chart.forward_and_log_det, x), (chart.inverse_and_log_det, y)]:
        for found, expected in zip(function(a), function(a.astype(np.float32)), strict=True):
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == jnp.float32
    assert chart.forward_log_det_jacobian(x) != 0
