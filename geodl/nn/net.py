"""Networks as pure functions, and how a flax module becomes one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from geodl._core import display
from geodl._core.records import as_pytree


Params = dict[str, Any]


class Net(NamedTuple):
    """A network as two pure functions; ``params`` is a nested dict of arrays.

    ``init(key) -> params`` and ``apply(params, *inputs) -> outputs``. They cannot be pickled: store the parameters, and
    make the network again.
    """

    init: Callable[[Array], Params]
    apply: Callable[..., Any]

    def __repr__(self) -> str:
        return f"Net({display.leaves(self.init)}; {display.count(self.init)})"

    def bind(self, params: Params) -> jax.tree_util.Partial:
        """The function of the inputs, ``inputs -> apply(params, *inputs)``, a pytree whose leaves are ``params``.

        Passed to a function under ``jit``, its parameters are arguments of the compiled program, not constants in it;
        so are the arrays that ``apply`` itself has bound, where it is a ``Partial`` (tables of a transform, say).
        """
        return jax.tree_util.Partial(_applied, as_pytree(self.apply), params)


def _applied(apply, params, *inputs):
    return apply(params, *inputs)


def functional(make: Callable[[nnx.Rngs], nnx.Module]) -> Net:
    """The pure functions of a stateless flax module.

    The parameters are float32, also where double precision is switched on; ``apply`` computes in the common type of
    parameters and inputs.

    Args:
        make: ``make(rngs)`` builds the module. All of its variables must be ``nnx.Param``: no batch statistics, no
            dropout state. Arrays that are not trained are plain attributes (NumPy arrays).

    Returns:
        The network as pure functions.

    Raises:
        TypeError: A variable is not an ``nnx.Param``; the first one is named.
    """
    graphdef, abstract = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))))
    for path, variable in nnx.to_flat_state(abstract):
        if not isinstance(variable, nnx.Param):
            raise TypeError(
                f"functional: every variable must be an nnx.Param, {path} is {variable}"
            )

    def init(key):
        params = nnx.to_pure_dict(nnx.state(make(nnx.Rngs(params=key)), nnx.Param))
        return jax.tree.map(lambda a: a.astype(jnp.float32), params)

    def apply(params, *inputs):
        state = jax.tree.map(lambda a: a, abstract)
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(graphdef, state)(*inputs)

    return Net(init, apply)
