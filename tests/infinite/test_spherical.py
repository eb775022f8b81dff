"""Convolutions of the sphere and of SO(3): kernels against brute force, wide networks, and the augmented ensemble."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geodl import infinite
from geodl.equivariant import harmonics
from tests.equivariant.test_harmonics import on_grid, points, real_harmonics
from tests.infinite._finite import limit


RNG = np.random.default_rng(0)
DEGREES = 2  # of the images
FINE = 12  # of the features: with small weights what is beyond is below 1e-11
SCALES = {"weight_std": 0.9, "bias_std": 0.3}


@pytest.fixture(scope="module")
def fine():
    """The image's transform, and that of the features."""
    with jax.enable_x64(True):
        image = harmonics.sphere_transform(DEGREES, harmonics.gauss_legendre(4), np.float64)
        return image, harmonics.rotation_transform(FINE, dtype=np.float64)


def network(image, rotation, width=1, last=1, activation=infinite.erf):
    return infinite.serial(
        infinite.sphere_conv(image, rotation, width, **SCALES),
        activation(),
        infinite.rotation_conv(rotation, width, **SCALES),
        activation(),
        infinite.rotation_pool(rotation),
        infinite.dense(last, **SCALES),
    )


def pictures(n, channels=2):
    """Coefficients (n, channels, L^2), and their images on the grid of 4 degrees."""
    c = RNG.normal(size=(n, channels, DEGREES**2))
    beta, alpha = on_grid(harmonics.gauss_legendre(4))
    return c, np.moveaxis(c @ real_harmonics(DEGREES, beta, alpha).reshape(-1, 4).T, 1, -1).reshape(
        n, *beta.shape, channels
    )


def erf_dual(k, v1, v2):
    root = np.sqrt((1 + 2 * v1) * (1 + 2 * v2))
    return 2 / np.pi * np.arcsin(2 * k / root), 4 / np.pi / np.sqrt(root**2 - 4 * k**2)


def rotations(transform):
    """Those of the grid, and weights."""
    beta, alpha = on_grid(transform.grid)
    gamma = 2 * np.pi * np.arange(transform.turns) / transform.turns
    angle = [np.broadcast_to(a[..., None], transform.shape).ravel() for a in (alpha, beta)]
    angle.append(np.broadcast_to(gamma, transform.shape).ravel())
    weights = np.asarray(transform.grid.weights)[:, None, None] / (
        2 * transform.grid.longitudes * transform.turns
    )
    return Rotation.from_euler("ZYZ", np.stack(angle, -1)).as_matrix(), np.broadcast_to(
        weights, transform.shape
    ).ravel()


def test_kernels_are_those_of_brute_force(fine, x64):
    """Integrals over the sphere, over filters and over the group, of functions of degrees 0 and 1 by hand."""
    image, transform = fine
    (c1, c2), pair = pictures(2)
    grid = harmonics.gauss_legendre(4)
    x = points(*on_grid(grid)).reshape(-1, 3)
    area = np.repeat(grid.weights, grid.longitudes) / (2 * grid.longitudes)

    def values(c, r):  # f(R x) (rotations, points, channels), Y_1 = sqrt(3 / 4 pi) (y, z, x)
        turned = np.einsum("rij,xj->rxi", r, x)[..., [1, 2, 0]]
        return (c[:, 0] + np.sqrt(3) * turned @ c[:, 1:].T) / np.sqrt(4 * np.pi)

    def lifted(a, b):
        k = np.einsum("rxc,rxc,x->r", values(*a), values(*b), area) / 2
        return SCALES["weight_std"] ** 2 * k + SCALES["bias_std"] ** 2

    def activated(k, theta, v1, v2):
        value, slope = erf_dual(k, v1, v2)
        return value, slope * theta, *(erf_dual(v, v, v)[0] for v in (v1, v2))

    filters = Rotation.random(3, rng=1).as_matrix()
    r, weights = rotations(transform)
    turned = Rotation.random(rng=2).as_matrix()
    second = np.broadcast_to(turned, r.shape)
    k, theta, v1, v2 = 0.0, 0.0, 0.0, 0.0
    for s in filters:  # any of them gives the same: K depends on R R'^-1
        a, b = (c1, r @ s), (c2, second @ s)
        found = lifted(a, b), lifted(a, b), lifted(a, a), lifted(b, b)
        found = activated(*found)
        k, theta, v1, v2 = (
            t + f / len(filters) for t, f in zip((k, theta, v1, v2), found, strict=True)
        )
    w, b = SCALES["weight_std"] ** 2, SCALES["bias_std"] ** 2
    k, theta, v1, v2 = w * k + b, w * (k + theta) + b, w * v1 + b, w * v2 + b
    k, theta, *_ = activated(k, theta, v1, v2)
    nngp = w * (weights @ k) + b
    ntk = nngp + w * (weights @ theta)
    found = jax.jit(infinite.kernels)(network(image, transform), pair[:1], pair[1:])
    np.testing.assert_allclose(np.ravel(found), [nngp, ntk], rtol=0, atol=1e-10)


