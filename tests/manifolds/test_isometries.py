"""Symmetries: maps that keep distances and carry geodesics to geodesics."""

import jax
import numpy as np
import pytest

from geodl.manifolds import SO3, Hyperboloid, PoincareBall, Sphere, Torus
from tests.manifolds.spaces import Compiled, assert_close, components, random_setting


N = 16
C = np.linspace(0.1, 1.5, N)
BALL, HYPERBOLOID = PoincareBall(3, C), Hyperboloid(3, C)


@pytest.fixture(autouse=True)
def double(x64):
    """All of this in float64."""


def rotation(dim):
    return np.linalg.qr(np.random.default_rng(3).normal(size=(dim, dim)))[0]


def check_isometry(record, phi, dphi, seed=0):
    """phi: points, dphi: (point, vector) -> vector at phi(point)."""
    space = Compiled(record)
    x, y, u, v = map(np.asarray, random_setting(record, (N,), seed=seed))
    assert_close(space.dist(phi(x), phi(y)), space.dist(x, y), 1e-11)
    assert_close(space.expmap(phi(x), dphi(x, v)), phi(space.expmap(x, v)), 1e-11)
    assert_close(space.logmap(phi(x), phi(y)), dphi(x, space.logmap(x, y)), 1e-11)
    moved = dphi(y, space.transport(x, y, u))
    assert_close(space.transport(phi(x), phi(y), dphi(x, u)), moved, 1e-11)


def test_rotations_of_the_sphere():
    q = rotation(4)
    check_isometry(Sphere(3), lambda x: x @ q, lambda x, v: v @ q)


def test_rotations_of_the_ball():
    q = rotation(3)
    check_isometry(BALL, lambda x: x @ q, lambda x, v: v @ q)


def test_translations_of_the_ball():
    """Möbius translation by z; its differential turns the frame by gyr[z, x] (Ungar 2008)."""
    space = Compiled(BALL)
    z, _, _, _ = random_setting(BALL, (N,), seed=9)

    def dphi(x, v):
        end = space.mobius_add(z, x)
        return space.from_frame(end, space.gyration(z, x, space.to_frame(x, v)))

    check_isometry(BALL, lambda x: space.mobius_add(z, x), dphi)


def test_boosts_of_the_hyperboloid():
    boost = np.eye(4)
    boost[:2, :2] = [[np.cosh(0.8), np.sinh(0.8)], [np.sinh(0.8), np.cosh(0.8)]]
    check_isometry(HYPERBOLOID, lambda x: x @ boost, lambda x, v: v @ boost)


@pytest.mark.parametrize("side", ["left", "right"])
def test_rotations_of_rotations(side):
    q = rotation(3)
    q = q * np.linalg.det(q)

    def multiply(x):
        return q @ x if side == "left" else x @ q

    check_isometry(SO3(), multiply, lambda x, v: multiply(v))


def test_shifts_of_the_torus():
    space = Compiled(Torus(3))
    shift = np.array([3.0, -1.0, 2.0])
    check_isometry(Torus(3), lambda x: space.project(x + shift), lambda x, v: v)


def test_ball_and_hyperboloid_are_isometric():
    ball, hyperboloid = Compiled(BALL), Compiled(HYPERBOLOID)
    x, y, _, v = random_setting(BALL, (N,))
    a, far = ball.to_frame(x, v), ball.to_hyperboloid
    assert_close(hyperboloid.to_ball(far(x)), x, 1e-12)
    assert_close(hyperboloid.dist(far(x), far(y)), ball.dist(x, y), 1e-11)
    carried = hyperboloid.from_frame(far(x), a)
    assert_close(hyperboloid.expmap(far(x), carried), far(ball.expmap(x, v)), 1e-11)
    assert_close(hyperboloid.logdetexp(far(x), carried), ball.logdetexp(x, v), 1e-11)


def test_small_curvature_is_flat_space():
    """c -> 0: R^d with 4 times its metric on the ball, smoothly; with its own on the hyperboloid."""
    flat = PoincareBall(3, np.full(N, 1e-14))
    space = Compiled(flat)
    x, y = components(1, (N, 3)), components(2, (N, 3))
    assert_close(space.dist(x, y), 2 * np.linalg.norm(x - y, axis=-1), 1e-12)
    assert_close(space.expmap(x, y), x + y, 1e-12)
    assert_close(space.logmap(x, y), y - x, 1e-12)
    assert_close(space.transport(x, y, x), x, 1e-12)
    slope = jax.jit(jax.vmap(jax.grad(lambda m, x, y: m.dist(x, y))))
    gradient = slope(PoincareBall(3, np.full(N, 1e-14)), x, y).c
    nearby = PoincareBall(3, np.full(N, 1e-4))
    secant = (Compiled(nearby).dist(x, y) - space.dist(x, y)) / 1e-4
    assert_close(gradient, secant, 5e-3)
