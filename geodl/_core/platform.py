"""Programs that differ by platform, chosen when they are lowered and not when they are traced.

A function that asks ``jax.default_backend()`` bakes the tracing host into the program: exported for a TPU from a
CPU host it would carry the CPU's kernels. ``jax.lax.platform_dependent`` chooses whole functions at lowering;
:func:`cpu_barrier` and :func:`cpu_once` do so for what only the CPU needs, of which a geometry's formula has dozens.
"""

from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


T = TypeVar("T")


def cpu_barrier(tree: T) -> T:
    """``lax.optimization_barrier`` where the program is for the CPU, nothing elsewhere.

    XLA:CPU simplifies across uses what it had better compute once, such as random numbers or columns. Accelerators'
    fusions gain from what it forbids.
    """
    return _bind(tree, once=False)


def cpu_once(tree: T) -> T:
    """Per-point scalars that meet vectors: on the CPU they are computed once, not again for every coordinate.

    XLA:CPU expands a barrier before it fuses. What it does not compute again is what it counts as expensive, such as a
    division: here by a 1 that it does not see through.
    """
    return _bind(tree, once=True)


def _bind(tree, once):
    leaves, structure = jax.tree.flatten(tree)
    return jax.tree.unflatten(structure, _barrier.bind(*leaves, once=once))


_barrier = Primitive("cpu_barrier")
_barrier.multiple_results = True


@_barrier.def_impl
def _impl(*arrays, once):
    return list(arrays)


@_barrier.def_abstract_eval
def _abstract_eval(*avals, once):
    return list(avals)


def _on_cpu(*arrays, once):
    arrays = list(lax.optimization_barrier(arrays))
    return list(map(_divided, arrays)) if once else arrays


def _divided(a):
    real = jnp.issubdtype(a.dtype, jnp.floating)
    return a / jnp.where(a == a, 1, jnp.nan).astype(a.dtype) if real else a


mlir.register_lowering(_barrier, mlir.lower_fun(_impl, multiple_results=True))
mlir.register_lowering(_barrier, mlir.lower_fun(_on_cpu, multiple_results=True), platform="cpu")


def _batch(arrays, axes, **parameters):
    return _barrier.bind(*arrays, **parameters), axes


def _jvp(primals, tangents, **parameters):
    tangents = [ad.instantiate_zeros(t) for t in tangents]
    return _barrier.bind(*primals, **parameters), _barrier.bind(*tangents, **parameters)


def _transpose(cotangents, *primals, **parameters):
    return _barrier.bind(*(ad.instantiate_zeros(ct) for ct in cotangents), **parameters)


batching.primitive_batchers[_barrier] = _batch
ad.primitive_jvps[_barrier] = _jvp
ad.primitive_transposes[_barrier] = _transpose
