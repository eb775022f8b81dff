"""Convolutions on the sphere and SO(3) as sums of rotated copies, and how far networks commute with rotations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geodl.equivariant import equivariance_gap, harmonics, spherical


ROTATION = Rotation.from_euler("ZYZ", [0.3, 1.1, -2.0]).as_matrix()
GRID = harmonics.gauss_legendre(6)
BANDS = {"bands": (6, 5, 4), "channels": (2, 3, 4), "max_betas": (0.5, 0.7)}
MEMORY = {"bands": (6, 5, 6, 6), "channels": (2, 3, 4, 5), "max_betas": (0.5, 0.7, 0.9)}


def count(params):
    return sum(a.size for a in jax.tree.leaves(params))


def images(key, *shape):
    """Of degrees below 6."""
    transform = harmonics.sphere_transform(6, GRID)
    c = jax.random.normal(key, (*shape, 36))
    return jnp.moveaxis(transform.synthesis(c), -3, -1), c


def turned(c, rotation):
    transform, rotator = harmonics.sphere_transform(6, GRID), harmonics.rotator(6)
    return jnp.moveaxis(transform.synthesis(rotator.sphere(c, rotation)), -3, -1)


# Smooth functions whose values at any rotation are plain polynomials: the oracle of convolutions.


def f(q):
    return q[..., 0, 0] * q[..., 1, 2] + q[..., 2, 1] - 0.3


def g(q):
    return q[..., 0, 1] * q[..., 2, 2] + 0.5 * q[..., 1, 1] ** 2


def rotations(transform):
    """All of a grid, in the order (alpha, gamma, beta)."""
    alpha = 2 * np.pi * np.arange(transform.grid.longitudes) / transform.grid.longitudes
    gamma = 2 * np.pi * np.arange(transform.turns) / transform.turns
    a, c, b = np.meshgrid(alpha, gamma, transform.grid.betas, indexing="ij")
    return matrices(a, b, c)


def matrices(a, b, c):
    euler = np.stack(np.broadcast_arrays(a, b, c), -1)
    return (
        Rotation.from_euler("ZYZ", euler.reshape(-1, 3))
        .as_matrix()
        .reshape(*euler.shape[:-1], 3, 3)
    )


def test_convolution_is_a_sum_of_rotated_copies(x64):
    transform = harmonics.rotation_transform(3)
    kernel = spherical.rotation_kernel(3, 0.6, betas=2, alphas=4, gammas=5)
    w = jax.random.normal(jax.random.key(0), (2, 4, 5, 2, 3))
    r = rotations(transform)
    taps = matrices(
        *np.meshgrid(
            np.arange(4) * np.pi / 2, [0.3, 0.6], np.arange(5) * 0.4 * np.pi, indexing="ij"
        )
    ).swapaxes(0, 1)  # (betas, alphas, gammas)
    at_taps = np.einsum("...ij,bacjk->...bacik", r, taps)
    expected = np.einsum("xyzbaci,bacio->xyzo", np.stack([f(at_taps), g(at_taps)], -1), w)
    expected *= np.sqrt(2 / (40 * 2))
    x = transform.analyze(jnp.stack([f(r), g(r)], -1)[..., None, :])
    z = transform.synthesize(spherical.convolve(x, kernel.spectrum(w)))[..., 0, :]
    np.testing.assert_allclose(z, expected, atol=1e-13)


def test_lifting_is_a_sum_of_rotated_copies(x64):
    transform, sphere = harmonics.rotation_transform(3), harmonics.sphere_transform(3)
    kernel = spherical.sphere_kernel(3, 0.8, betas=2, alphas=5)
    w = jax.random.normal(jax.random.key(0), (2, 5, 2, 3))

    def h(x):
        return jnp.stack([x[..., 0] * x[..., 1] + x[..., 2], x[..., 2] ** 2 - x[..., 0] + 0.2], -1)

    def poles(a, b):
        return np.stack([np.sin(b) * np.cos(a), np.sin(b) * np.sin(a), np.cos(b) + 0 * a], -1)

    taps = poles(np.arange(5) * 0.4 * np.pi, np.array([0.4, 0.8])[:, None])
    at_taps = np.einsum("...ij,baj->...bai", rotations(transform), taps)
    expected = np.einsum("xyzbai,baio->xyzo", h(at_taps), w) * np.sqrt(2 / (10 * 2))
    points = poles(2 * np.pi * np.arange(6)[:, None] / 6, np.array(sphere.grid.betas))
    x = spherical.lift(sphere.analyze(h(points)[:, :, None]), kernel.spectrum(w))
    np.testing.assert_allclose(transform.synthesize(x)[..., 0, :], expected, atol=1e-13)


def test_the_map_to_the_sphere_sums_the_even_orders(x64):
    """Its column is that of the spectrum's matrices."""
    kernel = spherical.rotation_kernel(5, 0.6)
    w = kernel.init(jax.random.key(0), 2, 3)
    column, spectrum = kernel.column(w), kernel.spectrum(w)[0]
    blocks = spectrum.reshape(5, 2, 5, 2, 2, 5, 3)  # (l, t, k, in, s, n, out)
    even = np.array([1, 0, 2**0.5, 0, 2**0.5])
    for l in range(5):
        expected = np.einsum("tkino,n->ktio", blocks[l, :, : l + 1, :, 0, : l + 1], even[: l + 1])
        np.testing.assert_allclose(column[: l + 1, l], expected, atol=1e-13)


