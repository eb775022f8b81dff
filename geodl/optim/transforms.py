"""Gradients, momentum, Adam and the step itself on manifolds.

Sources: Bonnabel, *Stochastic Gradient Descent on Riemannian Manifolds* (2013); Bécigneul & Ganea, *Riemannian Adaptive
Optimization Methods* (2019); Reddi et al., *On the Convergence of Adam and Beyond* (2018).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from geodl._core.reductions import dot, scale
from geodl.optim._trees import (
    Manifolds,
    at,
    carried,
    check_points,
    from_origin,
    is_function,
    is_point,
    last_points,
    over,
    points_of,
    zero_components,
)


def riemannian_gradient(manifolds: Manifolds) -> optax.GradientTransformation:
    """Components of the gradient in the orthonormal frame at each point, from what ``jax.grad`` gives.

    a_i = <g, e_i>, the derivative along the frame's vector e_i, so that no metric is inverted. They are
    those of the tangent vector ``manifold.egrad_to_rgrad(x, g)``.

    Args:
        manifolds: a tree of Manifold or None like the parameters, a prefix of it, or a function of them that gives one.

    Returns:
        A transformation without state, the first of a chain. Its ``init`` raises ``ValueError`` where the manifolds do
        not suit the parameters, or a point does not lie on its manifold.
    """

    def components(space, x, g):
        if not is_point(space, x):
            return g
        along = jax.vjp(lambda a: space.from_frame(x, a), zero_components(space, x))[1]
        return along(g)[0]

    def init(params):
        over(at(manifolds, params), check_points, params)
        return optax.EmptyState()

    def update(updates, state, params=None):
        return over(at(manifolds, params), components, params, updates), state

    return optax.GradientTransformation(init, update)


def apply_updates(manifolds: Manifolds, params: Any, updates: Any) -> Any:
    """The points exp_x(u), for updates u in frame components; x + u where there is no manifold.

    Where the manifolds depend on the parameters, the step is one of the old geometry, whose end is projected to the
    new one.

    Args:
        manifolds: as the optimizer's.
        params: the parameters.
        updates: what the optimizer gave for them.

    Returns:
        The new parameters, of the old ones' types.

    Raises:
        ValueError: updates of another shape than components: such as gradients that ``optax.masked`` or
            ``optax.set_to_zero`` has let through in place of the optimizer.
    """

    def step(space, x, u):
        if not is_point(space, x):
            return optax.apply_updates(x, u)
        needed, found = zero_components(space, x).shape, jax.tree.map(jnp.shape, u)
        if found != needed:
            raise ValueError(
                f"apply_updates: on {space} an update has components {needed}, got {found}; to freeze a point, "
                "optax.set_to_zero comes after the optimizer"
            )
        return jax.tree.map(lambda old, new: new.astype(old.dtype), x, space.expmap_frame(x, u))

    def project(space, x):
        return space.project(x) if is_point(space, x) else x

    new = over(at(manifolds, params), step, params, updates)
    return over(at(manifolds, new), project, new) if is_function(manifolds) else new


class MomentumState(NamedTuple):
    """What the steps so far have left: the trace, in components at ``points``."""

    trace: Any
    points: Any
    """the parameters of the last step, None where components need not be carried"""


def riemannian_momentum(
    manifolds: Manifolds, decay: float, nesterov: bool = False
) -> optax.GradientTransformation:
    """m <- g + decay m, m carried along by parallel transport; ``optax.trace`` where there is no manifold.

    Args:
        manifolds: as in :func:`riemannian_gradient`, which comes before this.
        decay: of the momentum in a step.
        nesterov: whether g + decay m is what goes on, instead of m.

    Returns:
        A transformation of frame components.
    """

    def init(params):
        tree = at(manifolds, params)
        return MomentumState(
            over(tree, zero_components, params), jax.tree.map(jnp.copy, points_of(tree, params))
        )

    def update(updates, state, params=None):
        tree = at(manifolds, params)
        old = carried(tree, last_points(manifolds, tree, state.points), params, state.trace)
        trace = jax.tree.map(lambda g, m: g + decay * m, updates, old)
        ahead = jax.tree.map(lambda g, m: g + decay * m, updates, trace) if nesterov else trace
        return ahead, MomentumState(trace, points_of(tree, params))

    return optax.GradientTransformation(init, update)


class RiemannianAdamState(NamedTuple):
    """First moments in components at ``points``, second moments one for a point."""

    count: Any
    mu: Any
    nu: Any
    """of each part of the parameters: a tuple over its manifold's factors"""
    nu_max: Any
    """the largest so far, for AMSGrad"""
    points: Any
    """the parameters of the last step, None where components need not be carried"""


