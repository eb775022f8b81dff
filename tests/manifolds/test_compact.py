"""Sphere, rotations, torus: accuracy against 50-digit arithmetic, and what is special on each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl.manifolds import SO3, Sphere, Torus, so3, sphere
from tests.manifolds.spaces import Compiled, assert_close, components, random_setting
from tests.oracles import compact
from tests.oracles.hyperbolic import relative_error


pytestmark = pytest.mark.optimized


N = 16
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}


# --------------------------------------------------------------------------------------------------
# Accuracy against 50 digits, at distances from 1e-6 to 3, on the points as they are rounded
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("record", [Sphere(3), SO3(), Torus(3)])
def test_accuracy(record, dtype):
    dim = record.dim
    space = Compiled(record)
    worst = dict.fromkeys(("dist", "logmap", "expmap", "transport"), 0.0)
    for seed, (low, high) in enumerate([(1e-6, 1e-5), (1e-5, 1e-2), (1e-2, 3), (1, 3)]):
        with jax.enable_x64(True):
            b = components(seed + 10, (N, dim))
            radius = np.exp(np.random.default_rng(seed).uniform(np.log(low), np.log(high), (N, 1)))
            b *= radius / np.linalg.norm(b, axis=-1, keepdims=True)
            x, _, u, v = map(np.asarray, random_setting(record, (N,), seed=seed))
            if record == Torus(3):
                x = np.sign(x) * (np.pi - np.abs(x) * 1e-7)  # by the seam, on both sides
            v = space.from_frame(x, b)
            y = space.expmap(x, v)
            x, y, u, v = (np.asarray(p).astype(dtype) for p in (x, y, u, v))
        with jax.enable_x64(dtype == np.float64):
            results = {
                "dist": space.dist(x, y),
                "logmap": space.logmap(x, y),
                "expmap": space.expmap(x, v),
                "transport": space.transport(x, y, u),
            }
        arguments = {"dist": (x, y), "logmap": (x, y), "expmap": (x, v), "transport": (x, y, u)}
        for name, arrays in arguments.items():
            reference = getattr(compact, f"{type(record).__name__.lower()}_{name}")(*arrays)
            off = relative_error(np.asarray(results[name]).reshape(reference.shape), reference)
            worst[name] = max(worst[name], off.max())
    assert max(worst.values()) < TOLERANCE[dtype], worst


# --------------------------------------------------------------------------------------------------
# Sphere
# --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("x64")
def test_sphere_at_the_antipode():
    """Distance pi; one geodesic, that of the first frame vector, is taken by all functions."""
    space = Compiled(Sphere(3))
    x, _, u, _ = map(np.asarray, random_setting(Sphere(3), (N,)))
    first = np.asarray(space.tangent_basis(x))[:, 0]
    assert_close(space.dist(x, -x), np.full(N, np.pi), 1e-14)
    log = np.asarray(space.logmap(x, -x))
    assert_close(log, np.pi * first, 1e-14)
    assert_close(space.expmap(x, log), -x, 1e-14)
    turned = u - 2 * np.sum(first * u, -1, keepdims=True) * first
    assert_close(space.transport(x, -x, u), turned, 1e-14)


@pytest.mark.usefixtures("x64")
def test_sphere_near_the_antipode():
    """Directions are right as far as the rounding of y determines them, and lengths to the last."""
    space = Compiled(Sphere(3))
    x, _, _, _ = map(np.asarray, random_setting(Sphere(3), (N,)))
    direction = components(1, (N, 3))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    gap = np.logspace(-1, -7, N)[:, None]
    v = np.asarray(space.from_frame(x, (np.pi - gap) * direction))
    y = space.expmap(x, v)
    assert_close(space.dist(x, y), np.pi - gap[:, 0], 1e-14)
    error = np.linalg.norm(space.logmap(x, y) - v, axis=-1)
    np.testing.assert_array_less(error, 1e-14 / gap[:, 0])


@pytest.mark.usefixtures("x64")
def test_stereographic_chart():
    space = Compiled(Sphere(3))
    x, _, _, v = map(np.asarray, random_setting(Sphere(3), (N,)))
    p = np.asarray(space.to_stereographic(x))
    assert_close(p, x[:, 1:] / (1 + x[:, :1]), 1e-13)
    assert_close(space.from_stereographic(p), x, 1e-14)
    # Conformal: as on the Poincaré ball with c = -1.
    _, dp = jax.jit(lambda x, v: jax.jvp(sphere.to_stereographic, (x,), (v,)))(x, v)
    factor = 2 / (1 + np.sum(p * p, -1))
    assert_close(factor * np.linalg.norm(dp, axis=-1), np.linalg.norm(v, axis=-1), 1e-11)
    # Next to the point that the chart lacks.
    pole = np.zeros((N, 4))
    pole[:, 1] = np.logspace(-1, -9, N)
    pole[:, 0] = -np.sqrt((1 - pole[:, 1]) * (1 + pole[:, 1]))
    q = np.asarray(space.to_stereographic(pole))
    np.testing.assert_allclose(q[:, 0], (1 - pole[:, 0]) / pole[:, 1], rtol=1e-12)
    pole[:, :2] = -1, 0
    assert np.all(np.isfinite(space.to_stereographic(pole)))
    assert_close(space.from_stereographic(space.to_stereographic(pole)), pole, 1e-14)


@pytest.mark.usefixtures("x64")
def test_the_circle_is_the_torus():
    """S^1 (d = 1: no volume distortion) in angles."""
    angles, steps = components(0, (N, 1), 3.1), components(1, (N, 1), 3.1)
    circle, torus = Compiled(Sphere(1)), Compiled(Torus(1))
    x, y = (np.concatenate([np.cos(a), np.sin(a)], -1) for a in (angles, steps))
    assert_close(circle.dist(x, y), torus.dist(angles, steps), 1e-14)
    v = np.asarray(circle.from_frame(x, np.ones((N, 1))))
    assert_close(circle.to_frame(x, circle.logmap(x, y)), torus.logmap(angles, steps), 1e-14)
    assert_close(v, np.stack([-x[:, 1], x[:, 0]], -1), 1e-14)
    assert not np.any(circle.logdetexp(x, v))


def test_sphere_project_of_zero_is_the_origin():
    np.testing.assert_array_equal(sphere.project(jnp.zeros(3)), [1.0, 0.0, 0.0])


# --------------------------------------------------------------------------------------------------
# Rotations
# --------------------------------------------------------------------------------------------------


def test_hat_and_vee():
    w, u = np.array([1.0, 2.0, 3.0]), np.array([-0.5, 1.0, 0.2])
    np.testing.assert_allclose(so3.hat(w) @ u, np.cross(w, u), rtol=1e-6)
    np.testing.assert_array_equal(so3.vee(so3.hat(w)), w)


def test_derivatives_of_a_projection_promote_no_ranks():
    m = jnp.stack([2 * jnp.eye(3)] * 4)
    with jax.numpy_rank_promotion("raise"):
        _, slope = jax.jvp(jax.jit(so3.project), (m,), (so3.hat(jnp.ones((4, 3))),))
    np.testing.assert_allclose(slope, so3.hat(jnp.ones((4, 3))) / 2, rtol=1e-6)


def test_distances_of_all_pairs_at_every_angle():
    """Against quaternions in double precision: ties of the largest component, and angle pi, included."""
    turns = np.array([(a, b, c) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)])[:13]
    axes = turns / np.linalg.norm(turns, axis=1, keepdims=True)
    angles = np.array([0, 1e-6, 1e-3, 1, 2, np.pi - 1e-3, np.pi])
    half = angles[:, None, None] / 2
    q = np.concatenate([np.cos(half) + 0 * axes[..., :1], np.sin(half) * axes], -1).reshape(-1, 4)
    w, (a, b, c) = q[:, 0], q[:, 1:].T
    cross = np.stack([0 * w, -c, b, c, 0 * w, -a, -b, a, 0 * w], -1).reshape(-1, 3, 3)
    matrices = np.eye(3) + 2 * w[:, None, None] * cross + 2 * cross @ cross
    x = jnp.asarray(matrices, jnp.float32)
    right = 2 * np.arccos(np.minimum(np.abs(q @ q.T), 1))
    found = jax.jit(so3.dist)(x[:, None], x[None])
    np.testing.assert_allclose(np.cos(found / 2), np.cos(right / 2), atol=5e-7)
    np.testing.assert_allclose(found, right, atol=1e-3)


@pytest.mark.usefixtures("x64")
def test_rotations_by_pi():
    """log of exp at angle pi, and near it on both sides, for axes in all directions."""
    space = Compiled(SO3())
    x, _, _, _ = map(np.asarray, random_setting(SO3(), (N,)))
    axis = components(4, (N, 3))
    axis[:3], axis[3] = np.eye(3), [0.0, 1.0, -1.0]
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
    for angle in (np.pi, np.pi - 1e-9, np.pi - 1e-4):
        v = np.asarray(space.from_frame(x, angle * axis))
        y = space.expmap(x, v)
        assert_close(space.dist(x, y), np.full(N, angle), 1e-14)
        log = np.asarray(space.logmap(x, y))
        assert_close(space.expmap(x, log), y, 1e-14)
        if angle < np.pi:
            assert_close(log, v, 1e-14)


@pytest.mark.usefixtures("x64")
def test_projection_to_rotations():
    """The nearest rotation (none of many others is nearer), its derivative by differences."""
    m = np.random.default_rng(0).normal(size=(N, 3, 3))
    dm = np.random.default_rng(1).normal(size=(N, 3, 3))
    project = jax.jit(so3.project)
    x = np.asarray(project(m))
    assert_close(np.swapaxes(x, -1, -2) @ x, np.broadcast_to(np.eye(3), x.shape), 1e-14)
    np.testing.assert_allclose(np.linalg.det(x), 1.0)
    for other in np.asarray(so3.random_uniform(jax.random.key(0), (200, 3, 3))):
        assert np.all(np.sum((x - m) ** 2, (1, 2)) <= np.sum((other - m) ** 2, (1, 2)))
    m = x + 0.2 * m  # away from where the nearest rotation jumps
    _, slope = jax.jit(lambda m, dm: jax.jvp(so3.project, (m,), (dm,)))(m, dm)
    h = 1e-5
    secant = (np.asarray(project(m + h * dm)) - project(m - h * dm)) / (2 * h)
    assert_close(slope, secant, 1e-7)


def test_projection_has_finite_derivatives():
    """At rotations, whose singular values are all equal, and at 0, where nothing is nearest."""
    m = jnp.stack([jnp.eye(3), jnp.zeros((3, 3)), jnp.diag(jnp.array([1.0, -1.0, -1.0]))])

    @jax.jit
    def second(m):
        first = jax.grad(lambda m: jnp.sum(jnp.sin(so3.project(m))))
        return jax.jvp(first, (m,), (jnp.cos(jnp.arange(27.0)).reshape(3, 3, 3),))

    for derivative in second(m):
        assert jnp.all(jnp.isfinite(derivative))


# --------------------------------------------------------------------------------------------------
# Torus
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_angles_are_wrapped(dtype):
    with jax.enable_x64(dtype == np.float64):
        pi = dtype(np.pi)
        below, above = np.nextafter(pi, dtype(0)), np.nextafter(pi, dtype(4))
        x = np.array([0, pi, -pi, below, -below, above, -above, 7, -1e-20, 1e4], dtype)
        wrapped = np.asarray(Torus(1).project(x[:, None]))[:, 0]
        assert np.all((-pi <= wrapped) & (wrapped < pi))
        turns = (x.astype(float) - wrapped) / (2 * np.pi)
        np.testing.assert_allclose(turns, np.round(turns), atol=2e3 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(wrapped[[0, 2, 3, 4, 8]], x[[0, 2, 3, 4, 8]])