@pytest.mark.quick("None")
@pytest.mark.parametrize("orders", [None, 1])
def test_linear_layers_are_equivariant(orders, key):
    """Features on SO(3) and pictures rotate as the image does, to rounding in float32."""
    of_x, *of_w = jax.random.split(key, 4)
    c = (
        jax.random.normal(of_x, (6, 6, 2, 3, 2))
        * (np.arange(6)[:, None] <= np.arange(6))[..., None, None, None]
    )
    c = c.at[0, :, 1].set(0)
    first = spherical.sphere_kernel(6, 0.5)
    second = spherical.rotation_kernel(6, 0.7, orders)
    last = spherical.rotation_kernel(6, 0.9, orders)
    rotator = harmonics.rotator(6)

    @jax.jit
    def both(c):
        of_first = first.spectrum(first.init(of_w[0], 2, 3))
        x = spherical.lift(c, of_first if orders is None else of_first[: orders + 1])
        x = spherical.convolve(x, second.spectrum(second.init(of_w[1], 3, 4)))
        return x, spherical.to_sphere(x, last.column(last.init(of_w[2], 4, 2)))

    x, y = both(c)
    x_turned, y_turned = both(rotator.rotate(c, ROTATION))
    for z, turned, moved in (
        (x, x_turned, rotator.rotate_left(x, ROTATION)),
        (y, y_turned, rotator.rotate(y, ROTATION)),
    ):
        assert np.abs(turned - moved).max() <= 3e-6 * np.abs(z).max()
        assert np.std(turned - moved) <= 3e-7 * np.std(z)


def test_parameter_counts_are_the_papers(key):
    count_of = lambda net: count(jax.eval_shape(net.init, key))  # noqa: E731
    assert count_of(spherical.spherical_classifier(10)) == 154_550
    assert count_of(spherical.spherical_segmenter()) == 204_073
    assert count_of(spherical.spherical_segmenter(skips=True)) == 205_088


@pytest.fixture(scope="module")
def classifier():
    net = spherical.spherical_classifier(7, **BANDS, oversampling=2.0)
    return net, net.init(jax.random.key(1))


@pytest.fixture(scope="module")
def segmenter():
    net = spherical.spherical_segmenter(**MEMORY, oversampling=2.0, skips=True)
    return net, net.init(jax.random.key(1))


apply = jax.jit(lambda net, *inputs: net(*inputs))


def test_classifier_is_invariant(classifier, key):
    net, params = classifier
    x, c = images(key, 2, 3, 2)
    logits = apply(net.bind(params), x)
    assert logits.shape == (2, 3, 7)
    there = apply(net.bind(params), turned(c, ROTATION))
    assert np.std(there - logits) <= 2e-2 * np.std(logits)
    # The rotation of coefficients inside is that of the image.
    np.testing.assert_allclose(apply(net.bind(params), x, ROTATION), there, atol=1e-5)
    each = np.stack([np.stack([np.eye(3), ROTATION, np.eye(3)])] * 2)
    expected = jnp.where(np.array([0, 1, 0])[:, None] == 1, there, logits)
    np.testing.assert_allclose(apply(net.bind(params), x, each), expected, atol=1e-5)


