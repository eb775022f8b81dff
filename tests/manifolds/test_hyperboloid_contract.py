"""What the hyperboloid promises far out, in line with the origin, at the origin, and for bad input."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from geodl.distributions import WrappedNormal
from geodl.manifolds import Hyperboloid, Sphere, hyperboloid


pytestmark = pytest.mark.optimized

mp = type(mpmath.mp)()  # a context of its own
mp.dps = 120

KINDS = ("any", "axis", "close on an axis", "opposite on an axis", "opposite", "next to an axis")


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    with jax.enable_x64(request.param is np.float64):
        yield request.param


def pair(rng, kind, d, reach):
    """Spatial parts of two points, at distances up to ``reach`` from the origin, for c = 1."""
    g, h = rng.standard_normal((2, d))
    g, h = g / np.linalg.norm(g), h / np.linalg.norm(h)
    axis = np.eye(d)[rng.integers(d)] * rng.choice([-1, 1])
    r, s = np.sinh(rng.uniform(0, reach, 2))
    match kind:
        case "any":
            return r * g, s * h
        case "axis":
            return r * axis, s * axis
        case "close on an axis":
            return r * axis, r * (1 + 10 ** rng.uniform(-5, 0)) * axis
        case "opposite on an axis":
            return r * axis, -s * axis
        case "opposite":
            return r * g, -s * g
        case _:
            return r * axis, r * axis + np.where(axis == 0, h, 0) * 10 ** rng.uniform(-3, 1)


def cases(d, reach, dtype, n, seed=0):
    rng = np.random.default_rng((seed, d, reach))
    x, y = np.swapaxes([pair(rng, kind, d, reach) for kind in KINDS for _ in range(n)], 0, 1)
    c = rng.choice([0.3, 1.0, 1.4], len(x)).astype(dtype)
    x, y = ((p / np.sqrt(c.astype(float))[:, None]).astype(dtype) for p in (x, y))
    y = np.where((x == y).all(-1, keepdims=True), 2 * x, y)
    return *(np.asarray(points(p, c)) for p in (x, y)), c


def points(space, c):
    """With the time coordinate, from numpy alone."""
    scale = np.maximum(np.abs(space).max(-1, keepdims=True), 1).astype(np.longdouble)
    square = np.sum(np.square(space / scale), -1, keepdims=True)
    time = scale * np.sqrt(1 / (c.astype(np.longdouble)[:, None] * scale**2) + square)
    return np.concatenate([time, space], -1).astype(space.dtype)


def dot(x, y):
    return mp.fdot(zip(x, y, strict=True))


def exact(x, y, c):
    """Distance and frame components of the logarithm from the textbook's Minkowski products, by 120 digits."""
    x, y = ([mp.mpf(float(a)) for a in p[1:]] for p in (x, y))
    c = mp.mpf(float(c))
    cosh_x, cosh_y = (mp.sqrt(1 + c * dot(p, p)) for p in (x, y))
    dist = mp.acosh(max(cosh_x * cosh_y - c * dot(x, y), 1)) / mp.sqrt(c)
    shift = c * dot(x, y) / (1 + cosh_x) - cosh_y
    boosted = [b + shift * a for a, b in zip(x, y, strict=True)]
    length = mp.sqrt(dot(boosted, boosted))
    return dist, [a * dist / length for a in boosted]


def errors(x, y, c, dist, frame):
    """Relative ones of distances and of frame components."""
    found = []
    for i in range(len(x)):
        right, components = exact(x[i], y[i], c[i])
        off = [mp.mpf(float(a)) - b for a, b in zip(frame[i], components, strict=True)]
        found.append((abs(mp.mpf(float(dist[i])) - right) / right, mp.sqrt(dot(off, off)) / right))
    return np.asarray(found, float).max(0)


