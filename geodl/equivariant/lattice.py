"""U(1) gauge fields on periodic lattices in the plane: what commutes with local rotations of the phase.

Links are angles theta (..., 2, n, m): theta[..., mu, :, :] at x is that of the link from x to x + mu. A transformation
by angles alpha(x) at the sites takes

    theta_mu(x) -> theta_mu(x) + alpha(x) - alpha(x + mu),      psi(x) -> exp(i alpha(x)) psi(x)

for matter fields psi. Plaquettes are invariant, :func:`convolution` and :class:`GaugeCoupling` equivariant, exactly.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Complex, Float

from geodl._core import distrax
from geodl._core.checks import as_float


STRIPE = 4  # lines of sites from one active line of links to the next


def wrap(angle: ArrayLike) -> Array:
    """The angle, less a multiple of 2 pi.

    Returns:
        Angles in [-pi, pi).
    """
    angle = as_float(angle)
    return angle - 2 * math.pi * jnp.floor((angle + math.pi) / (2 * math.pi))


def plaquettes(theta: Float[Array, "*batch 2 n m"]) -> Float[Array, "*batch n m"]:
    """Circulations P(x) = theta_0(x) + theta_1(x + 0) - theta_0(x + 1) - theta_1(x), not wrapped.

    Returns:
        Angles, invariant under transformations at the sites.

    Raises:
        ValueError: Not links in two directions.
    """
    _check("plaquettes", theta)
    a, b = theta[..., 0, :, :], theta[..., 1, :, :]
    return a + _from(b, 0) - _from(a, 1) - b


def circulation(g: Float[Array, "*batch n m"]) -> Float[Array, "*batch 2 n m"]:
    """The transpose of :func:`plaquettes`: a value at each plaquette as a flow along the links around it.

    Returns:
        Changes of the links, the same in every gauge if g is.
    """
    return jnp.stack([g - jnp.roll(g, 1, -1), jnp.roll(g, 1, -2) - g], -3)


def gauge_transform(
    theta: Float[Array, "*batch 2 n m"], alpha: Float[Array, "*batch n m"]
) -> Float[Array, "*batch 2 n m"]:
    """theta_mu(x) + alpha(x) - alpha(x + mu), wrapped.

    Returns:
        The links in the other gauge.

    Raises:
        ValueError: Not links in two directions, or angles of other sites.
    """
    _check("gauge_transform", theta, alpha.shape[-2:])
    return wrap(theta + jnp.stack([alpha - _from(alpha, mu) for mu in (0, 1)], -3))


def convolution(
    theta: Float[Array, "*batch 2 n m"],
    psi: Complex[Array, "*batch n m in"],
    kernel: ArrayLike,
) -> Complex[Array, "*batch n m out"]:
    """sum_e K_e U_e(x) psi(x + e), each neighbor carried to x along the link: U_e = exp(i theta), or its inverse.

    Equivariant under local rotations of the phase, and under shifts of the lattice. A layer's nonlinearity may depend
    on |psi|, as psi tanh|psi|.

    Args:
        theta: Links, in radians.
        psi: Matter fields, features on the last axis.
        kernel: Real, (5, in, out): for the site itself, and its neighbors at +0, -0, +1, -1.

    Returns:
        Features of the same kind.

    Raises:
        ValueError: The kernel is not of that shape, or links and fields are not of one lattice.

    Reference:
        Favoni, Ipp, Müller & Schuh (2022).
    """
    _check("convolution", theta, psi.shape[-3:-1])
    kernel = jnp.asarray(kernel)
    if kernel.ndim != 3 or kernel.shape[:2] != (5, psi.shape[-1]):
        raise ValueError(
            f"lattice.convolution: the kernel must be (5, {psi.shape[-1]}, out), got {kernel.shape}"
        )
    carried = [psi]
    for mu in (0, 1):
        link = jnp.exp(1j * theta[..., mu, :, :])[..., None]
        ahead, behind = jnp.roll(psi, -1, mu - 3), jnp.conj(link) * psi
        carried += [link * ahead, jnp.roll(behind, 1, mu - 3)]
    stacked = jnp.stack(carried, -2)
    real, imag = (
        jnp.tensordot(part, kernel, 2, precision="highest") for part in (stacked.real, stacked.imag)
    )
    return real + 1j * imag


class GaugeCoupling(distrax.Bijector):
    """Links of one direction on every fourth line, moved as a map of their plaquettes: P -> f(P; frozen plaquettes).

    A link of the line changes two plaquettes. The one at its site is mapped, the other changes along; those of the two
    other lines between are frozen, and the map depends on them. f is a rational-quadratic spline of the circle, which
    has pi as a fixed point. Eight couplings, of both ``direction`` and all ``offset``, move every link. The
    log-determinant is that of f. Equivariant under local rotations of the phase, exactly.

    Reference:
        Kanwar et al. (2020).
    """

    def __init__(self, direction: int, offset: int, conditioner: Callable[[Array], Array]):
        """
        Args:
            direction: 0 or 1, of the links that are moved.
            offset: 0 to 3, the first line.
            conditioner: From cosines and sines of the frozen plaquettes, (..., n, m, 2), 0 at all others, to the
                spline's parameters (..., n, m, 3 bins + 1) at all sites; 0 is the identity.

        Raises:
            ValueError: There is no such direction or offset.
        """
        if direction not in (0, 1) or offset not in range(STRIPE):
            raise ValueError(
                f"GaugeCoupling: direction is 0 or 1 and offset 0 to {STRIPE - 1}, got {direction} and {offset}"
            )
        super().__init__(event_ndims_in=3)
        self._direction, self._offset, self._conditioner = direction, offset, conditioner

    def forward_and_log_det(self, x: ArrayLike) -> tuple[Array, Array]:
        """The moved links (..., 2, n, m), and the log-determinant (...)."""
        return self._move(jnp.asarray(x), "forward_and_log_det")

    def inverse_and_log_det(self, y: ArrayLike) -> tuple[Array, Array]:
        """The links that are moved to y, and the log-determinant of the inverse."""
        return self._move(jnp.asarray(y), "inverse_and_log_det")

    def _move(self, theta, way):
        p = wrap(plaquettes(theta))
        line = self._lines(p.shape[-2:])
        frozen = ((line == 1) | (line == 2)).astype(p.dtype)
        seen = jnp.stack([jnp.cos(p), jnp.sin(p)], -1) * frozen[..., None]
        spline = distrax.RationalQuadraticSpline(
            self._conditioner(seen), -math.pi, math.pi, "circular"
        )
        moved, log_det = getattr(spline, way)(p)
        active = line == 0
        change = jnp.where(active, moved - p, 0)
        # of its own plaquette a link along axis 0 is the first, one along axis 1 the last, backwards
        signed = (
            (change, jnp.zeros_like(p)) if self._direction == 0 else (jnp.zeros_like(p), -change)
        )
        return wrap(theta + jnp.stack(signed, -3)), jnp.sum(jnp.where(active, log_det, 0), (-1, -2))

    def _lines(self, shape):
        """Which line of the stripe each site is on (n, m), the active one being 0."""
        across = 1 - self._direction
        if shape[across] % STRIPE:
            raise ValueError(
                f"GaugeCoupling: the lattice must have a multiple of {STRIPE} sites along each axis, got {shape}"
            )
        line = (jnp.arange(shape[across]) - self._offset) % STRIPE
        return jnp.broadcast_to(line[None] if across else line[:, None], shape)


def _check(name, theta, sites=None):
    """Raise for what are not links in two directions, of a lattice of (n, m) sites where they are given."""
    lattice = theta.shape[-2:] if sites is None else sites
    if theta.shape[-3:] != (2, *lattice):
        raise ValueError(
            f"lattice.{name}: links (..., 2, {', '.join(map(str, sites or ('n', 'm')))}) are needed, got {theta.shape}"
        )


def _from(f, mu):
    """f(x + mu), of the last two axes."""
    return jnp.roll(f, -1, mu - 2)
