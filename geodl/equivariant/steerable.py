"""Convolutions of images that commute with rotations and reflections, and what goes between them.

A field of type rho moves as (g f)(p) = rho(g) f(g^-1 p). A convolution (k * f)(p) = sum_x k(x) f(p + x) commutes with
that, where k(g x) = rho_out(g) k(x) rho_in(g)^-1 (Weiler & Cesa 2019, arXiv 1911.08251). The first axis points to the
right, the second one up: ``jnp.rot90`` of an image is its rotation by +90 degrees.

:class:`SteerableConv` has as kernels Gaussian rings times circular harmonics times constant matrices, for any group of
the plane and any representations: exact under the symmetries of the pixel grid, approximate under finer rotations.
:class:`GroupConv` has one free number for each pixel, moved about by the group, for the groups of the grid (p4, p4m:
Cohen & Welling 2016). Either is a plain convolution of an expanded kernel; :func:`plain` makes it one for inference.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from geodl._core.reductions import safe_sqrt
from geodl.equivariant._steerable_kernels import (
    InvariantBias,
    Kernel,
    image_basis,
    kernel_basis,
    pixels,
)
from geodl.equivariant.fields import FieldType
from geodl.equivariant.groups import PlanarGroup
from geodl.nn.conv import Conv, check_images, conv, relu
from geodl.nn.net import Net, Params, functional


__all__ = [
    "Fourier",
    "Gated",
    "GroupConv",
    "InvariantBias",
    "Kernel",
    "Norm",
    "Pointwise",
    "SteerableClassifier",
    "SteerableConv",
    "average_pool",
    "group_conv",
    "invariants",
    "kernel_basis",
    "plain",
    "steerable_classifier",
    "steerable_conv",
]


# -------------------------------------------------------------------------------------------------
# Convolutions of images
# -------------------------------------------------------------------------------------------------


class SteerableConv(nnx.Module):
    """A steerable convolution of images (..., height, width, of.dim) -> (..., height, width, to.dim), zeros outside.

    Args:
        of, to: Types of the fields in and out, of one group of the plane.
        side: Of the square kernel, odd.
        rngs: The random numbers of flax.

    Raises:
        ValueError: An even side, or a group that does not act on the plane.
    """

    def __init__(self, of: FieldType, to: FieldType, side: int, rngs: nnx.Rngs):
        _planar("SteerableConv", of, to)
        self.of, self.to, self.side = of, to, side
        self.kernel = Kernel(of, to, functools.partial(image_basis, side=side), rngs)
        self.bias = InvariantBias(to)

    def plain(self) -> Conv:
        """The same convolution with its kernel and bias as arrays."""
        kernel = self.kernel().reshape(self.side, self.side, self.of.dim, self.to.dim)
        return _plain_conv(kernel, self.bias())

    def __call__(self, x):
        _check_channels("SteerableConv", self.of, x)
        kernel = self.kernel().reshape(self.side, self.side, self.of.dim, self.to.dim)
        return conv(x, kernel) + self.bias()


class GroupConv(nnx.Module):
    """A group convolution with free pixels, for the groups of the grid: C_1, C_2, C_4 (p4), D_1, D_2, D_4 (p4m).

    k(x)[g, h] = w(g^-1 x)[g^-1 h]: turned copies of one filter look at the image, or at the fields on the group.
    Fields in that are scalars are lifted to the group.

    Args:
        of: Type of the fields in, whose coordinates the group permutes (scalars, regular, quotients).
        to: Type of the fields out, regular.
        side: Of the square kernel, odd.
        rngs: The random numbers of flax.

    Raises:
        ValueError: The group does not act on the pixels, a type is not of that kind, or the side is even.
    """

    def __init__(self, of: FieldType, to: FieldType, side: int, rngs: nnx.Rngs):
        group = _planar("GroupConv", of, to)
        if group.order is None or 4 % group.order:
            raise ValueError(f"GroupConv: {group} does not map pixels to pixels, C_4 and D_4 do")
        for representation, _ in of.fields:
            _check_permutes("GroupConv", representation)
        if any(representation != group.regular() for representation, _ in to.fields):
            raise ValueError("GroupConv: the fields out are regular")
        self.of, self.to, self.side, self.copies = of, to, side, len(group)
        n_to = to.count
        shapes = [(len(pixels(side)) * r.dim, n, n_to) for r, n in of.fields]
        scale = nnx.initializers.normal((2 / sum(s * n for s, n, _ in shapes)) ** 0.5)
        self.weights = nnx.List([nnx.Param(scale(rngs.params(), shape)) for shape in shapes])
        self.bias = nnx.Param(jnp.zeros(n_to))

    def _expanded(self):
        blocks = []
        for (of, _), w in zip(self.of.fields, self.weights, strict=True):
            turned = w[...][_turned_entries(of, self.side)]  # (g, pixel, coordinate, n_of, n_to)
            kernel = jnp.moveaxis(turned, 0, -2)
            blocks.append(kernel.reshape(self.side, self.side, -1, self.to.dim))
        return jnp.concatenate(blocks, 2), jnp.tile(self.bias[...], self.copies)

    def plain(self) -> Conv:
        """The same convolution with its kernel and bias as arrays."""
        return _plain_conv(*self._expanded())

    def __call__(self, x):
        _check_channels("GroupConv", self.of, x)
        kernel, bias = self._expanded()
        return conv(x, kernel) + bias


@functools.cache
def _turned_entries(of, side):
    """Where k(x)[g, h] = w(g^-1 x)[g^-1 h] stands among w's pixels and coordinates: integers (g, x, h)."""
    half, entries = side // 2, []
    for g in of.group.elements():
        right, up = np.rint(pixels(side) @ g).astype(int).T  # g^-1 x
        pixel = (half - up) * side + half + right
        entries.append(pixel[:, None] * of.dim + of.origins(g))
    return np.stack(entries)


