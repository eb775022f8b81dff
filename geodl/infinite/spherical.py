"""Convolutions on the sphere and on SO(3), in coefficients of harmonics.

Filters are Gaussian white noise of degrees below L: z(R) = int w(x) f(R x) dx lifts functions on the sphere, z(R) =
int w(S) f(R S) dS convolves functions on SO(3) (probability measures; :mod:`geodl.equivariant.harmonics` has the
conventions). Then

    K'(R, R') = weight_std^2 int K(R x, R' x) dx + bias_std^2,   or with S in place of x,

which is a function of Q = R R'^-1 alone, and stays one through nonlinearities. Its coefficients are F^l_mm' = f_lm
f'_lm' / (4 pi (2 l + 1)) behind the lifting layer (means over channels), of degrees l = l' only; a convolution cuts
them off at L, the mean over SO(3) is F^0. So a pair of inputs takes as many numbers as one function on SO(3).

Kernels are held as values on the grid of a :class:`~geodl.equivariant.harmonics.RotationTransform`, behind them the
value at the identity, which of ``self1`` is the variance. All layers of a network share the grid; for nonlinearities
it needs more rings than the degrees.

Source: Misof, Kessel & Gerken, *Equivariant neural tangent kernels* (2025), who have the general two-point kernels.
"""

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from geodl.equivariant.harmonics import RotationTransform, SphereTransform
from geodl.infinite.layers import (
    Inputs,
    Layer,
    check_size,
    kernel_of,
    layer,
    linear,
    weights,
    with_variances,
)


def sphere_conv(
    image: SphereTransform,
    rotation: RotationTransform,
    width: int,
    weight_std: float = 1.0,
    bias_std: float = 0.0,
) -> Layer:
    """From functions on the sphere (rings, longitudes, channels) to functions on SO(3); the first layer.

    Args:
        image: the transform of the inputs, of degrees below L.
        rotation: that of the features, with all orders.
        width: number of channels out.
        weight_std, bias_std: standard deviations.

    Returns:
        The layer, to features (rings, longitudes, turns, width).

    Raises:
        ValueError: the features' transform has fewer degrees than the image's, or not all orders.
    """
    check_size("sphere_conv", width, weight_std, bias_std)
    _check_orders("sphere_conv", rotation)
    degrees = image.degrees
    if rotation.degrees < degrees:
        raise ValueError(f"sphere_conv: {degrees} degrees do not fit into {rotation.degrees}")
    rows, columns, l = _packing(degrees)

    def init(key, shape):
        if shape[:2] != image.grid.shape:
            raise ValueError(f"sphere_conv: images {image.grid.shape} are needed, got {shape}")
        return weights(key, (degrees**2, shape[2]), width), (*rotation.shape, width)

    def apply(tables, params, x):
        image, rotation = tables
        f = image.analysis(jnp.moveaxis(x, -1, -3))[..., rows]  # (..., in, size)
        w = params["weight"][columns].astype(f.dtype)
        scale = weight_std / np.sqrt(4 * np.pi * f.shape[-2]) / (2 * l + 1)
        z = jnp.einsum("...is,sio->...os", f, w, precision="highest") * scale.astype(f.dtype)
        return _values(rotation, z) + bias_std * params["bias"]

    def kernel(tables, pair):
        image, rotation = tables
        if not isinstance(pair, Inputs):
            raise ValueError("sphere_conv: it is the first layer of a network")
        f1, f2 = (image.analysis(jnp.moveaxis(x, -1, 0)) for x in pair)
        scale = 1 / (4 * np.pi * len(f1) * (2 * l + 1))

        def values(f1, f2):
            packed = jnp.sum(f1[:, rows] * f2[:, columns], 0) * scale.astype(f1.dtype)
            return _with_identity(rotation, packed)

        nngp = values(f1, f2)
        pair = with_variances(nngp, jnp.zeros_like(nngp), values(f1, f1), values(f2, f2))
        return linear(pair, lambda k: k, weight_std, bias_std)

    tables = image, rotation.below(degrees)
    return layer(init, Partial(apply, tables), Partial(kernel, tables))


