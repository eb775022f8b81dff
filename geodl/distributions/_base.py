"""What every distribution of this package is: one on a manifold."""

from geodl._core import distrax
from geodl.manifolds import Manifold


class OnManifold(distrax.Distribution):
    """A distribution of points of ``manifold``, a single one unless it says which ``batch_shape`` it has."""

    def __init__(self, manifold: Manifold):
        super().__init__()
        self._manifold = manifold

    @property
    def manifold(self) -> Manifold:
        """The manifold's record."""
        return self._manifold

    @property
    def event_shape(self) -> tuple:
        """Shape of one point (on a product, the tuple of its factors')."""
        return self._manifold.event_shape

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Empty, unless the parameters have leading axes."""
        return ()

    def _sample_n(self, key, n):
        return self._sample_n_and_log_prob(key, n)[0]