@pytest.mark.slow
def test_segmenter_rotates_with_the_image(segmenter, key):
    net, params = segmenter
    x, c = images(key, 2, 2)
    y = apply(net.bind(params), x)
    assert y.shape == (2, 6, 12, 5)
    transform = harmonics.sphere_transform(6, GRID)
    of_y = transform.analysis(jnp.moveaxis(y, -1, 1))
    expected = turned(of_y, ROTATION)
    assert np.std(apply(net.bind(params), turned(c, ROTATION)) - expected) <= 2e-2 * np.std(y)
    # Rotated in coefficients and back again: the logits stay with the picture.
    assert np.std(apply(net.bind(params), x, ROTATION) - y) <= 2e-2 * np.std(y)


@pytest.mark.slow
def test_finer_grids_are_more_equivariant(classifier, key):
    """At oversampling 1 the same parameters have a larger gap; a planar network's is of order 1."""
    net, params = classifier
    coarse = spherical.spherical_classifier(7, **BANDS)
    x, _ = images(key, 4, 2)
    fine_gap = equivariance_gap(net.bind(params), x, key)
    coarse_gap = equivariance_gap(coarse.bind(params), x, key)
    assert fine_gap.degrees == (3, 6)
    assert fine_gap.mean[-1] < 0.5 * coarse_gap.mean[-1] < 0.1
    assert (fine_gap.mean <= fine_gap.worst).all()
    planar = equivariance_gap(lambda x: x.reshape(len(x), -1)[:, :10], x, key)
    assert planar.mean[-1] > 0.5 and planar.flips[-1] > 0.3


def test_spins_are_the_parts_of_a_function(key, x64):
    """f(alpha, beta, gamma) = sum_n a_n cos(n gamma) + b_n sin(n gamma), and back again."""
    transform = harmonics.rotation_transform(6, 2, GRID, turns=7)
    f = transform.analyze(jax.random.normal(key, (12, 7, 6, 2)))
    spins = transform.synthesize_spins(f)  # (alpha, t, n, beta, ...)
    angles = np.outer(2 * np.pi * np.arange(7) / 7, np.arange(3))
    waves = np.stack([np.cos(angles), np.sin(angles)], 1)  # (gamma, t, n)
    expected = np.einsum("gtn,atnbx->agbx", waves, spins)
    np.testing.assert_allclose(transform.synthesize(f), expected, atol=1e-12)
    np.testing.assert_allclose(transform.analyze_spins(spins), f, atol=1e-13)


def test_magnitudes_commute_with_turns_of_the_frame(key):
    """R -> R R_z(angle) turns the pair of spin n by n times the angle: exactly, for any function."""
    transform = harmonics.rotation_transform(6, 2, harmonics.gauss_legendre(6, 8))
    f = transform.analyze(jax.random.normal(key, (16, 6, 8, 3, 2)))
    bias = jnp.array([[0.1, -0.2], [-0.1, 0.05], [0.0, -0.3]])

    @jax.jit
    def layer(f):
        return spherical.magnitudes(transform, f, bias, 4)

    there, moved = layer(turned_frame(f, 0.7)), turned_frame(layer(f), 0.7)
    np.testing.assert_allclose(there, moved, atol=2e-6)
    assert np.abs(there - layer(f)).max() > 1e-2


def turned_frame(f, angle):
    """Coefficients (m, n, l, s, t, ...) of R -> f(R R_z(angle))."""
    n = angle * np.arange(f.shape[1], dtype=np.float32)[:, None, None, None, None]
    a, b = f[:, :, :, :, 0], f[:, :, :, :, 1]
    return jnp.stack([np.cos(n) * a + np.sin(n) * b, np.cos(n) * b - np.sin(n) * a], 4)


