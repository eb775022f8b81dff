"""A gauge network whose batch is over all devices: ``python -m tests.equivariant.parallel``."""

import json

import jax
import jax.numpy as jnp

from geodl import train
from geodl.equivariant import FieldType, gauge_net, groups, stencil
from geodl.equivariant.meshes import torus_mesh


def main():
    """The loss and the size of its gradient, and on how many devices the outputs lie."""
    mesh, group = train.data_mesh(), groups.so2()
    kind = FieldType([(group.irrep(0), 2), (group.irrep(1), 2)])
    net = gauge_net(kind, kind, kind, stencil(torus_mesh(7, 5).neighborhoods(0.9), group, 0.9), 1)
    params = train.replicate(mesh, net.init(jax.random.key(0)))
    x = train.shard_batch(mesh, jax.random.normal(jax.random.key(1), (8, 35, kind.dim)))

    @jax.jit
    def loss(params, x):
        y = net.apply(params, x)
        return jnp.mean(jnp.square(y)), y

    (value, y), slope = jax.value_and_grad(loss, has_aux=True)(params, x)
    size = sum(float(jnp.sum(jnp.abs(a))) for a in jax.tree.leaves(slope))
    print(json.dumps({"loss": float(value), "slope": size, "devices": len(y.sharding.device_set)}))


if __name__ == "__main__":
    main()
