"""The wrapped normal where it winds: mass one at every scale that is taken, and no other scale is."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from geodl.distributions import WrappedNormal
from geodl.distributions.wrapped_normal import widest_scale
from geodl.manifolds import SO3, Product, Sphere, Torus
from tests.distributions.cases import jit


SCALES = np.array([0.05, 0.4, 1.0, 2.0, 2.499, 2.501, 3.0, 5.0, 20.0, 1e3, 1e8])
ANGLES = (np.arange(2000) + 0.5) / 2000 * 2 * np.pi - np.pi


@functools.partial(jit, static_argnums=0)
def log_prob(manifold, scale, z):
    """(scales, points)"""
    origin = manifold.origin().astype(z.dtype)
    return jax.vmap(lambda s: WrappedNormal(manifold, origin, s).log_prob(z))(scale)


def wound_by_turns(scale):
    """sum_k N(t + 2 pi k), as many turns as it takes, in float64."""
    turns = np.arange(-int(10 * scale) - 5, int(10 * scale) + 6)
    return np.sum(stats.norm.pdf(ANGLES[:, None] + 2 * np.pi * turns, scale=scale), -1)


@pytest.mark.parametrize("manifold", [Torus(1), Sphere(1)])
def test_on_the_circle_it_is_exact_at_any_scale(manifold, x64):
    circle = np.stack([np.cos(ANGLES), np.sin(ANGLES)], -1)
    z = jnp.asarray(ANGLES[:, None] if isinstance(manifold, Torus) else circle)
    density = np.exp(log_prob(manifold, SCALES[:, None], z))
    np.testing.assert_allclose(np.mean(density, -1) * 2 * np.pi, 1, atol=1e-13)
    for found, scale in zip(density[:9], SCALES, strict=False):
        np.testing.assert_allclose(found, wound_by_turns(scale), rtol=1e-11, atol=1e-300)


def test_the_circle_has_smooth_derivatives_where_its_two_series_meet(x64):
    z = jnp.asarray(ANGLES[::40, None])

    @jit
    def derivatives(scale):
        def log_p(s, z):
            return WrappedNormal(Torus(1), jnp.zeros(1), s).log_prob(z)

        return jax.vmap(
            lambda z: (*jax.grad(log_p, (0, 1))(scale, z), jax.hessian(log_p)(scale, z))
        )(z)

    below, above = derivatives(2.5 - 1e-12), derivatives(2.5 + 1e-12)
    for a, b in zip(*map(jax.tree.leaves, (below, above)), strict=True):
        assert np.all(np.isfinite(a))
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("manifold", "factor"),
    [
        (Sphere(2), lambda r: 2 * np.pi * np.sin(r)),
        (Sphere(3), lambda r: 4 * np.pi * np.sin(r) ** 2),
        (Sphere(7), lambda r: 16 * np.pi**3 / 15 * np.sin(r) ** 6),
        (SO3(), lambda r: 16 * np.pi * np.sin(r / 2) ** 2),
    ],
    ids=["S2", "S3", "S7", "SO3"],
)
@pytest.mark.slow
def test_on_spheres_it_has_mass_one_up_to_the_widest_scale(manifold, factor, x64):
    widest = widest_scale(manifold)
    node, weight = np.polynomial.legendre.leggauss(2000)
    r, weight = (node + 1) * np.pi / 2, weight * np.pi / 2
    origin = manifold.origin()
    z = manifold.expmap_frame(origin, jnp.asarray(r[:, None] * np.eye(1, manifold.dim)))
    scales = np.array([0.1, 0.5, 1.0, 2.0, 0.8 * widest, widest])
    density = np.exp(log_prob(manifold, scales[:, None], z))
    np.testing.assert_allclose(np.sum(density * weight * factor(r), -1), 1, atol=1e-6)


def test_scales_of_each_direction_have_mass_one(x64):
    node, weight = np.polynomial.legendre.leggauss(400)
    r, weight = (node + 1) * np.pi / 2, weight * np.pi / 2
    phi = np.arange(256) * 2 * np.pi / 256
    a = r[:, None, None] * np.stack([np.cos(phi), np.sin(phi)], -1)
    z = Sphere(2).expmap_frame(jnp.eye(3)[0], jnp.asarray(a.reshape(-1, 2)))
    density = np.exp(log_prob(Sphere(2), np.array([[3.8, 0.4], [0.7, 2.0]]), z))
    mass = np.mean(density.reshape(2, 400, 256), -1) * 2 * np.pi * np.sin(r) * weight
    np.testing.assert_allclose(np.sum(mass, -1), 1, atol=1e-6)


def test_wider_scales_are_refused_by_name():
    wide = widest_scale(Sphere(2))
    assert wide == pytest.approx(9 * np.pi / (np.sqrt(2) + 6)) and widest_scale(Torus(3)) == np.inf
    north = jnp.eye(3)[0]
    with pytest.raises(ValueError, match=r"Sphere\(dim=2\) scale can be at most 3.81.*got 20"):
        WrappedNormal(Sphere(2), north, 20.0)
    with pytest.raises(ValueError, match=r"SO3\(\) scale can be at most 3.65.*got 4"):
        WrappedNormal(SO3(), jnp.eye(3), jnp.array([1.0, 4.0, 1.0]))
    product, point = Product(Torus(1), Sphere(2)), (jnp.zeros(1), north)
    assert WrappedNormal(product, point, jnp.array([20.0, 1.0, 1.0])).batch_shape == ()
    with pytest.raises(ValueError, match=r"Sphere\(dim=2\)"):
        WrappedNormal(product, point, jnp.array([1.0, 1.0, 20.0]))
    under_jit = log_prob(Sphere(2), jnp.array([[0.99 * wide], [1.01 * wide]]), jnp.eye(3)[1:])
    assert np.all(np.isfinite(under_jit[0])) and np.all(np.isnan(under_jit[1]))


@pytest.mark.parametrize(("manifold", "scale"), [(Torus(1), 2.6), (Sphere(2), 3.5)])
def test_samples_have_the_density(manifold, scale):
    draw = jit(
        lambda key: WrappedNormal(manifold, manifold.origin(), scale).sample(
            seed=key, sample_shape=20_000
        )
    )
    z = np.asarray(draw(jax.random.key(0)), float)
    r = (
        np.linspace(-np.pi, np.pi, 4001)
        if isinstance(manifold, Torus)
        else np.linspace(1e-5, np.pi, 4001)
    )
    points = manifold.expmap_frame(
        manifold.origin(), jnp.asarray(r[:, None] * np.eye(1, manifold.dim), jnp.float32)
    )
    density = np.exp(np.asarray(log_prob(manifold, jnp.array([[scale]]), points)[0], float))
    if isinstance(manifold, Torus):
        drawn = z[:, 0]
    else:
        drawn, density = np.arccos(z[:, 0]), density * np.sin(r)
    cdf = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    assert stats.kstest(np.interp(drawn, r, cdf / cdf[-1]), "uniform").pvalue > 1e-3
