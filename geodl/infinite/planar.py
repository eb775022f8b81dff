"""Group convolutions of images: features on the pixels and the elements of C_N or D_N, N = 1, 2, 4.

A convolution is sums over taps s of a filter: z_a = weight_std / sqrt(taps channels) sum_s W_s f_{T(a, s)} at each
position a = (pixel, element), T a table of positions, so that

    K'(a, b) = weight_std^2 mean_s K(T(a, s), T(b, s)) + bias_std^2.

At the position (p, g) a filter is moved to the pixel p and turned by g: T((p, g), (x, h)) = (p + g x, g h), as in
:class:`geodl.equivariant.GroupConv`. With filters as large as the image, and without translations, it is the mean
over the group, K'(g, g') = mean_h K(g h, g' h): a network of these layers behind a ``group_pool`` has the kernel of the
dense network, averaged over the group.

Features are (..., height, width, elements times channels), the elements first.

Sources: Cohen & Welling, *Group equivariant convolutional networks* (2016); Misof, Kessel & Gerken, *Equivariant neural
tangent kernels* (2025).
"""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from geodl.equivariant.groups import PlanarGroup
from geodl.equivariant.steerable import average_pool as _average_pool
from geodl.infinite.layers import (
    Inputs,
    Layer,
    affine,
    check_size,
    kernel_of,
    layer,
    linear,
    weights,
    with_variances,
)


def lifting_conv(
    group: PlanarGroup,
    width: int,
    side: int | None = None,
    weight_std: float = 1.0,
    bias_std: float = 0.0,
) -> Layer:
    """From square images (height, width, channels) to features on pixels and group, zeros outside of the image.

    Args:
        group: C_N or D_N with N = 1, 2 or 4.
        width: number of channels out, at each element.
        side: of the filters, odd; by default they are as large as the image and stay there: one pixel is left.
        weight_std, bias_std: standard deviations.

    Returns:
        The layer.

    Raises:
        ValueError: another group, an even side.
    """
    check_size("lifting_conv", width, weight_std, bias_std)
    _check("lifting_conv", group, side)

    def table(height):
        if side is None:
            return _turned_images(group, height)
        return _table(group, height, side, group.trivial)

    return _conv("lifting_conv", table, 1, group, width, side is None, weight_std, bias_std)


def group_conv(
    group: PlanarGroup,
    width: int,
    side: int = 1,
    weight_std: float = 1.0,
    bias_std: float = 0.0,
) -> Layer:
    """Between features on pixels and group, zeros outside of the image.

    Args:
        group: that of the features.
        width: number of channels out, at each element.
        side: of the filters in pixels, odd; they are as large as the group.
        weight_std, bias_std: standard deviations.

    Returns:
        The layer.

    Raises:
        ValueError: a group other than C_N or D_N with N = 1, 2 or 4, an even side.
    """
    check_size("group_conv", width, weight_std, bias_std)
    _check("group_conv", group, side)

    def table(height):
        return _table(group, height, side, group.regular())

    return _conv("group_conv", table, len(group), group, width, False, weight_std, bias_std)


def _check(name, group, side):
    if group.order not in (1, 2, 4):
        raise ValueError(f"{name}: {group} does not map pixels to pixels, C_4 and D_4 do")
    if side is not None and (side < 1 or side % 2 == 0):
        raise ValueError(f"{name}: the side of a filter is odd, got {side}")


