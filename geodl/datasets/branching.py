"""The branching diffusion of the Poincaré VAE paper: a tree of points in 50 dimensions."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray


DEPTH, DIM, SIBLINGS = 6, 50, 5
NODES = 2 ** (DEPTH + 1) - 1
TRAIN = int(0.7 * NODES * SIBLINGS)

# Nats per item. Under a unit-variance normal likelihood no density exceeds (2 pi)^(-DIM/2), so no
# model's negative log-likelihood, and no -ELBO, can be below it.
ENTROPY_FLOOR = DIM / 2 * math.log(2 * math.pi)


class BranchingDiffusion(NamedTuple):
    """Noisy copies of the nodes of a binary tree, split at random, and the tree for pictures.

    Nodes are numbered breadth first: node 0 is the root, the parent of node i is (i - 1) // 2.
    """

    train: Float[Array, "*seeds 444 50"]
    test: Float[Array, "*seeds 191 50"]
    train_node: Int[Array, "*seeds 444"]  # the node of which an item is a copy
    test_node: Int[Array, "*seeds 191"]
    nodes: Float[Array, "*seeds 127 50"]  # on the scale of the data
    parents: Int[Array, "*seeds 127"]  # the root is its own parent
    depths: Int[Array, "*seeds 127"]


def branching_diffusion(key: PRNGKeyArray) -> BranchingDiffusion:
    """Draw a tree and its data: 444 items to train on and 191 to test, in 50 dimensions.

    The root lies at 0, each child at its parent plus normal noise of variance 1 per dimension,
    down to depth 6: 127 nodes. Each node has 5 siblings, itself plus noise of variance 0.2, and
    these 635 are the data. They are standardized per dimension with mean and (population) standard
    deviation of all of them, and then split at random.

    Pure: works under jit and vmap. Mathieu et al. (2019), "Continuous Hierarchical
    Representations with Poincaré Variational Auto-Encoders", section 5.1.

    Returns:
        The items, the nodes that they are copies of, and the tree.
    """
    steps_key, noise_key, split_key = jax.random.split(key, 3)
    index = np.arange(NODES)
    parents = np.maximum((index - 1) // 2, 0)
    depths = np.floor(np.log2(index + 1)).astype(np.int32)

    steps = jax.random.normal(steps_key, (NODES, DIM)).at[0].set(0.0)
    nodes = jnp.asarray(_ancestry(), steps.dtype) @ steps
    noise = math.sqrt(1 / SIBLINGS) * jax.random.normal(noise_key, (NODES, SIBLINGS, DIM))
    data = (nodes[:, None] + noise).reshape(NODES * SIBLINGS, DIM)
    mean, std = data.mean(0), data.std(0)
    data, nodes = (data - mean) / std, (nodes - mean) / std

    order = jax.random.permutation(split_key, NODES * SIBLINGS)
    train, test = order[:TRAIN], order[TRAIN:]
    return BranchingDiffusion(
        data[train],
        data[test],
        train // SIBLINGS,
        test // SIBLINGS,
        nodes,
        jnp.asarray(parents),
        jnp.asarray(depths),
    )


def _ancestry() -> np.ndarray:
    """1 where a column's node lies on the way from the root to a row's, itself included."""
    ancestry = np.eye(NODES)
    for node in range(1, NODES):
        ancestry[node] += ancestry[(node - 1) // 2]
    return ancestry
