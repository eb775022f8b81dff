"""The hyperbolic layers against the manifold's own functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from geodl.manifolds import Hyperboloid, PoincareBall, poincare
from geodl.nn import Gyroplane, MobiusLinear, functional, gyroplane


pytestmark = pytest.mark.optimized


DIM, FEATURES = 3, 7
BALL = PoincareBall(DIM, 0.7)


def parameters(scale=1.0):
    w, b, z = jax.random.split(jax.random.key(0), 3)
    weight = scale * jax.random.normal(w, (DIM, FEATURES))
    return weight, jax.random.normal(b, (FEATURES,)), BALL.random_uniform(z, (5,))


@pytest.mark.usefixtures("x64")
@pytest.mark.slow
def test_gyroplane_is_the_signed_distance_to_the_papers_hyperplane():
    weight, bias, z = parameters()
    p = BALL.expmap0(
        (weight * bias).T
    )  # Mathieu et al. 2019: p = expmap0(b w), a = w transported to p
    distance = BALL.dist_to_gyroplane(z[:, None], p, BALL.transport0(p, weight.T))
    layer = gyroplane(BALL.to_hyperboloid(z), weight, bias, BALL.c)
    np.testing.assert_allclose(layer, distance, rtol=1e-12, atol=1e-13)


def test_gyroplane_is_one_matmul():
    weight, bias, z = parameters()
    jaxpr = jax.make_jaxpr(gyroplane)(jax.jit(BALL.to_hyperboloid)(z), weight, bias, 0.7)
    assert str(jaxpr).count("dot_general") == 1


def test_gyroplane_reads_ball_and_hyperboloid_alike():
    net = functional(lambda rngs: Gyroplane(DIM, FEATURES, rngs))
    params = net.init(jax.random.key(1))
    *_, z = parameters()
    on_hyperboloid = net.apply(params, BALL.to_hyperboloid(z), Hyperboloid(DIM, BALL.c))
    np.testing.assert_allclose(net.apply(params, z, BALL), on_hyperboloid, rtol=1e-5)


def test_gyroplane_in_flat_space_is_affine():
    """c -> 0: distances in R^d with 4 times the Euclidean metric."""
    weight, bias, z = parameters()
    flat = 2 * (
        z @ weight / jnp.linalg.norm(weight, axis=0) - jnp.linalg.norm(weight, axis=0) * bias
    )
    layer = gyroplane(poincare.to_hyperboloid(z, 1e-8), weight, bias, 1e-8)
    np.testing.assert_allclose(layer, flat, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("radius", [0.0, 1.0, 27.0])
def test_gyroplane_gradients_are_finite(radius):
    """At the origin, at zero weights, and as far as latents of the paper's widest priors go."""
    weight, bias, _ = parameters(scale=0.0)
    weight = weight.at[:, 0].set(100.0)  # a hyperplane farther than any point
    z = Hyperboloid(DIM, 1.0).expmap0(jnp.array([0.0, radius, 0.0, 0.0]))
    slopes = jax.jit(jax.grad(lambda *a: jnp.sum(gyroplane(*a)), (0, 1, 2, 3)))
    grads = slopes(z, weight, bias, 1.0)
    assert all(jnp.all(jnp.isfinite(g)) for g in grads)


@pytest.mark.slow
def test_gyroplane_gradients_are_right_where_squares_overflow():
    """f = |r - t| along the normal: slope 1 in r, at a sum of offsets whose exponential has no float32 square."""
    space = Hyperboloid(1, 1.0)

    def value(r, t):
        z = space.expmap_frame(space.origin(), r[None])
        return gyroplane(z, jnp.ones((1, 1)), t[None] / 2, 1.0)[0]

    offsets = jnp.float32(40.0), jnp.float32(-30.0)
    np.testing.assert_allclose(jax.grad(value, (0, 1))(*offsets), (1.0, -1.0), rtol=1e-5)
    np.testing.assert_allclose(value(*offsets), 70.0, rtol=1e-6)


def test_mobius_linear_is_the_papers_layer():
    ball, image = PoincareBall(DIM, 0.7), PoincareBall(FEATURES, 0.7)
    net = functional(lambda rngs: MobiusLinear(DIM, FEATURES, rngs))
    params = jax.jit(net.init)(jax.random.key(1))
    params["bias"] = 0.1 * jax.random.normal(jax.random.key(2), (FEATURES,))
    *_, z = parameters()

    @jax.jit
    def evaluate(params, z):
        # frame components at the origin are twice the ball's coordinates
        expected = image.mobius_add(
            image.expmap0(params["bias"] / 2), ball.mobius_matvec(params["matrix"], z)
        )
        far = net.apply(params, ball.to_hyperboloid(z), Hyperboloid(DIM, 0.7))
        return expected, net.apply(params, z, ball), Hyperboloid(FEATURES, 0.7).to_ball(far)

    expected, near, far = evaluate(params, z)
    np.testing.assert_allclose(near, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(far, expected, rtol=1e-5, atol=1e-6)


def test_functional_takes_no_state():
    with pytest.raises(TypeError, match=r"nnx\.Param"):
        functional(lambda rngs: nnx.BatchNorm(3, rngs=rngs))
