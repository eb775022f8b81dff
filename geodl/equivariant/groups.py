"""Symmetry groups and their real, orthogonal representations: C_N, D_N, SO(2), O(2) of the plane, SO(3) of space.

An element is an orthogonal matrix g (..., d, d) with d = 2 or 3; there is no other encoding of angles and reflections.

The irreducible representations of the plane's groups are parts of the complex numbers. With z = e^{i alpha} the first
column of g = R(alpha) F^s as a complex number, F = diag(1, -1), frequency m acts as

    f -> z^m f   (det g = 1),      f -> z^m conj(f)   (det g = -1)

on the complex plane where that has no smaller invariant part; for m = 0, and for 2 m = N in C_N and D_N, on its real
axis and on its imaginary axis, whose points a reflection turns over. So no angles are computed, only powers of z.

Kernels k with k(g x) = rho_out(g) k(x) rho_in(g)^-1 are sums of harmonic polynomials Y_y(x) times constant matrices
(:meth:`PlanarGroup.intertwiners`), which are known in closed form.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from geodl._core.checks import as_shape, check, check_integer, is_concrete
from geodl.equivariant._representations import (
    REAL,
    Group,
    Irrep,
    Representation,
)
from geodl.manifolds import SO3


__all__ = [
    "Group",
    "Irrep",
    "PlanarGroup",
    "Representation",
    "SpaceRotations",
    "cyclic",
    "dihedral",
    "o2",
    "so2",
    "so3",
]


_IMAGINARY, _COMPLEX = (1,), (0, 1)


@dataclass(frozen=True)
class PlanarGroup(Group):
    """C_N, D_N (``order`` = N rotations), SO(2) or O(2) (``order`` = None), with or without reflections.

    Made by :func:`cyclic`, :func:`dihedral`, :func:`so2` and :func:`o2`.
    """

    order: int | None
    reflections: bool
    dim = 2

    def __str__(self):
        if self.order is None:
            return "O(2)" if self.reflections else "SO(2)"
        return f"{'D' if self.reflections else 'C'}_{self.order}"

    # --- elements ---------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        if self.order is None:
            raise ValueError(f"{self} is not finite")
        return self.order * (1 + self.reflections)

    def elements(self, rotations: int | None = None) -> np.ndarray:
        """The elements (n, 2, 2) in float64, rotations first.

        Of SO(2) and O(2) they are those of the subgroup with a number of ``rotations``, which finite groups ignore.
        """
        count = rotations if self.order is None else self.order
        if count is None:
            raise ValueError(f"{self} is not finite: say how many rotations are wanted")
        turns = _rotations(count)
        return np.concatenate([turns, turns * [1, -1]]) if self.reflections else turns

    def random(
        self, key: Array, shape: int | tuple[int, ...] = (), dtype: DTypeLike | None = None
    ) -> Array:
        dtype = jnp.zeros((), dtype).dtype
        of_angle, of_sign = jax.random.split(key)
        if self.order is None:
            angle = jax.random.uniform(of_angle, as_shape(shape), dtype, 0, 2 * np.pi)
            c, s = jnp.cos(angle), jnp.sin(angle)
            turn = jnp.stack([jnp.stack([c, -s], -1), jnp.stack([s, c], -1)], -2)
        else:
            which = jax.random.randint(of_angle, as_shape(shape), 0, self.order)
            turn = jnp.asarray(_rotations(self.order), dtype)[which]
        if not self.reflections:
            return turn
        sign = jax.random.rademacher(of_sign, as_shape(shape), dtype)
        return turn * jnp.stack([jnp.ones_like(sign), sign], -1)[..., None, :]

    def validate(self, g: Any) -> None:
        super().validate(g)
        if self.order is not None and is_concrete(g):
            g = np.asarray(g, np.float64)
            z = g[..., 0, 0] + 1j * g[..., 1, 0]
            turns = np.angle(z) * self.order / (2 * np.pi)
            off = np.abs(turns - np.round(turns))
            check(
                ~(off > min(1e-3 * self.order, 0.25)),
                f"{self}: off a rotation of it by (turns/N)",
                off,
            )

    # --- irreducible representations --------------------------------------------------------------------------

    def parts(self, frequency: int) -> tuple[Irrep, ...]:
        """The irreducible parts of the complex numbers on which z^frequency acts."""
        if frequency < 0 or (self.order is not None and 2 * frequency > self.order):
            bound = "" if self.order is None else f" to {self.order // 2}"
            raise ValueError(f"{self} has frequencies from 0{bound}, got {frequency}")
        splits = frequency == 0 or 2 * frequency == self.order
        return tuple(Irrep(frequency, p) for p in ((REAL, _IMAGINARY) if splits else (_COMPLEX,)))

    def irrep(self, frequency: int, odd: bool = False) -> Representation:
        """The irreducible representation of a frequency; ``odd`` where a reflection changes a number's sign."""
        parts = self.parts(frequency)
        if odd and (not self.reflections or len(parts) == 1):
            raise ValueError(f"{self}: frequency {frequency} has no odd representation")
        return Representation(self, (parts[odd],))

    @property
    def trivial(self) -> Representation:
        return self.irrep(0)

    @property
    def vector(self) -> Representation:
        return Representation(self, self.parts(1 % (self.order or 2)))

    def band_limited(self, frequency: int) -> Representation:
        """Fourier coefficients of the functions on the group up to a frequency.

        Each irreducible part is there as often as in the regular representation, in the place of which SO(2) and O(2)
        have this one.
        """
        return Representation(
            self, tuple(i for i, _ in self._functions(PlanarGroup(1, False), frequency))
        )

    def regular(self) -> Representation:
        """Functions on the group, values at :meth:`elements`: g moves them."""
        return self.quotient(PlanarGroup(1, False))

    def quotient(self, subgroup: "PlanarGroup") -> Representation:
        """Functions on the cosets of C_K or D_K (which keeps the first axis).

        Coordinates are the values at the cosets of the first rotations and, if only the group has reflections, of the
        first reflections.
        """
        if self.order is None or subgroup.order is None:
            raise ValueError(f"{self} / {subgroup}: finite groups are needed")
        if self.order % subgroup.order or subgroup.reflections > self.reflections:
            raise ValueError(f"{subgroup} is not a subgroup of {self}")
        functions = self._functions(subgroup, self.order // 2)
        return Representation(self, tuple(i for i, _ in functions), subgroup)

    def _functions(self, subgroup, frequency):
        """(irrep, vector) of the functions <rho(g) vector, w> on the cosets (Peter & Weyl).

        The vectors, 1 or i, are those that the subgroup leaves alone; but where there are no reflections i 1 is a
        function of the same kind.
        """
        vectors = (0, 1) if self.reflections and not subgroup.reflections else (0,)
        return [
            (irrep, v)
            for m in range(0, frequency + 1, subgroup.order)
            for irrep in self.parts(m)
            for v in vectors
            if v in irrep.part
        ]

    def coset_basis(self, subgroup: "PlanarGroup") -> np.ndarray:
        """The orthogonal matrix whose columns are the functions on the cosets that transform as irreps do."""
        rotations = len(PlanarGroup(self.order, False))
        turns = _rotations(rotations)[: rotations // len(PlanarGroup(subgroup.order, False))]
        both = self.reflections and not subgroup.reflections
        cosets = np.concatenate([turns, turns * [1, -1]]) if both else turns
        return self._values(self._functions(subgroup, rotations // 2), cosets)

    def samples(self, representation: Representation, rotations: int) -> np.ndarray:
        """Values (n, d) at n elements of the functions on the group whose Fourier coefficients are a sum of irreps.

        The columns are orthonormal where ``rotations`` > 2 m, m the highest frequency.

        Raises:
            ValueError: The group has no function with so many copies of an irrep.
        """
        copies, functions = {}, []
        for irrep in representation.irreps:
            v = copies.get(irrep, 0)
            copies[irrep] = v + 1
            allowed = [
                v for i, v in self._functions(PlanarGroup(1, False), irrep.frequency) if i == irrep
            ]
            if v >= len(allowed):
                raise ValueError(
                    f"{representation} has more copies of frequency {irrep.frequency} than functions on {self} have"
                )
            functions.append((irrep, allowed[v]))
        return self._values(functions, self.elements(rotations))

    def _values(self, functions, elements):
        columns = []
        for irrep, v in functions:
            matrix = self.act(irrep, elements, np.eye(irrep.dim))
            columns.append(matrix[:, :, irrep.part.index(v)] * np.sqrt(irrep.dim / len(elements)))
        return np.concatenate(columns, -1)

    def act(self, irrep: Irrep, g: Any, f: Any) -> Any:
        xp = g.__array_namespace__()
        z, s = _power(g, irrep.frequency)
        c, s = z[..., None], s[..., None]
        flip = (g[..., 0, 0] * g[..., 1, 1] - g[..., 0, 1] * g[..., 1, 0])[..., None]
        if irrep.dim == 1:
            return ((c * flip if irrep.part == _IMAGINARY else c) * f[..., 0, :])[..., None, :]
        re, im = f[..., 0, :], f[..., 1, :]
        im = flip * im if self.reflections else im
        return xp.stack([c * re - s * im, s * re + c * im], -2)

    # --- kernels ----------------------------------------------------------------------------------------------

    def harmonics(self, x: Any, degree: int) -> Any:
        """1, Re z, Im z, ..., Re z^J, Im z^J (..., 2 J + 1) of z = x_0 + i x_1, x (..., 2), J = ``degree``."""
        xp = x.__array_namespace__()
        rows = [xp.ones_like(x[..., 0])]
        for j in range(1, degree + 1):
            re, im = (rows[-2], rows[-1]) if j > 1 else (rows[0], 0 * rows[0])
            rows += [x[..., 0] * re - x[..., 1] * im, x[..., 0] * im + x[..., 1] * re]
        return xp.stack(rows, -1)

    def intertwiners(self, of: Irrep, to: Irrep, degree: int) -> tuple[np.ndarray, np.ndarray]:
        """A basis of the equivariant kernels k(x): V_of -> V_to that are harmonic polynomials up to a degree.

        A real-linear map of complex numbers is f -> a(x) f + b(x) conj(f). It commutes with rotations where a and b
        have the powers z^j with j = to -+ of (modulo N in C_N, D_N), z^-|j| standing for conj(z)^|j|, and with
        reflections where their coefficients are real. On lines some of these vanish, or agree.

        Args:
            of, to: Irreps of the vectors in and out.
            degree: The highest degree J.

        Returns:
            tensors: (n, 2 J + 1, d_to, d_of), entries 0 and +-1: k(x) = sum_y Y_y(x) tensor[y].
            degrees: (n,) |j| of each.
        """
        found, degrees, seen = [], [], set()
        for conjugate in (1, -1):
            shift = to.frequency - conjugate * of.frequency
            for j in sorted(range(-degree, degree + 1), key=lambda j: (abs(j), j < 0)):
                if (j - shift) % self.order if self.order else j - shift:
                    continue
                for imaginary in (False,) if self.reflections else (False, True):
                    tensor = _complex_product(j, imaginary, conjugate, degree)
                    tensor = tensor[:, to.part][:, :, of.part]
                    if tensor.any() and tensor.tobytes() not in seen:
                        seen |= {tensor.tobytes(), (-tensor).tobytes()}
                        found.append(tensor)
                        degrees.append(abs(j))
        tensors = np.array(found, int).reshape(-1, 2 * degree + 1, to.dim, of.dim)
        return tensors, np.array(degrees, int)


def _rotations(n):
    """R(2 pi k / n), exact where the entries are 0 and +-1."""
    quarter, rest = np.divmod(4 * np.arange(n), n)
    z = np.exp(0.5j * np.pi * rest / n) * np.array([1, 1j, -1, -1j])[quarter]
    return np.stack([np.stack([z.real, -z.imag], -1), np.stack([z.imag, z.real], -1)], -2)


def _power(g, m):
    """Real and imaginary part of z^m, z the first column of g (..., 2, 2) as a complex number."""
    x, y = g[..., 0, 0], g[..., 1, 0]
    if m == 0:
        return 0 * x + 1, 0 * x
    c, s = x, y
    for _ in range(m - 1):
        c, s = c * x - s * y, c * y + s * x
    return c, s


def _complex_product(j, imaginary, conjugate, degree):
    """The matrices (2 J + 1, 2, 2) of f -> w z^j f (or conj(f)) with w = 1 or i, for each harmonic in z^j."""
    tensor = np.zeros((2 * degree + 1, 2, 2), int)
    rotation = np.array([[[1, 0], [0, 1]], [[0, -1], [1, 0]]])  # products by 1 and by i
    real, turned = (rotation[1], -rotation[0]) if imaginary else (rotation[0], rotation[1])
    tensor[max(2 * abs(j) - 1, 0)] = real
    if j:
        tensor[2 * abs(j)] = np.sign(j) * turned
    return tensor * [1, conjugate]


@dataclass(frozen=True)
class SpaceRotations(Group):
    """SO(3), made by :func:`so3`.

    Degree 1 has the coordinates (x, y, z): vectors v -> g v.
    """

    dim = 3
    reflections = False

    def __str__(self):
        return "SO(3)"

    def random(
        self, key: Array, shape: int | tuple[int, ...] = (), dtype: DTypeLike | None = None
    ) -> Array:
        return SO3().random_uniform(key, shape, dtype)

    def irrep(self, degree: int) -> Representation:
        """The irreducible representation of a degree: 0 (scalars) or 1 (vectors)."""
        if degree not in (0, 1):
            raise ValueError(f"{self}: degrees 0 and 1 are there, got {degree}")
        return Representation(self, (Irrep(degree, tuple(range(2 * degree + 1))),))

    @property
    def trivial(self) -> Representation:
        return self.irrep(0)

    @property
    def vector(self) -> Representation:
        return self.irrep(1)

    def act(self, irrep: Irrep, g: Any, f: Any) -> Any:
        if irrep.frequency == 0:
            return (0 * g[..., 0, :1] + 1)[..., None] * f
        return (g[..., None] * f[..., None, :, :]).sum(-2)

    def harmonics(self, x: Any, degree: int) -> Any:
        """1, x, and x^T E_a x for the orthonormal symmetric matrices E_a of trace 0, of x (..., 3), ``degree`` <= 2."""
        xp = x.__array_namespace__()
        if degree > 2:
            raise ValueError(f"{self}: harmonics up to degree 2, got {degree}")
        rows = [xp.ones_like(x[..., :1]), x]
        if degree == 2:
            square = x[..., :, None] * x[..., None, :]
            rows.append((square[..., None, :, :] * xp.asarray(_TRACELESS, x.dtype)).sum((-2, -1)))
        return xp.concatenate(rows[: degree + 1], -1)

    def intertwiners(self, of: Irrep, to: Irrep, degree: int) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`PlanarGroup.intertwiners`, for scalars and vectors: 1, x, <x, v>, v, x cross v, (x x^T)_0 v."""
        low, high = abs(to.frequency - of.frequency), to.frequency + of.frequency
        degrees = np.arange(low, min(high, degree) + 1)
        tensors = np.zeros((len(degrees), (degree + 1) ** 2, 3, 3))
        for tensor, j in zip(tensors, degrees, strict=True):
            if (of.frequency, to.frequency) == (1, 1):
                tensor[j * j : (j + 1) ** 2] = (np.eye(3)[None], _CROSS, _TRACELESS)[j]
            else:  # a scalar and a vector, or two scalars: the entries that there are
                y = np.arange(2 * j + 1)
                tensor[j * j + y, y if to.frequency else 0, y if of.frequency else 0] = 1
        return tensors[:, :, : to.dim, : of.dim], degrees


# x cross v = sum_a x_a _CROSS[a] v, and an orthonormal basis of the symmetric matrices of trace 0
_CROSS = np.array([np.cross(e, np.eye(3)).T for e in np.eye(3)])
_TRACELESS = np.array(
    [
        [[0, 1, 0], [1, 0, 0], [0, 0, 0]],
        [[0, 0, 1], [0, 0, 0], [1, 0, 0]],
        [[0, 0, 0], [0, 0, 1], [0, 1, 0]],
        [[1, 0, 0], [0, -1, 0], [0, 0, 0]],
        np.diag([1, 1, -2]) / np.sqrt(3),
    ]
) / np.sqrt(2)


def cyclic(order: int) -> PlanarGroup:
    """C_N, the rotations by multiples of 2 pi / N, N = ``order``.

    Returns:
        The group, of N elements.

    Raises:
        ValueError: The order is not a positive integer.
    """
    check_integer("cyclic: order", order)
    return PlanarGroup(int(order), False)


def dihedral(order: int) -> PlanarGroup:
    """D_N, the rotations by multiples of 2 pi / N and as many reflections, N = ``order``.

    Returns:
        The group, of 2 N elements.

    Raises:
        ValueError: The order is not a positive integer.
    """
    check_integer("dihedral: order", order)
    return PlanarGroup(int(order), True)


def so2() -> PlanarGroup:
    """SO(2), the rotations of the plane.

    Returns:
        The group.
    """
    return PlanarGroup(None, False)


def o2() -> PlanarGroup:
    """O(2), the rotations and reflections of the plane.

    Returns:
        The group.
    """
    return PlanarGroup(None, True)


def so3() -> SpaceRotations:
    """SO(3), the rotations of space.

    Returns:
        The group.
    """
    return SpaceRotations()
