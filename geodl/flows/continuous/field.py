"""Time-dependent vector fields on manifolds, made by networks.

A field is ``apply(params, t, x) -> v``, v tangent at x. The network sees smooth coordinates of the point, random
Fourier features of them that sharpen with time, the warped time and its harmonics. Its outputs are components along
vectors that span the tangent space:

- ``ambient``: the unit vectors of the surrounding space, projected; sphere, SO(3), Euclidean space, hyperboloid;
- ``frame``: the orthonormal frame of the manifold, where it is smooth everywhere: SO(3) (its Lie algebra), torus,
  Poincaré ball and hyperboloid (so that lengths are geodesic ones), Euclidean space, products of these;
- ``killing``: the Killing fields of the sphere, of which the unit vectors of the Lie algebra so(d + 1) are a basis:
  v = A(t, x) x with A skew; each of them is free of divergence (Mathieu & Nickel 2020; Falorsi & Forré 2020).

On a product each factor may have a kind of its own.
"""

import functools
import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from geodl._core import display
from geodl._core.checks import with_axes
from geodl.flows.continuous import divergence
from geodl.flows.continuous.time import warp_time
from geodl.manifolds import Manifold, Point, Tangent
from geodl.nn import fourier_features, mlp, sincos_2pi


Kind = Literal["ambient", "frame", "killing"]


class VectorField(NamedTuple):
    """A vector field on a manifold with parameters, as pure functions.

    - ``manifold``, the record of the space;
    - ``init(key) -> params``;
    - ``apply(params, t, x)``, the tangent vector at time t (a scalar, or one for each point) and point x
      (..., *event_shape);
    - ``rate(params, t, x)``, that vector and the field's divergence (...);
    - ``components(params, t, x)``, components (..., n) along the vectors that span the tangent space, of which
      ``assemble(x, components)`` makes the tangent vector: of the fields of :func:`vector_field`, not needed by a flow.

    They cannot be pickled: store the parameters, and make the field again, with the same ``seed``.
    """

    manifold: Manifold
    init: Callable[[Array], Any]
    apply: Callable[[Any, ArrayLike, Point], Tangent]
    rate: Callable[[Any, ArrayLike, Point], tuple[Tangent, Array]]
    components: Callable[[Any, ArrayLike, Point], Array] | None = None
    assemble: Callable[[Point, Array], Tangent] | None = None

    def __repr__(self) -> str:
        return f"VectorField({self.manifold}; {display.count(self.init)})"


def vector_field(
    manifold: Manifold,
    kind: Kind | Sequence[Kind] | None = None,
    *,
    width: int = 128,
    depth: int = 3,
    frequencies: int = 128,
    band: tuple[float, float] = (2.0, 40.0),
    harmonics: int = 4,
    seed: int = 0,
) -> VectorField:
    """A time-dependent vector field on ``manifold`` by an MLP with swish.

    The MLP reads the point's coordinates x, the warped time (:func:`~geodl.flows.warp_time`) and its harmonics, and
    random Fourier features of x, without which it learns sharp densities slowly. A feature of frequency w has the
    weight exp(-|w|^2 (1 - t)^2 / 2), the mean of exp(i w x) over a normal blur of deviation 1 - t: it comes in when the
    distribution, blurred by about 1 - t, has details of its wavelength. The frequencies are constants, not parameters.

    Args:
        manifold: The space.
        kind: "ambient", "frame" or "killing" (see the module), of the manifold and of all factors of a product, or a
            sequence of one for each factor; by default "frame" where there is a continuous one, and "ambient" on
            spheres.
        width: Units of a hidden layer.
        depth: Number of hidden layers.
        frequencies: Number of Fourier features; 0 for none.
        band: Least and largest deviation of their frequencies, in radians per unit (:func:`random_frequencies`).
        harmonics: Number of harmonics of the warped time.
        seed: Of the frequencies.

    Returns:
        The field.

    Raises:
        ValueError: The manifold does not have the kind, or the band is not 0 < low <= high.

    Reference:
        Rahimi & Recht (2007) for the features; Barron et al. (2021) weight features so for cones of light.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from geodl import flows
        >>> from geodl.manifolds import Sphere
        >>> field = flows.vector_field(Sphere(2), width=8, depth=1, frequencies=0)
        >>> params = field.init(jax.random.key(0))
        >>> x = jnp.array([0.0, 0.0, 1.0])
        >>> jax.jit(field.apply)(params, 0.5, x) @ x
        Array(0., dtype=float32)
    """
    outputs, assemble, framed = _span(manifold, kind)
    dim = jax.eval_shape(lambda: manifold.coordinates(manifold.origin())).shape[-1]
    omega = random_frequencies(dim, frequencies, band, seed)
    net = mlp([dim + 1 + 2 * (harmonics + frequencies), *[width] * depth, outputs], jax.nn.swish)

    def components(params, t, x):
        return net.apply(params, _features(manifold.coordinates(x), t, omega, harmonics))

    def apply(params, t, x):
        x = manifold.project(x)
        return assemble(x, components(params, t, x))

    def rate(params, t, x):
        if framed:
            rate = divergence.frame(manifold, functools.partial(components, params))
            return rate(t, manifold.project(x))
        return divergence.exact(manifold, functools.partial(apply, params))(t, x)

    return VectorField(manifold, net.init, apply, rate, components, assemble)


