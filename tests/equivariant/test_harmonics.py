"""Transforms on the sphere and on SO(3) against scipy's harmonics, mpmath's Wigner functions and plain quadrature."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.special
from scipy.spatial.transform import Rotation

from geodl.equivariant import _wigner, harmonics
from geodl.manifolds import so3


RNG = np.random.default_rng(0)
ROTATION = Rotation.from_euler("ZYZ", [0.3, 1.1, -2.0]).as_matrix()
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-12}


@pytest.fixture(autouse=True)
def _doubles(x64):
    """Everything here is about accuracy, also that of float32 with x64 switched on."""


def real_harmonics(degrees, beta, alpha):
    """Y_lm (..., L^2) from scipy's complex harmonics."""
    columns = []
    for l in range(degrees):
        for m in range(-l, l + 1):
            y = scipy.special.sph_harm_y(l, abs(m), beta, alpha)
            part = y.real if m >= 0 else y.imag
            columns.append(part * (1 if m == 0 else (-1) ** m * np.sqrt(2)))
    return np.stack(columns, -1)


def angles(x):
    return np.arccos(np.clip(x[..., 2], -1, 1)), np.arctan2(x[..., 1], x[..., 0])


def points(beta, alpha):
    return np.stack([np.sin(beta) * np.cos(alpha), np.sin(beta) * np.sin(alpha), np.cos(beta)], -1)


def on_grid(grid):
    return np.meshgrid(
        grid.betas, 2 * np.pi * np.arange(grid.longitudes) / grid.longitudes, indexing="ij"
    )


def wigner_matrices(degrees, rotation):
    """D^l from scipy's harmonics at more points than there are harmonics: Y(R^-1 x) = D^T Y(x)."""
    x = points(*on_grid(harmonics.gauss_legendre(degrees)))
    y, turned = (
        real_harmonics(degrees, *angles(p)).reshape(-1, degrees**2) for p in (x, x @ rotation)
    )
    return np.linalg.lstsq(y, turned, rcond=None)[0]


def blocks(packed, degrees):
    """F^l of packed coefficients."""
    ends = np.cumsum([(2 * l + 1) ** 2 for l in range(degrees)])[:-1]
    parts = np.split(np.asarray(packed), ends, -1)
    return [p.reshape(*p.shape[:-1], 2 * l + 1, 2 * l + 1) for l, p in enumerate(parts)]


@pytest.mark.quick("7", "64")
@pytest.mark.parametrize("l", [1, 7, 64, 127])
def test_small_d_is_mpmaths(l):
    beta = [0.02, 0.8, np.pi / 2, 2.9]
    orders = {0, 1, l // 2, l - 1, l}
    ours = harmonics.wigner_d(l + 1, l, np.array(beta))
    with mpmath.workdps(120):
        for m in orders:
            for n in orders:
                for i, b in enumerate(beta):
                    assert ours[m, n, l, i] == pytest.approx(small_d(l, m, n, b), rel=0, abs=1e-13)


def small_d(l, m, n, beta):
    """Wigner's sum, with Sakurai's sign."""
    f, half = mpmath.factorial, mpmath.mpf(beta) / 2
    total = mpmath.fsum(
        (-1) ** (k - n + m)
        * mpmath.cos(half) ** (2 * l - 2 * k + n - m)
        * mpmath.sin(half) ** (2 * k - n + m)
        / (f(l + n - k) * f(k) * f(l - k - m) * f(k - n + m))
        for k in range(max(0, n - m), min(l + n, l - m) + 1)
    )
    return float(total * mpmath.sqrt(f(l + n) * f(l - n) * f(l + m) * f(l - m)))


GRIDS = {"gauss_legendre": harmonics.gauss_legendre, "driscoll_healy": harmonics.driscoll_healy}


@pytest.mark.quick("driscoll_healy")
@pytest.mark.parametrize("name", GRIDS)
def test_sphere_is_scipys(name):
    transform = harmonics.sphere_transform(7, GRIDS[name](8))
    c = RNG.normal(size=(2, 3, 49))
    expected = np.einsum("bal,...l->...ba", real_harmonics(7, *on_grid(transform.grid)), c)
    np.testing.assert_allclose(transform.synthesis(c), expected, atol=1e-13)
    np.testing.assert_allclose(transform.analysis(expected), c, atol=1e-13)


@pytest.mark.optimized
@pytest.mark.quick(
    "128-gauss_legendre-float32", "128-gauss_legendre-float64", "1-driscoll_healy-float32"
)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("degrees", [1, 2, 33, 128])
def test_sphere_round_trip(degrees, name, dtype):
    transform = harmonics.sphere_transform(degrees, GRIDS[name](degrees), dtype)
    c = RNG.normal(size=(2, degrees**2)).astype(dtype)
    back = transform.analysis(transform.synthesis(c))
    assert back.dtype == dtype
    assert np.abs(back - c).max() <= TOLERANCE[dtype] * np.abs(c).max()


@pytest.mark.optimized
@pytest.mark.quick("1-0-float64", "12-11-float32", "32-31-float64")
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("degrees", "orders"), [(1, 0), (2, 1), (9, 2), (12, 11), (32, 31), (64, 63)]
)
def test_rotation_round_trip(degrees, orders, dtype):
    transform = harmonics.rotation_transform(degrees, orders, dtype=dtype)
    c = RNG.normal(size=(1, transform.size)).astype(dtype)
    back = transform.analysis(transform.synthesis(c))
    assert back.dtype == dtype
    assert np.abs(back - c).max() <= TOLERANCE[dtype] * np.abs(c).max()


