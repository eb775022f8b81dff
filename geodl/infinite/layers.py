"""Layers as finite networks with their kernels in the limit of infinite width; dense layers and nonlinearities.

Parameters are standard normal and the network divides by the root of the width (NTK parametrization),

    z = weight_std / sqrt(n) W x + bias_std b,

so that as n grows its outputs become a Gaussian process of covariance K (NNGP), and gradient flow becomes kernel
regression with Theta (NTK), where

    K' = weight_std^2 K + bias_std^2,   Theta' = K' + weight_std^2 Theta          (linear layers)
    K' = E[f(u) f(v)],                  Theta' = E[f'(u) f'(v)] Theta             (nonlinearities)

A layer's kernels are written for one pair of inputs; ``vmap`` makes matrices of them, and computes what depends on one
of the inputs only once. Features with positions (pixels, elements of a group) have a kernel for each pair of them.

Sources: Lee, Bahri, Novak, Schoenholz, Pennington & Sohl-Dickstein, *Deep neural networks as Gaussian processes*
(2018); Jacot, Gabriel & Hongler, *Neural tangent kernel* (2018); Novak et al., *Neural Tangents* (2020).
"""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.tree_util import Partial
from jax.typing import ArrayLike

from geodl._core.checks import as_float, check_integer, check_nonnegative
from geodl._core.records import as_pytree
from geodl.infinite import duals
from geodl.nn import Net
from geodl.nn.net import Params


Shape: TypeAlias = tuple[int, ...]
Dual: TypeAlias = Callable[[Array, Array, Array], tuple[Array, Array]]


class Inputs(NamedTuple):
    """Two inputs, before the first layer."""

    first: Array
    second: Array


class Kernel(NamedTuple):
    """The kernels of one pair of inputs: numbers, or for features with positions P arrays over pairs of them.

    Pairs of positions are (P, P) for images, and variances then (P, 1) and (1, P); functions on SO(3) have a kernel of
    the relative rotation alone (:mod:`geodl.infinite.spherical`).
    """

    nngp: Array  # covariance of the features of both inputs
    ntk: Array
    self1: Array  # covariance of the first one's features with each other
    self2: Array
    variance1: Array  # of the features; broadcasts against the kernels
    variance2: Array


class Kernels(NamedTuple):
    """The matrices (n1, n2) of two sets of inputs, of the Gaussian process and of gradient flow."""

    nngp: Array
    ntk: Array


class Layer(NamedTuple):
    """A finite layer, or a network of several, and its kernels in the limit of infinite width.

    ``init(key, shape) -> (params, shape)`` for the shape of one input, ``apply(params, x)`` for x (..., *shape), and
    ``kernel(pair) -> Kernel`` for a pair of inputs. It is a pytree: pass it to a jitted function.
    """

    init: Callable[[Array, Shape], tuple[Params, Shape]]
    apply: Callable[[Params, Array], Array]
    kernel: Callable[[Any], Kernel]

    def net(self, shape: Shape) -> Net:
        """The finite network of inputs (..., *shape)."""
        return Net(lambda key: self.init(key, tuple(shape))[0], self.apply)


def layer(init: Callable, apply: Callable, kernel: Callable) -> Layer:
    """The layer of three functions, which may have arrays bound as ``jax.tree_util.Partial``.

    Args:
        init: from key and shape to parameters and shape.
        apply: from parameters and inputs to outputs.
        kernel: from :class:`Inputs` or a :class:`Kernel` to a :class:`Kernel`.

    Returns:
        The layer, a pytree.
    """
    return Layer(*map(as_pytree, (init, apply, kernel)))


