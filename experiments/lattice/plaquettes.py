"""Links of which the plaquettes are as independent as a periodic lattice lets them be."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.special import ive

from geodl.equivariant import lattice
from geodl.manifolds import Torus


CELLS = 2**14  # of a table of the von Mises distribution function


class IndependentPlaquettes(distrax.Distribution):
    """Von Mises plaquettes, moved together so that they sum to a multiple of 2 pi; gauge and holonomies uniform.

    P' = P - r / V with P independent, of a density f that is exp(beta cos P) up to a factor, and r the sum of P,
    wrapped. The change of variables from P to (P', r) has determinant 1, so that the density of P' is the integral of
    prod_x f(P'_x + r / V) over r in [-pi, pi], here by quadrature. It has all symmetries of the lattice, and charges Q
    as the theory has them.
    """

    def __init__(self, size: int, beta: float):
        super().__init__()
        self._size, self._beta = size, beta

    @property
    def manifold(self) -> Torus:
        """Of the links."""
        return Torus(2 * self._size**2)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Of the links."""
        return (2 * self._size**2,)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Empty."""
        return ()

    def log_prob(self, value: Array) -> Array:
        """With respect to the volume of the torus."""
        size, volume = self._size, self._size**2
        p = lattice.wrap(lattice.plaquettes(value.reshape(*value.shape[:-1], 2, size, size)))
        node, weight = np.polynomial.legendre.leggauss(16)
        shift = jnp.asarray(np.pi * node / volume, p.dtype)
        angle = p.reshape(*p.shape[:-2], 1, volume) + shift[:, None]
        log_f = self._beta * (jnp.cos(angle) - 1) - np.log(2 * np.pi * ive(0, self._beta))
        of_node = jnp.sum(log_f, -1) + jnp.asarray(np.log(np.pi * weight), p.dtype)
        return jax.nn.logsumexp(of_node, -1) - (volume + 1) * np.log(2 * np.pi)

    def _sample_n(self, key, n):
        size, volume = self._size, self._size**2
        of_angles, of_gauge, of_loops = jax.random.split(key, 3)
        edges = np.linspace(-np.pi, np.pi, CELLS + 1)
        middle = (edges[1:] + edges[:-1]) / 2
        below = np.cumsum(np.exp(self._beta * (np.cos(middle) - 1)))
        below = np.concatenate([[0], below / below[-1]])
        uniform = jax.random.uniform(of_angles, (n, volume))
        p = jnp.interp(
            uniform, jnp.asarray(below, uniform.dtype), jnp.asarray(edges, uniform.dtype)
        )
        total = jnp.sum(p, 1, keepdims=True)
        p = (p - lattice.wrap(total) / volume).at[:, :1].add(lattice.wrap(total) - total)
        # D^T (D D^T)^-1: links with these plaquettes, which sum to 0 now
        wave = 2 - 2 * np.cos(2 * np.pi * np.arange(size) / size)
        symbol = wave[:, None] + wave
        inverse = np.divide(1, symbol, out=np.zeros_like(symbol), where=symbol > 0)
        u = jnp.fft.ifft2(jnp.fft.fft2(p.reshape(n, size, size)) * inverse).real
        theta = lattice.circulation(u.astype(p.dtype))
        theta += jax.random.uniform(of_loops, (n, 2, 1, 1), minval=-np.pi, maxval=np.pi)
        alpha = jax.random.uniform(of_gauge, (n, size, size), minval=-np.pi, maxval=np.pi)
        return lattice.gauge_transform(theta, alpha).reshape(n, -1)
