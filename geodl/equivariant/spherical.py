"""Convolutions that commute with rotations of the sphere, and networks of them.

A layer is a weighted sum of rotated copies: with taps R_i close to the identity, z(R) = sum_i w_i f(R R_i) for
functions on SO(3), and z(R) = sum_i w_i f(R x_i) for functions on the sphere, which it lifts to SO(3). Both commute
with f -> f(Q^-1 .), whatever the weights w_i, and are computed exactly in coefficients, by one real product of
matrices for each degree. Here w_i is sqrt(2 / (taps in)) times the parameter, whose initial values are standard
normal: features keep their size, and the papers' learning rates apply. Between them functions are sampled for a
nonlinearity; what it puts into degrees that the grid does not carry is the only error of equivariance
(:mod:`geodl.equivariant.checks` measures it, a finer grid lessens it).

Features are real coefficients in the order of the transforms' computation, with batch and channel last: (m, l, s,
batch, channel) on the sphere, (m, n, l, s, t, batch, channel) on SO(3), see
:meth:`~geodl.equivariant.harmonics.RotationTransform.analyze`.

Sources: Cohen, Geiger, Koehler & Welling, *Spherical CNNs* (2018); Gerken, Carlsson, Linander, Ohlsson, Petersson &
Persson, *Equivariance versus augmentation for spherical images* (2022); Esteves, Makadia & Daniilidis, *Spin-weighted
spherical CNNs* (2020).
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jax.typing import DTypeLike

from geodl._core.records import register_record
from geodl.equivariant._rotator import rotations
from geodl.equivariant._sphere_kernels import (
    RotationKernel,
    SphereKernel,
    rotation_kernel,
    sphere_kernel,
)
from geodl.equivariant._sphere_layers import (
    convolve,
    integrate,
    lift,
    magnitudes,
    normalized,
    pointwise,
    powers,
    to_sphere,
)
from geodl.equivariant.harmonics import (
    Grid,
    RotationTransform,
    Rotator,
    SphereTransform,
    gauss_legendre,
    rotation_transform,
    rotator,
    sphere_transform,
)
from geodl.nn import Net
from geodl.nn.conv import check_images, relu
from geodl.nn.net import Params


__all__ = [
    "RotationKernel",
    "SphereKernel",
    "convolve",
    "integrate",
    "lift",
    "magnitudes",
    "pointwise",
    "powers",
    "rotation_kernel",
    "sphere_kernel",
    "spherical_classifier",
    "spherical_segmenter",
    "to_sphere",
    "with_spectra",
]


@register_record
@dataclass(frozen=True)
class _Layers:
    """The tables of a network: a lifting convolution, then convolutions on SO(3)."""

    image: SphereTransform
    kernels: tuple[Any, ...]
    grids: tuple[RotationTransform, ...]  # on which the results of the layers are sampled
    rotator: Rotator
    normalized: bool = field(metadata={"static": True})
    spins: bool = field(metadata={"static": True})

    def init(self, key, channels, skips):
        """Parameters of the layers."""
        keys = jax.random.split(key, len(self.kernels))
        params: Params = {}
        pairs = itertools.pairwise(channels)
        for i, (kernel, (n, k)) in enumerate(zip(self.kernels, pairs, strict=True)):
            shape = (self.grids[i].orders + 1, k) if self.spins else k
            layer = {"kernel": kernel.init(keys[i], n, k), "bias": jnp.zeros(shape)}
            if i > 0 and skips:
                of_skip = jax.random.fold_in(keys[i], 0)
                skip = jax.random.normal(of_skip, (n, k), self.image.fourier.dtype)
                layer |= {"skip": skip / np.sqrt(n), "skip_bias": jnp.zeros(k)}
            params[f"layer{i}"] = layer
        return params

    def features(self, params, images, rotation, degrees):
        """Coefficients of the last layer's features, its nonlinearity included, of degrees below a number."""
        f = self.image.analyze(jnp.transpose(images, (2, 1, 0, 3)))
        if rotation is not None:
            f = self.rotator.rotate(f, rotation)
        f = lift(f, _spectrum(self.kernels[0], params["layer0"])[: self.grids[0].orders + 1])
        for i, kernel in enumerate(self.kernels[1:], 1):
            layer = params[f"layer{i}"]
            f = self.nonlinear(params, i - 1, f, kernel.degrees)
            z = convolve(f, _spectrum(kernel, layer))
            f = z + jnp.matmul(f, layer["skip"], precision="highest") if "skip" in layer else z
        return self.nonlinear(params, len(self.kernels) - 1, f, degrees)

    def nonlinear(self, params, i, f, degrees):
        """ReLU of the result of layer i, its bias added; or of the magnitudes of its spins."""
        layer = params[f"layer{i}"]
        bias = layer["bias"] + layer.get("skip_bias", 0)
        f = normalized(f) if self.normalized else f
        if self.spins:
            return magnitudes(self.grids[i], f, bias, degrees)
        return pointwise(self.grids[i], f, lambda x: relu(x + bias), degrees)


