"""The Poincaré disk of sectional curvature -c as a chart: what ``latent`` needs to draw on it."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float
from matplotlib.patches import Circle
from numpy.typing import ArrayLike

from geodl.manifolds import PoincareBall
from geodl.plotting import _checks


@jax.jit  # one compilation instead of one an operation
def _geodesic(ball: PoincareBall, t: Array, x: Array, y: Array) -> Array:
    # float64 points next to the edge may round onto it in float32, hence the projection
    return ball.geodesic(t, ball.project(x), ball.project(y))


@dataclass(frozen=True)
class Disk:
    """The disk |x| < 1/sqrt(c).

    Raises:
        ValueError: on construction, unless c is positive and finite.
    """

    c: float = 1.0

    def __post_init__(self):
        if not (np.isfinite(self.c) and self.c > 0):
            raise ValueError(f"c is {self.c}; expected a positive number (the curvature is -c)")

    @property
    def limit(self) -> float:
        """Half the width of the chart: the disk's radius 1/sqrt(c)."""
        return float(1 / np.sqrt(self.c))

    def boundary(self) -> Circle:
        """The circle at infinity, as an unfilled patch."""
        return Circle((0, 0), self.limit, fill=False)

    def contains(self, x: ArrayLike) -> Bool[np.ndarray, "*batch"]:
        """Whether points (..., 2) lie inside the disk."""
        return self.c * np.sum(_checks.planar(x, "x") ** 2, axis=-1) < 1

    def geodesic(
        self, x: ArrayLike, y: ArrayLike, steps: int = 65
    ) -> Float[np.ndarray, "*batch steps 2"]:
        """Geodesic segments, as points equally spaced in distance.

        Args:
            x: starts (..., 2).
            y: ends (..., 2).
            steps: points of a segment.

        Returns:
            Points (..., steps, 2).

        Raises:
            ValueError: if a last axis is not of size 2, or a point lies outside the disk.
        """
        ends = np.broadcast_arrays(_checks.planar(x, "x"), _checks.planar(y, "y"))
        for name, end in zip("xy", ends, strict=True):
            if not np.all(self.contains(end)):
                worst = np.max(np.linalg.norm(end, axis=-1))
                raise ValueError(f"{name} has a norm {worst}; expected below {self.limit}")
        start, end = (jnp.asarray(z)[..., None, :] for z in ends)
        ball = PoincareBall(2, self.c)
        return np.asarray(_geodesic(ball, jnp.linspace(0.0, 1.0, steps), start, end))

    def hyperplane(
        self, w: ArrayLike, b: ArrayLike, steps: int = 129
    ) -> Float[np.ndarray, "*batch steps 2"]:
        """Gyroplanes through p = expmap0(w b), normal to w (Mathieu et al. 2019, section 3.2).

        The plane is the arc through p that meets the boundary at right angles: a chord of the Klein
        model at height tanh(2 s), s = sqrt(c) |w| b, mapped to the disk. Unlike the circle's center
        and radius, coth(2 s) and 1 / sinh(2 s), it has no pole where the arc is a diameter.

        Args:
            w: weights (..., 2).
            b: offsets (...,), one per weight.
            steps: points per arc; the first and the last are on the boundary, the middle is p.

        Returns:
            Points (..., steps, 2).

        Raises:
            ValueError: if the shapes do not match or a weight is zero.
        """
        normal, tangent, offset = _checks.hyperplane(w, b)
        s = np.sqrt(self.c) * offset[..., None, None]
        height, half_width = np.tanh(2 * s), 1 / np.cosh(np.clip(2 * s, -700, 700))
        angle = np.linspace(-np.pi / 2, np.pi / 2, steps)[:, None]
        chord = height * normal[..., None, :] + half_width * np.sin(angle) * tangent[..., None, :]
        return self.limit * chord / (1 + half_width * np.cos(angle))