def _plain_conv(kernel, bias):
    side, _, n, m = kernel.shape
    module = Conv(n, m, side, nnx.Rngs(0), nnx.initializers.zeros)
    module.kernel, module.bias = nnx.Param(kernel), nnx.Param(bias)
    return module


def plain(make: Callable[[nnx.Rngs], nnx.Module], params: Params) -> tuple[Net, Params]:
    """The network of a module with every convolution of this page a plain one, for inference.

    Args:
        make: ``make(rngs)`` builds the module, as for :func:`geodl.nn.functional`.
        params: Of its network.

    Returns:
        The plain network, and its parameters: kernels (k, k, n, m) and biases (m,).

    Raises:
        TypeError: A network is given in place of the function that makes its module.
    """
    if isinstance(make, Net):
        raise TypeError(
            "plain: the function that makes the module is needed, as lambda rngs: SteerableClassifier(...), not a Net"
        )

    def of(rngs):
        return _plain(make(rngs))

    graphdef, state = nnx.split(make(nnx.Rngs(0)))
    nnx.replace_by_pure_dict(state, params)
    module = _plain(nnx.merge(graphdef, state))
    return functional(of), nnx.to_pure_dict(nnx.state(module, nnx.Param))


def _plain(module):
    if isinstance(module, SteerableConv | GroupConv):
        return module.plain()
    if isinstance(module, nnx.List):
        for i, child in enumerate(module):
            module[i] = _plain(child)
    elif isinstance(module, nnx.Module):
        for name, child in list(vars(module).items()):
            if isinstance(child, nnx.Module):
                setattr(module, name, _plain(child))
    return module


# -------------------------------------------------------------------------------------------------
# Between convolutions: for images, points and whatever else has fields on its last axis
# -------------------------------------------------------------------------------------------------

# Each is made as Name(to, rngs, ...) for the type ``to`` that it puts out, and says by ``of`` which type it takes.


class Pointwise(nnx.Module):
    """A function of each coordinate, for fields whose coordinates the group permutes.

    Args:
        to: Type of the fields, in and out.
        rngs: Not used.
        activation: The function.

    Raises:
        ValueError: Fields whose coordinates the group does not permute.
    """

    def __init__(self, to: FieldType, rngs: nnx.Rngs, activation: Callable[[Array], Array] = relu):
        for representation, _ in to.fields:
            _check_permutes("Pointwise", representation)
        self.of, self.activation = to, activation

    def __call__(self, x):
        return self.activation(x)


class Fourier(nnx.Module):
    """A function of the values on the group of fields of Fourier coefficients, and back to the coefficients.

    It commutes with the rotations among the samples exactly, with others as well as the coefficients that are cut off
    are small. The fields are ``band_limited`` ones (or irreps, as functions on the group), those that the group
    permutes are left as they are: ``ValueError`` for more copies of an irrep than functions have.

    Args:
        to: Type of the fields, in and out.
        rngs: Not used.
        activation: The function.
        rotations: Number of samples for SO(2) and O(2), by default the first multiple of 4 above four times the highest
            frequency. Finite groups have their elements.
    """

    def __init__(
        self,
        to: FieldType,
        rngs: nnx.Rngs,
        activation: Callable[[Array], Array] = relu,
        rotations: int | None = None,
    ):
        _planar("Fourier", to)
        highest = max(irrep.frequency for r, _ in to.fields for irrep in r.irreps)
        self.of, self.activation = to, activation
        self.rotations = 4 * highest + 4 if rotations is None else rotations
        for representation, _ in to.fields:
            _samples(representation, self.rotations)

    def __call__(self, x):
        pairs = zip(self.of.fields, self.of.split(x), strict=True)
        return self.of.join([self._block(r, block) for (r, _), block in pairs])

    def _block(self, representation, block):
        if representation.permutes:
            return self.activation(block)
        table = jnp.asarray(_samples(representation, self.rotations), block.dtype)
        n, d = table.shape
        scale = (n / d) ** 0.5  # values are of the coefficients' size
        values = jnp.einsum("sd,...dn->...sn", scale * table, block, precision="highest")
        found = self.activation(values)
        return jnp.einsum("sd,...sn->...dn", table / scale, found, precision="highest")