def test_functions_on_the_group_are_sums_of_wigner_matrices():
    transform = harmonics.rotation_transform(4, grid=harmonics.driscoll_healy(5))
    c = RNG.normal(size=transform.size)
    f = np.asarray(transform.synthesis(c))
    for k, j, i in ((0, 1, 2), (3, 5, 7), (9, 0, 6)):
        euler = [2 * np.pi * j / 10, transform.grid.betas[k], 2 * np.pi * i / 8]
        d = wigner_matrices(4, Rotation.from_euler("ZYZ", euler).as_matrix())
        terms = [
            (2 * l + 1) * np.sum(b * d[l * l : (l + 1) ** 2, l * l : (l + 1) ** 2])
            for l, b in enumerate(blocks(c, 4))
        ]
        assert f[k, j, i] == pytest.approx(sum(terms), abs=1e-12)


def test_few_orders_are_the_columns_of_all():
    full, few = harmonics.rotation_transform(6), harmonics.rotation_transform(6, 2, turns=12)
    kept = np.concatenate(
        [
            np.abs(np.broadcast_to(np.arange(-l, l + 1), (2 * l + 1, 2 * l + 1))).ravel() <= 2
            for l in range(6)
        ]
    )
    c = RNG.normal(size=full.size) * kept
    np.testing.assert_allclose(few.synthesis(c[kept]), full.synthesis(c), atol=1e-12)


@pytest.mark.quick("float32")
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_blocks_of_degrees_are_the_dense_table(dtype, monkeypatch):
    dense = harmonics.rotation_transform(37, 3, dtype=dtype)
    monkeypatch.setattr(_wigner, "DENSE", 8)
    blocked = harmonics.rotation_transform(37, 3, dtype=dtype)
    assert type(blocked.table) is not type(dense.table)
    c = RNG.normal(size=(2, dense.size)).astype(dtype)
    f = dense.synthesis(c)
    scale = np.abs(f).max()
    np.testing.assert_allclose(blocked.synthesis(c), f, atol=4 * TOLERANCE[dtype] * scale)
    np.testing.assert_allclose(blocked.analysis(f), c, atol=5 * TOLERANCE[dtype])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_blocks_of_degrees_round_trip_at_128(dtype):
    transform = harmonics.rotation_transform(128, 7, dtype=dtype)
    c = RNG.normal(size=transform.size).astype(dtype)
    back = transform.analysis(transform.synthesis(c))
    assert np.abs(back - c).max() <= 2 * TOLERANCE[dtype] * np.abs(c).max()


def test_rotated_coefficients_are_those_of_the_rotated_function():
    transform, rotator = harmonics.sphere_transform(6), harmonics.rotator(6)
    c = RNG.normal(size=36)
    x = points(*on_grid(transform.grid)) @ ROTATION  # R^-1 x
    expected = real_harmonics(6, *angles(x)) @ c
    np.testing.assert_allclose(
        transform.synthesis(rotator.sphere(c, ROTATION)), expected, atol=1e-13
    )
    # Degree 1 is the rotation itself, in the order y, z, x.
    vector = np.asarray(rotator.sphere(np.eye(36)[1:4], ROTATION))[:, 1:4].T
    np.testing.assert_allclose(vector, ROTATION[np.ix_([1, 2, 0], [1, 2, 0])], atol=1e-14)


