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
- the natural gradient (J^T J)^{-1} of the data's own metric (``damping=0``) leaves delta^0: it is ascent in the data.
  It is here as the counter-example; ``damping=mu`` weighs singular directions by s^2 / (s^2 + mu), which keeps delta^2
  where s^2 << mu.

Every sample of a batch goes its own way: an optimizer state, a stopping point, a status.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.tree_util import Partial
from jaxtyping import PRNGKeyArray

from geodl._core.checks import check
from geodl._core.records import register_record
from geodl.counterfactual.generator import Generator, as_floats, identity, linearise
from geodl.counterfactual.targets import Target
from geodl.manifolds.base import Point


class Status(IntEnum):
    """How a sample's search stands."""

    RUNNING = 0
    FOUND = 1
    EXHAUSTED = 2  # the steps are used up
    NOT_FINITE = 3  # start, decoder, model or the square of a gradient or step gave inf or NaN
    NO_GRADIENT = 4  # it is exactly zero: the model is flat here, or a tree


class Sample(NamedTuple):
    """A base point and its decoded, finished data point."""

    z: Point
    x: Array


class State(NamedTuple):
    """A batch of searches; all leaves have the leading axis n of the samples."""

    position: Point
    opt_state: Any
    frame: Array | None
    """(n, dim, dim), on a curved base: the orthonormal frame whose components the optimizer sees, in rows of components
    in the manifold's own frame at the position"""
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

    The functions that carry no parameters (target, optimizer, finish) are static: make them once, and use them for all
    batches, or every search is compiled anew.

    Ascends objective - near_base/2 d(z, z_0)^2 - near_data/2 |x - x_0|^2 - sparse |x - x_0|_1 + log_prob(z).
    """

    generator: Generator
    """where the search takes place; ``data_space()`` for adversarial examples"""
    model: Callable[[Array], Array]
    """one data point to logits (classes,) or to a scalar; as in a generator, ``Partial(apply, params)`` makes the
    parameters arguments of the compiled step"""
    target: Target = field(metadata={"static": True})
    """``confidence``, ``margin``, ``value``, ``interval``, ``reconstruction``"""
    optimizer: optax.GradientTransformation = field(metadata={"static": True})
    """any optax transformation of a gradient to descend; one state per sample. On a curved base it sees components in
    an orthonormal frame that is transported along the path, so that a momentum goes straight on"""
    steps: int = field(metadata={"static": True})
    """the most that a sample may take"""
    damping: Array | float | None = None
    """None for the gradient, mu for (J^T J + mu)^{-1} gradient"""
    iterations: int = field(default=10, metadata={"static": True})
    """of conjugate gradients for the latter"""
    finish: Callable[[Array], Array] = field(default=identity, metadata={"static": True})
    """what is done to a decoded point before it is judged, as clipping and rounding to 8 bits; gradients are taken at
    the finished point and passed through unchanged"""
    near_base: Array | float | None = None
    """weight of the squared (geodesic) distance to the start"""
    near_data: Array | float | None = None
    """weight of the squared distance to the decoded start"""
    sparse: Array | float | None = None
    """weight of the l1 distance to the decoded start"""
    log_prob: Callable[[Point], Array] | None = None
    """log-density of one base point, weighted by its own function"""

    def __post_init__(self):
        for name in ("steps", "damping", "near_base", "near_data", "sparse"):
            if (number := getattr(self, name)) is not None:
                check(number >= 0, f"Search: {name} must be at least 0", number)
        generator = self.generator
        bound = generator._replace(
            decode=_as_pytree(generator.decode), encode=_as_pytree(generator.encode)
        )
        object.__setattr__(self, "generator", bound)
        object.__setattr__(self, "model", _as_pytree(self.model))
        object.__setattr__(self, "log_prob", _as_pytree(self.log_prob))

    def init(self, z: Any, goal: Any) -> State:
        """The searches at their starts z (n, ...), towards the goals (n, ...) of the target.

        Lists are read as arrays, integers in z as floats. A start that is not finite has ended as such.

        Raises ``ValueError`` where the model's output does not suit the target, the goals do not suit the model (a
        class that does not exist; seen outside of jit only) or have another leading axis than z.
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
        return self.finish(self.generator.decode(z))

    def _step(self, s: State) -> State:
        """The step of one sample."""
        decoded, push, pull = linearise(self.generator, s.position)
        x = self.finish(decoded)

        def gain(x):
            output = as_floats(self.model(x))
            score = self.target.objective(output, s.goal)
            penalty = self._data_penalty(x, s.start.x)
            return score - penalty, (
                score.astype(s.score.dtype),
                self.target.reached(output, s.goal),
            )

        slope, (score, reached) = jax.grad(gain, has_aux=True)(x)
        gradient = pull(slope) - self._base_gradient(s)
        direction = gradient
        if self.damping is not None:
            direction = self._solve(lambda a: pull(push(a)) + self.damping * a, gradient)
        update, opt_state = self._update(direction, s)
        position = self.generator.manifold.expmap_frame(s.position, update)

        # Each stage by itself, by squares: Adam divides by an overflown one and stands still, a manifold may bring back
        # any step, however wild, to one of its points.
        valid = _finite((decoded, x, score))
        steepest = jnp.max(jnp.abs(gradient))
        moves = _finite((jnp.square(steepest), _dot(update, update), position))
        found = valid & reached
        status = jnp.select(
            [found, ~valid | ~moves, steepest == 0],
            [Status.FOUND, Status.NOT_FINITE, Status.NO_GRADIENT],
            jnp.where(s.steps < self.steps, Status.RUNNING, Status.EXHAUSTED),
        ).astype(s.status.dtype)
        here = s._replace(
            best=_select(valid & (score > s.score), Sample(s.position, x), s.best),
            score=jnp.where(valid & (score > s.score), score, s.score),
            status=status,
        )
        on = s._replace(
            position=position,
            opt_state=opt_state,
            frame=self._carry(s.frame, s.position, position),
            best=here.best,
            score=here.score,
            steps=s.steps + 1,
        )
        return _select(status == Status.RUNNING, on, here)

    def _update(self, direction, s):
        """The optimizer's step up the direction, both in components of the manifold's own frame, and its next state."""
        if s.frame is None:
            update, opt_state = self.optimizer.update(-direction, s.opt_state)
            return jnp.asarray(update, direction.dtype), opt_state
        seen = jnp.sum(s.frame * direction, -1)
        update, opt_state = self.optimizer.update(-seen, s.opt_state)
        return jnp.sum(s.frame * jnp.asarray(update, seen.dtype)[:, None], 0), opt_state

    def _carry(self, frame, z, to):
        """The frame after parallel transport from z to another point."""
        space = self.generator.manifold
        if space.frame_is_parallel:
            return frame

        def carry(a):
            return space.to_frame(to, space.transport(z, to, space.from_frame(z, a)))  # type: ignore

        return jax.vmap(carry)(frame)

    def _data_penalty(self, x, x0):
        penalty = 0.0
        if self.near_data is not None:
            penalty += self.near_data / 2 * jnp.sum(jnp.square(x - x0))
        if self.sparse is not None:
            penalty += self.sparse * jnp.sum(jnp.abs(x - x0))
        return penalty

    def _base_gradient(self, s):
        """Of the penalties in the base, in frame components."""
        space = self.generator.manifold

        def penalty(a):
            z = space.expmap_frame(s.position, a)
            value = 0.0
            if self.near_base is not None:
                value += self.near_base / 2 * space.sqdist(s.start.z, z)
            if self.log_prob is not None:
                value -= self.log_prob(z)
            return value

        if self.near_base is None and self.log_prob is None:
            return 0.0
        zero = jax.tree.map(jnp.zeros_like, s.position)
        return jax.grad(penalty)(space.to_frame(s.position, zero))

    def _solve(self, apply, b):
        """Conjugate gradients from 0. Unrolled on the CPU, where a convolution inside a loop is slow."""
        size = jnp.max(jnp.abs(b))  # so that no square overflows or vanishes
        b = b / jnp.where(size == 0, 1, size)
        floor = jnp.square(jnp.finfo(b.dtype).eps) * _dot(b, b)

        def body(_, carry):
            x, r, p, rr = carry
            ap = apply(p)
            live = ~(rr <= floor)  # converged: what is left is rounding, and 0 / 0; NaN stays
            alpha = jnp.where(live, rr / _dot(p, ap), 0)
            x, r = x + alpha * p, r - alpha * ap
            new = _dot(r, r)
            return x, r, r + jnp.where(live, new / rr, 0) * p, new

        def solve(b, unroll):
            start = (jnp.zeros_like(b), b, b, _dot(b, b))
            return jax.lax.fori_loop(0, self.iterations, body, start, unroll=unroll)[0]

        return size * jax.lax.platform_dependent(
            b, cpu=partial(solve, unroll=True), default=partial(solve, unroll=False)
        )


