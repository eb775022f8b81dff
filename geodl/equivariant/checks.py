"""How equivariant a network is, by exact rotations of its input's coefficients."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, PRNGKeyArray

from geodl._core.records import as_pytree
from geodl._core.reductions import safe_norm
from geodl.equivariant.harmonics import Grid, gauss_legendre, rotator, sphere_transform
from geodl.manifolds import SO3


class EquivarianceGap(NamedTuple):
    """What :func:`equivariance_gap` has measured, for inputs of fewer and of more degrees: a row for each."""

    degrees: tuple[int, ...]
    """of the inputs"""
    mean: Float[Array, " rows"]
    """|Phi(Q f) - Q Phi(f)| / |Phi(f)|, norms of vectors, of pictures those of coefficients; the mean over all"""
    worst: Float[Array, " rows"]
    """the largest of them"""
    flips: Float[Array, " rows"]
    """share of inputs whose largest entry (the class of logits) changes; for pictures, of the pixels"""


def equivariance_gap(
    net: Callable[[Array], Array],
    x: Float[Array, "batch rings longitudes channels"],
    key: PRNGKeyArray,
    grid: Grid | None = None,
    degrees: Sequence[int] | None = None,
    rotations: int = 4,
) -> EquivarianceGap:
    """How far a network is from commuting with rotations of the sphere, by rotations that are exact, in coefficients.

    An image of few degrees rotates without any interpolation, so that what is measured is the network's own: 1e-7 for
    linear layers in float32, more where a nonlinearity acts on a grid (less on a finer one), of order 1 for a planar
    network.

    Args:
        net: from images (batch, rings, longitudes, channels) to vectors (batch, entries), which should not change, or
            to images (batch, rings, longitudes, entries) on the same grid, which should rotate. ``net.bind(params)``
            of a network; any function will do.
        x: images (batch, rings, longitudes, channels).
        key: of the random rotations, the same for every row.
        grid: of the images, by default Gauss and Legendre's.
        degrees: the inputs are cut to these numbers of degrees in turn, one row each: how the gap depends on the
            resolution. By default a quarter and a half of those that the grid carries, and all of them.
        rotations: number of rotations of each image.

    Returns:
        The gaps, and the share of changed classes, one row for each number of degrees.

    Raises:
        ValueError: Images that are not on the grid, other degrees than 2 to those that it carries, or a result of
            another kind.

    Reference:
        Cohen, Geiger, Koehler & Welling, *Spherical CNNs* (2018), section 5.1.
    """
    if jnp.ndim(x) != 4:
        raise ValueError(
            f"equivariance_gap: images (batch, rings, longitudes, channels) are needed, got {jnp.shape(x)}"
        )
    grid = gauss_legendre(x.shape[1]) if grid is None else grid
    most = grid.degrees
    degrees = [d for d in (most // 4, most // 2, most) if d > 1] if degrees is None else degrees
    if not all(2 <= d <= most for d in degrees):
        raise ValueError(f"equivariance_gap: degrees must be 2 to {most}, got {tuple(degrees)}")
    transform, turn = sphere_transform(most, grid, x.dtype), rotator(most, x.dtype)
    turns = SO3().random_uniform(key, (rotations,), dtype=x.dtype)
    coefficients = transform.analysis(jnp.moveaxis(x, -1, 1))
    tables = (transform, turn, coefficients)
    rows = [_gap(as_pytree(net), tables, turns, np.arange(most**2) < d**2) for d in degrees]
    mean, worst, flips = (jnp.stack(column) for column in zip(*rows, strict=True))
    return EquivarianceGap(tuple(degrees), mean, worst, flips)


@jax.jit
def _gap(net, tables, turns, kept):
    """Mean, worst and flips, over rotations and inputs of the coefficients that are kept."""
    transform, turn, coefficients = tables
    coefficients = jnp.where(kept, coefficients, 0)

    def result(coefficients):
        y = net(jnp.moveaxis(transform.synthesis(coefficients), 1, -1))
        if y.ndim == 2:
            return y
        if y.shape[1:-1] != transform.grid.shape:
            raise ValueError(
                "equivariance_gap: the network must give vectors (batch, entries) or images (batch, "
                f"{transform.grid.shape}, entries), got {y.shape}"
            )
        return transform.analysis(jnp.moveaxis(y, -1, 1))

    def labels(y):
        return jnp.argmax(y if y.ndim == 2 else transform.synthesis(y), 1)

    plain = result(coefficients)
    scale = _norms(plain)

    def at(rotation):
        rotated = result(turn.sphere(coefficients, rotation))
        expected = plain if plain.ndim == 2 else turn.sphere(plain, rotation)
        flips = jnp.mean(labels(rotated) != labels(expected))
        return _norms(rotated - expected) / scale, flips

    gaps, flips = jax.lax.map(at, turns)
    return jnp.mean(gaps), jnp.max(gaps), jnp.mean(flips)


def _norms(y):
    """Of each result."""
    return safe_norm(y.reshape(len(y), -1))
