"""A table of points on all devices and on one of them, as a JSON line (see test_optim)."""

import json

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from geodl import optim, train
from geodl.manifolds import PoincareBall


def main():
    """Rows sharded, the moments with them; the loss knows all pairs."""
    ball = PoincareBall(2)
    optimizer = optim.adam(ball, 0.05)
    table = ball.random_uniform(jax.random.key(0), 64)

    def step(carry, _):
        x, state = carry
        gradient = jax.grad(lambda x: jnp.sum(jnp.log1p(ball.sqdist(x[:, None], x))))(x)
        updates, state = optimizer.update(gradient, state, x)
        return (optim.apply_updates(ball, x, updates), state), None

    @jax.jit
    def run(table):
        return jax.lax.scan(step, (table, optimizer.init(table)), length=20)[0]

    alone, _ = run(table)
    rows = NamedSharding(train.data_mesh(), P("data"))
    sharded, state = run(jax.device_put(table, rows))
    print(
        json.dumps(
            {
                "devices": len(sharded.sharding.device_set),
                "moments": len(state[1].mu.sharding.device_set),
                "moved": float(np.max(ball.dist(alone, table))),
                "difference": float(np.max(np.abs(alone - sharded))),
            }
        )
    )


if __name__ == "__main__":
    main()
