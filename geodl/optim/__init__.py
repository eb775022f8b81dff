"""Riemannian optimizers as optax transformations, for parameters some of which are points of manifolds.

    manifolds = {"points": PoincareBall(5), "network": None}      # a tree like the parameters, or a prefix of it
    optimizer = optim.adam(manifolds, 1e-2)
    state = optimizer.init(params)
    updates, state = optimizer.update(grads, state, params)       # grads as jax.grad gives them
    params = optim.apply_updates(manifolds, params, updates)      # along geodesics, never by a sum

Where the tree says None, and on R^d, this is optax, bit for bit. Where it has a manifold, what flows from one
transformation to the next are components (..., dim) in the manifold's orthonormal frame at the point, so that a norm, a
clipping, a schedule of optax means what it says: put them after :func:`riemannian_gradient`, which is first in a chain.
What is remembered from step to step is carried by parallel transport from the point where it was to the point where it
is used, so that transformations after it, ``optax.MultiSteps`` or a skipped step cannot lead it astray.

A manifold whose curvature is learned depends on the parameters: then ``manifolds`` is a function of them,

    def manifolds(params):
        return {"points": PoincareBall(5, jnp.exp(params["log_c"])), "log_c": None}
"""

from geodl.optim.aliases import adam, adamw, sgd
from geodl.optim.frames import FrameState, carry_frame, identity_frame, in_frame, update_in_frame
from geodl.optim.rows import init_rows, unique_rows, update_rows
from geodl.optim.transforms import (
    MomentumState,
    RiemannianAdamState,
    add_pull_to_origin,
    apply_updates,
    riemannian_gradient,
    riemannian_momentum,
    scale_by_riemannian_adam,
)


__all__ = [
    "FrameState",
    "MomentumState",
    "RiemannianAdamState",
    "adam",
    "adamw",
    "add_pull_to_origin",
    "apply_updates",
    "carry_frame",
    "identity_frame",
    "in_frame",
    "init_rows",
    "riemannian_gradient",
    "riemannian_momentum",
    "scale_by_riemannian_adam",
    "sgd",
    "unique_rows",
    "update_in_frame",
    "update_rows",
]
