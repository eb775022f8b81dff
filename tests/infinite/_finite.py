"""Monte Carlo: the kernels of many finite networks beside those of infinite width."""

from functools import partial

import jax
import jax.numpy as jnp

from geodl import infinite


def limit(make, shape, x, width, seeds, outputs):
    """z-scores (n, n) of NNGP and NTK over finite networks, those of the last layer's width ``outputs`` and 1."""
    seeds = jax.random.split(jax.random.key(0), seeds)

    def nngp(layer, key):
        net = layer.net(shape)
        f = net.apply(net.init(key), x)
        return f @ f.T / outputs

    def ntk(layer, key):
        net = layer.net(shape)
        return infinite.empirical.ntk(net, net.init(key), x)[..., 0, 0]

    scores = []
    for function, last, exact in ((nngp, outputs, 0), (ntk, 1, 1)):
        layer = make(width, last)
        found = jax.lax.map(partial(function, layer), seeds)
        error = jnp.std(found, 0, ddof=1) / len(seeds) ** 0.5
        scores.append((jnp.mean(found, 0) - infinite.kernels(layer, x)[exact]) / error)
    return scores