def rotation_conv(
    rotation: RotationTransform, width: int, weight_std: float = 1.0, bias_std: float = 0.0
) -> Layer:
    """Between functions on SO(3) (rings, longitudes, turns, channels), with filters of the transform's degrees.

    Args:
        rotation: the transform of the features, with all orders; ``rotation.below(L)`` for fewer degrees.
        width: number of channels out.
        weight_std, bias_std: standard deviations.

    Returns:
        The layer.

    Raises:
        ValueError: the transform has not all orders.
    """
    check_size("rotation_conv", width, weight_std, bias_std)
    _check_orders("rotation_conv", rotation)
    ends = np.cumsum([0, *((2 * l + 1) ** 2 for l in range(rotation.degrees))])

    def init(key, shape):
        if shape[:3] != rotation.shape:
            raise ValueError(f"rotation_conv: features {rotation.shape} are needed, got {shape}")
        return weights(key, (rotation.size, shape[3]), width), (*rotation.shape, width)

    def apply(rotation, params, x):
        f = rotation.analysis(jnp.moveaxis(x, -1, -4))  # (..., in, size)
        parts = []
        for l in range(rotation.degrees):
            n, at = 2 * l + 1, slice(ends[l], ends[l + 1])
            w = params["weight"][at].reshape(n, n, *params["weight"].shape[1:]).astype(f.dtype)
            block = f[..., at].reshape(*f.shape[:-1], n, n)
            z = jnp.einsum("...imk,nkio->...omn", block, w, precision="highest")
            z = z * (weight_std / (n * f.shape[-2]) ** 0.5)
            parts.append(z.reshape(*z.shape[:-2], n * n))
        return _values(rotation, jnp.concatenate(parts, -1)) + bias_std * params["bias"]

    def kernel(rotation, pair):
        def project(k):
            return _with_identity(rotation, _analyzed("rotation_conv", rotation, k))

        return linear(kernel_of(pair), project, weight_std, bias_std)

    return layer(init, Partial(apply, rotation), Partial(kernel, rotation))


def rotation_pool(rotation: RotationTransform) -> Layer:
    """The mean over SO(3): vectors come out.

    Returns:
        The layer.
    """

    def apply(rotation, params, x):
        return rotation.analysis(jnp.moveaxis(x, -1, -4))[..., 0]

    def kernel(rotation, pair):
        nngp, ntk, self1, self2, *_ = kernel_of(pair)
        parts = (_analyzed("rotation_pool", rotation, k)[0] for k in (nngp, ntk, self1, self2))
        return with_variances(*parts)

    mean = rotation.below(1)
    return layer(lambda key, shape: ({}, shape[3:]), Partial(apply, mean), Partial(kernel, mean))


def _values(rotation, packed):
    """Functions (..., rings, longitudes, turns, channels) of coefficients (..., channels, size)."""
    return jnp.moveaxis(rotation.synthesis(packed), -4, -1)


def _with_identity(rotation, packed):
    """Values on the grid, and at the identity, sum_l (2 l + 1) tr F^l."""
    rows, columns, l = _packing(rotation.degrees)
    trace = jnp.sum(packed * np.where(rows == columns, 2 * l + 1, 0).astype(packed.dtype))
    return jnp.append(rotation.synthesis(packed).ravel(), trace)


def _analyzed(name, rotation, k):
    if k.shape != (np.prod(rotation.shape) + 1,):
        raise ValueError(f"{name}: features on the grid {rotation.shape} of SO(3) are needed")
    return rotation.analysis(k[:-1].reshape(rotation.shape))


def _packing(degrees):
    """For packed coefficients F^l_mm' the places of lm and of lm' among those of the sphere, and l."""
    rows, columns, degree = [], [], []
    for l in range(degrees):
        m = np.arange(2 * l + 1) + l * l
        rows.append(np.repeat(m, len(m)))
        columns.append(np.tile(m, len(m)))
        degree.append(np.full(len(m) ** 2, l))
    return tuple(map(np.concatenate, (rows, columns, degree)))


def _check_orders(name, rotation):
    if rotation.orders != rotation.degrees - 1:
        raise ValueError(f"{name}: a transform with all orders is needed, got {rotation.orders}")
