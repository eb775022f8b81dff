"""What the normal laws on manifolds share: parameters, shapes, checks."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from geodl.distributions.uniform import check_point
from geodl.manifolds import Manifold, Point
from geodl.manifolds._numerics import check, float_dtype, is_concrete


class LocationScale(distrax.Distribution):
    """A law on a manifold around ``loc``, with ``scale`` a scalar or an array with a trailing axis.

    All leading axes, those of ``loc`` before the point's, of ``scale`` before its last and of the
    manifold's curvature, are batch axes and broadcast. Half-precision parameters become float32.
    """

    def __init__(
        self,
        manifold: Manifold,
        loc: ArrayLike | tuple,
        scale: ArrayLike,
        widths: tuple[int, ...],
    ):
        super().__init__()
        name = type(self).__name__
        loc, scale = jax.tree.map(jnp.asarray, loc), jnp.asarray(scale)
        leaves = jax.tree.leaves((manifold, loc, scale))
        dtype = jnp.promote_types(float_dtype(*leaves), jnp.float32)
        self._manifold, self._loc, self._scale = jax.tree.map(
            lambda a: jnp.asarray(a, dtype), (manifold, loc, scale)
        )
        jax.tree.map(lambda p, shape: check_point(name, p, shape), self._loc, self.event_shape)
        if scale.ndim and scale.shape[-1] not in widths:
            sizes = " or ".join(map(str, sorted(set(widths))))
            raise ValueError(
                f"{name}: scale must be a scalar or have a last axis of {sizes}, got {scale.shape}"
            )
        check((self._scale > 0) & (self._scale < jnp.inf), f"{name}: scale must be positive", scale)
        if is_concrete(*leaves):
            manifold.sqdist(self._loc, self._loc)  # raises where loc is off the manifold

    @property
    def manifold(self) -> Manifold:
        """The manifold's record."""
        return self._manifold

    @property
    def loc(self) -> Point:
        """The centre, as given."""
        return self._loc

    @property
    def scale(self) -> Array:
        """Geodesic units, as given."""
        return self._scale

    @property
    def event_shape(self) -> tuple:
        """Shape of one point."""
        return self._manifold.event_shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Broadcast leading axes of loc, scale and curvature."""
        locs = self._manifold.batch_shape(self._loc)
        curvatures = [jnp.shape(c) for c in jax.tree.leaves(self._manifold)]
        return np.broadcast_shapes(locs, self._scale.shape[:-1], *curvatures)

    def mean(self) -> Point:
        """The Fréchet mean, loc: the law is symmetric about it."""
        batch = self.batch_shape
        return jax.tree.map(
            lambda p, shape: jnp.broadcast_to(p, (*batch, *shape)), self._loc, self.event_shape
        )
