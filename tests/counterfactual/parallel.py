"""A batch of searches on all devices and on one of them, as a JSON line (see test_search_sharding)."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec as P

from geodl import train
from geodl.counterfactual import Generator, Search, Status, interval, run
from geodl.manifolds import Sphere


def main():
    """Sharded arrays through ``run``; ``shard_map`` around the steps; and plain."""
    sphere, optimizer = Sphere(2), optax.sgd(0.05, momentum=0.9)
    search = Search(Generator(jnp.sin, sphere), jnp.sum, interval(), optimizer, 30)
    z = sphere.project(np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32))
    goal = np.linspace(-0.5, 2.0, 16, dtype=np.float32)  # 1.64 is the most that can be reached
    goal = np.stack([goal, np.full_like(goal, 9.0)], -1)
    alone, _ = run(search, search.init(z, goal))

    mesh = train.data_mesh()
    start = search.init(*train.shard_batch(mesh, (np.asarray(z), goal)))
    sharded, path = run(search, start, lambda s: s.position)

    def steps(state):
        return jax.lax.scan(lambda s, _: (search.step(s), None), state, length=31)[0]

    mapped = jax.jit(jax.shard_map(steps, mesh=mesh, in_specs=P("data"), out_specs=P("data")))(
        start
    )
    print(
        json.dumps(
            {
                "devices": len(sharded.position.sharding.device_set),
                "found": int(np.sum(alone.status == Status.FOUND)),
                "path": list(path.shape),
                "differences": [largest(alone, sharded), largest(alone, mapped)],
            }
        )
    )


def largest(a, b):
    """Difference of two states."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(float(np.max(np.abs(np.asarray(x) - np.asarray(y)))) for x, y in pairs)


if __name__ == "__main__":
    main()
