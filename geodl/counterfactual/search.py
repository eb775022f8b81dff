"""Counterfactuals by gradient ascent in the base of a generator (Dombrowski et al. 2023, arXiv:2206.05075).

    search = Search(generator, model, confidence(0.99), optax.adam(5e-2), steps=500)
    state, _ = run(search, search.init(z, classes))
    state.best.x[state.status == Status.FOUND]

A step z+ = exp_z(l grad(f o g)) moves the decoded x = g(z) by l G grad f + O(l^2) with the inverse induced metric
G = J g_Z^{-1} J^T (theorem 1 there): directions in which the data hardly extend, singular values of order delta, are
damped by delta^2. What the optimizer does to the gradient decides how much of that is left:

- one scale for the whole gradient, ``optax.sgd(l)``, or ``optax.chain(optax.normalize_by_update_norm(), optax.sgd(l))``
  for steps of a fixed length, keeps delta^2 and does not depend on the coordinates of the base;
- a scale for each coordinate, ``optax.adam(l)`` as in the paper, leaves delta^1, and depends on rotations of z;
- the natural gradient (J^T J)^{-1} of the data's own metric (``direction=natural_gradient(0.0)``) leaves delta^0: it is
  ascent in the data. It is here as the counter-example; with damping mu it keeps delta^2 where s^2 << mu.

Every sample of a batch goes its own way: an optimizer state, a stopping point, a status.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import PRNGKeyArray

from geodl._core.checks import as_floats, check_count, check_nonnegative
from geodl._core.records import as_pytree, register_record
from geodl.counterfactual.directions import Direction, dot, gradient
from geodl.counterfactual.metric import linearize
from geodl.counterfactual.targets import Target
from geodl.generators import Generator, identity
from geodl.manifolds import Point
from geodl.optim import carry_frame, identity_frame, update_in_frame


class Status(IntEnum):
    """How a sample's search stands."""

    RUNNING = 0
    FOUND = 1
    MAX_STEPS = 2  # the steps are used up
    NOT_FINITE = 3  # start, decoder, model or the square of a gradient or step gave inf or NaN
    NO_GRADIENT = 4  # it is exactly zero: the model is flat here, or a tree


class Sample(NamedTuple):
    """A base point and its decoded, postprocessed data point."""

    z: Point
    x: Array


class State(NamedTuple):
    """A batch of searches; all leaves have the leading axis n of the samples."""

    position: Point
    opt_state: Any
    frame: Array | None
    """The orthonormal frame whose components the optimizer sees on a curved base, in rows of components in the
    manifold's own frame at the position, of shape (n, dim, dim)"""
    goal: Array
    start: Sample
    best: Sample
    """of the points so far with finite data and score the one with the best score; the start, as it is, where none
    was"""
    score: Array
    """the target's objective at ``best``; -inf where none was finite"""
    steps: Array
    """taken so far"""
    status: Array
    """a ``Status``"""


