"""Many steps of a pure function: a scan under one jit, or on the CPU a host loop over the jitted step.

XLA:CPU runs a convolution inside a loop 5 to 26 times slower (jax-ml/jax#12868; dense layers are not hurt), and
there a host loop costs next to nothing. The choice is made where a loop is run, never while a function is traced.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np


# (state, argument) -> (state, output)
Step: TypeAlias = Callable[[Any, Any], tuple[Any, Any]]


def repeated(step: Step, donate: bool = False) -> Callable[..., tuple[Any, Any]]:
    """``run(state, argument, n, on_host)``: n steps, their outputs stacked along a leading axis n.

    Args:
        step: pure, not jitted.
        donate: whether the state's memory is used again, so that the caller must not.

    Returns:
        run: compiled once for each n as a scan, or once as a host loop over the step (``on_host``). Both give the
        same numbers.
    """
    donated = (0,) if donate else ()
    jitted = jax.jit(step, donate_argnums=donated)

    @partial(jax.jit, static_argnums=2, donate_argnums=donated)
    def scanned(state, argument, n):
        return jax.lax.scan(lambda state, _: step(state, argument), state, length=n)

    def looped(state, argument, n):
        outputs = []
        for _ in range(n):
            state, output = jitted(state, argument)
            outputs.append(output)
        return state, jax.tree.map(lambda *each: jnp.asarray(np.stack(each)), *outputs)

    def run(state, argument, n, on_host):
        return (looped if on_host else scanned)(state, argument, n)

    return run


def host_is_faster() -> bool:
    """Whether a program with convolutions had better be looped over by the host: on the CPU."""
    return jax.default_backend() == "cpu"
