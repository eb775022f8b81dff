import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl import flows
from geodl.flows.continuous import divergence
from geodl.manifolds import Hyperboloid, PoincareBall, Product, Sphere, Torus, sphere
from tests.flows.problem import CASES, from_origin, jit, points, random_field


def exact_of(name):
    manifold, field, params = random_field(name)
    return lambda t, x: divergence.exact(manifold, functools.partial(field.apply, params))(t, x)


@pytest.mark.parametrize("name", ["sphere", "ball", "hyperboloid ambient", "product"])
@pytest.mark.quick("product")
def test_hutchinson_is_unbiased(name):
    manifold, field, params = random_field(name)
    x, bound = points(manifold, 6), functools.partial(field.apply, params)
    keys = jax.random.split(jax.random.key(2), 2000)

    @jit
    def compare(x):
        v, div = divergence.exact(manifold, bound)(0.3, x)
        estimate = lambda k: divergence.hutchinson(manifold, bound, k)(0.3, x)[1]  # noqa: E731
        return v, div, jax.vmap(estimate)(keys)

    v, div, estimates = compare(x)
    jax.tree.map(
        chex.assert_equal_shape, list(zip(jax.tree.leaves(v), jax.tree.leaves(x), strict=True))
    )
    error = np.std(estimates, 0) / np.sqrt(len(keys)) + 1e-5
    assert np.max(np.abs(np.mean(estimates, 0) - div) / error) < 4.5


@pytest.mark.parametrize("name", ["sphere", "killing", "sphere 3", "so3 ambient", "product"])
@pytest.mark.quick("sphere", "killing")
def test_mean_over_a_compact_manifold_is_zero(name):
    manifold = CASES[name][0]
    x = manifold.random_uniform(jax.random.key(3), (20_000,))
    _, div = jit(exact_of(name))(0.7, x)
    error = np.std(div) / np.sqrt(len(div))
    assert 0 < error < 0.05 and abs(np.mean(div)) < 4 * error


@pytest.mark.parametrize("name", ["so3", "torus", "ball", "hyperboloid", "product"])
@pytest.mark.quick("so3", "torus")
def test_frames_need_no_derivative_of_themselves(name):
    manifold, field, params = random_field(name)
    x = points(manifold, 20)
    v, div = jit(functools.partial(field.rate, params))(0.3, x)
    expected_v, expected = jit(exact_of(name))(0.3, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), v, expected_v)
    np.testing.assert_allclose(div, expected, atol=5e-5)


@pytest.mark.parametrize("name", ["ball", "hyperboloid"])
@pytest.mark.quick("ball")
def test_the_divergence_far_out(name):
    """At distances up to 8 in float32 as in float64."""
    manifold, field, params = random_field(name)
    a = (
        8
        * np.stack([np.cos(np.arange(9)), np.sin(np.arange(9))], -1)
        * np.linspace(0, 1, 9)[:, None]
    )

    def rate(manifold, params, a):
        return field.rate(params, 0.3, manifold.expmap_frame(manifold.origin(), a))[1]

    found = jit(rate, static_argnums=0)(manifold, params, jnp.asarray(a, jnp.float32))
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda p: jnp.asarray(np.asarray(p), jnp.float64), params)
        expected = jit(rate, static_argnums=0)(manifold, wide, jnp.asarray(a))
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_the_ambient_trace_is_the_divergence():
    """Because the network sees the projected point: the field is constant along normals."""
    _, field, params = random_field("sphere")
    x = points(Sphere(2), 20)
    jacobian = jit(jax.vmap(jax.jacfwd(lambda x: field.apply(params, 0.3, x))))(x)
    _, div = jit(exact_of("sphere"))(0.3, x)
    np.testing.assert_allclose(jnp.trace(jacobian, axis1=1, axis2=2), div, atol=2e-5)


@pytest.mark.slow
def test_charts_agree_with_the_embedding():
    """S^2 by polar angle and longitude, volume element sin(theta); ball and hyperboloid."""
    _, field, params = random_field("sphere")

    def embed(p):
        sin, cos = jnp.sin(p), jnp.cos(p)
        return jnp.stack([sin[..., 0] * cos[..., 1], sin[..., 0] * sin[..., 1], cos[..., 0]], -1)

    def in_angles(p):
        """The coordinate components of the field."""
        v = field.apply(params, 0.3, embed(p))
        columns = jax.vmap(jax.jacfwd(embed))(p)
        return jnp.einsum("nji,nj->ni", columns, v) / jnp.sum(columns**2, 1)

    p = jnp.asarray(np.random.default_rng(4).uniform(0.5, 2.5, (20, 2)), jnp.float32)
    # tr(Dv) + D_v log sin(theta)
    jacobian = jax.jit(jax.vmap(jax.jacfwd(lambda p: in_angles(p[None])[0])))(p)
    drift = in_angles(p)[:, 0] / jnp.tan(p[:, 0])
    found = jnp.trace(jacobian, axis1=1, axis2=2) + drift
    _, expected = jit(exact_of("sphere"))(0.3, embed(p))
    np.testing.assert_allclose(found, expected, atol=1e-4)

    ball, _, _ = random_field("ball")
    x = points(ball, 20)
    found, expected = jit(
        lambda x: (
            exact_of("ball")(0.3, x)[1],
            exact_of("hyperboloid")(0.3, ball.to_hyperboloid(x))[1],
        )
    )(x)
    np.testing.assert_allclose(found, expected, atol=5e-5)


