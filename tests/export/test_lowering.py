"""Flagship steps laid out over 8 and 256 devices, lowered for accelerators from a CPU host."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from geodl import train
from geodl.train import lowering
from tests.export.laid_out import LAYOUTS, abstract_mesh, lowered
from tests.flagships import EVALUATIONS, TRAININGS


# jax.checkpoint is a barrier too
REMATERIALIZED = ("likelihood",)
OTHERS = [("tpu", (64, 4)), ("cuda", (2, 4)), ("cuda", (256, 1))]


@pytest.mark.parametrize(
    ("platform", "shape"),
    [
        *LAYOUTS,
        *(pytest.param(*other, marks=pytest.mark.slow) for other in OTHERS),
    ],
)
@pytest.mark.parametrize("name", (*TRAININGS, *EVALUATIONS))
def test_a_step_is_lowered(name, platform, shape):
    program = lowered(name, shape, platform)
    assert program.devices == np.prod(shape)
    assert program.faults() == []
    assert program.flops > 0 and program.bytes_accessed > 0
    if name in ("glow", "search"):
        assert "stablehlo.convolution" in program.text  # no shifted copies, which are the CPU's
    if name not in REMATERIALIZED:
        assert "optimization_barrier" not in program.text


def test_faults_are_seen():
    """So that the tests above can fail."""
    mesh = abstract_mesh(8, 1)
    rows = train.batch_sharding(mesh)
    x = lowering.abstract(np.zeros((8, 2), np.float32), rows)

    def calls(x):
        jax.debug.print("{}", x)
        return x

    def summed(x):
        return jax.lax.psum(x, "data")

    mapped = jax.shard_map(
        summed, mesh=mesh, in_specs=rows.spec, out_specs=PartitionSpec("fsdp"), check_vma=False
    )
    found = {
        name: lowering.lower(f, x, platform=platform).faults()
        for name, f, platform in (("calls", calls, "cpu"), ("mapped", mapped, "tpu"))
    }
    with pytest.raises(ValueError, match="lowering platform tpu"):
        lowering.lower(calls, x, platform="tpu")
    with jax.enable_x64(True):
        wide = lowering.lower(lambda x: x.astype(jnp.float64), x, platform="cuda")
    assert found["calls"] == ["a callback of the host"]
    assert found["mapped"] == ["a collective that is not of a sharding"]
    assert wide.faults() == ["float64"]