def test_left_rotations_multiply_by_wigner_matrices():
    rotator, d = harmonics.rotator(4), wigner_matrices(4, ROTATION)
    c = RNG.normal(size=(3, 84))
    rotated = rotator.left(c, np.stack([ROTATION] * 3))
    for l, (new, old) in enumerate(zip(blocks(rotated, 4), blocks(c, 4), strict=True)):
        np.testing.assert_allclose(
            new, d[l * l : (l + 1) ** 2, l * l : (l + 1) ** 2] @ old, atol=1e-13
        )


@pytest.mark.parametrize("beta", [0.0, 1e-9, 1e-4, 1.0, np.pi - 1e-5, np.pi])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_euler_angles(beta, dtype):
    r = Rotation.from_euler("ZYZ", [0.3, beta, 2.4]).as_matrix().astype(dtype)
    found = np.stack([np.asarray(a, np.float64) for a in harmonics.euler_angles(r)])
    np.testing.assert_allclose(
        Rotation.from_euler("ZYZ", found).as_matrix(), r, atol=8 * np.finfo(dtype).eps
    )
    gradient = jax.jit(jax.grad(lambda r: sum(map(jnp.sin, harmonics.euler_angles(r)))))(r)
    assert np.isfinite(gradient).all()


@pytest.mark.quick("0.0")
@pytest.mark.parametrize("beta", [0.0, 1e-6, 1.0, np.pi])
def test_derivatives_in_the_rotation_also_at_the_poles(beta, x64):
    """First and second derivatives against differences, where Euler angles have none."""
    rotator, c, b = harmonics.rotator(4), RNG.normal(size=16), RNG.normal(size=16)
    start = Rotation.from_euler("ZYZ", [0.3, beta, 2.4]).as_matrix()

    @jax.jit
    def f(w):
        return b @ jnp.sin(rotator.sphere(c, so3.expmap(start, start @ so3.hat(w))))

    def differences(f, h=1e-5):
        return np.stack([(f(h * e) - f(-h * e)) / (2 * h) for e in np.eye(3)], -1)

    gradient = jax.jit(jax.grad(f))
    np.testing.assert_allclose(gradient(jnp.zeros(3)), differences(f), atol=1e-7)
    found = jax.jit(jax.hessian(f))(jnp.zeros(3))
    np.testing.assert_allclose(found, differences(gradient), atol=1e-6)


def test_what_is_no_rotation_raises_or_is_nan():
    rotator, c = harmonics.rotator(2, jnp.float32), jnp.ones(4, jnp.float32)
    for matrix in (np.eye(2), np.eye(4), 2 * np.eye(3), np.diag([1, 1, -1])):
        with pytest.raises(ValueError, match=r"sphere: (a )?rotation"):
            rotator.sphere(c, matrix)
    for matrix in (2 * np.eye(3), np.diag([1, 1, -1]), np.full((3, 3), np.nan)):
        assert np.isnan(jax.jit(rotator.sphere)(c, matrix)[1:]).all()


def test_convolution_theorem_on_the_group():
    """z(R) = the mean over Q of f(Q) psi(R^-1 Q), as a sum over a product grid, has the coefficients F^l (Psi^l)^T."""

    def f(q):
        return q[..., 0, 0] * q[..., 1, 2] + q[..., 2, 1] - 0.3

    def psi(q):
        return q[..., 0, 1] * q[..., 2, 2] + 0.5 * q[..., 1, 1] ** 2 + q[..., 0, 2]

    z, w = scipy.special.roots_legendre(6)
    turn = 2 * np.pi * np.arange(8) / 8
    a, b, c = np.meshgrid(turn, np.arccos(z), turn, indexing="ij")
    q = Rotation.from_euler("ZYZ", np.stack([a, b, c], -1).reshape(-1, 3)).as_matrix()
    weights = np.broadcast_to(w[:, None] / (2 * 64), a.shape).ravel()
    transform = harmonics.rotation_transform(3)
    beta, alpha = on_grid(transform.grid)
    gamma = 2 * np.pi * np.arange(6) / 6
    euler = np.stack(np.broadcast_arrays(alpha[..., None], beta[..., None], gamma), -1)
    r = Rotation.from_euler("ZYZ", euler.reshape(-1, 3)).as_matrix()
    brute = np.einsum("q,rq->r", weights * f(q), psi(np.einsum("rji,qjk->rqik", r, q)))
    coefficients = [blocks(transform.analysis(g(r).reshape(transform.shape)), 3) for g in (f, psi)]
    product = np.concatenate([(x @ y.T).ravel() for x, y in zip(*coefficients, strict=True)])
    np.testing.assert_allclose(transform.synthesis(product).ravel(), brute, atol=1e-13)


