"""The flags that every experiment has: precision, accumulation, and what they refuse."""

import collections
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import _devices
from experiments._bfloat16 import in_bfloat16
from experiments._devices import Devices
from experiments._run import Run
from geodl import vae
from geodl.distributions import WrappedNormal
from tests.flagships import minibatches, normal, pvae_model


@dataclass(frozen=True)
class Experiment:
    root: str
    name: str = "first"


@pytest.fixture
def use():
    yield _devices.use
    _devices.use(Devices())


def types(jaxpr, counts=None):
    """How many products and other operations give each type, in a program and all within it."""
    counts = collections.Counter() if counts is None else counts
    for eqn in jaxpr.eqns:
        product = eqn.primitive.name in ("dot_general", "conv_general_dilated")
        exact = product and "HIGHEST" in str(eqn.params["precision"])
        for v in eqn.outvars:
            if eqn.primitive.name != "convert_element_type":
                kind = "exact product" if exact else "product" if product else "other"
                counts[kind, str(v.aval.dtype)] += 1
        for inner in jax.tree.leaves(
            dict(eqn.params), is_leaf=lambda p: hasattr(p, "eqns") or hasattr(p, "jaxpr")
        ):
            if hasattr(inner, "jaxpr") or hasattr(inner, "eqns"):
                types(getattr(inner, "jaxpr", inner), counts)
    return counts


def test_networks_are_in_bfloat16_and_geometry_is_not():
    model = pvae_model(family=WrappedNormal)
    params, x = model.init(jax.random.key(0)), normal(8, 16)

    def loss(params, x, key):
        return -jnp.mean(vae.elbo(model, params, x, key).elbo)

    arguments = params, x, jax.random.key(1)
    step = jax.value_and_grad(in_bfloat16(loss))
    found = types(jax.make_jaxpr(step)(*arguments).jaxpr)
    assert found["product", "bfloat16"] >= 4 and not found["product", "float32"]
    # the gyroplanes, forwards and back
    assert found["exact product", "float32"] == 3 and not found["exact product", "bfloat16"]
    # what a network's products are made of is cast; nothing else is computed in this type but their transposes
    assert found["other", "float32"] > 100 * found["other", "bfloat16"]
    (rough, slopes), (value, exact) = (
        jax.jit(step)(*arguments),
        jax.jit(jax.value_and_grad(loss))(*arguments),
    )
    assert 0 < abs(rough - value) < 1e-2 * abs(value)
    for a, b in zip(jax.tree.leaves(slopes), jax.tree.leaves(exact), strict=True):
        assert a.dtype == jnp.float32
        assert jnp.linalg.norm(a - b) < 0.05 * jnp.linalg.norm(b)


def test_loops_and_branches_are_rewritten():
    w = jnp.asarray(normal(4, 4))

    def f(w, x):
        x, _ = jax.lax.scan(lambda x, _: (jnp.tanh(x @ w), None), x, length=3)
        return jax.lax.cond(x[0] > 0, jax.jit(lambda x: x @ w), lambda x: -x, x)

    found = types(jax.make_jaxpr(in_bfloat16(f))(w, jnp.ones(4)).jaxpr)
    assert found["product", "bfloat16"] == 2 and not found["product", "float32"]
    np.testing.assert_allclose(in_bfloat16(f)(w, jnp.ones(4)), f(w, jnp.ones(4)), atol=0.1)


def test_parts_of_a_batch_make_its_step(use, tmp_path):
    """No noise, a mean over samples: the gradients' mean is that of the whole batch."""
    x = normal(32, 3)
    rows = x, x @ np.array([1.0, -2.0, 0.5], np.float32)

    def trained(folder, **flags):
        use(Devices(**flags))

        def loss(w, rows, key):
            return (rows[0] @ w - rows[1]) ** 2

        step, state, data, _ = minibatches(loss, jnp.zeros(3), optax.adam(0.1), rows, batch=16)
        return _devices.fit(step, state, data, 6, folder, chunk=2)

    (whole, log), (parts, more) = trained(tmp_path / "1"), trained(tmp_path / "2", accumulate=4)
    np.testing.assert_allclose(parts.params, whole.params, rtol=1e-5)
    assert jax.tree.structure(parts) == jax.tree.structure(whole)
    assert [line["step"] for line in log] == [2, 4, 6] and more[-1]["step"] == 24
    use(Devices(accumulate=3))
    with pytest.raises(ValueError, match="--accumulate 3 must divide the batch of 16"):
        _devices.rows(16)


def test_devices_that_are_not_there(use):
    with pytest.raises(ValueError, match=r"--devices 4096: there are \d+ in 1 process"):
        use(Devices(devices=4096))
    with pytest.raises(ValueError, match="fsdp must divide the 1 devices, got 3"):
        use(Devices(fsdp=3))
    with pytest.raises(ValueError, match="--processes 2 must divide --devices 3"):
        use(Devices(devices=3, processes=2, process=0))
    for name in ("devices", "processes", "fsdp", "accumulate"):
        with pytest.raises(ValueError, match=f"--{name} must be at least 1, got 0"):
            use(Devices(**{name: 0}))


def test_results_of_another_precision_are_refused(use, tmp_path):

    Run("a", Experiment(str(tmp_path)))
    use(Devices(bf16=True))
    with pytest.raises(ValueError, match=r"bf16 \(was absent, now True\)"):
        Run("a", Experiment(str(tmp_path)))


def test_a_run_may_train_in_its_own_folder(tmp_path):
    run = Run("a", Experiment(str(tmp_path)))
    step, state, data, _ = minibatches(
        lambda w, x, key: (x @ w - 1) ** 2, jnp.zeros(3), optax.sgd(0.1), normal(32, 3)
    )
    assert _devices.fit(step, state, data, 2, run.folder, chunk=2)[1][-1]["step"] == 2


def test_two_runs_of_one_name(tmp_path):

    run = Run("a", Experiment(str(tmp_path)))
    with pytest.raises(RuntimeError, match=f"the run {Path(tmp_path)}/a/first is going on already"):
        Run("a", Experiment(str(tmp_path)))
    del run
    Run("a", Experiment(str(tmp_path)))