@pytest.mark.parametrize("reach", [15, 43, 87])
@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.quick("float32-1-43", "float32-2-87", "float64-2-15")
def test_distances_and_logarithms(d, reach, dtype):
    """To the rounding of the result, in line with the origin too, compiled and not."""
    x, y, c = cases(d, reach, dtype, 12)
    for way in (lambda f: f, jax.jit):
        dist, frame = way(hyperboloid.dist)(x, y, c), way(hyperboloid.logmap_frame)(x, y, c)
        assert dist.dtype == frame.dtype == dtype
        assert (errors(x, y, c, dist, frame) <= np.asarray([6, 16]) * np.finfo(dtype).eps).all()


ON_AXES, MULTIPLES = (1, 2, 3, 5, 6), 9  # kinds of the pairs below


def hostile(d, dtype, n, seed=0):
    """Pairs of points up to the limit of the coordinates: anywhere, on one axis or opposite on it, multiples of each
    other, opposite, next to an axis, coincident, at the limit, next to the origin.
    """
    rng = np.random.default_rng((seed, d))
    limit = {np.float32: 87, np.float64: 700}[dtype]
    g, h = (e / np.linalg.norm(e, axis=-1, keepdims=True) for e in rng.standard_normal((2, n, d)))
    axis = np.eye(d)[rng.integers(d, size=n)] * rng.choice([-1, 1], (n, 1))
    r, s = np.sinh(rng.uniform(0, limit, (2, n, 1)))
    step, end = 10 ** rng.uniform(-6, 1, (n, 1)), np.sinh(limit)
    c = rng.choice([0.3, 1.0, 1.4], n).astype(dtype)
    small = 10 ** rng.uniform(-6, 0, (n, 1))
    pairs = (
        (r * g, s * h),
        (r * axis, s * axis),
        (r * axis, np.minimum(r * (1 + step), end) * axis),
        (r * axis, -s * axis),
        (r * g, -s * g),
        (r * axis, r * axis + np.where(axis == 0, h, 0) * step),
        (r * g, r * g),
        (end * g, end * np.where(step > 1e-3, h, axis)),
        (small * g, small * (g + step * h)),
        (r * g / 8, r * g / 2),
    )
    kind = np.arange(n) % len(pairs)
    x, y = (
        np.choose(kind[:, None], ends) / np.sqrt(c.astype(float))[:, None]
        for ends in zip(*pairs, strict=True)
    )
    x, y = x.astype(dtype), y.astype(dtype)
    y = np.where(kind[:, None] == MULTIPLES, x * 4, y)
    return points(x, c), points(y, c), c, kind