@register_record
@dataclass(frozen=True)
class Search:
    """The rules of a search, as a pytree: ``init`` and ``step`` are pure, and the user jits (or calls ``run``).

    Ascends target.objective(model(x), goal) - penalty(z, x, start) in z, where x = postprocess(generator.decode(z)).

    Arrays in the generator, model, penalty and direction (weights, and what is bound by ``Partial``) are arguments of
    what is compiled: others of the same shapes need no new compilation. Target and optimizer are static: make them
    once, and use them for all batches. An optimizer made by ``optax.inject_hyperparams`` has its hyper-parameters in
    the state, one for each sample, where changing them compiles nothing anew:

        optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=0.1)
        rates = {"learning_rate": jnp.full(n, 0.2, jnp.float32)}
        state = state._replace(opt_state=state.opt_state._replace(hyperparams=rates))

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import optax
        >>> from geodl import counterfactual as cf
        >>> from geodl.manifolds import Euclidean
        >>> generator = cf.Generator(lambda z: 2 * z, Euclidean(2))
        >>> search = cf.Search(generator, jnp.sum, cf.interval(), optax.sgd(0.1), steps=100)
        >>> state = search.init(jnp.zeros((3, 2)), jnp.array([[1.0, jnp.inf]] * 3))
        >>> jax.jit(search.step)(state).steps
        Array([1, 1, 1], dtype=int32)
    """

    generator: Generator
    """where the search takes place; ``data_space(shape)`` for adversarial examples"""
    model: Callable[[Array], Array]
    """one data point to logits (classes,) or to a scalar"""
    target: Target = field(metadata={"static": True})
    """``confidence``, ``margin``, ``value``, ``interval``, ``reconstruction``"""
    optimizer: optax.GradientTransformation = field(metadata={"static": True})
    """any optax transformation of a gradient to descend; one state per sample. On a curved base it sees components in
    an orthonormal frame that is transported along the path, so that a momentum goes straight on"""
    steps: int = field(metadata={"static": True})
    """the most that a sample may take"""
    penalty: Callable[[Point, Array, Sample], Array] | None = None
    """(base point z, data point x, start) to what is subtracted from the objective: a sum of those in
    :mod:`~geodl.counterfactual.penalties`, or any function"""
    direction: Direction = gradient
    """``gradient``, or ``natural_gradient(damping)``"""
    postprocess: Callable[[Array], Array] = identity
    """x to x, of decoded points before the model sees them, as clipping and rounding to 8 bits. Straight-through: its
    derivative is taken to be the identity"""

    def __post_init__(self):
        check_nonnegative("Search: steps", self.steps)
        generator = self.generator
        bound = generator._replace(
            decode=as_pytree(generator.decode), encode=as_pytree(generator.encode)
        )
        object.__setattr__(self, "generator", bound)
        for name in ("model", "penalty", "direction", "postprocess"):
            object.__setattr__(self, name, as_pytree(getattr(self, name)))

    def __repr__(self) -> str:
        return f"Search({self.generator}, {self.target}, {self.steps} steps at most)"

    def init(self, z: Any, goal: Any) -> State:
        """The searches at their starts.

        Lists are read as arrays, integers in z as floats. A start that is not finite has ended as such.

        Args:
            z: base points (n, ...), as ``jax.vmap(generator.encode)(x)``.
            goal: what the target takes, classes (n,), values (n,) or intervals (n, 2).

        Returns:
            The state, to be stepped or run.

        Raises:
            ValueError: the model's output does not suit the target, the goals do not suit the model (a class that does
                not exist; seen outside of jit only) or have another leading axis than z.
        """
        z, goal = as_floats(z), jnp.asarray(goal)
        shapes = [leaf.shape for leaf in jax.tree.leaves((z, goal))]
        if not all(shapes) or len({shape[0] for shape in shapes}) != 1:
            raise ValueError(
                f"Search.init: starts and goals must share a leading axis, got {shapes}"
            )
        one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), z)
        self.target.validate(jax.eval_shape(lambda z: self.model(self._decode(z)), one).shape, goal)
        return _start(self, z, goal)

    def step(self, state: State) -> State:
        """Judge where every running sample is, and move those that go on; the others stay as they are."""
        moved = jax.vmap(self._step)(state)
        return _select(state.status == Status.RUNNING, moved, state)

    def _decode(self, z):
        return self.postprocess(self.generator.decode(z))

    def _step(self, s: State) -> State:
        """The step of one sample."""
        space = self.generator.manifold
        decoded, push, pull = linearize(self.generator, s.position)
        x = self.postprocess(decoded)

        def objective(a, x):
            output = as_floats(self.model(x))
            score = total = self.target.objective(output, s.goal)
            if self.penalty is not None:
                total = score - self.penalty(space.expmap_frame(s.position, a), x, s.start)
            return total, (score.astype(s.score.dtype), self.target.reached(output, s.goal))

        zero = space.to_frame(s.position, jax.tree.map(jnp.zeros_like, s.position))
        slopes, (score, reached) = jax.grad(objective, (0, 1), has_aux=True)(zero, x)
        ascent = slopes[0] + pull(slopes[1])
        direction = self.direction(ascent, push, pull)
        update, opt_state = update_in_frame(self.optimizer, s.frame, -direction, s.opt_state)
        position = space.expmap_frame(s.position, update)

        # Each stage by itself, by squares: Adam divides by an overflown one and stands still, a manifold may bring back
        # any step, however wild, to one of its points.
        valid = _finite((decoded, x, score))
        steepest = jnp.max(jnp.abs(ascent))
        moves = _finite((jnp.square(steepest), dot(update, update), position))
        found = valid & reached
        status = jnp.select(
            [found, ~valid | ~moves, steepest == 0],
            [Status.FOUND, Status.NOT_FINITE, Status.NO_GRADIENT],
            jnp.where(s.steps < self.steps, Status.RUNNING, Status.MAX_STEPS),
        ).astype(s.status.dtype)
        better = valid & (score > s.score)
        here = s._replace(
            best=_select(better, Sample(s.position, x), s.best),
            score=jnp.where(better, score, s.score),
            status=status,
        )
        on = here._replace(
            position=position,
            opt_state=opt_state,
            frame=carry_frame(space, s.frame, s.position, position),
            steps=s.steps + 1,
        )
        return _select(status == Status.RUNNING, on, here)


@jax.jit  # validation needs values, the rest need not be compiled operation by operation
def _start(search, z, goal):
    start = Sample(z, jax.vmap(search._decode)(z))
    space, n = search.generator.manifold, len(goal)
    zero = jax.vmap(space.to_frame)(z, jax.tree.map(jnp.zeros_like, z))
    return State(
        position=z,
        opt_state=jax.vmap(search.optimizer.init)(zero),
        frame=identity_frame(space, z),
        goal=goal,
        start=start,
        best=start,
        score=jnp.full(n, -jnp.inf, start.x.dtype),
        steps=jnp.zeros(n, jnp.int32),
        status=jnp.where(
            jax.vmap(_finite)(z), Status.RUNNING.value, Status.NOT_FINITE.value
        ).astype(jnp.int32),
    )


def _finite(tree):
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def _select(mask, a, b):
    """a where the mask (of the leading axes) holds, else b; NaN in what is not chosen does no harm."""

    def one(a, b):
        return jnp.where(mask.reshape(mask.shape + (1,) * (a.ndim - mask.ndim)), a, b)

    return jax.tree.map(one, a, b)


def perturbed_starts(
    key: PRNGKeyArray, generator: Generator, z: Any, copies: int, scale: Array | float
) -> Point:
    """Starts for several counterfactuals of each sample: exp_z(scale e), e standard normal in the frame at z.

    Args:
        key: of the noise.
        generator: whose base the points lie in.
        z: base points (n, ...).
        copies: of each; the first is z itself. Repeat the goals likewise, ``jnp.repeat(goal, copies, 0)``.
        scale: standard deviation in each direction, in units of the base.

    Returns:
        Base points (n * copies, ...), the copies of one sample side by side.

    Raises:
        ValueError: fewer than one copy.
    """
    check_count("perturbed_starts: copies", copies)
    z = jax.tree.map(lambda leaf: jnp.repeat(leaf, copies, 0), as_floats(z))
    space = generator.manifold
    frame = jax.vmap(space.to_frame)(z, jax.tree.map(jnp.zeros_like, z))
    noise = scale * jax.random.normal(key, frame.shape, frame.dtype)
    first = jnp.arange(len(noise)) % copies == 0
    return _select(first, z, jax.vmap(space.expmap_frame)(z, noise))
