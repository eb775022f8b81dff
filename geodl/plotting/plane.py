"""The Euclidean plane as a chart: the counterpart of ``Disk``."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from geodl.plotting import _checks


@dataclass(frozen=True)
class Plane:
    """The window [-limit, limit]^2 of the plane.

    Raises:
        ValueError: on construction, unless limit is positive and finite.
    """

    limit: float

    def __post_init__(self):
        if not (np.isfinite(self.limit) and self.limit > 0):
            raise ValueError(f"limit is {self.limit}; expected a positive number")

    def boundary(self) -> Rectangle:
        """The window's edge, as an unfilled patch."""
        return Rectangle((-self.limit, -self.limit), 2 * self.limit, 2 * self.limit, fill=False)

    def contains(self, x: ArrayLike) -> Bool[np.ndarray, "*batch"]:
        """Whether points (..., 2) lie inside the window."""
        return np.max(np.abs(_checks.planar(x, "x")), axis=-1) < self.limit

    def geodesic(
        self, x: ArrayLike, y: ArrayLike, steps: int = 2
    ) -> Float[np.ndarray, "*batch steps 2"]:
        """Straight segments, as equally spaced points.

        Args:
            x: starts (..., 2).
            y: ends (..., 2).
            steps: points of a segment.

        Returns:
            Points (..., steps, 2).
        """
        start, end = (_checks.planar(z, name)[..., None, :] for z, name in ((x, "x"), (y, "y")))
        t = np.linspace(0.0, 1.0, steps)[:, None]
        return (1 - t) * start + t * end

    def hyperplane(
        self, w: ArrayLike, b: ArrayLike, steps: int = 3
    ) -> Float[np.ndarray, "*batch steps 2"]:
        """Lines through p = w b, normal to w, longer than any chord of the window.

        The zero set of a linear unit <w, z> + beta is the line with b = -beta / |w|^2.

        Args:
            w: weights (..., 2).
            b: offsets (...,), one per weight.
            steps: points per line; the middle is p.

        Returns:
            Points (..., steps, 2).

        Raises:
            ValueError: if the shapes do not match or a weight is zero.
        """
        normal, tangent, offset = _checks.hyperplane(w, b)
        t = 3 * self.limit * np.linspace(-1.0, 1.0, steps)[:, None]
        return offset[..., None, None] * normal[..., None, :] + t * tangent[..., None, :]