def long_dist(x, y, c):
    """In extended precision, and what its rounding may put it off: cosh(sqrt(c) dist) - 1 is c x_0 y_0 - c <x, y> - 1,

    and where that cancels (c |x - y|^2 + c^2 sum_{i<j} (x_i y_j - x_j y_i)^2) / (c x_0 y_0 + c <x, y> + 1).
    """
    x, y, c = (p.astype(np.longdouble) for p in (x[:, 1:], y[:, 1:], c))
    product, wedge, rounded = c * (x * y).sum(-1), np.zeros_like(c), np.zeros_like(c)
    times = np.sqrt(1 + c * np.square(x).sum(-1)) * np.sqrt(1 + c * np.square(y).sum(-1))
    for i in range(x.shape[-1]):
        for j in range(i):
            one, other = x[:, i] * y[:, j], x[:, j] * y[:, i]
            wedge += np.square(c * (one - other))
            rounded += c * np.abs(one)
    square, same = c * np.square(x - y).sum(-1) + wedge, product > -times / 2
    rise = np.where(same, square / np.where(same, times + product + 1, 1), times - product - 1)
    off = rounded * np.finfo(np.longdouble).eps * same / np.sqrt(np.where(square == 0, 1, square))
    by_angle = np.sqrt(
        wedge / np.where(rise == 0, 1, rise * (2 + rise)) / c
    )  # how dist changes with it
    return 2 * np.arcsinh(np.sqrt(rise / 2)) / np.sqrt(c), 4 * off, by_angle


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("n", [3000, pytest.param(1_000_000, marks=pytest.mark.slow)])
@pytest.mark.quick("float32-3000-2")
def test_sweep(d, n, dtype):
    """Over many pairs: to the rounding of the result and, off the axes, to what that of a direction makes of it."""
    x, y, c, kind = hostile(d, dtype, n)
    eps, root = np.finfo(dtype).eps, np.sqrt(c.astype(np.longdouble))

    @jax.jit
    def all_of(x, y, c):
        a = hyperboloid.logmap_frame(x, y, c)
        lengths = hyperboloid.dist(x, y, c), jnp.sqrt(hyperboloid.sqdist(x, y, c))
        steps = (
            hyperboloid.geodesic(jnp.asarray(0.3, x.dtype), x, y, c),
            hyperboloid.expmap_frame(x, a, c),
        )
        return *lengths, a, *steps, hyperboloid.to_ball(x, c)

    dist, squared, a, between, end, ball = jax.device_get(all_of(x, y, c))
    right, off, by_angle = long_dist(x, y, c)
    sinh_x, sinh_y = (
        root * np.sqrt(np.square(p[:, 1:].astype(np.longdouble)).sum(-1)) for p in (x, y)
    )
    turned = np.arcsinh(np.minimum(sinh_x, sinh_y) * eps) / root * (kind == MULTIPLES)
    on_axis = np.isin(kind, ON_AXES)
    turned += np.where(on_axis, 0, eps * by_angle)  # what the rounding of a direction costs
    seen = np.where(on_axis, 0, sinh_y / np.sinh(np.maximum(root * right, eps)))
    length = np.sqrt(np.square(a.astype(np.longdouble)).sum(-1))
    for name, value, times in (
        ("dist", dist, 6),
        ("sqdist", squared, 8),
        ("log", length, 16 + 8 * seen),
    ):
        error = np.abs(value - right)
        ok = (error <= times * eps * right + 4 * turned) | (off > eps)
        assert ok.all(), (
            name,
            kind[~ok][:3],
            x[~ok][:3],
            y[~ok][:3],
            error[~ok][:3],
            right[~ok][:3],
        )
    assert np.isfinite(a).all() and np.isfinite(between).all()
    inside = (np.arcsinh(sinh_x) + root * right < np.log(np.finfo(dtype).max) - 2) & (
        kind != MULTIPLES
    )
    assert np.isfinite(end[inside]).all()
    assert (np.square(ball.astype(np.longdouble)).sum(-1) * c <= 1).all()


@pytest.mark.parametrize("r", [4.0, 15.0, 25.0, 43.0, 80.0])
@pytest.mark.quick()
def test_vectors_in_line_with_the_origin(r):
    """Norm, product and components of a unit vector along an axis, and its transport."""
    for d in (1, 3):
        space = Hyperboloid(d)
        axis = jnp.eye(d)[0]
        x, y = (space.expmap_frame(space.origin(), a * axis) for a in (r, r - 1))
        v = space.from_frame(x, axis)
        for way in (lambda f: f, jax.jit):
            np.testing.assert_allclose(way(space.dist)(x, y), 1.0, rtol=1e-5)
            np.testing.assert_allclose(way(space.norm)(x, v), 1.0, rtol=1e-6)
            np.testing.assert_allclose(way(space.inner)(x, v, v), 1.0, rtol=1e-6)
            np.testing.assert_allclose(way(space.to_frame)(x, v), axis, atol=1e-6)
            there = space.to_frame(y, way(space.transport)(x, y, v))
            np.testing.assert_allclose(there, axis, atol=1e-6)
            np.testing.assert_allclose(
                way(space.expmap)(x, -v)[1:], y[1:], rtol=1e-5, atol=1e-6 * float(y[0])
            )


