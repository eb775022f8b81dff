"""Layers on hyperbolic space."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from geodl.manifolds import Manifold


MAX_OFFSET = 40.0  # sqrt(c) x distance of a hyperplane from the origin: float32 holds exp(40 + 48)


def gyroplane(
    z: Float[Array, "*batch e"],
    weight: Float[Array, "e-1 k"],
    bias: Float[Array, " k"],
    c: ArrayLike,
) -> Float[Array, "*batch k"]:
    """Signed distances of points of the hyperboloid to k hyperplanes, by one matrix product.

    Hyperplane k goes through p = expmap0(w b) (on the ball of curvature -c) with normal w, w = ``weight[:, k]`` and
    b = ``bias[k]``: the geometry-aware decoder. The Möbius difference in its formula expands so that it is linear
    inside an asinh. With t = 2 sqrt(c) |w| b, the signed distance of the hyperplane from the origin, and the point
    z = (z_0, z_{1:}) on the hyperboloid of curvature -c,

        f = asinh( sqrt(c) (cosh(t) <z_{1:}, w> / |w| - sinh(t) z_0) ) / sqrt(c).

    |t| is clipped to 40.

    Args:
        z: Points (..., d + 1) of the hyperboloid.
        weight: Normals w (d, k) of the hyperplanes at the origin.
        bias: Their signed offsets b (k,) along w.
        c: Minus the sectional curvature, > 0.

    Returns:
        Signed distances (..., k).

    Reference:
        Mathieu et al. (2019), eq. 8 and B.4.
    """
    c = jnp.asarray(c, z.dtype)
    root = jnp.sqrt(c)
    length = jnp.sqrt(jnp.sum(weight * weight, 0) + jnp.finfo(z.dtype).tiny)
    t = jnp.clip(2 * root * length * bias, -MAX_OFFSET, MAX_OFFSET)
    planes = jnp.concatenate([-jnp.sinh(t)[None], (jnp.cosh(t) / length)[None] * weight])
    return _arcsinh(jnp.matmul(z, root * planes, precision="highest")) / root


@jax.custom_jvp
def _arcsinh(y):
    """jnp.arcsinh, whose derivative (1 + y^2)^-1/2 is 0 in float32 beyond 2e19: far points, far hyperplanes."""
    return jnp.arcsinh(y)


@_arcsinh.defjvp
def _arcsinh_jvp(primals, tangents):
    (y,), (dy,) = primals, tangents
    inverse = 1 / jnp.maximum(jnp.abs(y), 1.0)
    slope = inverse * jax.lax.rsqrt(jnp.square(inverse) + jnp.square(y * inverse))
    return _arcsinh(y), slope * dy


class Gyroplane(nnx.Module):
    """:func:`gyroplane` with learned hyperplanes: points (..., d) of the ball, or (..., d + 1), -> (..., features).

    Initialized as the paper's code: w normal with deviation 1/sqrt(3 d), b uniform in [-4, 4].

    Args:
        dim: Dimension of the space.
        features: Number of hyperplanes.
        rngs: The random numbers of flax.
    """

    def __init__(self, dim: int, features: int, rngs: nnx.Rngs):
        self.weight = nnx.Param(
            jax.random.normal(rngs.params(), (dim, features)) / (3 * dim) ** 0.5
        )
        self.bias = nnx.Param(
            jax.random.uniform(rngs.params(), (features,), minval=-4.0, maxval=4.0)
        )

    def __call__(self, z, manifold: Manifold):
        z = manifold.to_hyperboloid(z)
        return gyroplane(z, self.weight[...], self.bias[...], -manifold.curvature())


class MobiusLinear(nnx.Module):
    """Möbius affine layer b ⊕ (M ⊗ z) between spaces of one curvature (Ganea et al. 2018, section 3.2).

    b ⊕ y is the step from b whose frame components are those of log_0(y), which reads the same in every chart:
    points of ``manifold``, of dimension dim_in, -> points of the like one of dimension dim_out. b starts at the origin.

    Args:
        dim_in, dim_out: Dimensions of the spaces.
        rngs: The random numbers of flax.

    Raises:
        TypeError: when it is called with a manifold that has no like one of another dimension, such as a product or
            SO(3).
    """

    def __init__(self, dim_in: int, dim_out: int, rngs: nnx.Rngs):
        bound = dim_in**-0.5
        shape = (dim_out, dim_in)
        self.matrix = nnx.Param(
            jax.random.uniform(rngs.params(), shape, minval=-bound, maxval=bound)
        )
        self.bias = nnx.Param(jnp.zeros(dim_out))

    def __call__(self, z, manifold: Manifold):
        image, components = self.image(manifold), manifold.normal_coordinates(z)
        step = jnp.matmul(components, self.matrix[...].T, precision="highest")
        return image.expmap_frame(image.expmap_frame(image.origin(), self.bias[...]), step)

    def image(self, manifold: Manifold) -> Manifold:
        """The space that the layer's results lie in."""
        if "dim" not in {field.name for field in dataclasses.fields(manifold)}:  # type: ignore[arg-type]
            raise TypeError(f"MobiusLinear: {manifold} has no like space of another dimension")
        return dataclasses.replace(manifold, dim=self.matrix[...].shape[0])  # type: ignore[type-var]
