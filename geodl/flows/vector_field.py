"""Time-dependent vector fields on manifolds, made by networks.

A field is ``apply(params, t, x) -> v``, v tangent at x. The network sees smooth coordinates of the point, random
Fourier features of them that sharpen with time, and harmonics of the clock. It puts out components along vectors that
span the tangent space:

- ``ambient``: the unit vectors of the surrounding space, projected; sphere, SO(3), Euclidean space, hyperboloid;
- ``frame``: the orthonormal frame of the manifold, where it is smooth everywhere: SO(3) (its Lie algebra), torus,
  Poincaré ball and hyperboloid (so that lengths are geodesic ones), Euclidean space, products of these;
- ``killing``: the Killing fields of the sphere, of which the unit vectors of the Lie algebra so(d + 1) are a basis:
  v = A(t, x) x with A skew; each of them is free of divergence (Mathieu & Nickel 2020; Falorsi & Forré 2020).
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from geodl.flows import divergence
from geodl.flows.clock import clock
from geodl.manifolds import Manifold, Point, Tangent
from geodl.nn import MLP, circle, fourier_features, functional


Kind = Literal["ambient", "frame", "killing"]


class VectorField(NamedTuple):
    """A vector field with parameters, as pure functions.

    ``init(key) -> params``; ``apply(params, t, x)``, the tangent vector at time t (a scalar, or one for each point)
    and point x (..., *event_shape): ``assemble(x, components(params, t, x))``, components (..., n) along the
    vectors that span the tangent space; ``rate(params, t, x)``, that vector and the field's divergence (...).
    """

    init: Callable[[Array], Any]
    apply: Callable[[Any, ArrayLike, Point], Tangent]
    rate: Callable[[Any, ArrayLike, Point], tuple[Tangent, Array]]
    components: Callable[[Any, ArrayLike, Point], Array]
    assemble: Callable[[Point, Array], Tangent]


def vector_field(
    manifold: Manifold,
    kind: Kind = "ambient",
    *,
    width: int = 128,
    depth: int = 3,
    frequencies: int = 128,
    band: tuple[float, float] = (2.0, 40.0),
    harmonics: int = 4,
) -> VectorField:
    """A field on ``manifold`` by an MLP of ``depth`` hidden layers of ``width`` units, swish between them.

    ``frequencies`` random Fourier features of the point's coordinates x (Rahimi & Recht 2007), without which an MLP
    learns sharp densities slowly; 0 of them: none. Their frequencies w are not trained: normal, of deviations that run
    evenly by their logarithm over the ``band``. Each is weighted with exp(-|w|^2 (1 - t)^2 / 2): it comes in when the
    law, blurred by about 1 - t, has details of its wavelength (the mean of exp(i w x) over such a blur; Barron et al.
    2021 do so for cones of light). ``harmonics`` is their number of :func:`~geodl.flows.clock`. Raises ``ValueError``
    for a kind that the manifold does not have, and for a band that is not 0 < low <= high.
    """
    span = _SPANS.get(kind)
    if span is None:
        raise ValueError(f"vector_field: kind must be one of {list(_SPANS)}, got {kind!r}")
    low, high = band
    if not 0 < low <= high:
        raise ValueError(f"vector_field: band must be 0 < low <= high, got {band}")
    outputs, assemble = span(manifold)
    net = functional(
        lambda rngs: _FieldNet(
            manifold,
            [width] * depth + [outputs],
            (frequencies, band),
            harmonics,
            rngs,
        )
    )

    def apply(params, t, x):
        x = manifold.project(x)
        return assemble(x, net.apply(params, t, x))

    def rate(params, t, x):
        if kind == "frame":
            return divergence.frame(manifold, functools.partial(net.apply, params))(
                t, manifold.project(x)
            )
        return divergence.exact(manifold, functools.partial(apply, params))(t, x)

    return VectorField(net.init, apply, rate, net.apply, assemble)


# ---------------------------------------------------------------------------------------------------
# Components to tangent vectors: number of components, and assemble(x, components)
# ---------------------------------------------------------------------------------------------------


def _ambient(manifold):
    shape = manifold.event_shape
    if not manifold.embedded or any(isinstance(n, tuple) for n in shape):
        raise ValueError(f"vector_field: {manifold} has no ambient space; use kind='frame'")
    return int(np.prod(shape)), lambda x, a: manifold.project_tangent(
        x, a.reshape(*a.shape[:-1], *shape)
    )


def _frame(manifold):
    jax.eval_shape(manifold.frame_divergence, manifold.origin(), jnp.zeros(manifold.dim))
    return manifold.dim, manifold.from_frame


def _killing(manifold):
    coefficients = manifold.dim * (manifold.dim + 1) // 2
    jax.eval_shape(manifold.killing, manifold.origin(), jnp.zeros(coefficients))
    return coefficients, manifold.killing


_SPANS = {"ambient": _ambient, "frame": _frame, "killing": _killing}


# ---------------------------------------------------------------------------------------------------
# The network
# ---------------------------------------------------------------------------------------------------


class _FieldNet(nnx.Module):
    """Components from time and point: MLP of [coordinates, the clock, its harmonics, random Fourier features]."""

    def __init__(self, manifold, sizes, features, harmonics, rngs):
        self.manifold, self.harmonics = manifold, harmonics
        count, (low, high) = features
        dim = manifold.coordinates(manifold.origin()).shape[-1]
        if count:
            deviations = jnp.geomspace(low, high, count, dtype=jnp.float32)
            self.frequencies = nnx.Param(
                deviations * jax.random.normal(rngs.params(), (dim, count))
            )
        self.waves = bool(count)
        inputs = dim + 1 + 2 * harmonics + 2 * count
        self.mlp = MLP([inputs, *sizes], rngs, jax.nn.swish)

    def __call__(self, t, x):
        x = self.manifold.coordinates(x)
        t = jnp.broadcast_to(jnp.asarray(t, x.dtype), x.shape[:-1])[..., None]
        reading = clock(t)
        beats = 0.5 * reading * jnp.arange(1, self.harmonics + 1, dtype=x.dtype)
        features = [x, reading, *circle(beats)]
        if self.waves:
            w = jax.lax.stop_gradient(self.frequencies[...])
            sharpness = jnp.exp(-0.5 * jnp.sum(w * w, 0) * (1 - t) ** 2)
            features.append(jnp.tile(sharpness, 2) * fourier_features(x, w / (2 * np.pi)))
        return self.mlp(jnp.concatenate(features, -1))
