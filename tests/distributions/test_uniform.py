"""The uniform distribution: its volume against quadrature of the metric, its samples, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from geodl.distributions import Uniform, VonMisesFisher
from geodl.manifolds import SO3, Euclidean, Hyperboloid, PoincareBall, Product, Sphere, Torus


@pytest.mark.parametrize(
    ("manifold", "reach"),
    [(Sphere(1), np.pi), (Sphere(2), np.pi), (Sphere(3), np.pi), (SO3(), np.pi)],
    ids=str,
)
def test_volume_is_that_of_the_metric(manifold, reach):
    """Geodesic balls around the origin: |S^(d-1)| times the integral of r^(d-1) det d exp."""
    r = (np.arange(2000) + 0.5) / 2000 * reach
    a = r[:, None] * np.eye(1, manifold.dim)
    origin = manifold.origin()
    slope = np.exp(manifold.logdetexp(origin, manifold.from_frame(origin, a.astype("float32"))))
    rim = {1: 2, 2: 2 * np.pi, 3: 4 * np.pi}[manifold.dim]
    volume = rim * np.sum(slope.astype(float) * r ** (manifold.dim - 1)) * reach / 2000
    np.testing.assert_allclose(volume, np.exp(manifold.log_volume()), rtol=1e-5)


def test_volume_of_torus_and_product():
    np.testing.assert_allclose(np.exp(Torus(3).log_volume()), (2 * np.pi) ** 3)
    product = Product(Sphere(2), Torus(1), SO3())
    np.testing.assert_allclose(np.exp(product.log_volume()), 4 * np.pi * 2 * np.pi * 8 * np.pi**2)


def test_samples_are_uniform():
    n, q = 20_000, Uniform(Product(Sphere(2), Torus(2), SO3()))
    x, angles, rotation = jax.jit(lambda key: q.sample(seed=key, sample_shape=n))(jax.random.key(0))
    assert q.event_shape == ((3,), (2,), (3, 3)) and q.batch_shape == ()
    angle = np.asarray(SO3().dist(jnp.eye(3), rotation))
    marginals = [  # Archimedes, for the columns of a rotation too
        np.asarray(x[:, 1]) / 2 + 0.5,
        np.asarray(angles[:, 1]) / (2 * np.pi) + 0.5,
        np.asarray(rotation[:, 2, 1]) / 2 + 0.5,
        (angle - np.sin(angle)) / np.pi,
    ]
    for u in marginals:
        assert stats.kstest(u, "uniform").pvalue > 1e-4
    np.testing.assert_allclose(np.corrcoef(np.stack(marginals)), np.eye(4), atol=0.03)


@pytest.mark.parametrize("manifold", [Sphere(3), Torus(2), SO3(), Product(Sphere(1), Torus(2))])
def test_density(manifold):
    q = Uniform(manifold)
    z, log_p = q.sample_and_log_prob(seed=jax.random.key(0), sample_shape=(4, 2))
    assert log_p.shape == (4, 2) and log_p.dtype == jnp.float32
    np.testing.assert_allclose(log_p, -manifold.log_volume(), rtol=1e-6)
    np.testing.assert_allclose(q.entropy(), manifold.log_volume(), rtol=1e-6)
    each = jax.jit(jax.vmap(lambda q, z: q.log_prob(z), (None, 0)))(q, z)
    np.testing.assert_allclose(each, log_p)
    slope = jax.grad(lambda z: jnp.sum(q.log_prob(z)))(z)
    assert all(jnp.all(s == 0) for s in jax.tree.leaves(slope))


def test_factors_of_a_point_broadcast():
    q = Uniform(Product(Sphere(2), Torus(1)))
    x = jnp.broadcast_to(jnp.eye(3)[0], (5, 1, 3))
    assert q.log_prob((x, jnp.ones((4, 1)))).shape == (5, 4)


@pytest.mark.parametrize(
    "manifold",
    [Euclidean(2), PoincareBall(2), Hyperboloid(2), Product(Sphere(2), Hyperboloid(3))],
)
def test_infinite_volume(manifold):
    infinite = manifold.factors[-1] if isinstance(manifold, Product) else manifold
    with pytest.raises(NotImplementedError, match=f"{type(infinite).__name__}.*finite volume"):
        Uniform(manifold)


def test_bad_points():
    with pytest.raises(ValueError, match=r"\(3,\).*\(2,\)"):
        Uniform(Sphere(2)).log_prob(jnp.ones(2))
    with pytest.raises(ValueError, match=r"\(3, 3\).*\(3,\)"):
        Uniform(Product(Sphere(2), SO3())).log_prob((jnp.ones(3), jnp.ones(3)))
    with pytest.raises(ValueError, match=r"Sphere\(dim=3\).*Sphere\(dim=2\)"):
        VonMisesFisher(jnp.eye(4)[0], 1.0).kl_divergence(Uniform(Sphere(2)))