def _layers(bands, max_betas, last, grid, orders, oversampling, normalized, spins, dtype):
    """The tables; ``last`` is the number of degrees that are wanted of the last result."""
    degrees = [min(pair) for pair in itertools.pairwise(bands)]
    if len(max_betas) != len(degrees):
        raise ValueError(f"{len(degrees)} layers need as many max_betas, got {len(max_betas)}")
    orders = max(bands) if orders is None else orders
    grids: list[RotationTransform] = []
    kernels: list[Any] = [sphere_kernel(degrees[0], max_betas[0], dtype=dtype)]
    for band, lower, upper in zip(bands[1:], degrees, [*degrees[1:], last], strict=True):
        most = max(lower, upper)
        rings = gauss_legendre(most, max(most, math.ceil(oversampling * band)))
        few = min(orders, most - 1)
        turns = rings.longitudes if few == most - 1 else 4 * few + 2
        grids.append(rotation_transform(most, few, rings, turns, dtype))
    for l, max_beta in zip(degrees[1:], max_betas[1:], strict=True):
        kernels.append(rotation_kernel(l, max_beta, min(orders, l - 1), dtype=dtype))
    image = sphere_transform(degrees[0], grid or gauss_legendre(bands[0]), dtype)
    turning = rotator(degrees[0], dtype)
    return _Layers(image, tuple(kernels), tuple(grids), turning, normalized, spins)


def _spectrum(kernel, layer):
    return layer["spectrum"] if "spectrum" in layer else kernel.spectrum(layer["kernel"])