def test_kernels_do_not_see_rotations(fine, x64):
    image, transform = fine
    c, x = pictures(2)
    turned = harmonics.rotator(DEGREES, np.float64).sphere(c, Rotation.random(rng=3).as_matrix())
    moved = np.moveaxis(np.asarray(image.synthesis(turned)), 1, -1)
    net = network(image, transform)
    for a, b in zip(infinite.kernels(net, x), infinite.kernels(net, x, moved), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-11)


def test_a_fully_augmented_ensemble_is_the_group_network(fine, x64):
    """The dense network trained on all rotations, an integral over SO(3), predicts as the network of convolutions.

    With weights alpha that solve the regression with the group's kernel for x_i, alpha dR solves the augmented one: the
    equation holds at every rotation of every training image, and predictions agree.
    """
    image, transform = fine
    c, x = pictures(4, 1)
    targets = RNG.normal(size=3)
    net = network(image, transform)
    dense = infinite.dense(1, **SCALES)
    mlp = infinite.serial(dense, infinite.erf(), dense, infinite.erf(), dense)
    group = infinite.kernels(net, x, x[:3]).ntk
    alpha = np.linalg.solve(group[:3], targets)

    scale = (DEGREES**2 / (4 * np.pi)) ** 0.5  # dense layers divide by the number of inputs
    rotate = harmonics.rotator(DEGREES, np.float64).sphere
    r, weights = rotations(transform)
    augmented = scale * np.asarray(rotate(c[:3], r[:, None, None]))[:, :, 0]
    seen = (
        scale * np.asarray(rotate(c, Rotation.random(2, rng=5).as_matrix()[:, None, None]))[:, :, 0]
    )
    theta = infinite.kernels(mlp, seen.reshape(8, -1), augmented.reshape(-1, DEGREES**2)).ntk
    predicted = np.einsum("jri,r,i->j", theta.reshape(8, len(r), 3), weights, alpha).reshape(2, 4)
    np.testing.assert_allclose(predicted[:, :3], np.broadcast_to(targets, (2, 3)), atol=1e-10)
    np.testing.assert_allclose(predicted[:, 3], np.broadcast_to(group[3] @ alpha, 2), atol=1e-10)


@pytest.mark.slow
def test_wide_networks_have_these_kernels():
    image = harmonics.sphere_transform(3, dtype=np.float32)
    grid = harmonics.gauss_legendre(4, 6)
    transform = harmonics.rotation_transform(4, grid=grid, turns=12, dtype=np.float32)
    x = jnp.asarray(RNG.normal(size=(2, *image.grid.shape, 1)), jnp.float32)

    def make(width, last):
        return network(image, transform, width, last)

    for scores in limit(make, x.shape[1:], x, 32, 16, 32):
        assert np.abs(scores).max() < 4.5


def small(activation):
    image, transform = harmonics.sphere_transform(3), harmonics.rotation_transform(4)
    return network(image, transform, activation=activation)


def test_derivatives_where_inputs_coincide():
    x = RNG.normal(size=(2, 3, 6, 1)).astype(np.float32)
    total = jax.jit(jax.grad(lambda net, x: jnp.sum(infinite.kernels(net, x).ntk), 1))
    gradient = total(small(infinite.relu), x)
    assert np.isfinite(gradient).all() and gradient.dtype == np.float32


@pytest.mark.slow
def test_float32():
    x = RNG.normal(size=(2, 3, 6, 1)).astype(np.float32)
    found = infinite.kernels(small(infinite.relu), x, batch_size=1)
    with jax.enable_x64(True):
        expected = infinite.kernels(small(infinite.relu), x.astype(np.float64))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=3e-5)


def test_what_does_not_fit_is_named():
    image, small = harmonics.sphere_transform(3), harmonics.rotation_transform(2)
    with pytest.raises(ValueError, match="3 degrees do not fit into 2"):
        infinite.sphere_conv(image, small, 4)
    with pytest.raises(ValueError, match="all orders is needed, got 1"):
        infinite.rotation_conv(harmonics.rotation_transform(4, 1), 4)
    rotation = harmonics.rotation_transform(3)
    lifting = infinite.sphere_conv(image, rotation, 4)
    with pytest.raises(ValueError, match=r"images \(3, 6\) are needed"):
        lifting.init(jax.random.key(0), (4, 8, 1))
    with pytest.raises(ValueError, match="first layer of a network"):
        infinite.kernels(infinite.serial(infinite.relu(), lifting), np.ones((1, 3, 6, 1)))
    with pytest.raises(ValueError, match="rotation_conv: features on the grid"):
        infinite.kernels(infinite.rotation_conv(rotation, 4), np.ones((1, 3, 6, 1)))