# ---------------------------------------------------------------------------------------------------
# Components to tangent vectors: number of components, and assemble(x, components)
# ---------------------------------------------------------------------------------------------------


class _Span(NamedTuple):
    outputs: int
    assemble: Callable[[Point, Array], Tangent]
    framed: bool  # by an orthonormal frame


def _span(manifold, kind) -> _Span:
    if any(isinstance(n, tuple) for n in manifold.event_shape):
        return _span_of_product(manifold, kind)
    if kind is None:
        try:
            return _frame(manifold)
        except (NotImplementedError, ValueError):
            return _ambient(manifold)
    if kind not in _SPANS:
        raise ValueError(f"vector_field: kind must be one of {list(_SPANS)}, got {kind!r}")
    return _SPANS[kind](manifold)


def _span_of_product(manifold, kind):
    """Each factor's components, one after the other."""
    factors = [factor for factor, _ in manifold.by_factor(manifold.origin())]
    kinds = [kind] * len(factors) if kind is None or isinstance(kind, str) else kind
    if len(kinds) != len(factors):
        raise ValueError(f"vector_field: one kind for each factor of {manifold}, got {kinds}")
    spans = [_span(*pair) for pair in zip(factors, kinds, strict=True)]
    *ends, outputs = accumulate(span.outputs for span in spans)

    def assemble(x, a):
        parts = zip(spans, x, jnp.split(a, ends, -1), strict=True)
        return tuple(span.assemble(*part) for span, *part in parts)

    return _Span(outputs, assemble, all(span.framed for span in spans))


def _ambient(manifold):
    shape = manifold.event_shape
    if not manifold.embedded:
        raise ValueError(f"vector_field: {manifold} has no ambient space; use kind='frame'")

    def assemble(x, a):
        return manifold.project_tangent(x, a.reshape(*a.shape[:-1], *shape))

    return _Span(math.prod(shape), assemble, False)


def _frame(manifold):
    jax.eval_shape(manifold.frame_divergence, manifold.origin(), jnp.zeros(manifold.dim))
    return _Span(manifold.dim, manifold.from_frame, True)


def _killing(manifold):
    coefficients = manifold.dim * (manifold.dim + 1) // 2
    jax.eval_shape(manifold.killing, manifold.origin(), jnp.zeros(coefficients))
    return _Span(coefficients, manifold.killing, False)


_SPANS = {"ambient": _ambient, "frame": _frame, "killing": _killing}


# ---------------------------------------------------------------------------------------------------
# The network
# ---------------------------------------------------------------------------------------------------


def random_frequencies(
    dim: int, count: int, band: tuple[float, float], seed: int
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Random frequencies, the k-th of them normal of deviation sigma_k, log sigma_k spaced evenly over the band.

    Args:
        dim: Number of coordinates.
        count: Number of frequencies.
        band: Least and largest deviation.
        seed: The same seed gives the same frequencies.

    Returns:
        Frequencies (dim, count), in radians per unit.

    Raises:
        ValueError: The band is not 0 < low <= high.
    """
    low, high = band
    if not 0 < low <= high:
        raise ValueError(f"vector_field: band must be 0 < low <= high, got {band}")
    normal = np.random.default_rng(seed).normal(size=(dim, count))
    return np.geomspace(low, high, count) * normal


def _features(x, t, omega, harmonics):
    """The network's input: coordinates x (..., n), the warped time and its harmonics, random Fourier features."""
    t = jnp.broadcast_to(jnp.asarray(t, x.dtype), x.shape[:-1])[..., None]
    s = warp_time(t)
    orders = with_axes(jnp.arange(1, harmonics + 1, dtype=x.dtype), x.ndim)
    features = [x, s, *sincos_2pi(0.5 * s * orders)]
    if omega.size:
        fall = with_axes(jnp.asarray(-0.5 * np.sum(omega**2, 0), x.dtype), x.ndim)
        sharpness = jnp.exp(fall * (1 - t) ** 2)
        turns = jnp.asarray(omega / (2 * np.pi), x.dtype)
        features.append(jnp.tile(sharpness, 2) * fourier_features(x, turns))
    return jnp.concatenate(features, -1)