def scale_by_riemannian_adam(
    manifolds: Manifolds,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    amsgrad: bool = False,
) -> optax.GradientTransformation:
    """Riemannian Adam and AMSGrad (Bécigneul & Ganea 2019): moments carried along, second ones one for a point.

    m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) |g|^2,  u = m^ / (sqrt(v^ + eps_root) + eps), bias corrected. A moment
    for each component would depend on the frame, which nothing distinguishes; |g|^2 does not, so that isometric spaces
    give isometric paths. A product has one second moment for each factor, and a flat space, being a product of lines,
    one for each coordinate: on R^d this is ``optax.scale_by_adam``, bit for bit.

    Args:
        manifolds: as in :func:`riemannian_gradient`, which comes before this.
        b1: decay of the first moment.
        b2: decay of the second moment.
        eps: added to the root.
        eps_root: added under the root.
        amsgrad: whether the largest second moment so far is what divides.

    Returns:
        A transformation of frame components.
    """

    def init(params):
        tree = at(manifolds, params)
        mu = over(tree, zero_components, params)
        nu = over(tree, _squares, params, mu)
        largest = jax.tree.map(jnp.copy, nu) if amsgrad else None
        return RiemannianAdamState(
            jnp.zeros([], jnp.int32),
            mu,
            nu,
            largest,
            jax.tree.map(jnp.copy, points_of(tree, params)),
        )

    def update(updates, state, params=None):
        tree = at(manifolds, params)
        old = carried(tree, last_points(manifolds, tree, state.points), params, state.mu)
        mu = optax.tree.update_moment(updates, old, b1, 1)
        squares = over(tree, _squares, params, updates)
        nu = optax.tree.update_moment(squares, state.nu, b2, 1)
        count = optax.safe_increment(state.count)
        nu_hat, nu_max = optax.tree.bias_correction(nu, b2, count), None
        if amsgrad:
            nu_hat = nu_max = jax.tree.map(jnp.maximum, state.nu_max, nu_hat)
        divisors = jax.tree.map(lambda v: jnp.sqrt(v + eps_root) + eps, nu_hat)
        ratios = over(tree, _divided, params, optax.tree.bias_correction(mu, b1, count), divisors)
        return ratios, RiemannianAdamState(count, mu, nu, nu_max, points_of(tree, params))

    return optax.GradientTransformation(init, update)


def _squares(space, x, a):
    """|a|^2 with a last axis of 1 for each curved factor, a_i^2 for flat ones and where there is no manifold."""
    if not is_point(space, x):
        return jax.tree.map(lambda g: g**2, a)
    return tuple(
        g**2 if f.frame_is_parallel else dot(g, g)[..., None] for f, g in _factors(space, x, a)
    )


def _divided(space, x, a, divisors):
    if not is_point(space, x):
        return jax.tree.map(lambda m, v: m / v, a, divisors)
    parts = [
        m / v if f.frame_is_parallel else scale(1 / v[..., 0], m)
        for (f, m), v in zip(_factors(space, x, a), divisors, strict=True)
    ]
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, -1)


def _factors(space, x, a):
    """(factor, its components of a) of a product, and of products in it."""
    factors = space.by_factor(x, a)
    if len(factors) == 1:
        return [(f, part) for f, _, part in factors]
    return [pair for f, at_x, part in factors for pair in _factors(f, at_x, part)]


def add_pull_to_origin(manifolds: Manifolds, weight: float) -> optax.GradientTransformation:
    """u <- u - weight log_x(0): weight decay along the geodesic to the origin, ``optax.add_decayed_weights`` on R^d.

    It is the gradient of weight dist(0, x)^2 / 2, and on what is no manifold that of weight |x|^2 / 2.

    Args:
        manifolds: as in :func:`riemannian_gradient`, which comes before this.
        weight: of the pull.

    Returns:
        A transformation of frame components.
    """

    def update(updates, state, params=None):
        out = over(at(manifolds, params), from_origin, params)
        return jax.tree.map(lambda u, o: u + weight * o, updates, out), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
