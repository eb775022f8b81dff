"""The one choice between a scan and a host loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl._core import loops


def step(state, x):
    """A rotation of a pair by an angle that depends on it, its second entry, and both."""
    angle = 0.3 + jnp.sum(state) * x
    rotation = jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]])
    after = jnp.sum(rotation * state, -1)
    return after, {"last": after[1], "pair": state}


@pytest.mark.parametrize("n", [1, 5])
def test_both_ways_give_the_same_numbers(n):
    run = loops.repeated(step)
    start, x = jnp.array([1.0, 0.5]), jnp.float32(0.2)
    ends = [run(start, x, n, on_host) for on_host in (True, False)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *ends)
    state, outputs = start, []
    for _ in range(n):
        state, output = step(state, x)
        outputs.append(output["pair"])
    for end, output in ends:
        np.testing.assert_allclose(end, state, rtol=1e-6)
        np.testing.assert_allclose(output["pair"], np.stack(outputs), rtol=1e-6)
        assert output["last"].shape == (n,) and isinstance(output["last"], jax.Array)


@pytest.mark.parametrize("on_host", [True, False])
def test_one_trace_and_donation(on_host):
    for donate in (False, True):
        traces = []

        def counted(state, x, traces=traces):
            traces.append(None)
            return state + x, state

        run, start = loops.repeated(counted, donate), jnp.zeros(3)
        run(start, jnp.ones(3), 2, on_host)
        run(jnp.ones(3), jnp.zeros(3), 2, on_host)
        assert len(traces) == 1
        assert start.is_deleted() == donate