def _conv(name, table, copies, group, width, whole, weight_std, bias_std):
    """The layer of a table of positions; ``copies`` elements in, ``whole`` where one pixel comes out."""

    def patches(x, height):
        f = x.reshape(*x.shape[:-3], height * height * copies, -1)
        f = jnp.concatenate([f, jnp.zeros_like(f[..., :1, :])], -2)  # what lies outside
        seen = f[..., table(height), :]
        return seen.reshape(*seen.shape[:-2], -1)

    def init(key, shape):
        height = _height(name, shape, copies)
        taps = table(height).shape[1]
        params = weights(key, (taps, shape[2] // copies), width)
        return params, (*((1, 1) if whole else shape[:2]), len(group) * width)

    def apply(params, x):
        x = jnp.asarray(x)
        height = _height(name, x.shape[-3:], copies)
        z = affine(params, patches(x, height), weight_std, bias_std)
        out = 1 if whole else height
        return z.reshape(*x.shape[:-3], out, out, -1)

    def kernel(pair):
        if isinstance(pair, Inputs):
            height = _height(name, pair.first.shape, copies)
            pair = kernel_of(Inputs(*(patches(x, height) for x in pair)))
            return linear(pair, lambda k: k, weight_std, bias_std)
        height = _side(name, pair.nngp, copies)
        taps = jnp.asarray(table(height).T)

        def move(k):
            k = jnp.pad(k, [(0, 1), (0, 1)])

            def add(total, at):
                return total + k[at[:, None], at], None

            start = jnp.zeros((taps.shape[1],) * 2, k.dtype)
            return lax.scan(add, start, taps)[0] / len(taps)

        return linear(pair, move, weight_std, bias_std)

    return layer(init, apply, kernel)


def _height(name, shape, copies):
    if len(shape) != 3 or shape[0] != shape[1] or shape[2] % copies:
        channels = "channels" if copies == 1 else f"{copies} times channels"
        raise ValueError(f"{name}: square images (height, width, {channels}), got {shape}")
    return shape[0]


def _side(name, k, copies):
    """Height of the images whose pixels and elements the kernel's pairs are."""
    height = math.isqrt(k.shape[0] // copies) if k.ndim == 2 else 0
    if k.ndim != 2 or height * height * copies != k.shape[0]:
        raise ValueError(f"{name}: features on square images are needed, got {k.shape}")
    return height


def _table(group, height, side, of):
    """Positions (out, taps) of fields ``of`` that each position's filter sees; the one behind the last is outside."""
    elements = group.elements()
    offsets = np.arange(side) - side // 2
    right, up = np.meshgrid(offsets, -offsets)
    taps = np.stack([right.ravel(), up.ravel()], -1)
    moved = np.rint(np.einsum("gij,sj->gsi", elements, taps)).astype(int)
    row, column = np.divmod(np.arange(height * height), height)
    columns = column[:, None, None] + moved[..., 0]
    rows = row[:, None, None] - moved[..., 1]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < height)
    pixels = rows * height + columns  # (pixel, g, tap)
    products = np.stack([of.origins(g.T) for g in elements])  # where g h is (g, h)
    seen = pixels[..., None] * of.dim + products[:, None]
    seen = np.where(inside[..., None], seen, height * height * of.dim)
    return seen.reshape(height * height * len(elements), -1)


def _turned_images(group, height):
    """The pixel that g moves each pixel to, (g, pixel)."""
    center = (height - 1) / 2
    row, column = np.divmod(np.arange(height * height), height)
    places = np.stack([column - center, center - row], -1)
    moved = np.einsum("gij,sj->gsi", group.elements(), places)
    return np.rint((center - moved[..., 1]) * height + moved[..., 0] + center).astype(int)


# -------------------------------------------------------------------------------------------------
# Pooling
# -------------------------------------------------------------------------------------------------


def average_pool(group: PlanarGroup) -> Layer:
    """Means of 2 x 2 pixels of features on pixels and group (C_1: plain images).

    Returns:
        The layer.
    """
    copies = len(group)

    def init(key, shape):
        height, width, channels = shape
        return {}, (height // 2, width // 2, channels)

    def mean(k):
        height = _side("average_pool", k, copies)
        if height % 2:
            raise ValueError(f"average_pool: even sides are needed, got {height}")
        k = k.reshape((height // 2, 2, height // 2, 2, copies) * 2).mean((1, 3, 6, 8))
        return k.reshape(height * height // 4 * copies, -1)

    return _pool(init, _average_pool, mean)


def group_pool(group: PlanarGroup) -> Layer:
    """Means over the group, at each pixel.

    Returns:
        The layer.
    """
    copies = len(group)

    def init(key, shape):
        _height("group_pool", shape, copies)
        return {}, (*shape[:2], shape[2] // copies)

    def apply(x):
        return x.reshape(*x.shape[:-1], copies, -1).mean(-2)

    def mean(k):
        pixels = _side("group_pool", k, copies) ** 2
        return k.reshape(pixels, copies, pixels, copies).mean((1, 3))

    return _pool(init, apply, mean)


def mean_pool() -> Layer:
    """Means over the pixels: vectors come out.

    Returns:
        The layer.
    """

    def apply(x):
        return x.mean((-3, -2))

    def mean(k):
        _side("mean_pool", k, 1)
        return k.mean()

    return _pool(lambda key, shape: ({}, shape[2:]), apply, mean)


def _pool(init, apply, mean):
    def kernel(pair):
        pair = kernel_of(pair)
        return with_variances(*map(mean, (pair.nngp, pair.ntk, pair.self1, pair.self2)))

    return layer(init, lambda params, x: apply(jnp.asarray(x)), kernel)