@pytest.mark.parametrize("r", [32.0, 50.0, 80.0])
@pytest.mark.quick("50.0")
def test_far_and_opposite(r):
    space = Hyperboloid(2)
    u = jnp.asarray([0.6, 0.8])
    x, y = (space.expmap_frame(space.origin(), a * u) for a in (r, -r))
    np.testing.assert_allclose(space.dist(x, y), 2 * r, rtol=1e-6)
    assert space.dist(x, x) == 0
    np.testing.assert_allclose(space.geodesic(0.5, x, y), space.origin(), atol=1e-4)
    np.testing.assert_allclose(space.logmap_frame(x, y), -2 * r * u, rtol=1e-5)
    np.testing.assert_allclose(jnp.linalg.norm(space.to_ball(x)), 1.0, atol=1e-5)
    slope = jax.grad(lambda a: space.dist(space.expmap_frame(space.origin(), a), y))(r * u)
    np.testing.assert_allclose(slope, u, rtol=1e-4)
    q = WrappedNormal(space, x, 1.0)
    z, density = q.sample_and_log_prob(seed=jax.random.key(0), sample_shape=(50,))
    assert np.isfinite(density).all() and np.isfinite(q.log_prob(z)).all()
    assert (np.abs(np.asarray(space.dist(x, z))) < 2 * r).all()


CURVED = {
    "dist": lambda space, x, o: space.dist(x, o),
    "logmap": lambda space, x, o: space.logmap(x, o),
    "geodesic": lambda space, x, o: space.geodesic(0.5, x, o),
    "density": lambda space, x, o: WrappedNormal(space, o, 1.0).log_prob(x),
    "density of loc": lambda space, x, o: WrappedNormal(space, x, 1.0).log_prob(o),
}


@pytest.mark.parametrize("inner", [jax.jacfwd, jax.jacrev])
@pytest.mark.parametrize("outer", [jax.jacfwd, jax.jacrev])
@pytest.mark.parametrize("name", CURVED)
@pytest.mark.quick("dist-jacrev-jacrev")
def test_second_derivatives_at_the_origin(name, inner, outer):
    space = Hyperboloid(2)
    o = space.origin()
    second = jax.jit(lambda o: outer(inner(lambda x: CURVED[name](space, x, o)))(o))(o)
    assert np.isfinite(second).all()


@pytest.mark.parametrize("inner", [jax.jacfwd, jax.jacrev])
@pytest.mark.parametrize("outer", [jax.jacfwd, jax.jacrev])
@pytest.mark.quick("jacrev-jacrev")
def test_hessian_of_sqdist_at_the_origin(inner, outer):
    space = Hyperboloid(2)
    o, plane = space.origin(), jnp.diag(jnp.asarray([0.0, 1.0, 1.0]))
    hessian = jax.jit(outer(inner(lambda x: space.sqdist(x, space.origin()))))(o)
    np.testing.assert_allclose(hessian, 2 * plane, atol=1e-6)


def functions():
    """Every function of the module of (x, y, v) and the curvature."""
    h = hyperboloid
    return {
        "expmap": lambda x, y, v, c: h.expmap(x, v, c),
        "expmap_frame": lambda x, y, v, c: h.expmap_frame(x, v[..., 1:], c),
        "expmap0": lambda x, y, v, c: h.expmap0(v, c),
        "logmap": lambda x, y, v, c: h.logmap(x, y, c),
        "logmap_frame": lambda x, y, v, c: h.logmap_frame(x, y, c),
        "logmap0": lambda x, y, v, c: h.logmap0(x, c),
        "dist": lambda x, y, v, c: h.dist(x, y, c),
        "sqdist": lambda x, y, v, c: h.sqdist(x, y, c),
        "geodesic": lambda x, y, v, c: h.geodesic(0.3, x, y, c),
        "logdetexp": lambda x, y, v, c: h.logdetexp(x, v, c),
        "inner": lambda x, y, v, c: h.inner(x, v, v, c),
        "norm": lambda x, y, v, c: h.norm(x, v, c),
        "transport": lambda x, y, v, c: h.transport(x, y, v, c),
        "transport0": lambda x, y, v, c: h.transport0(x, v, c),
        "egrad_to_rgrad": lambda x, y, v, c: h.egrad_to_rgrad(x, v, c),
        "project_tangent": lambda x, y, v, c: h.project_tangent(x, v, c),
        "from_frame": lambda x, y, v, c: h.from_frame(x, v[..., 1:], c),
        "to_frame": lambda x, y, v, c: h.to_frame(x, v, c),
        "tangent_basis": lambda x, y, v, c: h.tangent_basis(x, c),
        "project": lambda x, y, v, c: h.project(x, c),
        "to_ball": lambda x, y, v, c: h.to_ball(x, c),
    }