def kernels(
    layer: Layer, x1: ArrayLike, x2: ArrayLike | None = None, batch_size: int | None = None
) -> Kernels:
    """The matrices of the kernels of a network.

    Args:
        layer: the network.
        x1: inputs (n1, *shape).
        x2: inputs (n2, *shape), by default x1.
        batch_size: how many rows at once, by default all: a row with positions takes n2 P^2 numbers.

    Returns:
        NNGP and NTK (n1, n2); (n1, n2, P, P) where features with positions come out.

    Raises:
        ValueError: inputs of different shapes, or numbers for inputs.

    Example:
        >>> import jax.numpy as jnp
        >>> from geodl import infinite
        >>> net = infinite.serial(infinite.dense(64), infinite.relu(), infinite.dense(1))
        >>> infinite.kernels(net, jnp.eye(2)).ntk.round(4)
        Array([[0.5   , 0.0796],
               [0.0796, 0.5   ]], dtype=float32)
    """
    x1 = as_float(x1)
    x2 = x1 if x2 is None else as_float(x2)
    if x1.ndim < 2 or x1.shape[1:] != x2.shape[1:]:
        raise ValueError(
            f"kernels: inputs (n, *shape) of one shape are needed, got {x1.shape} and {x2.shape}"
        )
    dtype = jnp.result_type(x1, x2)
    x1, x2 = x1.astype(dtype), x2.astype(dtype)

    return _matrices(as_pytree(layer.kernel), x1, x2, batch_size)


# Operation by operation an eager call takes milliseconds; inside a traced function nothing is left of it.
@partial(jax.jit, static_argnames="batch_size", inline=True)
def _matrices(kernel, x1, x2, batch_size):
    def entry(x, y):
        found = kernel_of(kernel(Inputs(x, y)))
        return Kernels(found.nngp, found.ntk)

    def row(x):
        return jax.vmap(lambda y: entry(x, y))(x2)

    return jax.vmap(row)(x1) if batch_size is None else lax.map(row, x1, batch_size=batch_size)


def kernel_of(pair: Inputs | Kernel) -> Kernel:
    """The kernel of two inputs themselves, x . y / channels at each pair of positions; kernels stay as they are.

    Returns:
        The kernel.
    """
    if isinstance(pair, Kernel):
        return pair
    x, y = (a if a.ndim == 1 else a.reshape(-1, a.shape[-1]) for a in pair)

    def product(x, y):
        return jnp.matmul(x, y.T, precision="highest") / x.shape[-1]

    nngp = product(x, y)
    kernel = with_variances(nngp, jnp.zeros_like(nngp), product(x, x), product(y, y))
    return kernel._replace(nngp=_coincident(nngp, kernel.variance1, kernel.variance2, x.shape[-1]))


def _coincident(k, v1, v2, terms):
    """The covariance, exact where the inputs coincide: there the order of the sums makes it other than the variances.

    By up to 50 eps for MNIST's 784 pixels (measured), of which ReLU's NTK would take the root.
    """
    k_, v1, v2 = map(lax.stop_gradient, (k, v1, v2))
    root = jnp.sqrt(v1 * v2)
    rounding = (4 + terms / 4) * jnp.finfo(k.dtype).eps * root
    same = (jnp.abs(k_ - root) <= rounding) & (jnp.abs(v1 - v2) <= rounding)
    return k + jnp.where(same, root - k_, 0)


def with_variances(nngp: Array, ntk: Array, self1: Array, self2: Array) -> Kernel:
    """The kernel with its variances, which ``self1`` and ``self2`` contain.

    Args:
        nngp, ntk, self1, self2: numbers; matrices over positions, with variances on the diagonal; or functions on
            SO(3), the last value of which is that at the identity.

    Returns:
        The kernel.
    """
    if nngp.ndim == 2:
        variances = jnp.diagonal(self1)[:, None], jnp.diagonal(self2)[None]
    elif nngp.ndim == 1:
        variances = self1[-1], self2[-1]
    else:
        variances = self1, self2
    return Kernel(nngp, ntk, self1, self2, *variances)


def linear(pair: Kernel, move: Callable[[Array], Array], weight_std: Any, bias_std: Any) -> Kernel:
    """The kernel after a linear layer, whose weights' covariance moves K to ``move(K)``.

    Args:
        pair: the kernel before.
        move: a linear function of each kernel.
        weight_std, bias_std: standard deviations.

    Returns:
        The kernel, K' = weight_std^2 move(K) + bias_std^2.
    """

    def affine(k):
        return weight_std**2 * move(k) + bias_std**2

    nngp = affine(pair.nngp)
    ntk = nngp + weight_std**2 * move(pair.ntk)
    return with_variances(nngp, ntk, affine(pair.self1), affine(pair.self2))


# -------------------------------------------------------------------------------------------------
# Layers
# -------------------------------------------------------------------------------------------------


