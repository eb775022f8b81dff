"""Trees of parameters beside trees of manifolds."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from geodl._core.checks import is_shape
from geodl.manifolds import Manifold


# A pytree of Manifold | None that is like the parameters or a prefix of them, or a function of them that gives one.
Manifolds: TypeAlias = Any


def over(manifolds: Any, f: Callable[..., Any], *trees: Any) -> Any:
    """f(manifold, *parts of the trees) at every manifold; where there is None, the parts are whole subtrees."""
    try:
        return jax.tree.map(f, manifolds, *trees, is_leaf=_ends)
    except ValueError as error:
        if _is_prefix(manifolds, trees[0]):
            raise
        raise ValueError(
            "manifolds must be a tree of Manifold or None like the parameters, or a prefix of it: "
            f"{jax.tree.structure(manifolds, is_leaf=_ends)} does not suit {jax.tree.structure(trees[0])}"
        ) from error


def _ends(node):
    return node is None or isinstance(node, Manifold)


def _is_prefix(manifolds, tree):
    try:
        jax.tree.map(lambda *_: None, manifolds, tree, is_leaf=_ends)
    except ValueError:
        return False
    return True


def at(manifolds: Manifolds, params: Any) -> Any:
    """The tree of manifolds at these parameters, one for each point: a manifold over a subtree is that of all in it."""
    if params is None:
        raise ValueError("a Riemannian optimizer needs the points: update(grads, state, params)")
    tree = manifolds(params) if is_function(manifolds) else manifolds
    strange = [m for m in jax.tree.leaves(tree, is_leaf=_ends) if not _ends(m)]
    if strange:
        raise TypeError(f"manifolds must be a tree of Manifold or None, got {strange[0]!r}")
    return over(tree, _of_each, params)


def _of_each(space, x):
    if space is None:
        return None
    point = jax.tree.structure(space.event_shape, is_leaf=is_shape)
    return jax.tree.map(lambda _: space, x, is_leaf=lambda part: jax.tree.structure(part) == point)


def is_function(manifolds: Manifolds) -> bool:
    """Whether the manifolds depend on the parameters; the class of one does not, and is refused."""
    return callable(manifolds) and not isinstance(manifolds, type)


def is_curved(space: Manifold | None, x: Any) -> bool:
    """Whether what is remembered at x must be carried: there are points, and transport changes their components."""
    return is_point(space, x) and not space.frame_is_parallel  # type: ignore[union-attr]


def is_point(space: Manifold | None, x: Any) -> bool:
    """Whether the part x of the parameters is a point of a manifold; what ``optax.masked`` has left empty is not."""
    return space is not None and bool(jax.tree.leaves(x))


def zero_components(space: Manifold | None, x: Any) -> Any:
    """What an update of x is like, as zeros."""
    if not is_point(space, x):
        return jax.tree.map(jnp.zeros_like, x)
    return jnp.zeros((*space.batch_shape(x), space.dim), jnp.result_type(*jax.tree.leaves(x)))  # type: ignore


def check_points(space: Manifold | None, x: Any) -> None:
    """Raise where x has not the structure and shape of points, or where its values are known and off the manifold."""
    if not is_point(space, x):
        return

    point = jax.tree.structure(space.event_shape, is_leaf=is_shape)  # type: ignore[union-attr]
    if jax.tree.structure(x) != point:
        raise ValueError(
            f"{space}: a point is a tree of arrays as {point}, got {jax.tree.structure(x)}"
        )

    def check_shape(shape, part):
        if jnp.shape(part)[jnp.ndim(part) - len(shape) :] != shape:
            raise ValueError(
                f"{space}: points have shape (..., {', '.join(map(str, shape))}), got {jnp.shape(part)}"
            )

    jax.tree.map(check_shape, space.event_shape, x, is_leaf=is_shape)  # type: ignore[union-attr]
    space.to_frame(x, jax.tree.map(jnp.zeros_like, x))  # type: ignore[union-attr]


def from_origin(space: Manifold | None, x: Any) -> Any:
    """Components of -log_x(0), 0 the origin: on R^d the point x itself."""
    if not is_point(space, x):
        return x
    return -space.logmap_frame(x, space.origin(jnp.result_type(*jax.tree.leaves(x))))  # type: ignore[union-attr]


def points_of(tree: Any, params: Any) -> Any:
    """The points whose tangent vectors are to be carried, None for the other parts of the parameters."""
    return over(tree, lambda space, x: x if is_curved(space, x) else None, params)


def last_points(manifolds: Manifolds, tree: Any, points: Any) -> Any:
    """What :func:`points_of` has kept, on the manifolds of now: their curvature may have been another one."""
    if not is_function(manifolds):
        return points
    return over(tree, lambda space, x: x if x is None else space.project(x), points)


def carried(tree: Any, points: Any, params: Any, components: Any) -> Any:
    """Components at the parameters of what has been remembered at the points."""

    def carry(space, x, y, a):
        return space.transport_frame(x, y, a) if is_curved(space, y) else a

    return over(tree, carry, points, params, components)