@jax.jit  # validation needs values, the rest need not be compiled operation by operation
def _start(search, z, goal):
    start = Sample(z, jax.vmap(search._decode)(z))
    space, n = search.generator.manifold, len(goal)
    zero = jax.vmap(space.to_frame)(z, jax.tree.map(jnp.zeros_like, z))
    frame = None
    if not space.frame_is_parallel:
        frame = jnp.broadcast_to(
            jnp.eye(zero.shape[-1], dtype=zero.dtype), (*zero.shape, zero.shape[-1])
        )
    return State(
        position=z,
        opt_state=jax.vmap(search.optimizer.init)(zero),
        frame=frame,
        goal=goal,
        start=start,
        best=start,
        score=jnp.full(n, -jnp.inf, start.x.dtype),
        steps=jnp.zeros(n, jnp.int32),
        status=jnp.where(
            jax.vmap(_finite)(z), Status.RUNNING.value, Status.NOT_FINITE.value
        ).astype(jnp.int32),
    )


def _as_pytree(function):
    return function if function is None or isinstance(function, Partial) else Partial(function)


def _dot(a, b):  # not vdot, which may run in bf16 or TF32 on an accelerator
    return jnp.sum(a * b)


def _finite(tree):
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def _select(mask, a, b):
    """a where the mask (of the leading axes) holds, else b; NaN in what is not chosen does no harm."""

    def one(a, b):
        return jnp.where(mask.reshape(mask.shape + (1,) * (a.ndim - mask.ndim)), a, b)

    return jax.tree.map(one, a, b)


