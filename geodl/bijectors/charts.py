"""Charts R^d -> manifold as bijectors: ``distrax.Transformed(q, chart)`` carries q on R^d to the manifold.

Log-determinants are those of the differential between orthonormal frames of R^d and of the manifold, so
that ``log_prob`` is with respect to the Riemannian volume.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from geodl._core import distrax
from geodl._core.checks import as_float, float_dtype
from geodl._core.reductions import dot
from geodl.manifolds import Manifold, sphere


class Stereographic(distrax.Bijector):
    """R^dim to S^dim without -origin, inverse of the stereographic projection (``sphere.from_stereographic``).

    log det = dim (log 2 - log(1 + |p|^2)) (Gemici, Rezende & Mohamed 2016).
    """

    def __init__(self, dim: int):
        """Raises ``ValueError`` for dim < 1."""
        super().__init__(event_ndims_in=1)
        if dim < 1:
            raise ValueError(f"Stereographic: dim must be at least 1, got {dim}")
        self._dim = dim

    def forward_and_log_det(self, x: ArrayLike) -> tuple[Array, Array]:
        """Points (..., dim + 1) from coordinates (..., dim), and the log-determinant (...)."""
        x = as_float(x)
        _check_width("Stereographic.forward", x, (self._dim,))
        return sphere.from_stereographic(x), self._log_det(x)

    def inverse_and_log_det(self, y: ArrayLike) -> tuple[Array, Array]:
        """Coordinates (..., dim) of points (..., dim + 1), and minus the log-determinant there."""
        y = as_float(y)
        _check_width("Stereographic.inverse", y, (self._dim + 1,))
        x = sphere.to_stereographic(y)
        return x, -self._log_det(x)

    def _log_det(self, x):
        return self._dim * (np.log(2).astype(x.dtype) - jnp.log1p(dot(x, x)))


class ExponentialMap(distrax.Bijector):
    """Normal coordinates at the origin: frame components a (..., dim) of a tangent vector to expmap of it.

    A bijection onto hyperbolic and Euclidean space. On sphere, torus and SO(3) only the coordinates within
    the injectivity radius (|a| < pi; on the torus each of them in [-pi, pi)) are the ones that ``inverse``
    gives: a distribution on R^dim with mass beyond loses it in ``Transformed.log_prob``, which then integrates to
    less than one (``WrappedNormal`` counts all windings).
    """

    def __init__(self, manifold: Manifold):
        """Raises ``ValueError`` for a product, whose points are tuples."""
        if any(isinstance(n, tuple) for n in manifold.event_shape):
            raise ValueError(f"ExponentialMap: points must be arrays, not tuples, got {manifold}")
        super().__init__(event_ndims_in=1, event_ndims_out=len(manifold.event_shape))
        self._manifold = manifold

    @property
    def manifold(self) -> Manifold:
        """The manifold's record."""
        return self._manifold

    def forward_and_log_det(self, x: ArrayLike) -> tuple[Array, Array]:
        """Points (..., *event_shape) from components (..., dim), and the log-determinant (...)."""
        x = as_float(x)
        _check_width("ExponentialMap.forward", x, (self._manifold.dim,))
        y = jnp.asarray(self._manifold.expmap_frame(self._manifold.origin(x.dtype), x))
        return y, self._log_det(x)

    def inverse_and_log_det(self, y: ArrayLike) -> tuple[Array, Array]:
        """The shortest components (..., dim) of points (..., *event_shape), and minus the log-determinant."""
        y = as_float(y)
        _check_width("ExponentialMap.inverse", y, self._manifold.event_shape)
        x = self._manifold.normal_coordinates(y).astype(float_dtype(y))
        return x, -self._log_det(x)

    def _log_det(self, x):
        return self._manifold.logdetexp_frame(self._manifold.origin(x.dtype), x)


def _check_width(name, x, shape):
    if x.shape[x.ndim - len(shape) :] != shape:
        raise ValueError(f"{name}: an array (..., {shape}) is needed, got {x.shape}")
