"""The ends of the floats, and the types: squares that overflow, short vectors, half precision."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from geodl.manifolds import (
    SO3,
    Euclidean,
    Hyperboloid,
    PoincareBall,
    Product,
    Sphere,
    Torus,
    euclidean,
    grassmann,
    poincare,
    product,
    so,
    so3,
    sphere,
    torus,
)
from tests.manifolds.spaces import SPACES, functions, random_setting
from tests.manifolds.test_arrays import plain


PLAIN_SPHERE, PLAIN_TORUS, PLAIN_EUCLIDEAN, PLAIN_PRODUCT = map(
    plain, (sphere, torus, euclidean, product)
)
PLAIN_POINCARE, PLAIN_SO, PLAIN_GRASSMANN = map(plain, (poincare, so, grassmann))

DTYPES = [np.float32, np.float64]
COMPACT = {name: SPACES[name] for name in ("sphere", "so3", "torus", "euclidean")}


def sizes(dtype):
    """Powers of ten from the smallest normal number to the largest."""
    info = np.finfo(dtype)
    return np.append(
        10.0 ** np.arange(np.log10(info.tiny) + 1, np.log10(info.max) - 1, 1.7), 0.4 * info.max
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_projections_of_any_size(dtype):
    """The direction, and the rotation, do not depend on the size; derivatives scale with its inverse."""
    with jax.enable_x64(dtype == np.float64):
        scales = sizes(dtype)
        rng = np.random.default_rng(0)
        direction = rng.normal(size=(len(scales), 4))
        direction[::3, 1:3] = 0
        direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
        x = (scales[:, None] * direction).astype(dtype)
        off = np.abs(np.asarray(jax.jit(sphere.project)(x), float) - direction)
        assert off.max() < 4 * np.finfo(dtype).eps

        _, slope = jax.jit(lambda x, v: jax.jvp(sphere.project, (x,), (v,)))(x, x[:, ::-1])
        e = (
            direction[:, ::-1]
            - np.sum(direction * direction[:, ::-1], -1, keepdims=True) * direction
        )
        assert np.abs(np.asarray(slope, float) - e).max() < 16 * np.finfo(dtype).eps

        m = direction[:, None, :3] + np.eye(3)
        u, _, vt = np.linalg.svd(m)
        nearest = u * np.stack([np.ones(len(u))] * 2 + [np.linalg.det(u @ vt)], -1)[:, None] @ vt
        m = (0.5 * scales[:, None, None] * m).astype(dtype)
        off = np.abs(np.asarray(jax.jit(so3.project)(m), float) - nearest)
        assert off.max() < 64 * np.finfo(dtype).eps
        _, slope = jax.jit(lambda x, v: jax.jvp(so3.project, (x,), (v,)))(m, m)
        assert np.abs(slope).max() < 64 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
def test_stereographic_chart_of_any_size(dtype):
    with jax.enable_x64(dtype == np.float64):
        r = sizes(dtype)
        p = np.stack([0.6 * r, -0.8 * r], -1).astype(dtype)
        x = np.asarray(jax.jit(sphere.from_stereographic)(p), float)
        with mpmath.workdps(50):
            exact = [[(1 - s * s) / (1 + s * s), 2 * s / (1 + s * s)] for s in map(mpmath.mpf, r)]
        height, shadow = np.array(exact, float).T
        e = np.stack([height, 0.6 * shadow, -0.8 * shadow], -1)
        assert np.abs(x - e).max() < 4 * np.finfo(dtype).eps
        slope = jax.jit(jax.vmap(jax.jacobian(sphere.from_stereographic)))(p)
        assert np.isfinite(slope).all()
        assert np.abs(slope).max() <= 2.01


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("space", [Sphere(3), SO3()])
def test_log_determinants_of_short_vectors(space, dtype):
    """Right to a few roundings for lengths from 1e-15 (1e-100 in float64) to 3."""
    with jax.enable_x64(dtype == np.float64):
        r = np.logspace(-15 if dtype == np.float32 else -100, np.log10(3.0), 400).astype(dtype)
        a = r[:, None] * np.eye(3, dtype=dtype)[np.arange(400) % 3]
        x = jax.jit(space.random_uniform, static_argnums=(1, 2))(jax.random.key(0), 400, dtype)
        of_frame = np.asarray(jax.jit(space.logdetexp_frame)(x, a), float)
        of_vector = jax.jit(lambda x, a: space.logdetexp(x, space.from_frame(x, a)))(x, a)
        of_vector = np.asarray(of_vector, float)
    factor, half = (2, 1) if isinstance(space, Sphere) else (2, 2)
    with mpmath.workdps(250):
        h = [mpmath.mpf(float(s)) / half for s in r]
        e = np.array([float(factor * mpmath.log(mpmath.sin(s) / s)) for s in h])
        cotangent = np.array([float(s * mpmath.cot(s) - 1) for s in h])
    conditioning = 1 + np.abs(factor * cotangent / e)
    np.testing.assert_array_less(np.abs(of_frame / e - 1), 2 * np.finfo(dtype).eps * conditioning)
    np.testing.assert_array_less(np.abs(of_vector / e - 1), 8 * np.finfo(dtype).eps * conditioning)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", [1, 2, 31])
def test_sphere_distances_are_relatively_exact(d, dtype):
    """From 0.1 eps to pi, of points as they are rounded, on axes too; d = 31 sums in one pass."""
    rng, eps, n = np.random.default_rng(d), np.finfo(dtype).eps, 120
    x, across = rng.normal(size=(2, n, d + 1))
    x[:20] = np.eye(d + 1)[0]
    x = (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(dtype)
    across -= np.sum(across * x, -1, keepdims=True) * x
    angle = 10 ** rng.uniform(np.log10(eps) - 1, 0.4, (n, 1))
    y = np.cos(angle) * x + np.sin(angle) * across / np.linalg.norm(across, axis=-1, keepdims=True)
    y[::3] *= -1
    y = y.astype(dtype)
    with jax.enable_x64(dtype == np.float64):
        found, squared = jax.jit(lambda x, y: (sphere.dist(x, y), sphere.sqdist(x, y)))(x, y)
    with mpmath.workdps(50):
        rows = [
            [mpmath.matrix(p.astype(float).tolist()) for p in row] for row in zip(x, y, strict=True)
        ]
        units = [[p / mpmath.norm(p) for p in row] for row in rows]
        e = [2 * mpmath.atan2(mpmath.norm(p - q), mpmath.norm(p + q)) for p, q in units]
        e, e2 = np.array(e, float), np.array([a * a for a in e], float)
    seen = e > eps  # below it the rounding of |x| and |y| is larger than the distance
    np.testing.assert_allclose(found[seen], e[seen], rtol=3 * eps)
    np.testing.assert_allclose(squared[seen], e2[seen], rtol=6 * eps)
    np.testing.assert_array_less(found[~seen], 2 * eps)


# ---------------------------------------------------------------------------------------------------
# Types
# ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64, None])
@pytest.mark.parametrize(
    "space",
    [
        Sphere(2),
        SO3(),
        Torus(2),
        Euclidean(2),
        PoincareBall(2, 0.7),
        Hyperboloid(2, 0.7),
        Product(Sphere(1), SO3()),
    ],
)
def test_origins_and_samples_take_a_dtype(space, dtype):
    points = jax.eval_shape(
        lambda k: (space.origin(dtype), space.random_uniform(k, (2,), dtype)), jax.random.key(0)
    )
    for leaf in jax.tree.leaves(points):
        assert leaf.dtype == (dtype or jnp.float64)
        assert not leaf.weak_type


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "space", [*COMPACT.values(), PoincareBall(2), Hyperboloid(2), Product(Sphere(1), SO3())]
)
def test_normal_coordinates_keep_the_type(space):
    key = jax.random.key(0)
    x = jax.eval_shape(lambda k: space.random_uniform(k, 3, jnp.float32), key)
    assert jax.eval_shape(space.normal_coordinates, x).dtype == jnp.float32


@pytest.mark.parametrize(
    "space", [*COMPACT.values(), PoincareBall(2), Hyperboloid(2), Product(Sphere(1), SO3())]
)
def test_an_integer_is_a_shape(space, key):
    one, same = (jax.eval_shape(lambda k, n=n: space.random_uniform(k, n), key) for n in (3, (3,)))
    assert one == same


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", COMPACT)
@pytest.mark.quick("sphere-bfloat16", "so3-bfloat16")
def test_half_precision_points_are_points(name, dtype):
    """What one function returns, the next one takes where values are concrete and checked."""
    space = COMPACT[name]
    x, y, u, v = (p.astype(dtype) for p in random_setting(space, (200,), seed=3))
    for point in (space.expmap(x, v), space.geodesic(0.3, x, y), space.project(x)):
        assert point.dtype == dtype
        d = space.dist(point, y)
        assert d.dtype == dtype
        assert jnp.isfinite(d).all()
    direct = np.asarray(space.dist(x.astype(np.float32), y.astype(np.float32)), float)
    np.testing.assert_allclose(np.asarray(space.dist(x, y), float), direct, rtol=0.01)
    assert jnp.isfinite(functions(space)["transport"](space, x, y, u, v)).all()


@pytest.mark.parametrize("dim", [0, -1, "2", 2.0, None, True])
def test_dimensions_are_positive_integers(dim):
    for make in (PLAIN_SPHERE.Sphere, PLAIN_TORUS.Torus, PLAIN_EUCLIDEAN.Euclidean):
        with pytest.raises(ValueError, match=f"{make.__name__}: dim must be a positive integer"):
            make(dim)
        assert make(np.int64(2)).dim == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PLAIN_SO.SO("3"), "SO: n must be an integer of at least 2, got '3'"),
        (lambda: PLAIN_GRASSMANN.Grassmann(2, "1"), "Grassmann: p must be a positive integer"),
        (lambda: PLAIN_POINCARE.PoincareBall(2, "a"), "curvature parameter .* must be a number"),
    ],
)
def test_what_is_no_number_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_factors_are_manifolds():
    with pytest.raises(TypeError, match=r"factors are manifolds, Product\(a, b\), got \[Sphere"):
        PLAIN_PRODUCT.Product([Sphere(2), Sphere(1)])
    with pytest.raises(TypeError, match="factors are manifolds"):
        PLAIN_PRODUCT.Product(Sphere)