@pytest.mark.parametrize("r", [46.0, 80.0])
@pytest.mark.quick("80.0")
def test_derivatives_where_squares_of_coordinates_overflow(r):
    """float32, on an axis: of logarithms, squared distances (two orders), transport and steps straight back."""
    h, s = hyperboloid, float(np.exp(r)) / 2
    x = jnp.asarray([s, 0, s], jnp.float32)
    y, aside = x / np.e, jnp.asarray([s, 0.6 * s, 0.8 * s], jnp.float32)
    out = y.at[0].set(0)  # by 1 in the distance
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)

    along = jax.jvp(lambda y: h.logmap_frame(x, y, 1.0), (y,), (out,))[1]
    close(along, [0, 1])
    close(jax.grad(lambda y: h.logmap_frame(x, y, 1.0)[1])(y) @ out, 1)
    by_reverse = lambda f: jax.jacrev(jax.jacrev(f))  # noqa: E731
    for second in (jax.hessian, by_reverse, lambda f: jax.jit(by_reverse(f))):
        bend = second(lambda a: h.sqdist(x, h.expmap_frame(y, a, 1.0), 1.0))(jnp.zeros(2))
        close(bend, np.diag([2 / np.tanh(1), 2]))

    def turned(x, y):
        return h.transport_frame(x, y, jnp.asarray([0.4, -0.7]), 1.0)[0]

    radial = aside.at[0].set(0)
    close(jax.jvp(lambda y: turned(x, y), (aside,), (radial,))[1], 0)
    close(jax.grad(turned, 1)(x, aside) @ radial, 0)
    close(jax.grad(turned, 0)(x, aside) @ x.at[0].set(0), 0)

    def back(a):
        return h.expmap_frame(x, jnp.stack([jnp.zeros_like(a), a]), 1.0)[2]

    close(jax.grad(back)(-r), 1)
    close(jax.jvp(back, (-r,), (1.0,))[1], 1)


def test_transport_by_a_quarter_far_out():
    """float32: the turn of the frame at two far points on different axes, and the slope of their distance."""
    for r in (20.0, 46.0, 80.0):
        s = float(np.sinh(r))
        x, y = jnp.asarray([s, s, 0], jnp.float32), jnp.asarray([s, 0, s], jnp.float32)
        turned = hyperboloid.transport_frame(x, y, jnp.asarray([1, 2], jnp.float32), 1.0)
        np.testing.assert_allclose(turned, [2, -1], atol=1e-5)
        near_axis = jnp.asarray([0.6 * s, 0.6 * s, 0.5], jnp.float32)
        slope = jax.grad(lambda y, x=x: hyperboloid.dist(x, y, 1.0))(near_axis)
        np.testing.assert_allclose(slope[1] * s, -1.3819543, rtol=1e-5)


@pytest.mark.parametrize("name", ["logmap_frame", "transport_frame", "sqdist"])
@pytest.mark.quick("logmap_frame")
def test_second_derivatives_far_out(name):
    """float32, next to an axis: in units of the points' lengths along it they no longer depend on these."""

    def value(x, y):
        x, y = (jnp.concatenate([jnp.sqrt(1 + 0 * p[:1]), p]) for p in (x, y))
        along = jnp.asarray([0.7, -1.3], x.dtype)
        match name:
            case "logmap_frame":
                return jnp.sum(hyperboloid.logmap_frame(x, y, 1.0) * along)
            case "transport_frame":
                return jnp.sum(hyperboloid.transport_frame(x, y, 1 + along, 1.0) * along)
            case "sqdist":
                return hyperboloid.sqdist(x, y, 1.0)

    def seconds(r):
        s = float(np.sinh(r))
        x, y = (jnp.asarray(p, jnp.float32) for p in ([s, 0], [0.6 * s, 0.5]))
        unit = np.asarray([s, 1.0])
        return np.stack(
            [
                np.asarray(outer(jax.grad(value, i), j)(x, y), float) * unit * unit[:, None]
                for outer in (jax.jacrev, jax.jacfwd)
                for i in (0, 1)
                for j in (0, 1)
            ]
        )

    near = seconds(12.0)
    np.testing.assert_allclose(near[:4], near[4:], atol=1e-4)
    np.testing.assert_allclose(seconds(20.0), near, atol=1e-3)


