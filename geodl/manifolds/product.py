"""The Riemannian product of manifolds: points and tangent vectors are tuples with one entry per
factor.

Squared distances, inner products and log-determinants add up; frame components are those of the
factors, one after the other. The factors are the record's pytree children, so their curvatures can
be learned.
"""

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from geodl._core.records import register_record
from geodl._core.reductions import safe_sqrt
from geodl.manifolds.base import Manifold


@register_record
@dataclass(frozen=True, init=False)
class Product(Manifold):
    """A product of records as a :class:`~geodl.manifolds.base.Manifold`.

    ``Product(PoincareBall(2), Sphere(3))``; raises ``ValueError`` without factors and
    ``TypeError`` where one is no manifold, and its methods raise where a point is not a tuple of
    as many arrays.
    """

    factors: tuple[Manifold, ...]

    def __init__(self, *factors: Manifold):
        if not factors:
            raise ValueError("Product: at least one factor is needed, got none")
        for f in factors:
            if isinstance(f, type) or not isinstance(f, Manifold):
                raise TypeError(f"Product: factors are manifolds, Product(a, b), got {f!r}")
        object.__setattr__(self, "factors", factors)

    @property
    def dim(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return sum(f.dim for f in self.factors)

    @property
    def event_shape(self):
        return tuple(f.event_shape for f in self.factors)

    def by_factor(self, x, *components):
        return self._each(lambda *entries: entries, x, *map(self.split, components))

    @property
    def frame_is_parallel(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return all(f.frame_is_parallel for f in self.factors)

    @property
    def embedded(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return all(f.embedded for f in self.factors)

    def log_volume(self):
        return sum(f.log_volume() for f in self.factors)

    def log_volume_element(self, x):
        return _total(self._each(lambda f, x: f.log_volume_element(x), x))

    def frame_divergence(self, x, a):
        return _total(self._each(lambda f, x, a: f.frame_divergence(x, a), x, self.split(a)))

    def coordinates(self, x):
        parts = self._each(lambda f, x: f.coordinates(x), x)
        batch = jnp.broadcast_shapes(*(p.shape[:-1] for p in parts))
        return jnp.concatenate([jnp.broadcast_to(p, (*batch, p.shape[-1])) for p in parts], -1)

    def _each(self, method: Callable, *arguments) -> tuple:
        """method(factor, *its entries of the arguments) for every factor."""
        for a in arguments:
            if not isinstance(a, tuple | list) or len(a) != len(self.factors):
                raise ValueError(
                    f"Product: points are tuples of {len(self.factors)} arrays, got {a!r}"
                )
        columns = zip(self.factors, *arguments, strict=True)
        return tuple(method(f, *entries) for f, *entries in columns)

    def split(self, a: ArrayLike) -> tuple[Array, ...]:
        """The factors' parts of frame components (..., dim)."""
        a = jnp.asarray(a)
        if a.ndim == 0 or a.shape[-1] != self.dim:
            raise ValueError(f"Product: components have shape (..., {self.dim}), got {a.shape}")
        return tuple(jnp.split(a, list(accumulate(f.dim for f in self.factors[:-1])), -1))

    def expmap(self, x, v):
        return self._each(lambda f, x, v: f.expmap(x, v), x, v)

    def logmap(self, x, y):
        return self._each(lambda f, x, y: f.logmap(x, y), x, y)

    def dist(self, x, y):
        return safe_sqrt(self.sqdist(x, y))

    def sqdist(self, x, y):
        return _total(self._each(lambda f, x, y: f.sqdist(x, y), x, y))

    def inner(self, x, u, v):
        return _total(self._each(lambda f, x, u, v: f.inner(x, u, v), x, u, v))

    def norm(self, x, v):
        return safe_sqrt(self.inner(x, v, v))

    def geodesic(self, t, x, y):
        return self._each(lambda f, x, y: f.geodesic(t, x, y), x, y)

    def transport(self, x, y, v):
        return self._each(lambda f, x, y, v: f.transport(x, y, v), x, y, v)

    def project(self, x):
        return self._each(lambda f, x: f.project(x), x)

    def project_tangent(self, x, v):
        return self._each(lambda f, x, v: f.project_tangent(x, v), x, v)

    def egrad_to_rgrad(self, x, g):
        return self._each(lambda f, x, g: f.egrad_to_rgrad(x, g), x, g)

    def logdetexp(self, x, v):
        return _total(self._each(lambda f, x, v: f.logdetexp(x, v), x, v))

    def logdetexp_frame(self, x, a):
        return _total(self._each(lambda f, x, a: f.logdetexp_frame(x, a), x, self.split(a)))

    def from_frame(self, x, a):
        return self._each(lambda f, x, a: f.from_frame(x, a), x, self.split(a))

    def to_frame(self, x, v):
        return jnp.concatenate(self._each(lambda f, x, v: f.to_frame(x, v), x, v), -1)

    def logmap_frame(self, x, y):
        return jnp.concatenate(self._each(lambda f, x, y: f.logmap_frame(x, y), x, y), -1)

    def transport_frame(self, x, y, a):
        parts = self._each(lambda f, x, y, a: f.transport_frame(x, y, a), x, y, self.split(a))
        return jnp.concatenate(parts, -1)

    def expmap_frame(self, x, a):
        return self._each(lambda f, x, a: f.expmap_frame(x, a), x, self.split(a))

    def tangent_basis(self, x):
        """Frame vectors of all factors, entry i of shape (..., dim, *factors[i].event_shape)."""

        def rows(f, x, start):
            basis = f.tangent_basis(x)
            padding = [(0, 0)] * basis.ndim
            padding[-1 - len(f.event_shape)] = (start, self.dim - start - f.dim)
            return jnp.pad(basis, padding)

        return self._each(rows, x, tuple(accumulate((f.dim for f in self.factors[:-1]), initial=0)))

    def origin(self, dtype=None):
        return self._each(lambda f: f.origin(dtype))

    def random_uniform(self, key, batch_shape=(), dtype=None):
        keys = tuple(jax.random.split(key, len(self.factors)))
        return self._each(lambda f, k: f.random_uniform(k, batch_shape, dtype), keys)


def _total(terms: tuple[Array, ...]) -> Array:
    return functools.reduce(operator.add, terms)
