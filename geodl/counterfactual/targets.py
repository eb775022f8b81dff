"""What a search looks for: a class with some confidence or margin, a value, an interval.

A target is three pure functions of a model's output for one sample and of the goal of that sample. The objective
is what is ascended and by which the best sample is kept; its gradient does not vanish where the goal is far. The
same arguments give the same target, so that what is compiled for one serves the other.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from geodl._core.checks import check, float_dtype


class Target(NamedTuple):
    """An objective and when it is reached."""

    objective: Callable[[Array, Array], Array]
    """(output, goal) to a scalar, the larger the better"""
    reached: Callable[[Array, Array], Array]
    """(output, goal) to a boolean"""
    validate: Callable[[tuple[int, ...], Array], None]
    """(shape of the output, goals with a leading axis n); raises ``ValueError`` for what cannot be"""
    name: str = "Target"
    """what it prints"""

    def __repr__(self) -> str:
        return self.name


@functools.cache
def confidence(probability: float = 0.99) -> Target:
    """Class ``goal`` of a classifier's logits (classes,), with at least this probability; ascends its log-odds.

    Returns:
        The target; the same arguments give the same one.

    Raises:
        ValueError: unless 0 < probability < 1.
    """
    if not 0 < probability < 1:
        raise ValueError(f"confidence: a probability in (0, 1) is needed, got {probability}")
    threshold = math.log(probability) - math.log1p(-probability)
    return _classes(jax.nn.logsumexp, threshold, f"confidence({probability})")


@functools.cache
def margin(size: float = 0.0) -> Target:
    """Class ``goal`` of a classifier's logits (classes,), ahead of every other by at least ``size``.

    Returns:
        The target; the same arguments give the same one.
    """
    return _classes(jnp.max, size, f"margin({size})")


def _classes(reduce, threshold, name):
    """The goal's logit against the others', put into one number by ``reduce``."""

    def objective(logits, goal):
        mask = jnp.arange(logits.size) == goal
        own = jnp.sum(jnp.where(mask, logits, 0))
        value = own - reduce(jnp.where(mask, -jnp.inf, logits))
        # Inside jit nobody could check the goal: a class that does not exist ends as "not finite".
        return jnp.where(jnp.any(mask), value, jnp.nan)

    def validate(shape, goal):
        if len(shape) != 1 or shape[0] < 2:
            raise ValueError(f"target: logits of shape (classes,), 2 or more, needed, got {shape}")
        if goal.ndim != 1 or not jnp.issubdtype(goal.dtype, jnp.integer):
            raise ValueError(
                f"target: goals must be classes, integers of shape (n,), got {goal.dtype}{goal.shape}"
            )
        exists = (goal >= 0) & (goal < shape[0])
        check(exists, f"target: a class among 0..{shape[0] - 1} is needed", goal)

    return Target(
        objective, lambda logits, goal: objective(logits, goal) >= threshold, validate, name
    )


@functools.cache
def value(tolerance: float) -> Target:
    """A regressor's scalar output, within ``tolerance`` of the value ``goal``; ascends -|output - goal|^2 / 2.

    Returns:
        The target; the same arguments give the same one.

    Raises:
        ValueError: unless tolerance > 0.
    """
    if not tolerance > 0:
        raise ValueError(f"value: a tolerance above 0 is needed, got {tolerance}")

    def validate(shape, goal):
        _check_regression(shape, goal, ())
        check(jnp.isfinite(goal), "target: a finite value is needed", goal)

    return Target(
        lambda y, goal: -jnp.square(_minus(y, goal)) / 2,
        lambda y, goal: jnp.abs(_minus(y, goal)) <= tolerance,
        validate,
        f"value({tolerance})",
    )


@functools.cache
def interval() -> Target:
    """A regressor's scalar output within the goal (low, high), either of them may be infinite.

    Ascends minus the distance to the interval. A narrow one may be overshot for ever: then use ``value``.

    Returns:
        The target; the same arguments give the same one.
    """

    def outside(y, goal):
        return jnp.maximum(-_minus(y, goal[0]), 0) + jnp.maximum(_minus(y, goal[1]), 0)

    def validate(shape, goal):
        _check_regression(shape, goal, (2,))
        check(
            goal[:, 0] <= goal[:, 1],
            "target: low <= high is needed, high - low",
            goal[:, 1] - goal[:, 0],
        )

    return Target(
        lambda y, goal: -outside(y, goal),
        lambda y, goal: outside(y, goal) <= 0,
        validate,
        "interval()",
    )


@functools.cache
def reconstruction(error: float = 0.0) -> Target:
    """The data point ``goal`` itself, up to this mean squared error; ascends minus that error.

    Returns:
        The target; the same arguments give the same one.
    """

    def objective(x, goal):
        return -jnp.mean(jnp.square(_minus(x, goal)))

    def validate(shape, goal):
        if goal.shape[1:] != shape:
            raise ValueError(f"target: data of shape {shape} are needed, got {goal.shape[1:]}")

    return Target(
        objective,
        lambda x, goal: objective(x, goal) >= -error,
        validate,
        f"reconstruction({error})",
    )


def _minus(y, goal):
    """y - goal, in y's precision; not in an integer type, which would wrap around."""
    dtype = float_dtype(y)
    return jnp.asarray(y, dtype) - jnp.asarray(goal, dtype)


def _check_regression(shape, goal, goal_shape):
    if shape != ():
        raise ValueError(f"target: a model with a scalar output is needed, got shape {shape}")
    real = jnp.issubdtype(goal.dtype, jnp.floating) or jnp.issubdtype(goal.dtype, jnp.integer)
    if goal.shape[1:] != goal_shape or not real:
        raise ValueError(
            f"target: goals must be numbers of shape {('n', *goal_shape)}, got {goal.dtype}{goal.shape}"
        )
