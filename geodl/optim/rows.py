"""Steps on a few rows of a large table of points, as embeddings have it: the cost grows with the rows, not the table.

    optimizer = optim.adam(ball, 1e-2)
    state = optim.init_rows(optimizer, table)

    rows, places = optim.unique_rows(batch, len(table))              # batch: indices into the table, of any shape
    grads = jax.grad(lambda points: loss(points[places]))(table[rows])
    table, state = optim.update_rows(optimizer, ball, grads, state, table, rows)

Each row is a parameter of its own with a state of its own: its moments and its count of steps are those of the steps
that touched it, so that a row that is seen for the first time late is not stepped too far. Inside a ``scan``, or with
the table and the state donated, they are changed in place.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int

from geodl._core.checks import check, is_concrete
from geodl.manifolds import Manifold, Point
from geodl.optim.transforms import apply_updates


def init_rows(optimizer: optax.GradientTransformation, table: Point) -> Any:
    """The optimizer's state of every row of the table.

    Returns:
        The state, its leaves with the table's leading axis.
    """
    return jax.vmap(optimizer.init)(table)


def unique_rows(
    indices: Int[Array, "*batch"], size: int
) -> tuple[Int[Array, " n"], Int[Array, "*batch"]]:
    """The rows that the indices name, each once, and where in them each index is found: ``rows[places] == indices``.

    As many rows as indices, so that shapes do not depend on values: what is left over is filled by rows beyond the
    table's, which :func:`update_rows` leaves alone (and ``table[rows]`` reads as the last one).

    Args:
        indices: into a table, of any shape; negative ones count from its end, and come back as those from its start.
        size: the number of the table's rows.

    Returns:
        rows, in increasing order, and places, of the indices' shape.

    Raises:
        ValueError: an index is of no row (under jit such a row is left alone).
    """
    flat = jnp.ravel(_from_the_start("unique_rows", indices, size))
    check(flat < size, f"unique_rows: rows are below {size}", flat)
    rows, places = jnp.unique(flat, return_inverse=True, size=flat.size, fill_value=size)
    spare = size + jnp.arange(flat.size, dtype=rows.dtype)
    return jnp.where(rows < size, rows, spare), places.reshape(indices.shape)


def _from_the_start(name, rows, size):
    """Negative indices count from the end; what would be before the start is beyond the table."""
    rows = jnp.asarray(rows)
    rows = rows.astype(jnp.promote_types(rows.dtype, jnp.int32))
    check(rows >= -size, f"{name}: rows are -{size} or more", rows)
    return jnp.where(rows < -size, size, jnp.where(rows < 0, rows + size, rows))


def update_rows(
    optimizer: optax.GradientTransformation,
    manifold: Manifold | None,
    grads: Point,
    state: Any,
    table: Point,
    rows: Int[Array, " n"],
) -> tuple[Point, Any]:
    """The table and the state after a step of the given rows; the others stay as they are.

    Args:
        optimizer: of one point, as ``adam(manifold, 1e-2)``.
        manifold: that the rows are points of, or None.
        grads: of the loss with respect to ``table[rows]``.
        state: as :func:`init_rows` made it.
        table: points, along a leading axis.
        rows: which, each once; those beyond the table are padding.

    Returns:
        The table and the state.

    Raises:
        ValueError: a row stands twice (where values are known): gradients of one row must be summed before; or state
            and gradients are of other rows.
    """
    size = len(jax.tree.leaves(table)[0])
    rows = _from_the_start("update_rows", rows, size)
    for what, tree in (("the state", state), ("the gradients", grads)):
        expected = size if tree is state else len(rows)
        lengths = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(tree)}
        if lengths - {(expected,)}:
            raise ValueError(
                f"update_rows: {what} have a leading axis of {expected}, got {sorted(lengths)}; the "
                "state of each row is made by init_rows, gradients are of table[rows]"
            )
    if is_concrete(rows) and len(np.unique(rows)) < len(rows):
        raise ValueError(f"update_rows: each row may stand once, got {rows}; see unique_rows")

    def take(leaf):
        return leaf.at[rows].get(mode="clip")

    def put(leaf, new):
        if jnp.issubdtype(new.dtype, jnp.floating):
            new = new + after.reshape(-1, *[1] * (new.ndim - 1)).astype(new.dtype)
        return leaf.at[rows].set(new, mode="drop", unique_indices=True)

    points, own = jax.tree.map(take, (table, state))
    updates, own = jax.vmap(optimizer.update)(grads, own, points)
    # 0, and known when all rows are read: what is written before that is written to a copy of the whole table
    sums = [jnp.sum(u, range(1, u.ndim)) for u in jax.tree.leaves(updates)]
    after = 0 * jnp.sum(jnp.stack(sums), 0)
    points = apply_updates(manifold, points, updates)
    return jax.tree.map(put, (table, state), (points, own))