def test_powers_are_invariant(key):
    transform, rotator = harmonics.rotation_transform(5, 3), harmonics.rotator(5)
    f = transform.analyze(jax.random.normal(key, (10, 8, 5, 2, 3)))
    p = spherical.powers(f)
    assert p.shape == (2, 3, 5)
    there = spherical.powers(rotator.rotate_left(f, ROTATION))
    np.testing.assert_allclose(there, p, rtol=1e-5)
    # Parseval: the mean square over SO(3), by the grid's quadrature.
    weights = np.array(transform.grid.weights)[:, None, None] / 2
    square = np.mean(np.sum(weights * np.square(transform.synthesize(f)), 2), (0, 1))
    np.testing.assert_allclose(np.sum(np.square(p), -1), square, rtol=1e-4)


@pytest.mark.parametrize("spins", [False, True])
def test_normalized_classifiers_are_invariant(spins, key):
    """With features normalized and read out by their powers, sampled on gamma or as spins up to 2."""
    net = spherical.spherical_classifier(
        7, **BANDS, orders=2, oversampling=2.0, normalized=True, spins=spins, hidden=8
    )
    params = net.init(key)
    x, c = images(key, 3, 2)
    logits, there = apply(net.bind(params), x), apply(net.bind(params), turned(c, ROTATION))
    assert logits.shape == (3, 7)
    assert np.std(there - logits) <= 3e-2 * np.std(logits)
    assert np.std(logits - logits[0]) > 0.1 * np.std(logits)
    # The size of an image does not matter but for the biases, which are 0 at first.
    np.testing.assert_allclose(apply(net.bind(params), 3 * x), logits, rtol=1e-2, atol=1e-3)


@pytest.mark.slow
def test_gap_of_fields(segmenter, key):
    net, params = segmenter
    x, _ = images(key, 2, 2)
    assert equivariance_gap(net.bind(params), x, key, degrees=(6,)).worst[0] < 0.05
    identity = equivariance_gap(lambda x: 2 * x, x, key, degrees=(6,))
    assert identity.worst[0] < 1e-6 and identity.flips[0] < 0.01
    longitude = jnp.cos(2 * np.pi * np.arange(12) / 12)[:, None]
    assert equivariance_gap(lambda x: x * longitude, x, key, degrees=(6,)).mean[0] > 0.5


def test_gap_of_vectors_sees_what_all_entries_share(key):
    x, _ = images(key, 2, 2)

    def one_pixel(x):
        return x[:, 0, :1, 0] * jnp.ones(3)

    assert equivariance_gap(one_pixel, x, key).mean.min() > 0.1
    # A mean over the sphere is one number.
    weights = jnp.array(harmonics.gauss_legendre(6).weights)
    found = equivariance_gap(lambda x: jnp.einsum("brlc,r->b", x, weights)[:, None], x, key)
    assert found.worst.max() < 1e-4


@pytest.mark.slow
def test_spectra_take_the_place_of_kernels(classifier, segmenter, key):
    for net, params in (classifier, segmenter):
        x, _ = images(key, 2, 2)
        fixed = spherical.with_spectra(net, params)
        np.testing.assert_allclose(
            apply(net.bind(fixed), x), apply(net.bind(params), x), rtol=1e-5, atol=1e-6
        )


@pytest.mark.slow
def test_few_orders_need_less_memory(key):
    """Spins up to N: as equivariant, and the features are smaller."""
    few = spherical.spherical_classifier(7, **BANDS, orders=1, oversampling=2.0)
    params = few.init(key)
    x, _ = images(key, 4, 2)
    assert equivariance_gap(few.bind(params), x, key).mean[-1] < 0.05
    full = spherical.spherical_classifier(7, **BANDS, oversampling=2.0)

    def size(net):
        return apply.lower(net.bind(params), x).compile().memory_analysis().temp_size_in_bytes

    assert size(few) < 0.7 * size(full)


@pytest.mark.slow
def test_gradients_are_finite_and_right(classifier, key, x64):
    net = spherical.spherical_classifier(3, **BANDS)
    params = jax.tree.map(lambda a: a.astype(np.float64), net.init(key))
    x = jnp.asarray(images(key, 2, 2)[0], np.float64)

    @jax.jit
    def loss(f, params, x):
        return jnp.sum(jnp.sin(f(params, x)))

    direction = jax.tree.map(
        lambda a: jnp.cos(jnp.arange(a.size)).reshape(a.shape) / a.size, params
    )
    gradient = jax.grad(loss, 1)(net.apply, params, x)
    along = sum(
        jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True)
    )
    step = 1e-6
    ends = [jax.tree.map(lambda p, d: p + s * step * d, params, direction) for s in (1, -1)]  # noqa: B023
    difference = (loss(net.apply, ends[0], x) - loss(net.apply, ends[1], x)) / (2 * step)
    assert float(along) == pytest.approx(float(difference), rel=1e-6)
    zero = jax.grad(loss, 1)(net.apply, params, 0 * x)
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(zero))