def spherical_classifier(
    classes: int,
    bands: Sequence[int] = (30, 10, 6),
    channels: Sequence[int] = (1, 20, 40),
    max_betas: Sequence[float] = (np.pi / 8, np.pi / 8),
    grid: Grid | None = None,
    orders: int | None = None,
    oversampling: float = 1.0,
    normalized: bool = False,
    spins: bool = False,
    hidden: int | None = None,
    dtype: DTypeLike | None = None,
) -> Net:
    """A classifier of images on the sphere, invariant to rotations: convolutions, the mean over SO(3), a linear layer.

    By default the network of Cohen et al. for MNIST on the sphere, of 154,550 parameters.

    Args:
        classes: number of logits.
        bands: degrees that the image has, and that the result of each layer is sampled for.
        channels: of the image, and of each layer's result.
        max_betas: size of each layer's kernels.
        grid: of the images, by default Gauss and Legendre's for the first of the bands.
        orders: N: features of spins up to N only, whose memory is O(L^2 N). By default all.
        oversampling: rings of the grids on which ReLU acts, by the band: more are less aliasing.
        normalized: whether features are divided by their root mean square before each nonlinearity: training takes far
            fewer steps.
        spins: whether the nonlinearity is :func:`magnitudes` of spins, to be had with few ``orders``.
        hidden: units of a dense layer between the :func:`powers` of the last features and the logits; by default, the
            logits are a linear function of the means.
        dtype: of images, by default JAX's default.

    Returns:
        ``apply(params, images, rotation=None)``: logits (..., classes) of images (..., rings, longitudes, channels).
        With a rotation matrix (3, 3), or one for each image (..., 3, 3), of the rotated images, rotated exactly, in
        coefficients. The tables are bound in ``apply``: pass ``net.bind(params)``, or ``net.apply``, to a jitted
        function.

    Raises:
        ValueError: Numbers of layers do not agree; or images that are not on the grid.

    Reference:
        Cohen, Geiger, Koehler & Welling, *Spherical CNNs* (2018).
    """
    _check_channels(channels, bands)
    last = 1 if hidden is None else bands[-1]  # degrees of the result
    layers = _layers(bands, max_betas, last, grid, orders, oversampling, normalized, spins, dtype)
    shape = (*layers.image.grid.shape, channels[0])

    def init(key):
        of_layers, of_logits, of_hidden = jax.random.split(key, 3)
        params = layers.init(of_layers, channels, False)
        if hidden is not None:
            params["hidden"] = _dense(of_hidden, channels[-1] * last, hidden, np.sqrt(2))
        return params | {"logits": _dense(of_logits, hidden or channels[-1], classes, 1)}

    def apply(layers, params, images, rotation=None):
        x, rotation, batch = _flat("spherical_classifier", images, rotation, shape)
        f = layers.features(params, x, rotation, last)
        if hidden is None:
            y = integrate(f)
        else:
            y = powers(f).reshape(len(x), -1)
            # Those of high degrees are small.
            y = jax.nn.standardize(y, epsilon=1e-3)
            y = relu(_affine(params["hidden"], y))
        return _affine(params["logits"], y).reshape(*batch, classes)

    return Net(init, Partial(apply, layers))


def _dense(key, n, k, gain):
    """Parameters of an affine map of n numbers to k."""
    return {"kernel": jax.random.normal(key, (n, k)) * gain / np.sqrt(n), "bias": jnp.zeros(k)}


def _affine(layer, x):
    return jnp.matmul(x, layer["kernel"], precision="highest") + layer["bias"]


# Of Gerken et al. (2022).
_BANDS = (50, 42, 35, 27, 20, 27, 35, 42, 50)
_CHANNELS = (1, 11, 12, 13, 14, 13, 12, 11, 11)
_MAX_BETAS = tuple(
    np.pi * np.array([0.1238, 0.1474, 0.1768, 0.2292, 0.3095, 0.2292, 0.1768, 0.1474])
)