@functools.cache
def _samples(representation, rotations):
    if representation.permutes:
        return None
    highest = max(irrep.frequency for irrep in representation.irreps)
    if representation.group.order is None and rotations <= 2 * highest:
        raise ValueError(f"Fourier: more than {2 * highest} rotations are needed, got {rotations}")
    return representation.group.samples(representation, rotations)


class Gated(nnx.Module):
    """Fields times the sigmoid of a scalar each, and ``activation`` of those whose coordinates the group permutes.

    The scalars are the first block of the type ``of`` that it takes.

    Args:
        to: Type of the fields out.
        rngs: Not used.
        activation: The function of coordinates that the group permutes.
    """

    def __init__(
        self, to: FieldType, rngs: nnx.Rngs, activation: Callable[[Array], Array] = jax.nn.gelu
    ):
        gates = sum(n for r, n in to.fields if not r.permutes)
        self.to, self.activation = to, activation
        self.of = FieldType([(to.group.trivial, gates), *to.fields]) if gates else to

    def __call__(self, x):
        blocks = self.of.split(x)
        gates = jax.nn.sigmoid(blocks[0])
        gated, start = [], 0
        for (r, n), block in zip(self.to.fields, blocks[-len(self.to.fields) :], strict=True):
            if r.permutes:
                gated.append(self.activation(block))
            else:
                gated.append(block * gates[..., start : start + n])
                start += n
        return self.to.join(gated)


class Norm(nnx.Module):
    """f -> relu(|f| + b) f / |f| for each field f, with a bias b for each, -0.1 at first."""

    def __init__(self, to: FieldType, rngs: nnx.Rngs):
        self.of = to
        self.biases = nnx.List([nnx.Param(jnp.full(n, -0.1)) for _, n in to.fields])

    def __call__(self, x):
        blocks = zip(self.of.split(x), self.biases, strict=True)
        return self.of.join([_shrunk(block, b[...]) for block, b in blocks])


def _shrunk(block, bias):
    # 1e-6: for b > 0 the direction of f is continued smoothly through f = 0
    r = jnp.sqrt(jnp.sum(jnp.square(block), -2, keepdims=True) + 1e-6)
    return relu(r + bias) / r * block


def invariants(field_type: FieldType, x: Array) -> Array:
    """One number for each field of features (..., dim), which no group element changes.

    A scalar itself, the largest coordinate of functions on cosets, which the group permutes, the norm of others.

    Returns:
        The numbers (..., count).
    """
    pairs = zip(field_type.fields, field_type.split(x), strict=True)
    return jnp.concatenate([_invariant(r, block) for (r, _), block in pairs], -1)


def _invariant(representation, block):
    if representation.subgroup is not None:
        return jnp.max(block, -2)
    if representation == representation.group.trivial:
        return block[..., 0, :]
    return safe_sqrt(jnp.sum(jnp.square(block), -2))


