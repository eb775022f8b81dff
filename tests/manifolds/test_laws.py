"""The geometry every manifold must obey, in float64: one jitted bundle of laws per space."""

import functools

import jax
import jax.numpy as jnp
import pytest
from tests.manifolds.spaces import SPACES, assert_close, components, point, random_setting

from geodl.manifolds import SO3, Manifold, Product


def batched_dot(g, v):
    """<g, v> over all coordinates of a point (a product's: all its arrays), batch axis first."""
    pairs = zip(jax.tree.leaves(g), jax.tree.leaves(v), strict=True)
    return sum(jnp.sum((a * b).reshape(a.shape[0], -1), -1) for a, b in pairs)


def negative(v):
    return jax.tree.map(jnp.negative, v)


def laws(space, key):
    """name -> (left side, right side), each with a leading batch axis."""
    n, dim = 16, space.dim
    x, y, u, v = random_setting(space, key, (n,))
    a, e = space.to_frame(x, v), jnp.eye(dim)
    origin, log, d = space.origin(), space.logmap(x, y), space.dist(x, y)
    near = space.expmap(x, v)
    middle = space.geodesic(0.5, x, near)

    def along_frame(phi, x):
        """phi in normal coordinates at x."""
        return lambda t: phi(space.expmap(x, space.from_frame(x, t)))

    def exp_between_frames(x, a):
        end = space.expmap(x, space.from_frame(x, a))
        return lambda t: space.to_frame(
            end, space.logmap(end, space.expmap(x, space.from_frame(x, t)))
        )

    def log_abs_det(x, a):
        return jnp.linalg.slogdet(jax.jacfwd(exp_between_frames(x, a))(a))[1]

    def wave(x):
        return sum(jnp.sum(jnp.sin(1.3 * p + 0.4)) for p in jax.tree.leaves(x))

    egrad = jax.vmap(jax.grad(wave))(x)
    half_sqdist = jax.vmap(jax.grad(lambda x, y: space.sqdist(x, y) / 2))(x, y)
    hessian = jax.vmap(
        lambda x: jax.hessian(along_frame(lambda y: space.sqdist(x, y) / 2, x))(jnp.zeros(dim))
    )(x)
    exp_at_0 = jax.vmap(lambda x: jax.jacfwd(exp_between_frames(x, jnp.zeros(dim)))(jnp.zeros(dim)))
    basis = space.tangent_basis(x)
    spread = jax.vmap(lambda x, basis: jax.vmap(lambda b: space.to_frame(x, b))(basis))(x, basis)
    # The pole ladder carries vectors exactly in parallel on a symmetric space, as all of ours are.
    short = jax.tree.map(lambda w: 0.3 * w, u)
    rung = space.expmap(middle, negative(space.logmap(middle, space.expmap(x, short))))
    there = space.transport(x, y, u)
    return {
        "log inverts exp": (space.logmap(x, near), v),
        "exp inverts log": (space.expmap(x, log), space.project(y)),
        "dist of exp is the norm": (space.dist(x, near), space.norm(x, v)),
        "dist is symmetric": (d, space.dist(y, x)),
        "dist is the norm of log": (d, space.norm(x, log)),
        "sqdist is dist squared": (space.sqdist(x, y), d**2),
        "geodesic starts at x": (space.geodesic(0.0, x, y), space.project(x)),
        "geodesic ends at y": (space.geodesic(1.0, x, y), space.project(y)),
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
            negative(space.logmap(near, rung)),
            space.transport(x, near, short),
        ),
        "to_frame inverts from_frame": (space.to_frame(x, space.from_frame(x, a)), a),
        "frame is orthonormal": (space.inner(x, u, v), jnp.sum(space.to_frame(x, u) * a, -1)),
        "norm is that of the components": (space.norm(x, v), jnp.linalg.norm(a, axis=-1)),
        "tangent_basis is the frame": (spread, jnp.broadcast_to(e, (n, dim, dim))),
        "project keeps points": (space.project(near), near),
        "project is idempotent": (
            space.project(space.project(jax.tree.map(lambda p: 1.2 * p, x))),
            space.project(jax.tree.map(lambda p: 1.2 * p, x)),
        ),
        "project_tangent keeps tangents": (space.project_tangent(x, v), v),
        "project_tangent is idempotent": (
            space.project_tangent(x, space.project_tangent(x, egrad)),
            space.project_tangent(x, egrad),
        ),
        "egrad_to_rgrad is the gradient": (
            space.inner(x, space.egrad_to_rgrad(x, egrad), v),
            batched_dot(egrad, v),
        ),
        "egrad_to_rgrad is tangent": (
            space.project_tangent(x, space.egrad_to_rgrad(x, egrad)),
            space.egrad_to_rgrad(x, egrad),
        ),
        "gradient of half sqdist is -log": (
            space.egrad_to_rgrad(x, half_sqdist),
            negative(log),
        ),
        "hessian of half sqdist at x = y is I": (hessian, jnp.broadcast_to(e, (n, dim, dim))),
        "differential of exp at 0 is I": (exp_at_0(x), jnp.broadcast_to(e, (n, dim, dim))),
        "logdetexp is the Jacobian's": (
            space.logdetexp(x, v),
            jax.vmap(log_abs_det)(x, a),
        ),
        "logdetexp at 0 is 0": (
            space.logdetexp(x, jax.tree.map(jnp.zeros_like, v)),
            jnp.zeros(n),
        ),
        "frame is the origin's, transported": (
            space.from_frame(x, a),
            space.transport(origin, x, space.from_frame(origin, a)),
        ),
    }


