"""Real, orthogonal representations of a symmetry group, and what a group must say for layers to be made of it."""

import functools
import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from scipy.linalg import block_diag

from geodl._core.checks import check, is_concrete


REAL = (0,)


class Irrep(NamedTuple):
    """An irreducible representation: its frequency (a degree l on SO(3)), and which of its coordinates it has.

    For groups of the plane ``part`` says which of (Re, Im) there are; SO(3) has all 2 l + 1 coordinates.
    """

    frequency: int
    part: tuple[int, ...]

    @property
    def dim(self) -> int:
        """Number of real coordinates."""
        return len(self.part)


def check_orthogonal(name: str, g: Array, reflections: bool = True) -> None:
    """Raise where concrete matrices g (..., d, d) are not orthogonal to the precision of their type, or turn over."""
    if is_concrete(g):
        slack = 1e-3 + 2 * float(jnp.finfo(jnp.result_type(g, jnp.bfloat16)).eps)
        a = np.asarray(g, np.float64)
        off = np.max(np.abs(np.swapaxes(a, -2, -1) @ a - np.eye(a.shape[-1])), (-2, -1))
        # "not >": NaN passes, and comes out as NaN
        check(~(off > slack), f"{name}: orthogonal matrices are needed, off by", off)
        if not reflections:
            with np.errstate(invalid="ignore"):
                det = np.linalg.det(a)
            check(~(det < 0), f"{name} has no reflections: det", det)


class Group(ABC):
    """Orthogonal matrices g (..., d, d), d = :attr:`dim`, and how they act on irreducible representations."""

    dim: ClassVar[int]
    reflections: bool

    @abstractmethod
    def random(
        self, key: Array, shape: int | tuple[int, ...] = (), dtype: DTypeLike | None = None
    ) -> Array:
        """Random elements, uniform on the group.

        Args:
            key: Of the random numbers.
            shape: How many of them.
            dtype: Of floats; JAX's default one by default.

        Returns:
            The matrices (*shape, d, d).
        """

    def validate(self, g: Any) -> None:
        """``ValueError`` where concrete matrices g (..., d, d) are not elements; nothing under ``jit``."""
        d = self.dim
        if jnp.shape(g)[-2:] != (d, d):
            raise ValueError(f"{self}: elements have shape (..., {d}, {d}), got {jnp.shape(g)}")
        check_orthogonal(str(self), g, self.reflections)

    @property
    @abstractmethod
    def trivial(self) -> "Representation":
        """Scalars: nothing changes."""

    @property
    @abstractmethod
    def vector(self) -> "Representation":
        """Vectors v -> g v."""

    @abstractmethod
    def act(self, irrep: Irrep, g: Any, f: Any) -> Any:
        """rho(g) f, n vectors f side by side.

        Args:
            irrep: The representation rho, of dimension m.
            g: Elements (..., d, d).
            f: Coordinates (..., m, n); leading axes broadcast.

        Returns:
            Coordinates (..., m, n).
        """

    @abstractmethod
    def harmonics(self, x: Any, degree: int) -> Any:
        """Harmonic polynomials Y_y up to a degree of x (..., d), on the last axis."""

    @abstractmethod
    def intertwiners(self, of: Irrep, to: Irrep, degree: int) -> tuple[np.ndarray, np.ndarray]:
        """A basis of the equivariant kernels k(x): V_of -> V_to that are harmonic polynomials up to a degree.

        Args:
            of, to: Irreps of the vectors in and out.
            degree: The highest degree J.

        Returns:
            tensors: (n, Y, d_to, d_of): k(x) = sum_y Y_y(x) tensor[y].
            degrees: (n,) of each.
        """

    def coset_basis(self, subgroup: Any) -> np.ndarray:
        """The orthogonal matrix whose columns are the functions on the cosets that transform as irreps do."""
        raise ValueError(f"{self} has no functions on cosets of {subgroup} here")


@dataclass(frozen=True)
class Representation:
    """A direct sum of irreps, or functions on the cosets of a subgroup, which elements of the group permute.

    Made by methods of a group: ``irrep``, ``trivial``, ``vector``, ``band_limited``, ``regular``, ``quotient``.
    """

    group: Group
    irreps: tuple[Irrep, ...]
    subgroup: Group | None = None

    def __str__(self):
        if self.subgroup is not None:
            return f"functions on {self.group}/{self.subgroup}"
        return f"frequencies {', '.join(str(i.frequency) for i in self.irreps)} of {self.group}"

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return sum(irrep.dim for irrep in self.irreps)

    @property
    def permutes(self) -> bool:
        """Whether elements only permute the coordinates, so that a function may be applied to each of them."""
        return self.subgroup is not None or all(
            i.frequency == 0 and i.part == REAL for i in self.irreps
        )

    @property
    def slices(self) -> tuple[slice, ...]:
        """Of the irreps' coordinates."""
        ends = np.cumsum([0, *(irrep.dim for irrep in self.irreps)]).tolist()
        return tuple(slice(a, b) for a, b in itertools.pairwise(ends))

    @property
    def basis(self) -> np.ndarray:
        """The orthogonal matrix Q with rho(g) = Q (sum of irreps)(g) Q^T."""
        return _basis(self)

    def act(self, g: Array, f: Array) -> Array:
        """rho(g) f of coordinates f (..., d, n), n vectors side by side; leading axes broadcast."""
        q = None if self.subgroup is None else jnp.asarray(self.basis, f.dtype)
        f = f if q is None else _matmul(q.T, f)
        parts = [
            self.group.act(i, g, f[..., s, :])
            for i, s in zip(self.irreps, self.slices, strict=True)
        ]
        f = jnp.concatenate(parts, -2)
        return f if q is None else _matmul(q, f)

    def origins(self, g: np.ndarray) -> np.ndarray:
        """The indices i (d,) with (rho(g) f)_h = f_{i_h}, where elements permute the coordinates."""
        blocks = [self.group.act(i, g, np.eye(i.dim)) for i in self.irreps]
        return np.argmax(self.basis @ block_diag(*blocks) @ self.basis.T, -1)

    def matrix(self, g: Array) -> Array:
        """rho(g) (..., d, d)."""
        g = jnp.asarray(g)
        self.group.validate(g)
        return self.act(g, jnp.eye(self.dim, dtype=g.dtype))


def _matmul(matrix, f):
    return jnp.einsum("ij,...jn->...in", matrix, f, precision="highest")


@functools.cache
def _basis(representation):
    if representation.subgroup is None:
        return np.eye(representation.dim)
    return representation.group.coset_basis(representation.subgroup)
