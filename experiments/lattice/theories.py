"""Field theories on a periodic square lattice: action, observables, and where a flow begins.

A configuration is an array (..., n): of phi^4 the values of the field at the sites, of U(1) the angles of the links,
first those along axis 0 of all sites, then those along axis 1.
"""

from dataclasses import dataclass

import distrax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.lattice.plaquettes import IndependentPlaquettes
from geodl.distributions import WrappedNormal
from geodl.equivariant import lattice
from geodl.manifolds import Euclidean, Torus


@dataclass(frozen=True)
class Phi4:
    """A real scalar field, S = sum_x sum_mu (phi_x - phi_(x+mu))^2 + m2 phi_x^2 + lam phi_x^4.

    Attributes:
        size: Sites along an axis, even.
        m2: The mass squared, of either sign.
        lam: The coupling, positive.
    """

    size: int = 8
    m2: float = -4.0
    lam: float = 8.0

    def __post_init__(self):
        check_size(self.size)
        if not np.isfinite(self.m2):
            raise ValueError(f"m2 must be finite, got {self.m2}")
        if not self.lam > 0:
            raise ValueError(
                f"lam must be positive for the action to have a least value, got {self.lam}"
            )

    @property
    def manifold(self) -> Euclidean:
        """Of the configurations."""
        return Euclidean(self.size**2)

    def base(self) -> distrax.Distribution:
        """Independent normal values, about as wide as those of the theory."""
        return WrappedNormal(self.manifold, jnp.zeros(self.size**2), 0.5)

    def action(self, phi: Array) -> Array:
        """S (...)."""
        phi = self._lattice(phi)
        steps = [phi - jnp.roll(phi, -1, axis) for axis in (-1, -2)]
        local = self.m2 * phi**2 + self.lam * phi**4
        return jnp.sum(local + steps[0] ** 2 + steps[1] ** 2, (-1, -2))

    def observables(self, phi: Array) -> dict[str, Array]:
        """What is averaged: |M| with M the mean of phi, the susceptibility V M^2, and the two-point function.

        G(r) = 1/L sum_t Phi_t Phi_(t+r), Phi_t the sum over a line of sites over sqrt(L): that at no momentum across.
        Both axes are averaged. Its sum over r is V M^2.
        """
        phi, n = self._lattice(phi), self.size
        mean = jnp.mean(phi, (-1, -2))
        lines = jnp.stack([jnp.sum(phi, axis) / n**0.5 for axis in (-1, -2)], -2)
        two = jnp.stack(
            [jnp.mean(lines * jnp.roll(lines, -r, -1), (-1, -2)) for r in range(n // 2 + 1)], -1
        )
        return {
            "magnetization": jnp.abs(mean),
            "susceptibility": n**2 * mean**2,
            "two-point": two,
        }

    def _lattice(self, phi):
        return phi.reshape(*phi.shape[:-1], self.size, self.size)


@dataclass(frozen=True)
class U1:
    """Compact U(1) gauge theory, S = -beta sum_x cos P_x, P_x the angle of the plaquette at x.

    Attributes:
        size: Sites along an axis, even.
        beta: The inverse coupling, positive.
        start: That of the independent plaquettes with which a flow begins; 0 for links by the Haar measure.
    """

    size: int = 8
    beta: float = 4.0
    start: float = 3.0

    def __post_init__(self):
        check_size(self.size)
        if not self.beta > 0:
            raise ValueError(f"beta must be positive, got {self.beta}")
        if not self.start >= 0:
            raise ValueError(f"start must be at least 0, got {self.start}")

    @property
    def manifold(self) -> Torus:
        """Of the configurations."""
        return Torus(2 * self.size**2)

    def base(self) -> distrax.Distribution:
        """Of the links."""
        return IndependentPlaquettes(self.size, self.start)

    def action(self, theta: Array) -> Array:
        """S (...)."""
        return -self.beta * jnp.sum(jnp.cos(self.plaquettes(theta)), -1)

    def plaquettes(self, theta: Array) -> Array:
        """Angles (..., V), not wrapped."""
        links = theta.reshape(*theta.shape[:-1], 2, self.size, self.size)
        return lattice.plaquettes(links).reshape(*theta.shape[:-1], -1)

    def observables(self, theta: Array) -> dict[str, Array]:
        """What is averaged: the plaquette cos P, and the topological susceptibility Q^2 / V, 2 pi Q the sum of P."""
        angles = self.plaquettes(theta)
        charge = jnp.sum(lattice.wrap(angles), -1) / (2 * jnp.pi)
        return {
            "plaquette": jnp.mean(jnp.cos(angles), -1),
            "topological susceptibility": charge**2 / self.size**2,
        }

    def exact(self) -> dict[str, float]:
        """The observables' means by the sum over characters, Z = sum_n c_n^V, c_n = E exp(i n P) of one plaquette.

        The constraint that the sum of P is 2 pi Q makes each of the V plaquettes, else independent with the density
        exp(beta cos P), a factor exp(i n P); moments of Q are those of the sum of P under these factors.
        """
        volume, n = self.size**2, np.arange(-40, 41)[:, None]
        node, weight = np.polynomial.legendre.leggauss(400)
        p = np.pi * node
        weight = weight * np.exp(self.beta * (np.cos(p) - 1))
        wave = np.exp(1j * n * p) * weight / np.sum(weight)
        c, cosine, first, second = (
            np.sum(wave * f, 1) for f in (np.ones_like(p), np.cos(p), p, p**2)
        )
        one = c ** (volume - 1)
        squares = volume * (one * second + (volume - 1) * c ** (volume - 2) * first**2)
        means = np.array([np.sum(one * cosine), np.sum(squares) / (4 * np.pi**2 * volume)])
        plaquette, susceptibility = np.real(means) / np.real(np.sum(c**volume))
        return {"plaquette": float(plaquette), "topological susceptibility": float(susceptibility)}


def check_size(size: int) -> None:
    """Raise where a lattice has no checkerboard: an odd or too small number of sites along an axis."""
    if size < 4 or size % 2:
        raise ValueError(
            f"a lattice has an even number of sites along an axis, 4 or more, got {size}"
        )