def average_pool(x: Array) -> Array:
    """Means of 2 x 2 pixels of images (..., height, width, channels): any field stays one of its type.

    Returns:
        Images (..., height / 2, width / 2, channels).

    Raises:
        ValueError: An odd side, whose last pixels have no partner: leaving them out would break the symmetry.
    """
    *batch, height, width, channels = x.shape
    if height % 2 or width % 2:
        raise ValueError(f"average_pool: even sides are needed, got {x.shape}")
    return x.reshape(*batch, height // 2, 2, width // 2, 2, channels).mean((-4, -2))


# -------------------------------------------------------------------------------------------------
# A network
# -------------------------------------------------------------------------------------------------


class SteerableClassifier(nnx.Module):
    """Logits of images that turning the image by the grid's symmetries does not change.

    Convolutions, nonlinearities and 2 x 2 means, then the mean of :func:`invariants` over the pixels and a linear
    layer: (..., height, width, channels) -> (..., classes).

    Args:
        shape: Of one image, (height, width, channels).
        classes: Number of logits.
        stages: Types of the fields behind each convolution, between which the sides are halved.
        nonlinearity: Function of (type, rngs) that makes a module, such as :class:`Gated`.
        side: Of the kernels, odd.
        rngs: The random numbers of flax.
        layer: :class:`SteerableConv` or :class:`GroupConv`.

    Raises:
        ValueError: The images' sides cannot be halved between the stages.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        stages: Sequence[FieldType],
        nonlinearity: Callable[[FieldType, nnx.Rngs], nnx.Module],
        side: int,
        rngs: nnx.Rngs,
        layer: Callable[..., nnx.Module] = SteerableConv,
    ):
        self.shape = height, width, channels = tuple(shape)
        factor = 2 ** (len(stages) - 1)
        if height % factor or width % factor:
            raise ValueError(f"SteerableClassifier: sides are multiples of {factor}, got {shape}")
        of = FieldType([(stages[0].group.trivial, channels)])
        layers, activations = [], []
        for to in stages:
            activations.append(nonlinearity(to, rngs))
            layers.append(layer(of, activations[-1].of, side, rngs))
            of = to
        self.layers, self.activations = nnx.List(layers), nnx.List(activations)
        self.to = of
        self.logits = nnx.Linear(of.count, classes, rngs=rngs)

    def __call__(self, x):
        check_images("SteerableClassifier", x, self.shape)
        for i, (layer, activation) in enumerate(zip(self.layers, self.activations, strict=True)):
            x = activation(layer(average_pool(x) if i else x))
        return self.logits(jnp.mean(invariants(self.to, x), (-3, -2)))


def steerable_conv(of: FieldType, to: FieldType, side: int) -> Net:
    """A steerable convolution of images (:class:`SteerableConv`).

    Args:
        of, to: Types of the fields in and out, of one group of the plane.
        side: Of the square kernel, odd.

    Returns:
        The network as pure functions: (..., height, width, of.dim) -> (..., height, width, to.dim).
    """
    return functional(lambda rngs: SteerableConv(of, to, side, rngs))


def group_conv(of: FieldType, to: FieldType, side: int) -> Net:
    """A group convolution of images, or a lifting one where the fields in are scalars (:class:`GroupConv`).

    Args:
        of, to: Types of the fields in, which the group permutes, and out, regular.
        side: Of the square kernel, odd.

    Returns:
        The network as pure functions: (..., height, width, of.dim) -> (..., height, width, to.dim).
    """
    return functional(lambda rngs: GroupConv(of, to, side, rngs))


def steerable_classifier(
    shape: tuple[int, int, int],
    classes: int,
    stages: Sequence[FieldType],
    nonlinearity: Callable[[FieldType, nnx.Rngs], nnx.Module] = Gated,
    side: int = 5,
    layer: Callable[..., nnx.Module] = SteerableConv,
) -> Net:
    """A classifier of images that does not see how they are turned (:class:`SteerableClassifier`).

    ::

        group = groups.cyclic(8)
        stages = [FieldType([(group.regular(), n)]) for n in (8, 16)]
        net = steerable_classifier((28, 28, 1), 10, stages, Pointwise)

    Args:
        shape: Of one image, (height, width, channels).
        classes: Number of logits.
        stages: Types of the fields behind each convolution, between which the sides are halved.
        nonlinearity: ``Pointwise``, ``Fourier``, ``Gated`` or ``Norm``, or a function of (type, rngs) that makes one.
        side: Of the kernels, odd.
        layer: :class:`SteerableConv` or :class:`GroupConv`.

    Returns:
        The network as pure functions.

    Raises:
        ValueError: The images' sides cannot be halved between the stages.
    """
    return functional(
        lambda rngs: SteerableClassifier(shape, classes, stages, nonlinearity, side, rngs, layer)
    )


# -------------------------------------------------------------------------------------------------
# Checks
# -------------------------------------------------------------------------------------------------


def _planar(name, *types) -> PlanarGroup:
    """The group of the types, one of the plane."""
    several = {field_type.group for field_type in types}
    if len(several) > 1:
        raise ValueError(f"{name}: one group is needed, got {[str(t.group) for t in types]}")
    (group,) = several
    if not isinstance(group, PlanarGroup):
        raise ValueError(f"{name}: a group of the plane is needed, got {group}")
    return group


def _check_permutes(name, representation):
    if not representation.permutes:
        raise ValueError(
            f"{name}: {representation} is not permuted by the group, so that a function of each coordinate breaks the "
            "symmetry: take Norm, Gated or Fourier"
        )


def _check_channels(name, of, x):
    if x.ndim < 3 or x.shape[-1] != of.dim:
        raise ValueError(f"{name}: images (..., height, width, {of.dim}) are needed, got {x.shape}")
