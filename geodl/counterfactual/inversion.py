"""Base points of given data for generators without an exact inverse: a search whose goal is the data."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from geodl.counterfactual.generator import Generator, as_floats, identity
from geodl.counterfactual.search import Search, run
from geodl.counterfactual.targets import reconstruction
from geodl.manifolds.base import Point


class Inversion(NamedTuple):
    """The best base point of each sample, its image, and the mean squared error, (n, ...) each.

    A sample of which no start had a finite image has the error inf, and the first of its starts.
    """

    z: Point
    x: Array
    error: Array


def invert(
    generator: Generator,
    x: Array,
    optimizer: optax.GradientTransformation,
    steps: int,
    starts: Point | None = None,
    tolerance: float = 0.0,
    **penalties: Any,
) -> Inversion:
    """Latent optimisation of |g(z) - x|^2 for data x (n, ...), best kept per sample.

    Args:
        generator: any; what it decodes must have the shape of x.
        x: the data.
        optimizer: of the mean squared error.
        steps: the most to take; a sample stops earlier where its error is within ``tolerance``.
        starts: base points (k, n, ...), of which the best outcome counts, as k draws from the prior; by default
            the one that ``generator.encode`` gives. Screen many starts in a few steps, then go on with the
            best: ``starts=first.z[None]``.
        tolerance: mean squared error at which to stop.
        **penalties: of :class:`~geodl.counterfactual.Search`, as ``near_base``.

    Raises:
        ValueError: neither starts nor an encoder; shapes that do not fit.
    """
    x = as_floats(x)
    if starts is None:
        if generator.encode is None:
            raise ValueError(
                "invert: a generator without encode needs starts (k, n, ...), got None"
            )
        starts = jax.tree.map(lambda leaf: leaf[None], jax.vmap(generator.encode)(x))
    starts = as_floats(starts)
    shapes = [leaf.shape for leaf in jax.tree.leaves(starts)]
    if any(len(shape) < 2 or shape[0] == 0 or shape[1] != len(x) for shape in shapes):
        raise ValueError(f"invert: starts of shape (k, {len(x)}, ...) are needed, got {shapes}")
    k = shapes[0][0]
    z = jax.tree.map(lambda leaf: jnp.reshape(leaf, (k * len(x), *leaf.shape[2:])), starts)
    goal = jnp.tile(x, (k, *[1] * (x.ndim - 1)))
    search = Search(generator, identity, reconstruction(tolerance), optimizer, steps, **penalties)
    state, _ = run(search, search.init(z, goal))
    score = jnp.reshape(state.score, (k, len(x)))
    pick = np.asarray(jnp.argmax(score, 0)) * len(x) + np.arange(len(x))
    best = jax.tree.map(lambda leaf: leaf[pick], state.best)
    return Inversion(best.z, best.x, -jnp.max(score, 0))