def test_known_divergences(x64):
    rng = np.random.default_rng(5)
    for dim in (2, 20):
        space, e = Sphere(dim), rng.normal(size=dim + 1)
        x = sphere.project(rng.normal(size=(10, dim + 1)))
        field = lambda t, x: space.project_tangent(x, jnp.broadcast_to(e, x.shape))  # noqa: E731, B023
        _, div = jit(divergence.exact(space, field))(0.0, x)
        assert div.dtype == jnp.float64
        np.testing.assert_allclose(div, -dim * (x @ e), rtol=1e-12, atol=1e-12)
    c, a = 0.7, rng.normal(size=(10, 3))
    r = np.sqrt(c) * np.linalg.norm(a, axis=-1)
    for space in (PoincareBall(3, c), Hyperboloid(3, c)):
        x = from_origin(space, a)
        radial = lambda t, x, m=space: -m.logmap(x, m.origin())  # noqa: E731
        _, div = jit(divergence.exact(space, radial))(0.0, x)
        np.testing.assert_allclose(div, 1 + 2 * r / np.tanh(r), rtol=1e-10)


def test_gradients_pass_through_the_basis():
    """d/dparams of the divergence by finite differences."""
    manifold, field, params = random_field("sphere")
    x = points(manifold, 5)
    direction = jax.tree.map(
        lambda a: jnp.asarray(np.random.default_rng(6).normal(size=a.shape), a.dtype), params
    )

    def along(s):
        moved = jax.tree.map(lambda p, d: p + s * d, params, direction)
        return jnp.sum(
            divergence.exact(manifold, functools.partial(field.apply, moved))(0.3, x)[1] ** 2
        )

    value = jit(lambda s: (along(s), jax.grad(along)(s)))
    step = 2e-3
    slope = (value(step)[0] - value(-step)[0]) / (2 * step)
    np.testing.assert_allclose(value(0.0)[1], slope, rtol=2e-2)


def test_a_sphere_has_no_frame():
    x = points(Sphere(2), 3)
    with pytest.raises(ValueError, match="no continuous frame"):
        divergence.frame(Sphere(2), lambda t, x: x[..., :2])(0.0, x)


@pytest.mark.parametrize("band", [(0.0, 1.0), (2.0, 1.0)])
def test_bad_bands(band):
    with pytest.raises(ValueError, match="0 < low <= high"):
        flows.vector_field(Sphere(2), band=band)


def test_bad_kinds():
    with pytest.raises(ValueError, match="continuous frame"):
        flows.vector_field(Sphere(2), "frame")
    with pytest.raises(NotImplementedError, match=r"SO3 does not say a basis of Killing fields"):
        flows.vector_field(CASES["so3"][0], "killing")
    with pytest.raises(ValueError, match="no ambient space"):
        flows.vector_field(PoincareBall(2), "ambient")
    with pytest.raises(ValueError, match="one kind for each factor"):
        flows.vector_field(Product(Sphere(2), Torus(1)), ["ambient"])


MIXED = {
    "spheres": (Product(Sphere(2), Sphere(1)), None),
    "each its own": (Product(Sphere(2), Sphere(3), Torus(1)), ("killing", "ambient", "frame")),
    "sphere and hyperboloid": (Product(Sphere(2), Hyperboloid(2, 0.7)), None),
    "sphere and ball": (Product(Sphere(2), PoincareBall(2, 0.7)), None),
}


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.quick()
def test_products_with_a_sphere(name, x64):
    """Tangent to every factor; divergence by central differences along geodesics of what transport brings back."""
    manifold, kind = MIXED[name]
    field = flows.vector_field(manifold, kind, width=16, frequencies=8, band=(1.0, 2.0))
    params = jax.tree.map(lambda a: a.astype(float), field.init(jax.random.key(0)))
    x = points(manifold, 5)
    x = manifold.project(jax.tree.map(lambda a: a.astype(float), x))
    h = 1e-5

    @jit
    def compute(x):
        v, div = field.rate(params, 0.3, x)

        def along(unit):
            e = manifold.from_frame(x, jnp.broadcast_to(unit, (5, manifold.dim)))

            def moved(s):
                y = manifold.expmap(x, jax.tree.map(lambda a: s * a, e))
                return manifold.transport(y, x, field.apply(params, 0.3, y))

            slope = jax.tree.map(lambda a, b: (a - b) / (2 * h), moved(h), moved(-h))
            return manifold.inner(x, e, slope)

        tangent = manifold.project_tangent(x, v)
        return v, tangent, div, sum(along(unit) for unit in np.eye(manifold.dim))

    v, tangent, div, expected = compute(x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), v, tangent)
    np.testing.assert_allclose(div, expected, atol=1e-8)
    assert np.std(div) > 0.01


def test_frequencies_are_constants_of_the_seed():
    fields = [flows.vector_field(Sphere(2), width=8, frequencies=4, seed=s) for s in (0, 0, 1)]
    params = fields[0].init(jax.random.key(0))
    assert list(params) == ["layers"]
    x = points(Sphere(2), 3)
    first, same, other = (np.asarray(field.apply(params, 0.9, x)) for field in fields)
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 1e-3
