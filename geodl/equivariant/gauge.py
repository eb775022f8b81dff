"""Convolutions of feature fields on Riemannian manifolds, whatever frames the features are written in.

A gauge is a choice of an orthonormal frame at every point; here the matrices (n, d, d) whose columns are the frames'
vectors, as components in the manifold's own frames (``manifold.from_frame``). A gauge transformation turns the frames
by k^-1 (n, d, d): vectors' components become k v, features rho(k) f. With X the components of a tangent vector at p and
T_X the transport of features from exp_p(X) along the geodesic to p, the convolution is (Cohen, Geiger & Weiler 2019,
arXiv 1811.02017; Weiler, Forré, Verlinde & Welling 2021, arXiv 2106.06020)

    (phi f)(p) = integral over |X| < R of kappa(X) (T_X f)(p) dX,      kappa(k X) = rho_out(k) kappa(X) rho_in(k)^-1.

Points with quadrature weights w_q are its nodes: X = log_p(q), dX = w_q / J(X), J the Jacobian of the exponential map.
Whatever frames are taken, the output only changes by rho_out: exactly, since nothing is interpolated. As a quadrature
it is as good as the points.

Kernels are those of :mod:`~geodl.equivariant.steerable`, radial functions times harmonic polynomials, smooth at 0.
Features are first aggregated with each of these, then mixed by one product of matrices: no edge has its own kernel.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike
from scipy.special import beta

from geodl._core.checks import as_float, check, check_positive, is_concrete
from geodl._core.records import register_record
from geodl.equivariant._frames import (
    change_gauge,
    check_ball,
    compose,
    gauge_of_vectors,
    holonomy,
    on_frames,
    on_points,
    own_gauge,
    parallel_transport,
    random_gauge,
    transport_matrices,
)
from geodl.equivariant._representations import check_orthogonal
from geodl.equivariant.fields import FieldType
from geodl.equivariant.groups import Group
from geodl.equivariant.steerable import Gated, InvariantBias, Kernel, kernel_basis
from geodl.manifolds import Manifold, Point
from geodl.nn.net import Net, functional


__all__ = [
    "GaugeConv",
    "GaugeNet",
    "Neighborhoods",
    "Stencil",
    "change_gauge",
    "gauge_conv",
    "gauge_net",
    "gauge_of_vectors",
    "gauge_pool",
    "holonomy",
    "neighborhoods",
    "on_frames",
    "on_points",
    "own_gauge",
    "parallel_transport",
    "polar_neighborhoods",
    "random_gauge",
    "stencil",
]


# -------------------------------------------------------------------------------------------------
# Neighborhoods
# -------------------------------------------------------------------------------------------------


class Neighborhoods(NamedTuple):
    """What each of m points sees of n points: k of them, padded with one of weight 0.

    They are computed once.

    indices: (m, k) which points.
    weight: (m, k) quadrature weights over the tangent space.
    log: (m, k, d) their normal coordinates, in the gauge at the point that sees.
    transport: (m, k, d, d) orthogonal matrices that take components at them to components at the point that sees.
    """

    indices: Array
    weight: Array
    log: Array
    transport: Array

    def in_gauge(self, gauge: Array, centers: Array | None = None) -> "Neighborhoods":
        """In other frames, given in those of now.

        Args:
            gauge: (n, d, d) of the points that are seen.
            centers: (m, d, d) of the points that see, by default ``gauge``.

        Returns:
            The neighborhoods, with log maps and transport in the other frames.

        Raises:
            ValueError: Not a frame for each center, or frames that are not orthonormal.
        """
        centers = gauge if centers is None else centers
        m, d = len(self.indices), self.log.shape[-1]
        if centers.shape != (m, d, d) or gauge.shape[1:] != (d, d):
            raise ValueError(
                f"in_gauge: frames (n, {d}, {d}) of the points and ({m}, {d}, {d}) of the centers are needed, "
                f"got {gauge.shape} and {centers.shape}"
            )
        check_orthogonal("in_gauge: frames", gauge)
        check_orthogonal("in_gauge: frames of the centers", centers)
        here = jnp.swapaxes(centers, -1, -2)[:, None]
        log = compose(here, self.log[..., None])[..., 0]
        return self._replace(
            log=log, transport=compose(compose(here, self.transport), gauge[self.indices])
        )


def neighborhoods(
    manifold: Manifold,
    points: Point,
    weights: ArrayLike,
    radius: float,
    centers: Point | None = None,
) -> Neighborhoods:
    """The points within a geodesic distance of each point, with log maps, transport and weights over the tangent space.

    The error of a convolution is that of the points as a quadrature: with 3072 Fibonacci points on the sphere and
    smooth fields 2e-4 of the output (in the mean square) for a radius of 1, 8e-4 for 0.5; four times the points make it
    about 8 times less. The time on the host grows with their square.

    Args:
        manifold: The space, with ``logmap``, ``transport`` and ``logdetexp``.
        points: (n, *event_shape).
        weights: (n,) of a quadrature over the manifold's volume, or one number.
        radius: Distance, less than that to the cut locus.
        centers: The points (m, *event_shape) that see, by default ``points``; fewer of them pool.

    Returns:
        The neighborhoods in the manifold's own frames.

    Raises:
        ValueError: The radius is not positive or too large for the space; points of another shape or off the manifold;
            weights of another shape; or a point sees none.
    """
    check_ball("neighborhoods", manifold, points, radius)
    here = points if centers is None else centers
    if centers is not None:
        check_ball("neighborhoods: centers", manifold, centers, radius)
    n = manifold.batch_shape(points)
    if np.shape(weights) not in ((), n):
        raise ValueError(f"neighborhoods: one weight or {n} are needed, got {np.shape(weights)}")
    if not np.all(np.asarray(weights) >= 0):
        raise ValueError(f"neighborhoods: weights must be at least 0, got {np.min(weights)}")
    index, valid = _within(manifold, here, points, radius)
    x = jax.tree.map(lambda p: jnp.asarray(p)[:, None], here)
    y = jax.tree.map(lambda p: jnp.asarray(p)[index], points)
    log, transport, jacobian = jax.jit(_geometry)(manifold, x, y)
    weight = np.broadcast_to(weights, n)[index] * valid
    return Neighborhoods(
        jnp.asarray(index), jnp.asarray(weight, log.dtype) / jacobian, log, transport
    )


def _geometry(manifold, x, y):
    """Normal coordinates of y around x, transport from y to x, the Jacobian of the exponential map."""
    log = manifold.logmap_frame(x, y)
    return log, transport_matrices(manifold, x, y), jnp.exp(manifold.logdetexp_frame(x, log))


_BLOCK = 256  # points whose distances to all others are in memory at once


def _within(manifold, centers, points, radius):
    """Indices (m, k) of the points within the radius, and which of them count: the others repeat the first one."""
    distances = jax.jit(lambda manifold, x: manifold.dist(x, points))
    m = manifold.batch_shape(centers)[0]
    rows, columns = [], []
    for start in range(0, m, _BLOCK):
        block = np.minimum(np.arange(start, start + _BLOCK), m - 1)
        x = jax.tree.map(lambda p, block=block: jnp.asarray(p)[block, None], centers)
        near = np.asarray(distances(manifold, x) < radius)[: m - start]
        row, column = np.nonzero(near)
        rows.append(row + start)
        columns.append(column)
    row, column = np.concatenate(rows), np.concatenate(columns)
    counts = np.bincount(row, minlength=m)
    check(counts > 0, "neighborhoods: every point must see one, points in reach", counts)
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    index = np.repeat(column[np.cumsum(counts) - counts], counts.max()).reshape(m, -1)
    index[row, place] = column
    return index, np.arange(counts.max()) < counts[:, None]


def polar_neighborhoods(
    manifold: Manifold,
    points: Point,
    radius: float,
    rings: int = 6,
    angles: int = 12,
    nearest: int = 4,
) -> Neighborhoods:
    """Gauss' rule in the radius and the trapezoidal one in the angle for the ball around each point of a surface.

    At the nodes exp_p(X) features are interpolated from the nearest points, weighted by the inverse squared distance
    and transported. The points need no quadrature weights and may be scattered unevenly; the error is that of the
    interpolation, an order of magnitude above that of :func:`neighborhoods` where that has good weights. The nodes lie
    in the directions of the manifold's own frames, so that here, too, the gauge does not matter.

    Args:
        manifold: A surface.
        points: (n, *event_shape).
        radius: Distance, less than that to the cut locus.
        rings, angles: Numbers of radii and of directions.
        nearest: How many points are interpolated at a node.

    Returns:
        Neighborhoods of rings * angles * nearest points each, in the manifold's own frames.

    Raises:
        ValueError: Not a surface, fewer than ``nearest`` points, a number below 1, or as :func:`neighborhoods`.
    """
    if manifold.dim != 2:
        raise ValueError(f"polar_neighborhoods: a surface is needed, got dimension {manifold.dim}")
    check_ball("polar_neighborhoods", manifold, points, radius)
    n = manifold.batch_shape(points)[0]
    if min(rings, angles) < 1 or not 1 <= nearest <= n:
        raise ValueError(
            f"polar_neighborhoods: rings, angles and 1 to {n} nearest points are needed, "
            f"got {rings}, {angles}, {nearest}"
        )
    r, weight = np.polynomial.legendre.leggauss(rings)
    r, weight = radius * (r + 1) / 2, radius * weight / 2
    angle = 2 * np.pi * np.arange(angles) / angles
    log = (r[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], -1)).reshape(-1, 2)
    weight = np.repeat(r * weight, angles) * 2 * np.pi / angles

    @jax.jit
    def of_point(x):
        def of_node(log):
            node = manifold.expmap_frame(x, log)
            distance = manifold.dist(node, points)
            index = jax.lax.top_k(-distance, nearest)[1]
            share = 1 / (jnp.square(distance[index]) + jnp.finfo(distance.dtype).tiny ** 0.5)
            there = jax.tree.map(lambda p: jnp.asarray(p)[index], points)
            carried = compose(
                transport_matrices(manifold, x, node), transport_matrices(manifold, node, there)
            )
            return index, share / jnp.sum(share), jnp.broadcast_to(log, (nearest, 2)), carried

        dtype = jnp.result_type(*jax.tree.leaves(x))
        index, share, logs, carried = jax.vmap(of_node)(jnp.asarray(log, dtype))
        shares = share * jnp.asarray(weight, dtype)[:, None]
        parts = Neighborhoods(index, shares, logs, carried)
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), parts)

    return jax.lax.map(of_point, jax.tree.map(jnp.asarray, points))


@register_record
@dataclass(frozen=True)
class Stencil:
    """The table of a convolution, made by :func:`stencil`.

    All layers on the same points share one.

    radial, degree: number of radial functions, highest degree of the harmonics.
    indices, transport: (m, k) and (m, k, d, d), of the neighborhoods.
    kernel: (m, k, radial * harmonics) their products at each neighbor, times its weight.
    """

    radial: int = field(metadata={"static": True})
    degree: int = field(metadata={"static": True})
    indices: Array
    transport: Array
    kernel: Array


def stencil(
    neighborhoods: Neighborhoods, group: Group, radius: float, radial: int = 3, degree: int = 4
) -> Stencil:
    """The table of a convolution with a number of radial functions, and harmonics up to a degree.

    The radial functions are r^(2 l) (1 - r^2)^4, r in units of the radius: smooth at 0, also times the harmonic
    polynomials, and so at the radius, which is what a quadrature needs to be accurate.

    Args:
        neighborhoods: In the gauge in which features will be written.
        group: The structure group, one of :func:`~geodl.equivariant.groups.so2`, ``o2``, ``so3``.
        radius: Of the ball; that of the neighborhoods, outside of which the kernel would be cut off.
        radial: Number of radial functions.
        degree: Highest degree of the harmonics; the highest frequency in plus the highest one out gives all kernels.

    Returns:
        The stencil, with a kernel (m, k, radial * harmonics).

    Raises:
        ValueError: The group does not act on tangent vectors, or a transport is no element of it (O(2) is needed where
            frames are not oriented alike); the radius is not positive; no radial function, or a negative degree.
    """
    check_positive("stencil: radius", radius)
    if radial < 1 or degree < 0:
        raise ValueError(
            f"stencil: radial functions and a degree >= 0 are needed, got {radial}, {degree}"
        )
    if neighborhoods.log.shape[-1] != group.dim:
        raise ValueError(
            f"stencil: {group} does not act on {neighborhoods.log.shape[-1]} dimensions"
        )
    group.validate(neighborhoods.transport)
    kernel = _table(group, radial, degree, neighborhoods.log, neighborhoods.weight, radius)
    return Stencil(radial, degree, neighborhoods.indices, neighborhoods.transport, kernel)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _table(group, radial, degree, log, weight, radius):
    """(m, k, radial * harmonics): of mean square 1 over the ball but for the weights, which sum to 1."""
    d, x = group.dim, log / radius
    l, power = np.arange(radial), 4
    counts = [1 + (j > 0) if d == 2 else 2 * j + 1 for j in range(degree + 1)]
    j = np.repeat(np.arange(degree + 1), counts)
    # integral of (r^2l (1 - r^2)^power r^j)^2 d r^(d - 1) dr
    squares = d / 2 * beta(2 * l[:, None] + j + d / 2, 2 * power + 1)
    r2 = jnp.sum(x * x, -1, keepdims=True)
    shapes = r2**l * jnp.maximum(1 - r2, 0) ** power
    volume = np.pi ** (d / 2) / math.gamma(d / 2 + 1) * radius**d
    scales = jnp.asarray(squares**-0.5, x.dtype)
    harmonics = group.harmonics(x, degree)[..., None, :] * scales
    table = (weight / volume)[..., None, None] * shapes[..., None] * harmonics
    return table.reshape(*table.shape[:-2], -1)


@functools.cache
def _table_basis(of, to, radial, degree):
    """(n, radial * harmonics, d_of, d_to): every radial function with every kernel of norm sqrt(d_to)."""
    tensors, _ = kernel_basis(of, to, degree)
    tensors = np.moveaxis(tensors, -1, -2)
    norms = np.sqrt(np.sum(tensors**2, (1, 2, 3), keepdims=True) / to.dim)
    n, y, *shape = tensors.shape
    parts = np.einsum("lm,nyij->lnmyij", np.eye(radial), tensors / norms)
    return parts.reshape(radial * n, radial * y, *shape)


# -------------------------------------------------------------------------------------------------
# Layers
# -------------------------------------------------------------------------------------------------


class GaugeConv(nnx.Module):
    """A gauge-equivariant convolution, called with a stencil and features (..., n, of.dim): (..., m, to.dim).

    Args:
        of, to: Types of the fields in and out, of the stencil's group.
        radial, degree: The stencil's.
        rngs: The random numbers of flax.
    """

    def __init__(self, of: FieldType, to: FieldType, radial: int, degree: int, rngs: nnx.Rngs):
        self.of, self.to = of, to
        basis = functools.partial(_table_basis, radial=radial, degree=degree)
        self.kernel, self.bias = Kernel(of, to, basis, rngs), InvariantBias(to)

    def __call__(self, stencil: Stencil, x: Array) -> Array:
        edges = _carried(self.of, stencil, x)
        seen = jnp.einsum("mkh,...mkc->...mhc", stencil.kernel.astype(edges.dtype), edges)
        matrix = self.kernel().reshape(-1, self.to.dim)
        return seen.reshape(*seen.shape[:-2], len(matrix)) @ matrix + self.bias()


def _carried(field_type, edges, x):
    """Features (..., n, dim) at each point's neighbors, transported to it: (..., m, k, dim)."""
    x = as_float(x)
    if x.ndim < 2 or x.shape[-1] != field_type.dim:
        raise ValueError(f"features (..., points, {field_type.dim}) are needed, got {x.shape}")
    if is_concrete(edges.indices) and (most := int(np.asarray(edges.indices).max())) >= x.shape[-2]:
        raise ValueError(f"features of {most + 1} or more points are needed, got {x.shape[-2]}")
    return field_type.transform(
        edges.transport.astype(x.dtype), jnp.take(x, edges.indices, axis=-2)
    )


