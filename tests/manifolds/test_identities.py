"""The geometry every manifold must obey, in float64, on a batch of points (and of curvatures)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl.manifolds import Manifold, Product
from tests.manifolds.spaces import (
    EVERY_SPACE,
    FAST,
    INFINITE,
    NEWER,
    SPACES,
    Compiled,
    assert_close,
    random_setting,
    rows,
    with_curvatures,
)


N = 16


def negative(v):
    return jax.tree.map(np.negative, v)


def times(s, v):
    return jax.tree.map(lambda v: s * np.asarray(v), v)


def batched_dot(g, v):
    """<g, v> over all coordinates of a point (a product's: all its arrays)."""
    pairs = zip(jax.tree.leaves(g), jax.tree.leaves(v), strict=True)
    return sum(np.sum(np.reshape(a * b, (N, -1)), -1) for a, b in pairs)


def wave(x):
    return sum(jnp.sum(jnp.sin(1.3 * p + 0.4)) for p in jax.tree.leaves(x))


@functools.partial(jax.jit, compiler_options=FAST)
def gradients(space, x, y):
    def half_sqdist(x):
        return jnp.sum(space.sqdist(x, y)) / 2

    return jax.grad(wave)(x), jax.grad(half_sqdist)(x)


def jacobian(f, a, h=1e-4):
    """Central differences of fourth order of f: (N, dim) -> (N, dim)."""
    columns = []
    for e in np.eye(a.shape[-1]):
        near, far = f(a + h * e) - f(a - h * e), f(a + 2 * h * e) - f(a - 2 * h * e)
        columns.append((8 * near - far) / (12 * h))
    return np.stack(columns, -1)


def identities(record):
    """name -> (left side, right side[, tolerance])."""
    space, dim = Compiled(record), record.dim
    x, y, u, v = random_setting(record, (N,))
    a, one = space.to_frame(x, v), np.broadcast_to(np.eye(dim), (N, dim, dim))
    origin = jax.tree.map(lambda o, x: np.broadcast_to(o, x.shape), space.origin(), x)
    log, d, there = space.logmap(x, y), space.dist(x, y), space.transport(x, y, u)
    end, middle = space.expmap(x, v), space.expmap(x, times(0.5, v))

    def exp_between_frames(t):
        return np.asarray(
            space.to_frame(end, space.logmap(end, space.expmap(x, space.from_frame(x, t))))
        )

    def exp_at_0(t):
        return np.asarray(
            space.to_frame(x, space.logmap(x, space.expmap(x, space.from_frame(x, t))))
        )

    egrad, half_sqdist = gradients(record, x, y)
    rgrad = space.egrad_to_rgrad(x, egrad)
    basis = space.tangent_basis(x)
    members = [space.from_frame(x, np.broadcast_to(e, (N, dim))) for e in np.eye(dim)]
    stacked = jax.tree.map(lambda *m: np.stack(m, 1), *members)
    # The pole ladder carries vectors exactly in parallel on a symmetric space, as all of ours are.
    short = times(0.3, u)
    rung = space.expmap(middle, negative(space.logmap(middle, space.expmap(x, short))))
    return {
        "log inverts exp": (space.logmap(x, end), v),
        "exp inverts log": (space.expmap(x, log), y),
        "dist of exp is the norm": (space.dist(x, end), space.norm(x, v)),
        "dist is symmetric": (d, space.dist(y, x)),
        "dist is the norm of log": (d, space.norm(x, log)),
        "sqdist is dist squared": (space.sqdist(x, y), d**2),
        "geodesic starts at x": (space.geodesic(0.0, x, y), x),
        "geodesic ends at y": (space.geodesic(1.0, x, y), y),
        "geodesic has constant speed": (
            space.dist(space.geodesic(0.2, x, y), space.geodesic(0.7, x, y)),
            0.5 * d,
        ),
        "transport keeps inner products": (
            space.inner(y, there, space.transport(x, y, v)),
            space.inner(x, u, v),
        ),
        "transport there and back": (space.transport(y, x, there), u),
        "transport keeps the velocity": (
            space.transport(x, y, log),
            negative(space.logmap(y, x)),
        ),
        "transport is the pole ladder's": (
            negative(space.logmap(end, rung)),
            space.transport(x, end, short),
        ),
        "from_frame inverts to_frame": (space.from_frame(x, a), v),
        "expmap_frame is expmap of the components": (space.expmap_frame(x, a), space.expmap(x, v)),
        "frame is orthonormal": (space.inner(x, u, v), np.sum(space.to_frame(x, u) * a, -1)),
        "norm is that of the components": (space.norm(x, v), np.linalg.norm(a, axis=-1)),
        "tangent_basis is the frame": (basis, stacked),
        "project keeps points": (space.project(end), end),
        "project is idempotent": (
            space.project(space.project(times(1.2, x))),
            space.project(times(1.2, x)),
        ),
        "project_tangent keeps tangents": (space.project_tangent(x, v), v),
        "project_tangent is idempotent": (
            space.project_tangent(x, space.project_tangent(x, egrad)),
            space.project_tangent(x, egrad),
        ),
        "egrad_to_rgrad is the gradient": (space.inner(x, rgrad, v), batched_dot(egrad, v)),
        "egrad_to_rgrad is tangent": (space.project_tangent(x, rgrad), rgrad),
        "gradient of half sqdist is -log": (
            space.egrad_to_rgrad(x, half_sqdist),
            negative(log),
        ),
        "differential of exp at 0 is I": (jacobian(exp_at_0, np.zeros((N, dim))), one, 1e-8),
        "logdetexp is the Jacobian's": (
            space.logdetexp(x, v),
            np.linalg.slogdet(jacobian(exp_between_frames, np.asarray(a)))[1],
            1e-8,
        ),
        "logdetexp at 0 is 0": (space.logdetexp(x, times(0, v)), np.zeros(N)),
        "frame is the origin's, transported": (
            space.from_frame(x, a),
            space.transport(origin, x, space.from_frame(origin, a)),
        ),
    }


@functools.cache
def evaluated(name):
    with jax.enable_x64(True):
        return jax.device_get(identities(with_curvatures(EVERY_SPACE[name], N)))


IDENTITIES = """
log inverts exp; exp inverts log; dist of exp is the norm; dist is symmetric;
dist is the norm of log; sqdist is dist squared; geodesic starts at x; geodesic ends at y;
geodesic has constant speed; transport keeps inner products; transport there and back;
transport keeps the velocity; transport is the pole ladder's; from_frame inverts to_frame;
expmap_frame is expmap of the components;
frame is orthonormal; norm is that of the components; tangent_basis is the frame;
project keeps points; project is idempotent; project_tangent keeps tangents;
project_tangent is idempotent; egrad_to_rgrad is the gradient; egrad_to_rgrad is tangent;
gradient of half sqdist is -log; differential of exp at 0 is I; logdetexp is the Jacobian's;
logdetexp at 0 is 0; frame is the origin's, transported
"""
IDENTITIES = [" ".join(identity.split()) for identity in IDENTITIES.split(";")]
OTHER_FRAMES = ("so3", "product", "foreign", "so", "spd")  # not transported from the origin


@pytest.mark.parametrize("identity", IDENTITIES)
@pytest.mark.parametrize("name", rows(EVERY_SPACE))
def test_identity(name, identity):
    left, right, *tolerance = evaluated(name)[identity]
    if identity == "frame is the origin's, transported" and name in OTHER_FRAMES:
        with pytest.raises(AssertionError):
            assert_close(left, right, 1e-3)
    else:
        assert_close(left, right, *tolerance or [1e-10], identity)


def test_no_identity_is_forgotten():
    assert set(evaluated("euclidean")) == set(IDENTITIES)


@pytest.mark.parametrize("name", SPACES)
def test_record_is_a_manifold(name):
    space = SPACES[name]
    assert isinstance(space, Manifold)
    assert jax.tree.map(jnp.shape, space.origin()) == space.event_shape
    if name in INFINITE:
        with pytest.raises(NotImplementedError, match="does not say how uniform points are drawn"):
            space.random_uniform(jax.random.key(0))
        return
    batch = jax.eval_shape(lambda k: space.random_uniform(k, (5, 2)), jax.random.key(0))
    event = space.event_shape if isinstance(space, Product) else (space.event_shape,)
    assert tuple(p.shape for p in jax.tree.leaves(batch)) == tuple((5, 2, *s) for s in event)


@pytest.mark.parametrize("name", [n for n in SPACES if n not in INFINITE])
@pytest.mark.quick(*(n for n in SPACES if n not in NEWER))
def test_random_uniform_is_on_the_manifold(name, key):
    @functools.partial(jax.jit, compiler_options=FAST)
    def draw(space, key):
        x = space.random_uniform(key, (64,))
        return x, space.project(x), space.random_uniform(jax.random.fold_in(key, 1), (64,))

    x, projected, other = draw(SPACES[name], key)
    assert_close(x, projected, 1e-6)
    assert all(jnp.any(a != b) for a, b in zip(*map(jax.tree.leaves, (x, other)), strict=True))


@pytest.mark.parametrize(
    ("name", "mean_sqdist"),
    [  # densities of the distance r: 2/pi sin^2 r on S^3, 2/pi sin^2(r/2) on SO(3), three circles
        ("sphere", np.pi**2 / 3 - 1 / 2),
        ("so3", np.pi**2 / 3 + 2),
        ("torus", np.pi**2),
    ],
)
def test_random_uniform_is_uniform(name, mean_sqdist, key):
    space = SPACES[name]
    _, fixed, _, _ = random_setting(space)
    sqdist = jax.jit(lambda k: space.sqdist(fixed, space.random_uniform(k, (20000,))))(key)
    assert jnp.mean(sqdist) == pytest.approx(mean_sqdist, rel=0.02)
