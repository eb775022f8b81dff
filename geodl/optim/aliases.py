"""Whole optimizers: chains of the transformations, named as in optax."""

from typing import Any

import optax

from geodl.optim._trees import Manifolds
from geodl.optim.transforms import (
    add_pull_to_origin,
    riemannian_gradient,
    riemannian_momentum,
    scale_by_riemannian_adam,
)


def sgd(
    manifolds: Manifolds,
    learning_rate: optax.ScalarOrSchedule,
    momentum: float | None = None,
    nesterov: bool = False,
) -> optax.GradientTransformation:
    """Riemannian gradient descent (Bonnabel 2013), its momentum carried by parallel transport.

    Args:
        manifolds: a tree of Manifold or None like the parameters, a prefix of it, or a function of them that gives one.
        learning_rate: a number, or a schedule of optax.
        momentum: decay of the momentum in a step.
        nesterov: whether to look ahead.

    Returns:
        An optimizer whose updates :func:`apply_updates` applies.
    """
    return optax.chain(
        riemannian_gradient(manifolds),
        optax.identity()
        if momentum is None
        else riemannian_momentum(manifolds, momentum, nesterov),
        optax.scale_by_learning_rate(learning_rate),
    )


def adam(
    manifolds: Manifolds,
    learning_rate: optax.ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    amsgrad: bool = False,
) -> optax.GradientTransformation:
    """Riemannian Adam (Bécigneul & Ganea 2019); ``optax.adam`` bit for bit where there is no manifold, and on R^d.

        optimizer = optim.adam(PoincareBall(2), 1e-2)
        updates, state = optimizer.update(jax.grad(loss)(points), state, points)
        points = optim.apply_updates(PoincareBall(2), points, updates)

    Args:
        manifolds: a tree of Manifold or None like the parameters, a prefix of it, or a function of them that gives one.
        learning_rate: a number, or a schedule of optax: the length of a step, about.
        b1: decay of the first moment.
        b2: decay of the second moment.
        eps: added to the root of the second moment.
        eps_root: added under the root.
        amsgrad: whether the largest second moment so far is what divides (``optax.amsgrad``).

    Returns:
        An optimizer whose updates :func:`apply_updates` applies.
    """
    return optax.chain(
        riemannian_gradient(manifolds),
        scale_by_riemannian_adam(manifolds, b1, b2, eps, eps_root, amsgrad),
        optax.scale_by_learning_rate(learning_rate),
    )


def adamw(
    manifolds: Manifolds,
    learning_rate: optax.ScalarOrSchedule,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    weight_decay: float = 1e-4,
    mask: Any = None,
) -> optax.GradientTransformation:
    """Riemannian Adam with a decoupled pull to the origin of each manifold; ``optax.adamw`` bit for bit on R^d.

    Args:
        manifolds: as in :func:`adam`, as the next five are.
        learning_rate: a number, or a schedule of optax.
        b1: decay of the first moment.
        b2: decay of the second moment.
        eps: added to the root of the second moment.
        eps_root: added under the root.
        weight_decay: of the pull, in a step times the learning rate.
        mask: which parameters are pulled, as ``optax.masked`` takes it; all by default.

    Returns:
        An optimizer whose updates :func:`apply_updates` applies.
    """
    pull = add_pull_to_origin(manifolds, weight_decay)
    return optax.chain(
        riemannian_gradient(manifolds),
        scale_by_riemannian_adam(manifolds, b1, b2, eps, eps_root),
        pull if mask is None else optax.masked(pull, mask),
        optax.scale_by_learning_rate(learning_rate),
    )
