"""What a step becomes on an accelerator and on many devices, found out on any host, without them.

mesh = AbstractMesh((8, 1), ("data", "fsdp"))
layout = fully_sharded(mesh, state)
program = lower(held(step, layout), abstract(state, layout), abstract(data, everywhere), platform="tpu")
assert not program.faults()
"""

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


_COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_CALL = re.compile(rf"= (.*?) ({'|'.join(_COLLECTIVES)})(?:-start)?\(")
_ARRAY = re.compile(r"\b(pred|bf16|[suf]\d+)\[([\d,]*)\]")


class Lowered(NamedTuple):
    """A program for one platform before XLA has split it over the devices."""

    text: str
    """StableHLO"""
    devices: int
    flops: float
    """of the whole, as XLA estimates them; what is within a loop counts once"""
    bytes_accessed: float
    """read and written, likewise"""

    def faults(self) -> list[str]:
        """What must not be in a program for an accelerator; none is right."""
        explicit = "|".join(name.replace("-", "_") for name in _COLLECTIVES)
        unwanted = {
            "a callback of the host": "callback",
            "float64": r"\bf64\b|xf64\b",
            "a collective that is not of a sharding": rf"stablehlo\.({explicit})",
        }
        return [name for name, pattern in unwanted.items() if re.search(pattern, self.text)]


def abstract(tree: Any, layout: Any) -> Any:
    """Shapes and types of arrays, laid out so: what :func:`lower` takes.

    Args:
        tree: of arrays.
        layout: one sharding for all, or a tree of them; the mesh may be an abstract one.

    Returns:
        A ``jax.ShapeDtypeStruct`` for each.
    """
    if isinstance(layout, jax.sharding.Sharding):
        layout = jax.tree.map(lambda _: layout, tree)

    def one(a: Any, sharding: Any) -> jax.ShapeDtypeStruct:
        dtype = a.dtype if hasattr(a, "dtype") else np.asarray(a).dtype
        if not jnp.issubdtype(dtype, jax.dtypes.extended):  # keys have one of their own
            dtype = jax.dtypes.canonicalize_dtype(dtype)
        return jax.ShapeDtypeStruct(np.shape(a), dtype, sharding=sharding)

    return jax.tree.map(one, tree, layout)


def lower(f: Callable[..., Any], *args: Any, platform: str) -> Lowered:
    """The program of ``f`` for a platform that this host need not have.

    Args:
        f: to be jitted.
        args: as :func:`abstract` makes them.
        platform: "tpu", "cuda", "rocm" or "cpu".

    Returns:
        The program, whose number of devices is that of the arguments' mesh.
    """
    program = jax.jit(f).trace(*args).lower(lowering_platforms=(platform,))
    text, cost = program.as_text(), program.cost_analysis() or {}
    partitions = re.search(r"num_partitions = (\d+)", text)
    work = (float(cost.get(name, math.nan)) for name in ("flops", "bytes accessed"))
    return Lowered(text, int(partitions[1]) if partitions else 1, *work)


class Compiled(NamedTuple):
    """A compiled program, by device: what XLA counts."""

    flops: float
    bytes_accessed: float
    arguments: int
    """bytes of what the step is given: state, data"""
    temporary: int
    """bytes of what it needs besides"""
    collectives: dict[str, tuple[int, int]]
    """by kind how many there are, and the bytes of their results; what is within a loop counts once"""


def compiled(program: Any) -> Compiled:
    """What one device does and holds, of ``jax.jit(f).lower(...).compile()``.

    Returns:
        The counts.
    """
    found = {}
    for result, name in _CALL.findall(program.as_text()):
        count, size = found.get(name, (0, 0))
        found[name] = count + 1, size + _bytes(result)
    cost, memory = program.cost_analysis(), program.memory_analysis()
    return Compiled(
        cost["flops"],
        cost["bytes accessed"],
        memory.argument_size_in_bytes,
        memory.temp_size_in_bytes,
        found,
    )


def _bytes(shapes: str) -> int:
    """Of arrays in the notation of HLO, as ``(f32[4,3]{1,0}, u8[])``."""
    sizes = {"pred": 8} | {
        f"{kind}{n}": n for kind in ("s", "u", "f", "bf") for n in (8, 16, 32, 64)
    }
    arrays = ((sizes[kind], dims) for kind, dims in _ARRAY.findall(shapes))
    return sum(bits // 8 * math.prod(int(n) for n in dims.split(",") if n) for bits, dims in arrays)
