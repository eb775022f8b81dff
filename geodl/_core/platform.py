"""Programs that differ by platform, chosen when they are lowered and not when they are traced.

A function that asks ``jax.default_backend()`` bakes the tracing host into the program: exported for a TPU from a
CPU host it would carry the CPU's kernels. ``jax.lax.platform_dependent`` chooses whole functions at lowering;
:func:`cpu_barrier` does so for barriers, of which a geometry's formula has dozens.
"""

from typing import TypeVar

import jax
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


T = TypeVar("T")


def cpu_barrier(tree: T) -> T:
    """``lax.optimization_barrier`` where the program is for the CPU, nothing elsewhere.

    XLA:CPU fuses what it had better compute once: per-point scalars into loops over coordinates, random numbers into
    each of their uses. Accelerators' fusions gain from what it forbids.
    """
    leaves, structure = jax.tree.flatten(tree)
    return jax.tree.unflatten(structure, _barrier.bind(*leaves))


_barrier = Primitive("cpu_barrier")
_barrier.multiple_results = True


@_barrier.def_impl
def _impl(*arrays):
    return list(arrays)


@_barrier.def_abstract_eval
def _abstract_eval(*avals):
    return list(avals)


def _on_cpu(*arrays):
    return list(lax.optimization_barrier(arrays))


mlir.register_lowering(_barrier, mlir.lower_fun(_impl, multiple_results=True))
mlir.register_lowering(_barrier, mlir.lower_fun(_on_cpu, multiple_results=True), platform="cpu")


def _batch(arrays, axes):
    return _barrier.bind(*arrays), axes


def _jvp(primals, tangents):
    tangents = [ad.instantiate_zeros(t) for t in tangents]
    return _barrier.bind(*primals), _barrier.bind(*tangents)


def _transpose(cotangents, *primals):
    return _barrier.bind(*(ad.instantiate_zeros(ct) for ct in cotangents))


batching.primitive_batchers[_barrier] = _batch
ad.primitive_jvps[_barrier] = _jvp
ad.primitive_transposes[_barrier] = _transpose