@pytest.mark.parametrize("name", sorted(functions().keys() - {"tangent_basis"}))
@pytest.mark.quick("expmap_frame", "logmap_frame")
def test_derivatives_on_an_axis(name):
    """Second and third ones, of points on an axis: those of the same points, turned away from it.

    (``tangent_basis`` is left out, as its rows turn too.)
    """
    with jax.enable_x64(True):
        d, f, rng = 3, functions()[name], np.random.default_rng(0)
        turn = np.eye(d + 1)
        turn[1:, 1:] = np.linalg.qr(rng.standard_normal((d, d)))[0]
        axis, across = np.eye(d)[:2]
        x, y = (
            np.asarray(hyperboloid.expmap0(np.concatenate([[0.0], a]), 1.0))
            for a in (3 * axis, 2 * axis + across)
        )
        v, *tangents = rng.standard_normal((10, d + 1))

        def derivatives(turn):
            def along(g, lines):
                return lambda *a: jax.jvp(g, a, tuple(turn @ t for t in lines))[1]

            def total(*a):
                out = f(*a, jnp.asarray(1.0))
                return jnp.sum(
                    (out @ turn[-out.shape[-1] :, -out.shape[-1] :] if out.ndim else out) * weights
                )

            at = tuple(turn @ a for a in (x, y, v))
            weights = rng.standard_normal(
                jax.eval_shape(lambda *a: f(*a, jnp.asarray(1.0)), *at).shape
            )
            found, g = [], total
            for lines in (tangents[:3], tangents[3:6]):
                g = along(g, lines)
                found += [turn.T @ s for s in jax.grad(g, (0, 1, 2))(*at)]
            return found

        state = rng.bit_generator.state
        straight = derivatives(np.eye(d + 1))
        rng.bit_generator.state = state
        for value, expected in zip(straight, derivatives(turn), strict=True):
            np.testing.assert_allclose(
                value, expected, rtol=1e-6, atol=1e-9 * np.abs(expected).max() + 1e-12
            )


def test_nan_and_curvatures_that_are_not_positive():
    """NaN in, NaN out; a bad curvature raises by name, and is NaN under jit."""
    x = hyperboloid.project(jnp.asarray([0.0, 0.5, -0.2]), 1.0)
    y = hyperboloid.project(jnp.asarray([0.0, 0.1, 0.7]), 1.0)
    v = hyperboloid.from_frame(x, jnp.asarray([0.3, 0.4]), 1.0)

    @jax.jit
    def all_of(x, y, v, c):
        return {name: f(x, y, v, c) for name, f in functions().items()}

    for c in (-1.0, 0.0, jnp.nan):
        for name, value in all_of(x, y, v, c).items():
            assert np.isnan(value).any(), (name, c)
        for f in functions().values():
            with pytest.raises(ValueError, match="curvature parameter c"):
                f(x, y, v, c)
    bad = jnp.asarray([jnp.nan, jnp.nan, 0.3])
    for name, value in all_of(bad, bad, bad, 1.0).items():
        assert np.isnan(value).any(), name
    for name in ("logmap", "logmap_frame", "dist", "sqdist", "geodesic", "transport"):
        assert np.isnan(all_of(x, bad, v, 1.0)[name]).any(), name
    for name in ("expmap", "expmap_frame", "inner", "norm", "to_frame", "from_frame", "transport"):
        assert np.isnan(all_of(x, y, bad, 1.0)[name]).any(), name


