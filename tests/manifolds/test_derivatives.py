"""Derivatives: right at generic points, finite of first and second order at every special one.

One compiled function per space gives the value, the gradient and a second derivative of a sum over
all functions that bend, at a batch of settings.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.manifolds.spaces import (
    FAST,
    NEWER,
    SPACES,
    VOCABULARY,
    compiled_setting,
    components,
    reach,
)


pytestmark = pytest.mark.optimized


BENDING = ("expmap", "logmap", "dist", "sqdist", "norm", "transport", "logdetexp", "from_frame")
P = 16  # settings at once
CURVED = ("ball", "hyperboloid", "sphere", "so3", *NEWER)  # the others are made of these, or flat


def total(space, x, y, u, v):
    """One number that depends on every entry of every result."""
    results = [VOCABULARY[name](space, x, y, u, v) for name in BENDING]
    weighted = [
        jnp.sum(r * jnp.cos(1.0 + i + jnp.arange(r.size, dtype=r.dtype).reshape(r.shape)))
        for i, r in enumerate(jax.tree.leaves(results))
    ]
    return sum(weighted)


@functools.partial(jax.jit, compiler_options=FAST)
@jax.vmap
def derivatives(arguments, direction):
    """Value, gradient, and derivative of the gradient along the direction."""

    def value_and_grad(arguments):
        return jax.value_and_grad(lambda a: total(*a))(arguments)

    (value, gradient), (_, change) = jax.jvp(value_and_grad, (arguments,), (direction,))
    return value, gradient, change


def at_each(space, dtype=np.float64):
    """The record once per setting."""
    return jax.tree.map(lambda c: np.full(P, c, dtype), space)


def arguments(space, numbers):
    record = at_each(space)
    return (record, *compiled_setting(record, *numbers))


def inner(g, v):
    """<g, v> over everything but the batch axis."""
    pairs = zip(jax.tree.leaves(g), jax.tree.leaves(v), strict=True)
    return sum(np.sum(np.reshape(a * b, (P, -1)), -1) for a, b in pairs)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("place", ["apart", "close", "at the origin"])
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in NEWER else n for n in [*CURVED, "torus"]],
)
@pytest.mark.quick("ball-apart", "hyperboloid-close")
def test_derivatives_are_those_of_finite_differences(name, place):
    """First and second ones, along curves that move the points, the vectors and the curvature."""
    space = SPACES[name]
    # two of Grassmann's settings are 0.005 from the cut locus
    h = 1e-5 if name == "grassmann" or place != "apart" else 1e-4
    start, speed = (
        [components(s + i, (P, space.dim), reach(space)) for i in range(4)] for s in (0, 10)
    )
    if place == "at the origin":
        start[0] *= 0
    if place != "apart":
        start[1] = start[0] + 0.05 * start[1]

    def along(t):
        moved = jax.tree.map(lambda c: c * (1 + t), space)
        return arguments(moved, [a + t * b for a, b in zip(start, speed, strict=True)])

    def difference(before, after):
        return jax.tree.map(lambda b, a: (np.asarray(a) - b) / (2 * h), before, after)

    here, before, after = along(0.0), along(-h), along(h)
    direction = difference(before, after)
    _, gradient, change = derivatives(here, direction)
    value_before, gradient_before, _ = derivatives(before, direction)
    value_after, gradient_after, _ = derivatives(after, direction)
    slope = difference(value_before, value_after)
    np.testing.assert_allclose(inner(gradient, direction), slope, rtol=1e-5, atol=1e-5)
    bend = difference(gradient_before, gradient_after)
    for exact, approximate in zip(*map(jax.tree.leaves, (change, bend)), strict=True):
        scale = 1 + np.abs(approximate).max()
        np.testing.assert_allclose(exact, approximate, rtol=0, atol=1e-5 * scale)


def antipode(space, x):
    """A point at distance pi from x, where there is one."""
    match type(space).__name__:
        case "Sphere":
            return -x
        case "SO3":
            return x @ np.diag([1.0, -1.0, -1.0])
        case "SO":
            return x @ np.diag([1.0, -1.0, 1.0, -1.0])
        case "Grassmann":
            return np.eye(4) - x
        case "Stereographic" if space.kappa > 0:
            return -x / (0.7 * np.sum(x * x, -1, keepdims=True) + 1e-9)
        case "Torus":
            return np.where(x > 0, x - np.pi, x + np.pi)
        case _:
            return x


def special(space):
    """Settings (x, y, u, v) where formulas divide by zero: same rows for every space."""
    numbers = [components(20 + i, (P, space.dim), reach(space)) for i in range(4)]
    a, b, e, f = numbers
    b[2], b[3], b[4] = a[2] + 1e-4, a[3] + 1e-7, a[4] + 1e-12
    a[5] = b[6] = a[7] = b[7] = 0  # the origin
    f[[7, 8, 9]] = 0  # v = 0
    f[10] *= np.pi / np.linalg.norm(f[10])  # a conjugate point on the sphere
    f[11] *= 2 * np.pi / np.linalg.norm(f[11])
    f[12] *= 1e-6
    f[13] *= 1e-20
    record = at_each(space)
    x, y, u, v = jax.tree.map(np.array, compiled_setting(record, a, b, e, f))
    opposite = antipode(space, x)
    for x_i, y_i, far in zip(*map(jax.tree.leaves, (x, y, opposite)), strict=True):
        y_i[[1, 8, 7]] = x_i[[1, 8, 7]]  # coincident points
        y_i[14:] = far[14:]
    return x, y, u, v


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        pytest.param(
            name, np.float64, marks=pytest.mark.slow if name in ("hyperboloid", *NEWER) else ()
        )
        for name in CURVED
    ]
    + [
        (name, np.float32) for name in ("sphere", "so3", *NEWER)
    ],  # the others: test_hyperbolic_accuracy.py
)
@pytest.mark.quick("sphere-float32", "ball-float64")
def test_derivatives_are_finite_at_special_points(name, dtype):
    space = SPACES[name]
    with jax.enable_x64(True):
        points = special(space)
    points = jax.tree.map(lambda p: p.astype(dtype), points)
    direction = jax.tree.map(lambda p: np.cos(1 + np.arange(p.size)).reshape(p.shape), points)
    with jax.enable_x64(dtype == np.float64), jax.debug_nans(True):
        record = at_each(space, dtype)
        velocity = jax.tree.map(np.ones_like, record)
        results = derivatives(
            (record, *points), (velocity, *jax.tree.map(lambda p: p.astype(dtype), direction))
        )
    for part, result in zip(("value", "gradient", "second"), results, strict=True):
        for leaf in jax.tree.leaves(result):
            bad = np.unique(np.nonzero(~np.isfinite(leaf))[0])
            assert not bad.size, f"{part} is not finite in settings {bad}"
