"""Where a search goes: up the gradient, or up the natural gradient of the data's own metric.

A direction is a function (gradient, push, pull) to a tangent vector, all in components of the orthonormal frame at one
base point: ``push(a)`` is the change J a of the data point, ``pull(v)`` is J^T v
(:func:`~geodl.counterfactual.linearize`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from geodl._core.checks import check_count, check_nonnegative
from geodl._core.records import register_record


Linear: TypeAlias = Callable[[Array], Array]
Direction: TypeAlias = Callable[[Array, Linear, Linear], Array]


def gradient(ascent: Array, push: Linear, pull: Linear) -> Array:
    """The gradient itself: theorem 1's direction J J^T grad f in the data.

    Args:
        ascent: the gradient, components (dim,) in the frame at a base point.
        push: components to the change of the data point.
        pull: its transpose.

    Returns:
        The components of the direction.
    """
    return ascent


@register_record
@dataclass(frozen=True)
class _NaturalGradient:
    damping: ArrayLike
    iterations: int = field(metadata={"static": True})

    def __call__(self, ascent, push, pull):
        return _solve(lambda a: pull(push(a)) + self.damping * a, ascent, self.iterations)


def natural_gradient(damping: ArrayLike, iterations: int = 10) -> Direction:
    """(J^T J + damping)^{-1} gradient, by conjugate gradients.

    It weighs singular directions s of J by s^2 / (s^2 + damping), which keeps to the data where s^2 << damping;
    with damping 0 it is ascent in the data themselves, and leaves them.

    Args:
        damping: at least 0, in squared units of the data.
        iterations: of conjugate gradients, each with one Jacobian-vector and one vector-Jacobian product.

    Returns:
        A pytree: another damping needs no new compilation.

    Raises:
        ValueError: a damping below 0, fewer than one iteration.
    """
    check_nonnegative("natural_gradient: damping", damping)
    check_count("natural_gradient: iterations", iterations)
    return _NaturalGradient(damping, iterations)


def _solve(apply, b, iterations):
    """Conjugate gradients from 0. Unrolled on the CPU, where a convolution inside a loop is slow."""
    size = jnp.max(jnp.abs(b))  # so that no square overflows or vanishes
    b = b / jnp.where(size == 0, 1, size)
    floor = jnp.square(jnp.finfo(b.dtype).eps) * dot(b, b)

    def body(_, carry):
        x, r, p, rr = carry
        ap = apply(p)
        live = ~(rr <= floor)  # converged: what is left is rounding, and 0 / 0; NaN stays
        alpha = jnp.where(live, rr / dot(p, ap), 0)
        x, r = x + alpha * p, r - alpha * ap
        new = dot(r, r)
        return x, r, r + jnp.where(live, new / rr, 0) * p, new

    def solve(b, unroll):
        start = (jnp.zeros_like(b), b, b, dot(b, b))
        return jax.lax.fori_loop(0, iterations, body, start, unroll=unroll)[0]

    return size * jax.lax.platform_dependent(
        b, cpu=partial(solve, unroll=True), default=partial(solve, unroll=False)
    )


def dot(a: Array, b: Array) -> Array:
    """The inner product; not vdot, which may run in bf16 or TF32 on an accelerator."""
    return jnp.sum(a * b)