def test_small_curvatures():
    """No jump for c -> 0: flat space, in value and in the derivative by c."""
    a, b = jnp.asarray([0.3, -0.7]), jnp.asarray([1.1, 0.2])

    def between(c):
        o = hyperboloid.origin(2, c)
        x, y = (hyperboloid.expmap_frame(o, p, c) for p in (a, b))
        return hyperboloid.dist(x, y, c)

    flat = np.linalg.norm(np.asarray(a) - np.asarray(b))
    for c in (1e-6, 1e-12, 1e-20, 1e-30, 1e-36):
        value, slope = jax.value_and_grad(between)(jnp.float32(c))
        np.testing.assert_allclose(value, flat, rtol=1e-5)
        np.testing.assert_allclose(slope, jax.grad(between)(jnp.float32(1e-6)), rtol=1e-3)


@pytest.mark.parametrize("half", [jnp.bfloat16, jnp.float16])
def test_its_own_points_at_half_precision(half):
    space = Hyperboloid(3, 0.7)
    a = jax.random.normal(jax.random.key(0), (50, 3)).astype(half)
    x = space.expmap_frame(space.origin().astype(half), a)
    assert x.dtype == half
    assert np.isfinite(np.asarray(space.dist(x, x[::-1]), np.float32)).all()


@pytest.mark.usefixtures("x64")
def test_types():
    c = jnp.float32(0.7)
    key = jax.random.key(0)
    assert hyperboloid.origin(2, c, np.float32).dtype == np.float32
    assert Hyperboloid(2, c).origin(np.float32).dtype == np.float32
    assert hyperboloid.origin(2).dtype == np.float64
    assert hyperboloid.origin(2, dtype=jnp.float32).dtype == np.float32
    assert hyperboloid.random_uniform(key, (4, 3), dtype=jnp.float32).dtype == np.float32


@pytest.mark.parametrize("bad", [0, -1, True])
def test_dimensions_are_positive_integers(bad):
    with pytest.raises(ValueError, match="dim must be a positive integer"):
        Hyperboloid(bad)


def test_points_off_the_sheet_raise():
    x = jnp.asarray([1.5, 0.1, 0.2])
    with pytest.raises(ValueError, match="must lie on the hyperboloid"):
        hyperboloid.dist(x, x, 1.0)


@pytest.mark.parametrize("r", [10.0, 18.0, 40.0, 79.0])
def test_transport_keeps_lengths_far_out(r):
    """Also where the direction of what is carried is no longer in the points' floats."""
    manifold, keys = Hyperboloid(2), jax.random.split(jax.random.key(7), 4)
    directions, a = (Sphere(1).random_uniform(k, 2000) for k in keys[:2])
    x = manifold.expmap_frame(manifold.origin(), r * directions)
    lengths = jnp.exp(jax.random.uniform(keys[2], (2000, 1), minval=-8.0, maxval=2.0))
    y = manifold.expmap_frame(x, lengths * jax.random.normal(keys[3], (2000, 2)) / 4)
    carried = jax.jit(manifold.transport_frame)(x, y, a)
    np.testing.assert_allclose(jnp.linalg.norm(carried, axis=-1), 1, atol=2e-6)


@pytest.mark.parametrize("r", [45.0, 75.0])
def test_backward_derivatives_of_a_step_are_the_forward_ones_far_out(r):
    x = hyperboloid.project(np.float32(np.sinh(r) * np.array([0.0, 0.6, 0.8])), 1.0)
    a = np.float32([0.05, -0.08])
    ways = (jax.jit(way(hyperboloid.expmap_frame, (0, 1))) for way in (jax.jacrev, jax.jacfwd))
    for backward, forward in zip(*(way(x, a, 1.0) for way in ways), strict=True):
        np.testing.assert_allclose(backward, forward, atol=1e-5 * np.abs(forward).max())
