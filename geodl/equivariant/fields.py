"""What a network's channels are: numbers of fields, each of which transforms by a representation of one group."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from geodl.equivariant.groups import Group, Representation


@dataclass(frozen=True)
class FieldType:
    """n_1 fields of a representation, n_2 of another, ...: the last axis of an array, as blocks.

    The block of n fields with d coordinates is (d, n) in row-major order: first the first coordinate of all n fields.
    Features transform as f -> rho(g) f in each field (:meth:`transform`). Steerable convolutions of images, gauge
    layers of manifolds and spin-weighted layers of the sphere (a spin is a frequency of SO(2)) all take it.

    Args:
        fields: Pairs (representation, number), all of one group.

    Raises:
        ValueError: No fields, a number that is no positive integer, or representations of more than one group.
        TypeError: Something else in the place of a representation.
    """

    fields: tuple[tuple[Representation, int], ...]

    def __init__(self, fields: Iterable[tuple[Representation, int]]):
        fields = tuple((representation, n) for representation, n in fields)
        for representation, n in fields:
            if not isinstance(representation, Representation):
                raise TypeError(
                    "FieldType: pairs of a representation, as group.trivial or group.regular(), and a number are "
                    f"needed, got {representation!r}"
                )
            if not isinstance(n, int | np.integer) or n < 1:
                raise ValueError(f"FieldType: positive numbers of fields are needed, got {n!r}")
        if not fields:
            raise ValueError("FieldType: at least one field is needed")
        groups = {representation.group for representation, _ in fields}
        if len(groups) > 1:
            raise ValueError(
                f"FieldType: one group is needed, got {', '.join(sorted(map(str, groups)))}"
            )
        object.__setattr__(self, "fields", fields)

    @property
    def group(self) -> Group:
        """That all fields transform under."""
        return self.fields[0][0].group

    @property
    def dim(self) -> int:
        """Number of channels."""
        return sum(representation.dim * n for representation, n in self.fields)

    @property
    def count(self) -> int:
        """Number of fields."""
        return sum(n for _, n in self.fields)

    def split(self, x: ArrayLike) -> list[Array]:
        """The blocks (..., d, n) of features x (..., dim)."""
        x = jnp.asarray(x)
        if x.shape[-1:] != (self.dim,):
            raise ValueError(f"FieldType: features (..., {self.dim}) are needed, got {x.shape}")
        *ends, _ = itertools.accumulate(r.dim * n for r, n in self.fields)
        pairs = zip(jnp.split(x, ends, -1), self.fields, strict=True)
        return [block.reshape(*x.shape[:-1], r.dim, n) for block, (r, n) in pairs]

    def join(self, blocks: Sequence[Array]) -> Array:
        """Features (..., dim) of blocks: the inverse of :meth:`split`."""
        return jnp.concatenate([b.reshape(*b.shape[:-2], -1) for b in blocks], -1)

    def transform(self, g: ArrayLike, x: ArrayLike) -> Array:
        """rho(g) x of features x (..., dim), for group elements g (..., d, d); leading axes broadcast.

        Only the features' values change: an image moves, too, and a gauge its frames.
        """
        g = jnp.asarray(g)
        self.group.validate(g)
        blocks = zip(self.fields, self.split(x), strict=True)
        return self.join([r.act(g, b) for (r, _), b in blocks])
