"""What objects print: shapes and counts in place of numbers and addresses."""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax import Array


_MOST = 6  # leaves that are named


def kind(x: Any) -> str:
    """Type and shape of an array, as ``float32[3, 4]``; those of a tuple of arrays as ``(float32[3], float32[2])``."""
    if isinstance(x, tuple):
        return f"({', '.join(map(kind, x))})"
    return f"{x.dtype}{list(x.shape)}"


def count(init: Callable[[Array], Any]) -> str:
    """The number of parameters in the tree that ``init(key)`` would make, as ``26 parameters``."""
    shapes = _parameters(init)
    if shapes is None:
        return "parameters"
    return f"{sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)):,} parameters"


def leaves(init: Callable[[Array], Any]) -> str:
    """The first leaves of the tree that ``init(key)`` would make, by their names."""
    found = jax.tree_util.tree_leaves_with_path(_parameters(init))
    names = [
        f"{jax.tree_util.keystr(path, simple=True, separator='/')} {kind(leaf)}"
        for path, leaf in found[:_MOST]
    ]
    return ", ".join(names + ["..."] * (len(found) > _MOST))


def result(make: Callable[[], Any]) -> str:
    """Type and shape of what ``make`` would return, or ``?``."""
    found = _shapes(make)
    return "?" if found is None else kind(found)


def _parameters(init):
    return _shapes(lambda: init(jax.random.key(0)))


def _shapes(make):
    try:
        return jax.eval_shape(make)
    except Exception:  # a user's function may raise anything, and printing must not
        return None
