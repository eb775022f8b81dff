"""Networks in bfloat16: a function whose matrix products and convolutions are taken in that type, the rest as it is.

In geodl only networks have such products: inner products of the geometry and of the densities are sums. Those that are
geometry within networks, as the gyroplane's, ask for the highest precision, and keep it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun


_PRODUCTS = {"dot_general", "conv_general_dilated"}
_HIGHEST = (jax.lax.Precision.HIGHEST, (jax.lax.Precision.HIGHEST,) * 2)


def in_bfloat16(f: Callable[..., Any]) -> Callable[..., Any]:
    """f with its matrix products and convolutions of float32 arrays in bfloat16, their results again in float32.

    But for those of the highest precision. Also within loops, branches and jitted functions; rules of custom
    derivatives are left as they are.
    """

    def mixed(*args: Any) -> Any:
        closed, shape = jax.make_jaxpr(f, return_shape=True)(*args)
        out = jaxpr_as_fun(_rewritten(closed))(*jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shape), out)

    return mixed


def _rewritten(closed: ClosedJaxpr) -> ClosedJaxpr:
    def evaluate(*args):
        return _evaluate(closed.jaxpr, closed.consts, args)

    return jax.make_jaxpr(evaluate)(
        *(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in closed.in_avals)
    )


def _evaluate(jaxpr: Jaxpr, consts: Any, args: Any) -> list[Any]:
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
    for eqn in jaxpr.eqns:
        inputs = [v.val if isinstance(v, Literal) else values[v] for v in eqn.invars]
        name, params = eqn.primitive.name, dict(eqn.params)
        single = all(jnp.result_type(x) == jnp.float32 for x in inputs)
        if name in _PRODUCTS and single and params["precision"] not in _HIGHEST:
            inputs = [x.astype(jnp.bfloat16) for x in inputs]
            params["preferred_element_type"] = jnp.dtype(jnp.bfloat16)
            out = eqn.primitive.bind(*inputs, **params).astype(jnp.float32)
        else:
            if not name.startswith("custom_"):
                params = jax.tree.map(_within, params, is_leaf=_is_program)
            out = eqn.primitive.bind(*inputs, **eqn.primitive.get_bind_params(params))
        out = out if eqn.primitive.multiple_results else [out]
        values |= dict(zip(eqn.outvars, out, strict=True))
    return [v.val if isinstance(v, Literal) else values[v] for v in jaxpr.outvars]


def _is_program(value: Any) -> bool:
    return isinstance(value, ClosedJaxpr | Jaxpr)


def _within(value: Any) -> Any:
    if isinstance(value, ClosedJaxpr):
        return _rewritten(value)
    return _rewritten(ClosedJaxpr(value, ())).jaxpr if isinstance(value, Jaxpr) else value
