"""What the normal distributions on manifolds share: parameters, shapes, checks."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from geodl._core import display
from geodl._core.checks import check, float_dtype, with_axes
from geodl.distributions._base import OnManifold
from geodl.distributions._checks import as_points, check_no_column, points_on
from geodl.manifolds import Manifold, Point


class LocationScale(OnManifold):
    """A distribution on a manifold around ``loc``, with ``scale`` a scalar or an array with a trailing axis.

    All leading axes, those of ``loc`` before the point's, of ``scale`` before its last and of the
    manifold's curvature, are batch axes and broadcast. Half-precision parameters become float32.

    All parameters are kept with the same number of batch axes, a scalar ``scale`` as (1,): so distributions that
    ``vmap`` or a stack puts together have the new axis first in each of them, and are a batch.
    """

    def __init__(
        self, manifold: Manifold, loc: ArrayLike | tuple, scale: ArrayLike, widths: tuple[int, ...]
    ):
        name = type(self).__name__
        loc, scale = as_points(name, manifold.event_shape, loc), jnp.asarray(scale)
        if scale.ndim and scale.shape[-1] not in widths:
            sizes = " or ".join(map(str, sorted(set(widths))))
            raise ValueError(
                f"{name}: scale must be a scalar or have a last axis of {sizes}, got {scale.shape}"
            )
        dtype = jnp.promote_types(
            float_dtype(*jax.tree.leaves((manifold, loc, scale))), jnp.float32
        )
        arrays = jax.tree.map(lambda a: jnp.asarray(a, dtype), (manifold, loc, scale))
        manifold, self._loc, scale = _with_equal_axes(name, *arrays)
        super().__init__(manifold)
        points_on(f"{name}: loc", manifold, self._loc)
        valid = (scale > 0) & (scale < jnp.inf)
        check(valid, f"{name}: scale must be positive and finite", scale)
        self._scale = jnp.where(valid, scale, jnp.nan)

    def __repr__(self) -> str:
        loc, scale = display.kind(self._loc), display.kind(self._scale)
        return f"{type(self).__name__}({self._manifold}, loc {loc}, scale {scale})"

    @property
    def loc(self) -> Point:
        """The center."""
        return self._loc

    @property
    def scale(self) -> Array:
        """Standard deviations (..., 1) or (..., dim), in geodesic units."""
        return self._scale

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Broadcast leading axes of loc, scale and curvature."""
        locs = self._manifold.batch_shape(self._loc)
        curvatures = [jnp.shape(c) for c in jax.tree.leaves(self._manifold)]
        return np.broadcast_shapes(locs, self._scale.shape[:-1], *curvatures)

    def mean(self) -> Point:
        """The Fréchet mean, loc: the distribution is symmetric about it."""
        batch = self.batch_shape
        return jax.tree.map(
            lambda p, shape: jnp.broadcast_to(p, (*batch, *shape)), self._loc, self.event_shape
        )


def _with_equal_axes(name: str, manifold: Manifold, loc: Point, scale: Array):
    """The parameters with as many batch axes in each."""
    curvatures = [c.shape for c in jax.tree.leaves(manifold)]
    batch = np.broadcast_shapes(manifold.batch_shape(loc), scale.shape[:-1])
    for shape in curvatures:
        check_no_column(name, "the curvature", shape, batch)
    axes = len(np.broadcast_shapes(batch, *curvatures))
    return (
        jax.tree.map(lambda c: with_axes(c, axes), manifold),
        jax.tree.map(lambda p, s: with_axes(p, axes + len(s)), loc, manifold.event_shape),
        with_axes(scale, axes + 1),
    )
