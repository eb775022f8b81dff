"""Kernels that obey the constraint of steerable and gauge layers, as modules with weights."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from geodl.equivariant.fields import FieldType
from geodl.equivariant.groups import Representation


# Standard deviations of the Gaussian rings in pixels. Of a wide outermost ring the square would cut off a part.
_WIDTH, _OUTERMOST_WIDTH = 0.6, 0.4


@functools.cache
def kernel_basis(
    of: Representation, to: Representation, degree: int
) -> tuple[np.ndarray, np.ndarray]:
    """The kernels k(g x) = rho_to(g) k(x) rho_of(g)^-1 that are harmonic polynomials up to a degree.

    Args:
        of, to: Representations of one group.
        degree: The highest degree of the harmonics Y_y (``group.harmonics``).

    Returns:
        tensors: (n, Y, d_to, d_of), a basis: k(x) = sum_y Y_y(x) tensor[y].
        degrees: (n,) the degree of each, so that a factor phi(|x|) of any shape goes with it.
    """
    if of.group != to.group:
        raise ValueError(f"kernel_basis: one group is needed, got {of.group} and {to.group}")
    tensors, degrees = [], []
    for irrep_to, rows in zip(to.irreps, to.slices, strict=True):
        for irrep_of, columns in zip(of.irreps, of.slices, strict=True):
            tensor, j = of.group.intertwiners(irrep_of, irrep_to, degree)
            tensors.append(to.basis[:, rows] @ tensor @ of.basis[:, columns].T)
            degrees.append(j)
    return np.concatenate(tensors), np.concatenate(degrees)


@functools.cache
def image_basis(of, to, side):
    """Kernels (n, side^2, d_of, d_to), each of norm sqrt(d_to)."""
    x = pixels(side)
    tensors, degrees = kernel_basis(of, to, side - 1)
    r = np.linalg.norm(x, axis=-1)
    direction = x / np.where(r, r, 1)[:, None]
    # A ring of radius r carries waves up to 2 r, and the center has no direction.
    angular = np.einsum("sy,nyji->nsij", of.group.harmonics(direction, side - 1), tensors)
    angular[degrees > 0] *= (r > 0)[:, None, None]
    parts = []
    for radius in range((side + 1) // 2):
        width = _OUTERMOST_WIDTH if 0 < radius == side // 2 else _WIDTH
        ring = np.exp(-((r - radius) ** 2) / (2 * width**2))
        parts.append(ring[:, None, None] * angular[degrees <= 2 * radius])
    basis = np.concatenate(parts)
    norms = np.sqrt(np.sum(basis**2, (1, 2, 3)) / to.dim)
    return basis / norms[:, None, None, None]


def pixels(side):
    """Positions (side^2, 2) relative to the center, the second coordinate up."""
    if side < 1 or side % 2 == 0:
        raise ValueError(f"the side of a kernel is odd, so that it has a center, got {side}")
    offsets = np.arange(side) - side // 2
    right, up = np.meshgrid(offsets, -offsets)
    return np.stack([right.ravel(), up.ravel()], -1)


class Kernel(nnx.Module):
    """Weights in a basis of equivariant kernels; calling it gives the kernel (s, of.dim, to.dim).

    Args:
        of, to: Types of the fields in and out.
        basis: From two representations to the kernels (n, s, d_of, d_to) between one field of each.
        rngs: The random numbers of flax. The weights are such that independent inputs of variance 1 give outputs of
            variance 2, if the basis has norm sqrt(d_to).
    """

    def __init__(self, of: FieldType, to: FieldType, basis: Callable, rngs: nnx.Rngs):
        self.of, self.to, self.basis = of, to, basis
        # One vector: a random draw for each pair of blocks would take the compiler longer than all else.
        scales = []
        for representation, n_to in to.fields:
            sizes = [len(basis(r, representation)) * n for r, n in of.fields]
            scale = (2 / max(sum(sizes), 1)) ** 0.5
            scales += [np.full(size * n_to, scale, np.float32) for size in sizes]
        scales = np.concatenate(scales)
        self.weights = nnx.Param(jax.random.normal(rngs.params(), scales.shape) * scales)

    def __call__(self):
        weights, start, columns = self.weights[...], 0, []
        for to, n_to in self.to.fields:
            rows = []
            for of, n_of in self.of.fields:
                basis = jnp.asarray(self.basis(of, to), weights.dtype)
                n, s, d_of, d_to = basis.shape
                w = weights[start : start + n * n_of * n_to].reshape(n, n_of, n_to)
                start += n * n_of * n_to
                block = jnp.einsum("nio,nsxy->sxiyo", w, basis, precision="highest")
                rows.append(block.reshape(s, d_of * n_of, d_to * n_to))
            columns.append(jnp.concatenate(rows, 1))
        return jnp.concatenate(columns, 2)


class InvariantBias(nnx.Module):
    """A bias of the invariant part of each field, 0 at first; calling it gives the vector (to.dim,)."""

    def __init__(self, to: FieldType):
        self.to = to
        self.values = nnx.Param(jnp.zeros(sum(_invariants(r).shape[1] * n for r, n in to.fields)))

    def __call__(self):
        values, start, blocks = self.values[...], 0, []
        for representation, n in self.to.fields:
            basis = jnp.asarray(_invariants(representation), values.dtype)
            size = basis.shape[1] * n
            blocks.append(basis @ values[start : start + size].reshape(-1, n))
            start += size
        return self.to.join(blocks)


@functools.cache
def _invariants(representation):
    """An orthonormal basis (d, n) of the vectors that every group element leaves alone."""
    trivial = representation.group.trivial.irreps[0]
    pairs = zip(representation.irreps, representation.slices, strict=True)
    columns = [representation.basis[:, s] for irrep, s in pairs if irrep == trivial]
    return np.concatenate([np.zeros((representation.dim, 0)), *columns], 1)