LAWS = tuple(jax.eval_shape(functools.partial(laws, SPACES["euclidean"]), jax.random.key(0)))


@functools.cache
def evaluated(name):
    with jax.enable_x64(True):
        return jax.device_get(jax.jit(laws)(SPACES[name], jax.random.key(1)))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", SPACES)
def test_law(name, law):
    left_invariant = SO3 in (type(SPACES[name]), *map(type, getattr(SPACES[name], "factors", ())))
    if law == "frame is the origin's, transported" and left_invariant:
        pytest.skip("SO(3) has the left-invariant frame")
    left, right = evaluated(name)[law]
    assert_close(left, right, 1e-11, law)


@pytest.mark.parametrize("name", SPACES)
def test_record_is_a_manifold(name):
    space = SPACES[name]
    assert isinstance(space, Manifold)
    shapes = jax.tree.map(jnp.shape, space.origin())
    assert shapes == space.event_shape
    batch = jax.eval_shape(lambda k: space.random_uniform(k, (5, 2)), jax.random.key(0))
    event = space.event_shape if isinstance(space, Product) else (space.event_shape,)
    assert tuple(p.shape for p in jax.tree.leaves(batch)) == tuple((5, 2, *s) for s in event)


@pytest.mark.parametrize("name", SPACES)
def test_random_uniform_is_on_the_manifold(name, key):
    space = SPACES[name]
    x, fixed, again = jax.jit(
        lambda k: (
            space.random_uniform(k, (64,)),
            space.project(space.random_uniform(k, (64,))),
            space.random_uniform(jax.random.fold_in(k, 1), (64,)),
        )
    )(key)
    assert_close(x, fixed, 1e-6)
    assert all(jnp.any(a != b) for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(again)))


@pytest.mark.parametrize("name", ["sphere", "so3", "torus"])
def test_random_uniform_is_uniform(name, key):
    """Against a law of the group average: E dist^2 from any fixed point is that of the volume."""
    space = SPACES[name]
    fixed = point(space, components(key, (space.dim,)))
    mean = jnp.mean(jax.jit(lambda k: space.sqdist(fixed, space.random_uniform(k, (20000,))))(key))
    # S^3: density (2/pi) sin^2 r; SO(3): (2/pi) sin^2(r/2) on [0, pi]; circles: 3 times pi^2 / 3.
    exact = {
        "sphere": jnp.pi**2 / 3 - 1 / 2,
        "so3": jnp.pi**2 / 3 + 2,
        "torus": jnp.pi**2,
    }[name]
    assert abs(mean - exact) < 0.02 * exact
