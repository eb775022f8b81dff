"""U(1) gauge fields: plaquettes, convolution and coupling under local rotations of the phase, to rounding."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from geodl.equivariant import lattice


SIZE = (4, 8)


def links_and_gauge(key, batch=()):
    of_links, of_gauge = jax.random.split(key)
    theta = jax.random.uniform(of_links, (*batch, 2, *SIZE), float, -np.pi, np.pi)
    return theta, 5 * jax.random.normal(of_gauge, (*batch, *SIZE), float)


def conditioner(seen):
    """Parameters of a spline of two bins from all plaquettes within two sites."""
    weights = jax.random.normal(jax.random.key(1), (2, 7), seen.dtype)
    near = sum(jnp.roll(seen, (i, j), (-3, -2)) for i in range(-2, 3) for j in range(-2, 3))
    return 0.3 * near @ weights


def test_plaquettes_by_the_definition(x64, key):
    theta, alpha = links_and_gauge(key)
    n, m = SIZE
    a, b = np.asarray(theta)
    expected = [
        [a[i, j] + b[(i + 1) % n, j] - a[i, (j + 1) % m] - b[i, j] for j in range(m)]
        for i in range(n)
    ]
    np.testing.assert_allclose(lattice.plaquettes(theta), expected, atol=1e-14)
    other = lattice.plaquettes(lattice.gauge_transform(theta, alpha))
    np.testing.assert_allclose(lattice.wrap(other - np.array(expected)), 0, atol=1e-12)


def test_circulation_is_the_transpose(x64, key):
    theta, g = links_and_gauge(key)
    np.testing.assert_allclose(
        jnp.sum(lattice.plaquettes(theta) * g), jnp.sum(theta * lattice.circulation(g)), rtol=1e-12
    )


def test_convolution_by_the_definition_and_in_every_gauge(x64, key):
    theta, alpha = links_and_gauge(key, (2,))
    psi = jax.random.normal(key, (2, *SIZE, 3)) + 1j * jax.random.normal(key, (2, *SIZE, 3))[::-1]
    kernel = jax.random.normal(jax.random.key(2), (5, 3, 2))
    convolve = jax.jit(lattice.convolution)
    found = convolve(theta, psi, kernel)
    p, u, (i, j), (n, m) = np.asarray(psi[1]), np.exp(1j * np.asarray(theta[1])), (3, 0), SIZE
    expected = (
        p[i, j] @ kernel[0]
        + u[0, i, j] * p[(i + 1) % n, j] @ kernel[1]
        + np.conj(u[0, i - 1, j]) * p[i - 1, j] @ kernel[2]
        + u[1, i, j] * p[i, j + 1] @ kernel[3]
        + np.conj(u[1, i, (j - 1) % m]) * p[i, (j - 1) % m] @ kernel[4]
    )
    np.testing.assert_allclose(found[1, i, j], expected, rtol=1e-12)
    phase = jnp.exp(1j * alpha)[..., None]
    other = convolve(lattice.gauge_transform(theta, alpha), phase * psi, kernel)
    np.testing.assert_allclose(other, phase * found, atol=1e-12)
    with pytest.raises(ValueError, match=r"must be \(5, 3, out\), got \(4, 3, 2\)"):
        lattice.convolution(theta, psi, kernel[1:])


@pytest.mark.parametrize("direction, offset", [(0, 1), (1, 3)])
def test_coupling_in_every_gauge_and_back(direction, offset, x64, key):
    coupling = lattice.GaugeCoupling(direction, offset, conditioner)
    theta, alpha = links_and_gauge(key, (2,))
    forward = jax.jit(coupling.forward_and_log_det)
    moved, log_det = forward(theta)
    active = np.zeros((2, *SIZE), bool)
    active[direction][(slice(None), slice(offset, None, 4))[:: 1 if direction == 0 else -1]] = True
    change = np.abs(lattice.wrap(moved - theta))
    assert np.all(change[:, active] > 0) and np.max(change[:, ~active]) < 1e-14
    # equivariant, and as likely in every gauge
    transformed = lattice.gauge_transform(theta, alpha)
    other, other_log_det = forward(transformed)
    gap = lattice.wrap(other - lattice.gauge_transform(moved, alpha))
    assert np.max(np.abs(gap)) < 1e-12
    np.testing.assert_allclose(other_log_det, log_det, atol=1e-11)
    back, inverse_log_det = jax.jit(coupling.inverse_and_log_det)(moved)
    np.testing.assert_allclose(lattice.wrap(back - theta), 0, atol=1e-8)
    np.testing.assert_allclose(inverse_log_det, -log_det, atol=1e-7)


def test_the_log_determinant_of_a_coupling(x64, key):
    coupling, theta = lattice.GaugeCoupling(0, 2, conditioner), links_and_gauge(key)[0]
    shape = theta.shape
    forward = jax.jit(coupling.forward_and_log_det)
    jacobian = jax.jit(jax.jacfwd(lambda x: forward(x.reshape(shape))[0].ravel()))(theta.ravel())
    np.testing.assert_allclose(forward(theta)[1], np.linalg.slogdet(jacobian)[1], rtol=1e-9)


def test_what_is_no_coupling():
    with pytest.raises(ValueError, match="offset 0 to 3, got 0 and 4"):
        lattice.GaugeCoupling(0, 4, conditioner)
    with pytest.raises(ValueError, match=r"a multiple of 4 sites .* got \(6, 6\)"):
        lattice.GaugeCoupling(1, 0, conditioner).forward(jnp.zeros((2, 6, 6)))


def test_links_of_another_lattice(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=r"links \(..., 2, n, m\) are needed, got \(3, 4, 4\)"):
        lattice.plaquettes(jnp.ones((3, 4, 4)))
    with pytest.raises(ValueError, match=r"links \(..., 2, 5, 4\) are needed, got \(2, 4, 4\)"):
        lattice.gauge_transform(jnp.ones((2, 4, 4)), jnp.ones((5, 4)))
    with pytest.raises(ValueError, match=r"convolution: links \(..., 2, 4, 5\) are needed"):
        lattice.convolution(jnp.ones((2, 4, 4)), jnp.ones((4, 5, 1), complex), jnp.ones((5, 1, 1)))
