"""The flat torus (S^1)^d: points are d angles, wrapped to [-pi, pi), tangent vectors d velocities.

Any real angles are taken as points (they mean the same point modulo 2 pi); results are wrapped. The
metric is that of the angles, so vectors behave as in :mod:`~geodl.manifolds.euclidean`, whose
functions stand here unchanged.

Numerics. Differences across the seam at +-pi are formed from the angles turned to the seam, y + pi
and x - pi, and with pi in two parts, so that they keep their relative precision there too. At
distance pi in a coordinate (the cut locus) the direction taken is the negative one.
"""

import math
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from geodl._core.checks import as_shape, primitive
from geodl._core.records import register_record
from geodl._core.reductions import dot, safe_norm, scale
from geodl.manifolds.base import ModuleManifold, Winding
from geodl.manifolds.euclidean import (  # noqa: F401
    egrad_to_rgrad,
    from_frame,
    inner,
    logdetexp,
    norm,
    origin,
    project_tangent,
    tangent_basis,
    to_frame,
    transport,
)


Vector = Float[Array, "*#batch d"]
Scalar = Float[Array, "*#batch"]

_PI = {  # of each float type: pi, and what is missing to it
    4: (float(np.float32(np.pi)), np.pi - float(np.float32(np.pi))),
    8: (np.pi, 1.2246467991473532e-16),
}


def _difference(x, y):
    """y - x modulo 2 pi, in [-pi, pi)."""
    high, low = _PI[x.dtype.itemsize]
    turns = jnp.round((y - x) / (2 * np.pi))
    w = ((y - high * turns) - low * turns) - ((x + high * turns) + low * turns)
    w = jnp.where(w >= np.pi, w - 2 * np.pi, w)
    return jnp.where(w < -np.pi, w + 2 * np.pi, w)


@primitive("x", "v")
def expmap(x: Vector, v: Vector) -> Vector:
    """x + v, wrapped."""
    return _difference(-v, x)


@primitive("x", "a")
def expmap_frame(x: Vector, a: Vector) -> Vector:
    """x + a, wrapped."""
    return _difference(-a, x)


@primitive("x", "y")
def logmap(x: Vector, y: Vector) -> Vector:
    """y - x, wrapped."""
    return _difference(x, y)


@primitive("x", "y")
def dist(x: Vector, y: Vector) -> Scalar:
    """Norm of the wrapped difference, gradient 0 at x = y."""
    return safe_norm(_difference(x, y))


@primitive("x", "y")
def sqdist(x: Vector, y: Vector) -> Scalar:
    """Squared norm of the wrapped difference."""
    w = _difference(x, y)
    return dot(w, w)


@primitive("x", "y")
def geodesic(t: Scalar, x: Vector, y: Vector) -> Vector:
    """x + t times the wrapped difference, wrapped."""
    return expmap(x, scale(t, logmap(x, y)))


@primitive("x")
def project(x: Vector) -> Vector:
    """The same angles, wrapped to [-pi, pi)."""
    return _difference(jnp.zeros_like(x), x)


def random_uniform(
    key: Array, shape: int | tuple[int, ...], dtype: DTypeLike | None = None
) -> Array:
    """Points of the given full shape (..., d), uniform on the torus."""
    return jax.random.uniform(key, as_shape(shape), dtype, minval=-np.pi, maxval=np.pi)


@register_record
@dataclass(frozen=True)
class Torus(ModuleManifold):
    """The flat torus (S^1)^dim as a :class:`~geodl.manifolds.base.Manifold`."""

    dim: int = field(metadata={"static": True})

    winding = Winding("coordinates")
    embedded = False
    frame_is_parallel = True

    def curvature(self):
        return 0.0

    def log_volume(self):
        """dim log(2 pi)."""
        return self.dim * math.log(2 * math.pi)

    def log_volume_element(self, x):
        """0: the metric is that of the angles."""
        return norm(x, jnp.zeros_like(x))

    def frame_divergence(self, x, a):
        """0: the frame is that of the angles."""
        return logdetexp(x, a)

    def coordinates(self, x):
        """cos x and sin x, (..., 2 dim)."""
        return jnp.concatenate([jnp.cos(x), jnp.sin(x)], -1)