@pytest.mark.parametrize(
    ("nside", "degrees"), [(1, 2), (4, 8), pytest.param(16, 32, marks=pytest.mark.slow)]
)
def test_healpix(nside, degrees):
    beta, alpha = harmonics.healpix_centers(nside)
    assert len(beta) == 12 * nside**2
    np.testing.assert_allclose(points(beta, alpha).sum(0), 0, atol=1e-12)
    transform = harmonics.healpix_transform(degrees, nside)
    c = RNG.normal(size=(2, degrees**2))
    f = np.einsum("pl,...l->...p", real_harmonics(degrees, beta, alpha), c)
    np.testing.assert_allclose(transform.synthesis(c), f, atol=1e-12)
    np.testing.assert_allclose(jax.jit(lambda t, f: t.analysis(f))(transform, f), c, atol=1e-12)


def test_healpix_pixels_are_those_of_the_paper():
    """nside 1 and 2 by hand: Gorski et al. (2005), equations 4 to 9."""
    beta, alpha = harmonics.healpix_centers(1)
    np.testing.assert_allclose(np.cos(beta), np.repeat([2 / 3, 0, -2 / 3], 4), atol=1e-15)
    np.testing.assert_allclose(alpha / np.pi * 4, [1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7], atol=1e-14)
    beta, alpha = harmonics.healpix_centers(2)
    np.testing.assert_allclose(np.cos(beta[:12]), [11 / 12] * 4 + [2 / 3] * 8, atol=1e-15)
    np.testing.assert_allclose(alpha[4:8] / np.pi * 8, [1, 3, 5, 7], atol=1e-14)


def test_tables_are_arguments_and_derivatives_are_transposes():
    transform = harmonics.rotation_transform(5, dtype=np.float32)
    f = RNG.normal(size=transform.shape).astype(np.float32)
    c = RNG.normal(size=transform.size).astype(np.float32)
    analysis = jax.jit(lambda t, f: t.analysis(f))
    assert len(analysis.lower(transform, f).as_text()) < 60_000
    gradient = jax.grad(lambda f: jnp.sum(analysis(transform, f) * c))(f)
    assert np.sum(gradient * f) == pytest.approx(
        float(np.sum(analysis(transform, f) * c)), rel=1e-4
    )
    batched = jax.vmap(analysis, (None, 0))(transform, np.stack([f, 2 * f]))
    np.testing.assert_allclose(
        batched, transform.analysis(np.stack([f, 2 * f])), rtol=1e-5, atol=1e-6
    )
    f[0, 0, 0] = np.nan
    assert np.isnan(analysis(transform, f)).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: harmonics.sphere_transform(9, harmonics.gauss_legendre(8)), "carries 8 degrees"),
        (lambda: harmonics.rotation_transform(9, grid=harmonics.driscoll_healy(8)), "carries 8"),
        (lambda: harmonics.rotation_transform(4, 4), "orders must be 0 to 3"),
        (lambda: harmonics.rotation_transform(4, turns=6), "need 7 turns"),
        (lambda: harmonics.healpix_transform(9, 4), "carries 8 degrees"),
        (lambda: harmonics.gauss_legendre(4, 3), "need as many rings"),
        (lambda: harmonics.sphere_transform(4).analysis(np.zeros((8, 8))), r"\(4, 8\)"),
        (lambda: harmonics.sphere_transform(4).synthesis(np.zeros(15)), r"\(16,\)"),
        (lambda: harmonics.sphere_transform(4).synthesis(np.zeros(16, np.float32)), "float64"),
        (lambda: harmonics.rotator(4).sphere(np.zeros(15), ROTATION), r"\(16,\)"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