def serial(*layers: Layer) -> Layer:
    """One layer after the other.

    Returns:
        The network, a layer itself.
    """

    def init(key, shape):
        params = {}
        for i, one in enumerate(layers):
            params[f"layer{i}"], shape = one.init(jax.random.fold_in(key, i), shape)
        return params, shape

    def apply(layers, params, x):
        for i, one in enumerate(layers):
            x = one.apply(params[f"layer{i}"], x)
        return x

    def kernel(layers, pair):
        return reduce(lambda pair, one: one.kernel(pair), layers, pair)

    return layer(init, Partial(apply, layers), Partial(kernel, layers))


def dense(width: int, weight_std: float = 1.0, bias_std: float = 0.0) -> Layer:
    """A dense layer of vectors, z = weight_std / sqrt(n) W x + bias_std b.

    Args:
        width: number of outputs.
        weight_std: standard deviation of the weights; sqrt(2) keeps the variance through ReLU.
        bias_std: of the biases.

    Returns:
        The layer.

    Raises:
        ValueError: the width is no positive integer, or a standard deviation negative.
    """
    check_size("dense", width, weight_std, bias_std)

    def init(key, shape):
        if len(shape) != 1:
            raise ValueError(f"dense: vectors are needed, pool or reshape; got the shape {shape}")
        return weights(key, (shape[0],), width), (width,)

    def apply(params, x):
        return affine(params, jnp.asarray(x), weight_std, bias_std)

    def kernel(pair):
        pair = kernel_of(pair)
        if pair.nngp.ndim:
            raise ValueError("dense: vectors are needed, pool or reshape features with positions")
        return linear(pair, lambda k: k, weight_std, bias_std)

    return layer(init, apply, kernel)


def check_size(name: str, width: int, weight_std: float, bias_std: float) -> None:
    """Raise where the width of a layer or a standard deviation is none."""
    check_integer(f"{name}: width", width)
    check_nonnegative(f"{name}: weight_std", weight_std)
    check_nonnegative(f"{name}: bias_std", bias_std)


def weights(key: Array, inputs: Shape, width: int) -> Params:
    """Standard normal weights (*inputs, width) and biases (width,).

    Args:
        key: of the random numbers.
        inputs: shape of what one output sees.
        width: number of outputs.

    Returns:
        The parameters.
    """
    of_weight, of_bias = jax.random.split(key)
    weight = jax.random.normal(of_weight, (*inputs, width), jnp.float32)
    return {"weight": weight, "bias": jax.random.normal(of_bias, (width,), jnp.float32)}


def affine(params: Params, x: Array, weight_std: Any, bias_std: Any) -> Array:
    """weight_std / sqrt(n) x W + bias_std b, of vectors x (..., n).

    Args:
        params: of :func:`weights`, flattened to (n, width).
        x: vectors (..., n).
        weight_std, bias_std: standard deviations.

    Returns:
        Vectors (..., width).
    """
    weight = params["weight"].reshape(-1, params["weight"].shape[-1])
    z = jnp.matmul(x, weight, precision="highest") * (weight_std / x.shape[-1] ** 0.5)
    return z + bias_std * params["bias"]


def activation(function: Callable[[Array], Array], dual: Dual) -> Layer:
    """A nonlinearity of each feature.

    Args:
        function: of an array, elementwise.
        dual: from (k, v1, v2) to (E[f(u) f(v)], E[f'(u) f'(v)]), as in :mod:`geodl.infinite.duals`.

    Returns:
        The layer.
    """

    def kernel(pair):
        pair = kernel_of(pair)
        v1, v2 = pair.variance1, pair.variance2
        nngp, slope = dual(pair.nngp, v1, v2)
        return Kernel(
            nngp,
            slope * pair.ntk,
            dual(pair.self1, v1, v1.T)[0],
            dual(pair.self2, v2.T, v2)[0],
            dual(v1, v1, v1)[0],
            dual(v2, v2, v2)[0],
        )

    return layer(lambda key, shape: ({}, shape), lambda params, x: function(x), kernel)


def relu() -> Layer:
    """max(x, 0).

    Returns:
        The layer.
    """
    return activation(jax.nn.relu, duals.relu)


def erf() -> Layer:
    """The error function.

    Returns:
        The layer.
    """
    return activation(lax.erf, duals.erf)


def gelu() -> Layer:
    """x times the normal distribution function of x.

    Returns:
        The layer.
    """
    return activation(lambda x: jax.nn.gelu(x, approximate=False), duals.gelu)