def gauge_pool(field_type: FieldType, neighborhoods: Neighborhoods, x: Array) -> Array:
    """Weighted means of the transported features that each point sees.

    With neighborhoods of fewer ``centers`` it pools; invariant pooling is
    :func:`~geodl.equivariant.steerable.invariants`.

    Args:
        field_type: Type of the fields.
        neighborhoods: Of m points among n, in the gauge of the features.
        x: Features (..., n, dim).

    Returns:
        The means (..., m, dim).

    Raises:
        ValueError: Features of another shape, or a transport that is not an element of the fields' group.
    """
    weight = neighborhoods.weight / jnp.sum(neighborhoods.weight, -1, keepdims=True)
    carried = _carried(field_type, neighborhoods, x)
    return jnp.sum(weight.astype(carried.dtype)[..., None] * carried, -2)


class GaugeNet(nnx.Module):
    """A residual network of fields on points: a convolution, ``blocks`` of x + f(conv(x)), a last convolution.

    It is called with a stencil and features (..., n, of.dim), and gives features (..., n, to.dim).

    Args:
        of, hidden, to: Types of the fields in, in between, and out.
        blocks: Number of residual blocks.
        nonlinearity: Function of (type, rngs) that makes the module f, such as
            :class:`~geodl.equivariant.steerable.Gated`.
        radial, degree: The stencil's.
        rngs: The random numbers of flax.
    """

    def __init__(
        self,
        of: FieldType,
        hidden: FieldType,
        to: FieldType,
        blocks: int,
        nonlinearity: Callable[[FieldType, nnx.Rngs], Any],
        radial: int,
        degree: int,
        rngs: nnx.Rngs,
    ):
        def conv(of, to):
            return GaugeConv(of, to, radial, degree, rngs)

        self.activations = nnx.List([nonlinearity(hidden, rngs) for _ in range(blocks + 1)])
        types = [of, *[hidden] * blocks]
        pairs = zip(types, self.activations, strict=True)
        self.convs = nnx.List([conv(t, activation.of) for t, activation in pairs])
        self.last = conv(hidden, to)

    def __call__(self, stencil: Stencil, x: Array) -> Array:
        if len(stencil.indices) != x.shape[-2]:
            raise ValueError(
                f"GaugeNet: all points see and are seen, got {len(stencil.indices)} that see and {x.shape[-2]}"
            )
        for i, (conv, activation) in enumerate(zip(self.convs, self.activations, strict=True)):
            y = activation(conv(stencil, x))
            x = x + y if i else y
        return self.last(stencil, x)