def spherical_segmenter(
    bands: Sequence[int] = _BANDS,
    channels: Sequence[int] = _CHANNELS,
    max_betas: Sequence[float] = _MAX_BETAS,
    skips: bool = False,
    grid: Grid | None = None,
    orders: int | None = None,
    oversampling: float = 1.0,
    normalized: bool = False,
    spins: bool = False,
    dtype: DTypeLike | None = None,
) -> Net:
    """A network from images on the sphere to logits at each of their pixels, which rotate as the image does.

    By default that of Gerken et al., of 204,073 parameters, 205,088 with skips: convolutions with ReLU, first to
    fewer degrees and then to more, the last one from SO(3) to the sphere.

    Args:
        bands: degrees of the image, of the result of each layer, and at last of the logits.
        channels: of the image, of each layer's result; at last the number of classes.
        max_betas: size of each layer's kernels.
        skips: whether each inner layer's input, its channels mixed, is added to its result.
        grid: of the images, and of the logits; by default Gauss and Legendre's.
        orders: N: features of spins up to N only, whose memory is O(L^2 N). By default all.
        oversampling: rings of the grids on which ReLU acts, by the band: more are less aliasing.
        normalized: whether features are divided by their root mean square before each nonlinearity: training takes far
            fewer steps.
        spins: whether the nonlinearity is :func:`magnitudes` of spins, to be had with few ``orders``.
        dtype: of images, by default JAX's default.

    Returns:
        ``apply(params, images, rotation=None)``: logits (..., rings, longitudes, classes) of images (..., rings,
        longitudes, channels). With a rotation, as in :func:`spherical_classifier`, the image's coefficients are
        rotated by it and those of the logits are rotated back.

    Raises:
        ValueError: Numbers of layers do not agree, the image's band and the logits' differ; or images that are not on
            the grid.

    Reference:
        Gerken, Carlsson, Linander, Ohlsson, Petersson & Persson, *Equivariance versus augmentation for spherical
        images* (2022).
    """
    _check_channels(channels, bands)
    if bands[0] != bands[-1]:
        raise ValueError(f"spherical_segmenter: the last band must be the first, got {bands}")
    last = min(bands[-2:])
    layers = _layers(
        bands[:-1], max_betas[:-1], last, grid, orders, oversampling, normalized, spins, dtype
    )
    few = last - 1 if orders is None else min(orders, last - 1)
    kernel = rotation_kernel(last, max_betas[-1], few, dtype=dtype)
    logits = sphere_transform(last, layers.image.grid, dtype), rotator(last, dtype), kernel
    shape = (*layers.image.grid.shape, channels[0])

    def init(key):
        of_layers, of_logits = jax.random.split(key)
        last = {"kernel": kernel.init(of_logits, *channels[-2:]), "bias": jnp.zeros(channels[-1])}
        return layers.init(of_layers, channels[:-1], skips) | {"logits": last}

    def apply(tables, params, images, rotation=None):
        layers, (transform, rotator, kernel) = tables
        x, rotation, batch = _flat("spherical_segmenter", images, rotation, shape)
        f = layers.features(params, x, rotation, kernel.degrees)
        last = params["logits"]
        column = last["column"] if "column" in last else kernel.column(last["kernel"])
        z = to_sphere(f, column)
        if rotation is not None:
            z = rotator.rotate(z, jnp.swapaxes(rotation, -1, -2))
        y = jnp.transpose(transform.synthesize(z), (2, 1, 0, 3)) + last["bias"]
        return y.reshape(*batch, *y.shape[1:])

    return Net(init, Partial(apply, (layers, logits)))


def _check_channels(channels, bands):
    if len(channels) != len(bands):
        raise ValueError(f"{len(bands)} bands need as many channels, got {len(channels)}")


def _flat(name, images, rotation, shape):
    """Images (batch, *shape), the rotation, or one for each, and the leading axes."""
    check_images(name, images, shape)
    images = jnp.asarray(images)
    batch = images.shape[:-3]
    if rotation is not None:
        rotation = rotations(name, rotation, images.dtype)
        if rotation.ndim > 2:  # against (batch, channel)
            rotation = jnp.broadcast_to(rotation, (*batch, 3, 3)).reshape(-1, 1, 3, 3)
    return images.reshape(math.prod(batch), *shape), rotation, batch


def with_spectra(net: Net, params: Params) -> Params:
    """Parameters with the kernels' spectra in place of the kernels: ``net.apply`` takes them too, and is faster.

    For inference: a kernel's spectrum has far more numbers than the kernel.

    Args:
        net: of :func:`spherical_classifier` or :func:`spherical_segmenter`.
        params: of ``net.init``.

    Returns:
        Parameters for ``net.apply`` with the same result.
    """
    tables = net.apply.args[0]  # type: ignore[attr-defined]
    layers = tables if isinstance(tables, _Layers) else tables[0]
    fixed = dict(params)
    for i, kernel in enumerate(layers.kernels):
        fixed[f"layer{i}"] = _replaced(params[f"layer{i}"], "spectrum", kernel.spectrum)
    if isinstance(tables, tuple):
        fixed["logits"] = _replaced(params["logits"], "column", tables[1][2].column)
    return fixed


def _replaced(layer, name, of_kernel):
    rest = {key: value for key, value in layer.items() if key != "kernel"}
    return rest | {name: of_kernel(layer["kernel"])}