CHUNK = 16  # steps between two looks at who is still running, on an accelerator


def run(
    search: Search,
    state: State,
    record: Callable[[State], Any] | None = None,
    on_host: bool | None = None,
    slots: int | None = None,
) -> tuple[State, Any]:
    """Step until no sample is running: the last state and the recorded path.

    On the CPU the host calls a jitted step, elsewhere a jitted scan of ``CHUNK`` steps: XLA:CPU runs a convolution
    inside a loop 5 to 26 times slower (jax-ml/jax#12868). Both give the same numbers.

    Args:
        search: the rules.
        state: from ``search.init``, or from a run that was to go on.
        record: what to keep of the state before each step, as ``lambda s: s.position`` for trajectories; use one
            function for all calls, as each new one is compiled.
        on_host: overrides the choice.
        slots: step no more than so many samples at once, and where one has ended let the next in. The time is then that
            of the mean number of steps instead of the largest, and the memory of a step does not grow with the samples.

    Raises ``ValueError`` for slots below 1, or together with ``record``.

    The path, in NumPy arrays, has a leading axis: the longest search's positions (samples that have ended repeat their
    last). It is None without ``record``.
    """
    on_host = jax.default_backend() == "cpu" if on_host is None else on_host
    length = 1 if on_host else CHUNK
    if slots is not None:
        if slots < 1 or record is not None:
            raise ValueError(f"run: slots must be at least 1, and without record, got {slots}")
        return _in_slots(search, state, slots, length), None
    before, seen, running = state.steps, [], True
    while running:
        state, records, running = _advance(search, state, record, length)
        seen.append(jax.device_get(records))
    if record is None:
        return state, None
    longest = int(jnp.max(state.steps - before, initial=0)) + 1
    return state, jax.tree.map(lambda *chunks: np.concatenate(chunks)[:longest], *seen)


def _in_slots(search, state, slots, length):
    """The last state; who has not ended comes first, and those that have ended only fill what is left."""
    ended = np.asarray(state.status) != Status.RUNNING
    order = np.argsort(ended, kind="stable")
    rows, queue = order[:slots], [row for row in order[slots:] if not ended[row]]
    part, running = _take(state, rows), True
    while running:
        part, _, running = _advance(search, part, None, length)
        free = np.flatnonzero(np.asarray(part.status) != Status.RUNNING)[: len(queue)]
        if len(free):
            state = _put(state, rows, part)
            rows[free], queue = queue[: len(free)], queue[len(free) :]
            part, running = _take(state, rows), True
    return _put(state, rows, part)


@jax.jit
def _take(state, rows):
    return jax.tree.map(lambda leaf: leaf[rows], state)


@jax.jit
def _put(state, rows, part):
    return jax.tree.map(lambda leaf, new: leaf.at[rows].set(new), state, part)


@partial(jax.jit, static_argnums=(2, 3))
def _advance(search, state, record, length):
    def step(state, _):
        return search.step(state), None if record is None else record(state)

    if length > 1:
        state, seen = jax.lax.scan(step, state, length=length)
    else:
        state, seen = step(state, None)
        seen = jax.tree.map(lambda leaf: leaf[None], seen)
    return state, seen, jnp.any(state.status == Status.RUNNING)


def perturbed(
    key: PRNGKeyArray, generator: Generator, z: Any, copies: int, scale: Array | float
) -> Point:
    """Starts for several counterfactuals of each sample: (n * copies, ...), copies of one sample side by side.

    The first copy is z itself; the others lie around it, normal with standard deviation ``scale`` in each direction.
    Repeat the goals likewise, ``jnp.repeat(goal, copies, 0)``. Raises ``ValueError`` for copies < 1.
    """
    if copies < 1:
        raise ValueError(f"perturbed: copies must be at least 1, got {copies}")
    z = jax.tree.map(lambda leaf: jnp.repeat(leaf, copies, 0), as_floats(z))
    space = generator.manifold
    frame = jax.vmap(space.to_frame)(z, jax.tree.map(jnp.zeros_like, z))
    noise = scale * jax.random.normal(key, frame.shape, frame.dtype)
    first = jnp.arange(len(noise)) % copies == 0
    return _select(first, z, jax.vmap(space.expmap_frame)(z, noise))