def gauge_conv(of: FieldType, to: FieldType, stencil: Stencil) -> Net:
    """A gauge-equivariant convolution on given points (:class:`GaugeConv`).

    Args:
        of, to: Types of the fields in and out, of the stencil's group.
        stencil: Of the points.

    Returns:
        The network as pure functions, features (..., n, of.dim) -> (..., m, to.dim). The stencil is bound in ``apply``.
    """
    return _on(stencil, GaugeConv, of, to)


def gauge_net(
    of: FieldType,
    hidden: FieldType,
    to: FieldType,
    stencil: Stencil,
    blocks: int = 2,
    nonlinearity: Callable[[FieldType, nnx.Rngs], Any] = Gated,
) -> Net:
    """A small residual network of fields on given points (:class:`GaugeNet`).

    Args:
        of, hidden, to: Types of the fields in, in between, and out.
        stencil: Of the points, in the gauge of the features.
        blocks: Number of residual blocks.
        nonlinearity: ``Gated``, ``Norm`` or ``Fourier`` of :mod:`~geodl.equivariant.steerable`.

    Returns:
        The network as pure functions, features (..., n, of.dim) -> (..., n, to.dim). The stencil is bound in ``apply``.
    """
    return _on(stencil, GaugeNet, of, hidden, to, blocks, nonlinearity)


def _on(stencil, module, *arguments):
    radial, degree = stencil.radial, stencil.degree
    net = functional(lambda rngs: module(*arguments, radial, degree, rngs))
    return net._replace(apply=Partial(_apply, Partial(net.apply), stencil))


def _apply(apply, stencil, params, x):
    return apply(params, stencil, x)