def test_tables_are_not_constants_of_the_program(segmenter, key):
    net, params = segmenter
    x, _ = images(key, 2, 2)
    assert len(apply.lower(net.bind(params), x).as_text()) < 400_000
    assert 'dense<"0x' not in apply.lower(net.bind(params), x).as_text()


def test_nan_in_is_nan_out(classifier, key):
    net, params = classifier
    x = images(key, 2, 2)[0].at[0, 3, 3, 1].set(np.nan)
    logits = apply(net.bind(params), x)
    assert np.isnan(logits[0]).all() and np.isfinite(logits[1]).all()


def _spectrum(kernel, channels):
    return kernel.spectrum(kernel.init(jax.random.key(0), channels, channels))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda net, p: net.apply(p, np.zeros((2, 12, 6, 2))), r"\(6, 12, 2\)"),
        (lambda net, p: spherical.spherical_classifier(3, (6, 4), (1, 2, 3)), "2 bands"),
        (lambda net, p: spherical.spherical_classifier(3, (6, 4), (1, 2), (0.1, 0.2)), "max_betas"),
        (lambda net, p: spherical.spherical_classifier(3, (6, 4), (1, 2), (0.0,)), "max_beta"),
        (
            lambda net, p: spherical.spherical_classifier(
                3, (6, 4), (1, 2), (0.1,), harmonics.gauss_legendre(3)
            ),
            "carries 3",
        ),
        (
            lambda net, p: spherical.spherical_segmenter((6, 4, 5), (1, 2, 3), (0.1, 0.1)),
            "last band",
        ),
        (
            lambda net, p: equivariance_gap(
                net.bind(p), jnp.zeros((1, 6, 12, 2)), jax.random.key(0), degrees=(7,)
            ),
            "2 to 6",
        ),
        (
            lambda net, p: equivariance_gap(
                lambda x: x[:, :3], jnp.zeros((1, 6, 12, 2)), jax.random.key(0)
            ),
            "images",
        ),
        (
            lambda net, p: net.apply(p, jnp.zeros((1, 6, 12, 2)), np.eye(2)),
            r"spherical_classifier: rotation matrices .* got \(2, 2\)",
        ),
        (
            lambda net, p: net.apply(p, jnp.zeros((1, 6, 12, 2)), np.diag([1, 1, -1])),
            "no reflections",
        ),
        (
            lambda net, p: spherical.lift(jnp.zeros((3, 3, 2, 1, 1)), jnp.zeros((3, 3, 2, 2, 4))),
            "3 degrees and 1 channels .* 3 degrees and 2 channels",
        ),
        (
            lambda net, p: spherical.convolve(
                jnp.zeros((3, 3, 3, 2, 2, 1, 2)),
                _spectrum(spherical.rotation_kernel(4, 0.5), 2),
            ),
            "3 degrees and 2 channels",
        ),
        (
            lambda net, p: spherical.rotation_kernel(4, 0.5, orders=4),
            "rotation_kernel: orders must be 0 to 3, got 4",
        ),
        (
            lambda net, p: spherical.sphere_kernel(0, 0.5),
            "sphere_kernel: degrees must be a positive integer, got 0",
        ),
        (
            lambda net, p: harmonics.rotation_transform(3).below(4),
            "1 to 3 degrees are possible, got 4",
        ),
    ],
)
def test_bad_input_is_named(call, words, classifier):
    with pytest.raises(ValueError, match=words):
        call(*classifier)


def test_no_images(classifier):
    net, params = classifier
    shape = harmonics.gauss_legendre(BANDS["bands"][0]).shape
    assert net.apply(params, jnp.ones((0, *shape, BANDS["channels"][0]))).shape == (0, 7)
    assert harmonics.sphere_transform(5).analysis(jnp.ones((0, 5, 10))).shape == (0, 25)
