"""Losses of a flow on as many devices as there are, as one JSON line (see test_sharding)."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec as P

from geodl import flows, train
from geodl.distributions import Uniform
from tests.flows.problem import points, random_field


def main():
    manifold, field, params = random_field("sphere")
    base, mesh = Uniform(manifold), train.data_mesh()
    x0, x1 = np.asarray(points(manifold, 32, 1)), np.asarray(points(manifold, 32, 2))
    t = np.linspace(0, 1, 32, dtype=np.float32)
    params = train.replicate(mesh, params)
    x0, x1, t = train.shard_batch(mesh, (x0, x1, t))

    @jax.jit
    def matching(params, t, x0, x1):
        def v(t, x):
            return field.apply(params, t, x)

        return jnp.mean(flows.matching_loss(manifold, v, t, x0, x1))

    def likelihood(params, x):
        flow = flows.ContinuousFlow(base, field, params, flows.RK4(16))
        return jax.lax.pmean(jnp.mean(flows.nll(flow, x)), "data")

    mapped = jax.shard_map(likelihood, mesh=mesh, in_specs=(P(), P("data")), out_specs=P())
    loss, gradient = jax.jit(jax.value_and_grad(mapped))(params, x1)
    reported = jax.jit(
        lambda params, x: jnp.mean(flows.ContinuousFlow(base, field, params).log_prob(x))
    )
    print(
        json.dumps(
            {
                "devices": jax.device_count(),
                "matching": float(matching(params, t, x0, x1)),
                "likelihood": float(loss),
                "gradient": float(optax.global_norm(gradient)),
                "adaptive": -float(reported(params, x1)),
            }
        )
    )


if __name__ == "__main__":
    main()
