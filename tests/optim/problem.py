"""A descent, as a user writes it."""

from functools import partial

import jax

from geodl import optim


@partial(jax.jit, static_argnums=(0, 1, 3, 4))
def _descend(optimizer, loss, start, steps, manifolds, state, raw):
    def step(carry, _):
        x, state = carry
        grads = jax.grad(loss)(x) if raw is None else raw
        updates, state = optimizer.update(grads, state, x)
        return (optim.apply_updates(manifolds, x, updates), state), x

    state = optimizer.init(start) if state is None else state
    return jax.lax.scan(step, (start, state), length=steps)[1]


def descend(optimizer, loss, start, steps, manifolds, state=None, raw=None):
    """The points visited, of ``steps`` steps; ``raw`` in place of the gradients, where given."""
    return _descend(optimizer, loss, start, steps, manifolds, state, raw)
