"""Matrices and the kappa-stereographic space: scipy, geomstats and other spaces of ours; what is special on each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from geodl import distributions, optim
from geodl.manifolds import (
    SE3,
    SO,
    SO3,
    SPD,
    Euclidean,
    Grassmann,
    PoincareBall,
    Product,
    Sphere,
    Stereographic,
    Stiefel,
    grassmann,
    se3,
    stereographic,
    stiefel,
)
from tests import _geomstats as geomstats
from tests.manifolds.spaces import Compiled, assert_close, components, random_setting


N = 12


def points_apart(record, radii, seed=0):
    """float64 points x and y at the given distances, tangent vectors u and v at x, v to y."""
    b = components(seed + 10, (len(radii), record.dim))
    b *= np.asarray(radii)[:, None] / np.linalg.norm(b, axis=-1, keepdims=True)
    space = Compiled(record)
    x, _, u, _ = random_setting(record, (len(radii),), seed=seed)
    v = space.from_frame(x, b)
    return tuple(map(np.asarray, (x, space.expmap(x, v), u, v)))


# --------------------------------------------------------------------------------------------------
# Accuracy in float32: scipy in float64 on the points as they are rounded
# --------------------------------------------------------------------------------------------------


def rotation(x):
    return scipy.linalg.polar(x.astype(float))[0]


def angles(r):
    """Of a rotation, from its chords, which keep the digits of small ones."""
    return 2 * np.arcsin(np.minimum(np.linalg.svd(r - np.eye(len(r)))[1] / 2, 1))


def spd_dist(x, y):
    lower = np.linalg.cholesky(x)
    w = scipy.linalg.solve_triangular(lower, y - x, lower=True)
    w = scipy.linalg.solve_triangular(lower, w.T, lower=True)
    return np.linalg.norm(np.log1p(np.linalg.eigvalsh((w + w.T) / 2)))


def so_dist(x, y):
    return np.sqrt(np.sum(np.square(angles(rotation(x).T @ rotation(y)))) / 2)


def span(x, p=2):
    return np.linalg.eigh(x)[1][:, -p:]


def grassmann_dist(x, y):
    return np.linalg.norm(scipy.linalg.subspace_angles(span(x), span(y)))


def spherical_dist(x, y, kappa=0.7):
    def lifted(p):
        q = kappa * p @ p
        return np.append((1 - q) / (1 + q), 2 * np.sqrt(kappa) * p / (1 + q))

    chord = np.linalg.norm(lifted(x) - lifted(y)) / 2
    rest = np.linalg.norm(lifted(x) + lifted(y)) / 2
    return 2 * np.arctan2(chord, rest) / np.sqrt(kappa)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("record", "reference", "farthest"),
    [
        (SPD(3), spd_dist, 4.0),
        (SO(4), so_dist, 2.9),
        (Grassmann(4, 2), grassmann_dist, 1.4),
        (Stereographic(3, 0.7), spherical_dist, np.pi / np.sqrt(0.7) - 1e-3),
    ],
    ids=["spd", "so", "grassmann", "spherical"],
)
def test_accuracy_in_single_precision(record, reference, farthest):
    radii = np.append(np.logspace(-6, np.log10(farthest), N - 1), 0.9 * farthest)
    with jax.enable_x64(True):
        x, y, _, _ = (a.astype(np.float32) for a in points_apart(record, radii))
    space = Compiled(record)
    d, log, back = space.dist(x, y), space.logmap(x, y), space.expmap(x, space.logmap(x, y))
    expected = [reference(*map(np.float64, pair)) for pair in zip(x, y, strict=True)]
    np.testing.assert_allclose(d, expected, rtol=1e-5)
    np.testing.assert_allclose(space.norm(x, log), expected, rtol=2e-5)
    size = 1 + np.abs(y).reshape(N, -1).max(-1)
    off = np.abs(np.asarray(back) - y).reshape(N, -1).max(-1)
    np.testing.assert_array_less(off, 2e-5 * size)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("record", "reference", "factor"),
    [
        (SPD(3), lambda: geomstats.SPDMatrices(3), 1.0),
        (SO(4), lambda: geomstats.SpecialOrthogonal(4), 1.0),
        (Grassmann(4, 2), lambda: geomstats.Grassmannian(4, 2), 0.5),
    ],
    ids=["spd", "so", "grassmann"],
)
def test_same_as_geomstats(record, reference, factor):
    """Its inner product on the Grassmann manifold is tr(u v)."""
    space, metric = Compiled(record), reference().metric
    x, y, u, v = map(np.asarray, random_setting(record, (N,), seed=7))
    y = np.asarray(space.expmap(x, v))  # not beyond the cut locus, where its logarithm differs
    assert_close(y, metric.exp(v, x), 1e-9)
    assert_close(space.logmap(x, y), metric.log(y, x), 1e-6)
    assert_close(space.dist(x, y), metric.dist(x, y) * factor**0.5, 1e-6)
    assert_close(space.inner(x, u, v), metric.inner_product(u, v, x) * factor, 1e-9)
    moved = metric.parallel_transport(u, x, end_point=y)
    assert_close(space.transport(x, y, u), moved, 1e-6)


# --------------------------------------------------------------------------------------------------
# Positive definite matrices
# --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("x64")
def test_derivatives_at_equal_eigenvalues():
    """Of dist^2 at x = I: minus the logarithm, and the Hessian along lines by differences."""
    space = SPD(2)
    y = jnp.diag(jnp.array([2.0, 2.0]))
    turn = jnp.array([[0.3, 0.7], [0.7, -0.2]])

    @jax.jit
    def along(t):
        f = lambda t: space.sqdist(jnp.eye(2) + t * turn, y)  # noqa: E731
        slope = jax.grad(f)
        return f(t), slope(t), jax.grad(slope)(t)

    h = 1e-5
    (_, slope, bend), before, after = along(0.0), along(-h), along(h)
    np.testing.assert_allclose(slope, -2 * np.log(2) * np.trace(turn), rtol=1e-12)
    np.testing.assert_allclose(slope, (after[0] - before[0]) / (2 * h), rtol=1e-8)
    np.testing.assert_allclose(bend, (after[1] - before[1]) / (2 * h), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_what_keeps_the_metric_of_positive_definite_matrices():
    """x -> g x g^T and x -> x^-1."""
    space = Compiled(SPD(3))
    x, y, u, _ = map(np.asarray, random_setting(SPD(3), (N,)))
    g = np.random.default_rng(0).normal(size=(3, 3))

    def move(x):
        return g @ x @ g.T

    assert_close(space.dist(move(x), move(y)), space.dist(x, y), 1e-10)
    there = space.transport(move(x), move(y), move(u))
    assert_close(there, move(np.asarray(space.transport(x, y, u))), 1e-9)
    assert_close(space.dist(np.linalg.inv(x), np.linalg.inv(y)), space.dist(x, y), 1e-10)


# --------------------------------------------------------------------------------------------------
# Rotations and subspaces
# --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_rotations_of_three_dimensions_are_the_other_ones():
    ours, other = Compiled(SO(3)), Compiled(SO3())
    x, y, u, v = map(np.asarray, random_setting(SO3(), (N,)))
    for name, arguments in {
        "dist": (x, y),
        "expmap": (x, v),
        "logmap": (x, y),
        "transport": (x, y, u),
        "logdetexp": (x, v),
        "inner": (x, u, v),
    }.items():
        assert_close(getattr(ours, name)(*arguments), getattr(other, name)(*arguments), 1e-9)
    assert SO(3).log_volume() == pytest.approx(SO3().log_volume())


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_cut_loci():
    """Half turns in one plane and in two, a line across a plane: the logarithm leads there, by the distance."""
    for record, x, y, d in [
        (SO(4), np.eye(4), np.diag([-1.0, 1, 1, -1]), np.pi),
        (SO(4), np.eye(4), -np.eye(4), np.pi * np.sqrt(2)),
        (SO(5), np.eye(5), np.diag([1.0, -1, -1, 1, 1]), np.pi),
        (Grassmann(3, 1), np.diag([1.0, 0, 0]), np.diag([0.0, 0, 1]), np.pi / 2),
    ]:
        space = Compiled(record)
        log = space.logmap(x, y)
        np.testing.assert_allclose(space.dist(x, y), d, atol=1e-7)
        np.testing.assert_allclose(space.norm(x, log), d, atol=1e-7)
        np.testing.assert_allclose(space.expmap(x, log), y, atol=1e-7)
    p = np.array([0.4, -0.2])
    far = -p / (0.5 * p @ p)
    sphere = Compiled(Stereographic(2, 0.5))
    np.testing.assert_allclose(sphere.dist(p, far), np.pi / np.sqrt(0.5), rtol=1e-12)
    log = sphere.logmap(p, far)
    np.testing.assert_allclose(sphere.norm(p, log), np.pi / np.sqrt(0.5), rtol=1e-12)
    np.testing.assert_allclose(sphere.expmap(p, log), far, rtol=1e-6)


def test_volumes():
    assert Grassmann(2, 1).log_volume() == pytest.approx(np.log(np.pi))
    assert Grassmann(3, 1).log_volume() == pytest.approx(np.log(2 * np.pi))  # half the sphere's
    assert Grassmann(5, 2).log_volume() == pytest.approx(Grassmann(5, 3).log_volume())
    assert Stiefel(3, 1).log_volume() == pytest.approx(Sphere(2).log_volume())
    assert Stiefel(4, 3).log_volume() == pytest.approx(SO(4).log_volume())


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_subspaces_of_dimension_one_are_points_of_the_sphere():
    """Up to sign: projective space."""
    x, y = Sphere(2).random_uniform(jax.random.key(0), (2, N))
    p, q = grassmann.from_basis(x[..., None]), grassmann.from_basis(3 * y[..., None])
    d = np.asarray(Sphere(2).dist(x, y))
    assert_close(Compiled(Grassmann(3, 1)).dist(p, q), np.minimum(d, np.pi - d), 1e-10)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("record", [SO(4), Grassmann(4, 2), Stiefel(4, 2)])
def test_projections_and_their_derivatives(record):
    rng = np.random.default_rng(0)
    x = np.asarray(random_setting(record, (N,))[0])
    m, dm = x + 0.1 * rng.normal(size=x.shape), rng.normal(size=x.shape)
    project = jax.jit(record.project)
    first, second = jax.jit(lambda m, dm: _twice(record.project, m, dm))(m, dm)
    h = 1e-4
    ends = [np.asarray(project(m + k * h * dm)) for k in (-1, 0, 1)]
    assert_close(first, (ends[2] - ends[0]) / (2 * h), 1e-6)
    assert_close(second, (ends[2] - 2 * ends[1] + ends[0]) / h**2, 1e-4)
    at_points = jax.jit(lambda m, dm: _twice(record.project, m, dm))(x, dm)  # equal singular values
    assert all(np.isfinite(d).all() for d in at_points)


def _twice(f, m, dm):
    def slope(m):
        return jax.jvp(f, (m,), (dm,))[1]

    return slope(m), jax.jvp(slope, (m,), (dm,))[1]


# --------------------------------------------------------------------------------------------------
# The Stiefel manifold
# --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_stiefel():
    """exp and inner products of geomstats; log, transport and derivatives by what they must satisfy."""
    record, metric = Stiefel(5, 2), geomstats.Stiefel(5, 2).metric
    space = Compiled(record)
    x, _, u, v = map(np.asarray, random_setting(record, (N,)))
    y = np.asarray(space.expmap(x, v))
    assert_close(y, metric.exp(v, x), 1e-9)
    assert_close(space.inner(x, u, v), metric.inner_product(u, v, x), 1e-10)
    a = space.to_frame(x, v)
    assert_close(space.from_frame(x, a), v, 1e-10)
    assert_close(space.norm(x, v), np.linalg.norm(a, axis=-1), 1e-10)
    assert_close(space.logmap(x, y), v, 1e-10)
    assert_close(space.dist(y, x), space.dist(x, y), 1e-9)
    there = space.transport(x, y, u)
    assert_close(space.inner(y, there, there), space.inner(x, u, u), 1e-10)
    assert_close(space.transport(x, y, v), -np.asarray(space.logmap(y, x)), 1e-9)
    gradient = jax.jit(jax.vmap(jax.grad(lambda x, y: record.sqdist(x, y) / 2)))(x, y)
    assert_close(space.egrad_to_rgrad(x, gradient), -v, 1e-8)

    # Parallel: the covariant derivative along the geodesic is 0, by Schild's ladder on short rungs.
    def step(t, h=1e-3):
        here, next_ = space.expmap(x, t * v), space.expmap(x, (t + h) * v)
        w = space.transport(x, here, u)
        middle = space.geodesic(0.5, space.expmap(here, h * w), next_)
        end = space.expmap(here, 2 * np.asarray(space.logmap(here, middle)))
        rung = np.asarray(space.logmap(next_, end)) / h
        return (rung - np.asarray(space.transport(x, next_, u))) / h

    assert np.abs(step(0.3)).max() < 0.02  # of the order of h; 0.5 without the turn by -ad / 2


@pytest.mark.slow
def test_the_logarithm_on_stiefel_says_when_it_fails():
    x = Stiefel(4, 2).origin()
    found = jax.jit(stiefel.solve_log)(x, -x)
    lost = jax.jit(stiefel.logmap)(x, -x)
    assert found.residual < 1e-5 or np.isnan(lost).all()
    short = jax.jit(stiefel.solve_log)(x, x)
    assert short.residual == 0 and not np.any(short.components)


# --------------------------------------------------------------------------------------------------
# The kappa-stereographic space
# --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_curvatures_of_either_sign_are_sphere_and_ball():
    spherical, sphere = Compiled(Stereographic(3, 1.0)), Compiled(Sphere(3))
    x, y, u, v = map(np.asarray, random_setting(Stereographic(3, 1.0), (N,)))
    lift = jax.jit(lambda x, v: jax.jvp(Sphere(3).from_stereographic, (x,), (v,)))
    (p, up), (_, vp), q = lift(x, u), lift(x, v), lift(y, u)[0]
    assert_close(spherical.dist(x, y), sphere.dist(p, q), 1e-12)
    assert_close(spherical.inner(x, u, v), sphere.inner(p, up, vp), 1e-12)
    assert_close(lift(np.asarray(spherical.expmap(x, v)), v)[0], sphere.expmap(p, vp), 1e-11)
    assert_close(lift(x, np.asarray(spherical.logmap(x, y)))[1], sphere.logmap(p, q), 1e-10)
    moved = lift(y, np.asarray(spherical.transport(x, y, u)))[1]
    assert_close(moved, sphere.transport(p, q, up), 1e-10)
    density = jax.jit(lambda m, x, y: distributions.WrappedNormal(m, x, 0.9).log_prob(y))
    assert_close(density(Stereographic(3, 1.0), x, y), density(Sphere(3), p, q), 1e-10)
    ball, other = PoincareBall(2, 0.8), Stereographic(2, -0.8)
    x, y, _, _ = random_setting(ball, (N,))
    assert_close(density(other, x, y), density(ball, x, y), 1e-12)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_curvature_goes_smoothly_through_zero():
    """Value, first and second derivatives in kappa of every function, on both sides and at 0."""
    x, y = components(1, (N, 2), 1.0), components(2, (N, 2), 1.0)

    def all_of(kappa):
        m = Stereographic(2, kappa)
        return jnp.concatenate(
            [
                m.dist(x, y),
                m.sqdist(x, y),
                m.logdetexp(x, y),
                *(jnp.ravel(f(x, y)) for f in (m.expmap, m.logmap, m.mobius_add)),
                jnp.ravel(m.transport(x, y, x)),
                jnp.ravel(m.geodesic(0.3, x, y)),
            ]
        )

    first = jax.jacfwd(all_of)
    jet = jax.jit(lambda k: (all_of(k), first(k), jax.jacfwd(first)(k)))
    h = 1e-4
    below, here, above = jet(-h), jet(0.0), jet(h)
    for order, tolerance in ((0, 1e-7), (1, 1e-6)):
        assert_close((above[order] + below[order]) / 2, here[order], tolerance)
        assert_close((above[order] - below[order]) / (2 * h), here[order + 1], tolerance)
    flat = np.linalg.norm(x - y, axis=-1)
    np.testing.assert_allclose(here[0][:N], 2 * flat, rtol=1e-14)


# --------------------------------------------------------------------------------------------------
# Rigid motions
# --------------------------------------------------------------------------------------------------


def test_rigid_motions_are_four_by_four_matrices():
    space = SE3()
    assert space == Product(*space.factors) and space.dim == 6
    x, y, z = map(_motion, range(3))

    def matrix(x):
        return np.block([[np.asarray(x[0]), np.asarray(x[1])[:, None]], [np.zeros((1, 3)), 1]])

    np.testing.assert_allclose(matrix(se3.compose(x, y)), matrix(x) @ matrix(y), atol=1e-6)
    np.testing.assert_allclose(matrix(se3.inverse(x)), np.linalg.inv(matrix(x)), atol=1e-6)
    p = jnp.array([1.0, 2.0, -0.5])
    np.testing.assert_allclose(se3.apply(x, p), (matrix(x) @ np.append(p, 1))[:3], atol=1e-6)
    moved = space.dist(se3.compose(z, x), se3.compose(z, y))
    np.testing.assert_allclose(moved, space.dist(x, y), rtol=1e-5)


def _motion(seed):
    a = np.random.default_rng(seed).normal(size=6).astype(np.float32)
    return SE3().expmap_frame(SE3().origin(), a)


# --------------------------------------------------------------------------------------------------
# What is not offered
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: distributions.WrappedNormal(SO(4), SO(4).origin(), 0.3), "SO does not say which"),
        (
            lambda: distributions.WrappedNormal(Grassmann(3, 1), Grassmann(3, 1).origin(), 0.3),
            "Grassmann does not say which tangent vectors share an end",
        ),
        (
            lambda: distributions.WrappedNormal(Stiefel(3, 1), Stiefel(3, 1).origin(), 0.3),
            "Stiefel does not say which tangent vectors share an end",
        ),
        (lambda: distributions.Uniform(SPD(2)), "SPD does not say a finite volume"),
        (lambda: distributions.Uniform(Stereographic(2)), "Stereographic does not say a finite"),
        (lambda: Stiefel(3, 1).logdetexp(None, None), "Stiefel does not say the differential"),
        (lambda: SPD(2).curvature(), "SPD does not say a constant sectional curvature"),
        (lambda: Grassmann(4, 2).curvature(), "Grassmann does not say a constant"),
        (lambda: SPD(2).random_uniform(jax.random.key(0)), "SPD does not say how uniform points"),
    ],
)
def test_what_is_not_offered_is_refused_by_name(call, message):
    with pytest.raises(NotImplementedError, match=message):
        call()


ONES = np.ones((2, 2), np.float32)


@pytest.mark.parametrize(
    ("space", "other"),
    [
        (SPD(2), np.eye(3)),
        (Grassmann(4, 2), np.diag([1.0, 0, 0])),
        (SO(3), np.eye(4)),
        (Sphere(2), np.eye(4)[0]),
        (PoincareBall(2), np.zeros(3)),
        (Euclidean(2), np.zeros(3)),
        (Euclidean((2, 2)), np.zeros(4)),
    ],
)
def test_points_of_another_dimension_are_refused(space, other):
    with pytest.raises(ValueError, match=r"x .*shape \(\.\.\., "):
        space.dist(other, other)
    with pytest.raises(ValueError, match=r"y .*shape \(\.\.\., "):
        jax.jit(space.logmap)(space.origin(), other)


@pytest.mark.parametrize("scale", [1e25, 1e-25])
def test_projections_at_any_scale(scale):
    point = np.float32(scale) * np.array([[2, 0.5], [0.5, 1]], np.float32)
    np.testing.assert_allclose(SPD(2).project(point), point, rtol=1e-5)
    lower = SPD(2).project(np.float32(scale) * np.diag([1, -1]).astype(np.float32))
    assert np.linalg.eigvalsh(np.asarray(lower, float) / scale)[0] > 0


@pytest.mark.parametrize("x", [np.diag([1.0, 1, 0]), np.eye(3), np.zeros((3, 3))])
def test_the_nearest_subspace_where_it_is_not_unique(x):
    space = Grassmann(3, 1)
    found = space.project(x)
    np.testing.assert_allclose(space.project(found), found, atol=1e-6)
    np.testing.assert_allclose(np.trace(found), 1, atol=1e-6)
    assert np.isfinite(jax.grad(lambda x: space.project(x)[0, 0])(jnp.asarray(x))).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SPD(2).dist(np.eye(2), ONES - 2 * np.eye(2)), "y must be positive definite"),
        (lambda: SPD(2).dist(np.eye(2), np.triu(ONES)), "y must be symmetric"),
        (lambda: SPD(0), "SPD"),
        (lambda: SO(1), "SO: n must be an integer of at least 2, got 1"),
        (lambda: SO(2).dist(np.eye(2), -ONES), "y must be a rotation matrix"),
        (lambda: SO(2).dist(np.eye(2), np.diag([1.0, -1])), "of determinant 1, got -1"),
        (lambda: SO(3).from_frame(np.eye(3), np.ones(2)), r"shape \(..., 3\), got \(2,\)"),
        (lambda: Grassmann(2, 2), "Grassmann: n must be an integer of at least 3, got 2"),
        (
            lambda: grassmann.dist(np.diag([1.0, 0, 0]), np.diag([1.0, 1, 0])),
            "as many dimensions as x: more by, got 1",
        ),
        (
            lambda: Grassmann(2, 1).dist(np.diag([1.0, 0]), ONES),
            "y must be an orthogonal projection",
        ),
        (lambda: Stiefel(2, 2), "Stiefel: n must be an integer of at least 3, got 2"),
        (
            lambda: Stiefel(3, 1).inner(np.ones((3, 1)), np.ones((3, 1)), np.ones((3, 1))),
            "orthonormal",
        ),
        (lambda: Stereographic(2, np.nan), "finite number"),
        (lambda: stereographic.dist(np.ones(2), np.zeros(2), -1.0), r"x must lie in the open ball"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_optimizers_work_on_stiefel_frames():
    """The dominant subspace of a symmetric matrix, by gradient descent."""
    record = Stiefel(4, 2)
    a = np.diag([4.0, 3.0, 1.0, 0.5]).astype(np.float32)
    optimizer = optim.sgd(record, 0.1)
    x = record.project(np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32))

    @jax.jit
    def descend(x):
        def step(x, _):
            g = jax.grad(lambda x: -jnp.sum(x * (a @ x)) / 2)(x)
            u, _ = optimizer.update(g, optimizer.init(x), x)
            return optim.apply_updates(record, x, u), None

        return jax.lax.scan(step, x, length=100)[0]

    found = np.asarray(descend(x))
    np.testing.assert_allclose(np.trace(found.T @ a @ found), 7.0, rtol=1e-4)
