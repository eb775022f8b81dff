"""The tangent kernel of a finite network, Theta(x, y) = J(x) J(y)^T with J the Jacobian by its parameters.

Two ways to it: by contraction of Jacobians, and by products with the kernel, which never hold a Jacobian of more than
one output. ``net`` is any :class:`geodl.nn.Net` of one array, whose outputs are vectors (n, outputs).

Source: Novak, Sohl-Dickstein & Schoenholz, *Fast finite width neural tangent kernel* (2022).
"""

from functools import reduce
from operator import add

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float

from geodl.nn import Net
from geodl.nn.net import Params


def ntk(
    net: Net,
    params: Params,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    batch_size: int | None = None,
) -> Float[Array, "n1 n2 o o"]:
    """Theta by contraction of Jacobians, leaf by leaf.

    Args:
        net: the network.
        params: its parameters.
        x1: inputs (n1, ...).
        x2: inputs (n2, ...), by default x1.
        batch_size: of how many inputs of each set there are Jacobians at once, by default of all.

    Returns:
        The kernel (n1, n2, outputs, outputs); the mean of its diagonals estimates that of infinite width.
    """
    x1 = jnp.asarray(x1)
    x2 = x1 if x2 is None else jnp.asarray(x2)

    def jacobian(x):
        return jax.jacrev(_output(net, x))(params)

    def entry(j1, j2):
        def contract(a, b):
            a, b = (j.reshape(len(j), -1) for j in (a, b))
            return jnp.matmul(a, b.T, precision="highest")

        return reduce(add, jax.tree.leaves(jax.tree.map(contract, j1, j2)))

    def row(x):
        j1 = jacobian(x)
        return lax.map(lambda y: entry(j1, jacobian(y)), x2, batch_size=batch_size or 0)

    return lax.map(row, x1, batch_size=batch_size or 0)


def ntk_by_products(
    net: Net,
    params: Params,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    batch_size: int | None = None,
) -> Float[Array, "n1 n2 o o"]:
    """Theta by products: the outputs at x1 along the gradient of each output at x2.

    For networks with far more parameters than intermediate values per input.

    Args:
        net: the network.
        params: its parameters.
        x1: inputs (n1, ...).
        x2: inputs (n2, ...), by default x1.
        batch_size: of how many of the inputs x2 at once, by default of all.

    Returns:
        The kernel (n1, n2, outputs, outputs).
    """
    x1 = jnp.asarray(x1)
    x2 = x1 if x2 is None else jnp.asarray(x2)

    def column(y):
        value, pullback = jax.vjp(_output(net, y), params)
        basis = jnp.eye(len(value), dtype=value.dtype)
        return jax.vmap(lambda e: _pushed(net, params, x1, pullback(e)[0]))(basis)

    return jnp.transpose(lax.map(column, x2, batch_size=batch_size or 0), (2, 0, 3, 1))


def ntk_vector_product(
    net: Net, params: Params, x1: ArrayLike, x2: ArrayLike, v: ArrayLike
) -> Float[Array, "n1 o"]:
    """Theta v = J(x1) J(x2)^T v, for a gradient and a directional derivative.

    Args:
        net: the network.
        params: its parameters.
        x1: inputs (n1, ...).
        x2: inputs (n2, ...).
        v: vectors (n2, outputs).

    Returns:
        Vectors (n1, outputs).
    """
    x2 = jnp.asarray(x2)
    value, pullback = jax.vjp(lambda p: net.apply(p, x2), params)
    return _pushed(net, params, jnp.asarray(x1), pullback(jnp.asarray(v, value.dtype))[0])


def _output(net, x):
    """From parameters to the vector of outputs at one input."""

    def output(params):
        y = net.apply(params, x[None])
        if y.ndim != 2:
            raise ValueError(f"the network's outputs must be vectors (n, outputs), got {y.shape}")
        return y[0]

    return output


def _pushed(net, params, x, direction):
    """The derivative of the outputs at x along a direction of the parameters."""
    return jax.jvp(lambda p: net.apply(p, x), (params,), (direction,))[1]
