"""Even functions of a norm r as smooth functions of ``q = r**2``.

A norm has no derivative at 0, its square has, so value and derivatives of every order stay finite at coincident points.
"""

import functools
import math
from collections.abc import Callable
from fractions import Fraction

import jax.numpy as jnp
from jax import Array


def even(
    closed: Callable[[Array], Array], series: tuple[float | int, ...]
) -> Callable[[Array], Array]:
    """phi(q) = closed(sqrt(q)) for q >= 0, near 0 by its power series sum_k series[k] q**k.

    The series is there for the derivatives, of which the closed form loses the digits like eps/q.
    """

    def phi(q: Array) -> Array:
        radius, terms = (0.05, 7) if q.dtype.itemsize <= 4 else (0.005, 9)
        small = q < radius
        near = jnp.where(small, q, 0.0)
        taylor = functools.reduce(lambda total, a: total * near + a, series[:terms][::-1])
        return jnp.where(small, taylor, closed(jnp.sqrt(jnp.where(small, 0.25, q))))

    return phi


def _factorials(sign: int) -> tuple[float | int, ...]:
    return tuple(sign**k / math.factorial(2 * k + 1) for k in range(9))


sinhc = even(lambda r: jnp.sinh(r) / r, _factorials(1))  # sinh(r)/r
sinc = even(lambda r: jnp.sin(r) / r, _factorials(-1))  # sin(r)/r
asinhc = even(  # asinh(r)/r
    lambda r: jnp.log1p(r + r * r / (1 + jnp.sqrt(1 + r * r))) / r,
    (1, -1 / 6, 3 / 40, -5 / 112, 35 / 1152, -63 / 2816, 231 / 13312, -143 / 10240, 6435 / 557056),
)


asinc = even(  # asin(r)/r
    lambda r: jnp.arcsin(r) / r,
    (1, 1 / 6, 3 / 40, 5 / 112, 35 / 1152, 63 / 2816, 231 / 13312, 143 / 10240, 6435 / 557056),
)
atanhc = even(lambda r: jnp.arctanh(r) / r, tuple(1 / (2 * k + 1) for k in range(9)))  # atanh(r)/r


def _log_series(series: tuple[Fraction, ...]) -> tuple[float, ...]:
    """The power series of log(1 + series[1] q + series[2] q^2 + ...)."""
    log = [Fraction(0)]
    for n in range(1, len(series)):
        known = sum((k * log[k] * series[n - k] for k in range(1, n)), Fraction(0))
        log.append(series[n] - known / n)
    return tuple(map(float, log))


def _slope(series: tuple[float, ...]) -> tuple[float, ...]:
    """The power series of the derivative."""
    return tuple(k * a for k, a in enumerate(series))[1:]


_LOG_COSH = _log_series(tuple(Fraction(1, math.factorial(2 * k)) for k in range(10)))
_LOG_SINHC = _log_series(tuple(Fraction(1, math.factorial(2 * k + 1)) for k in range(22)))
# tanh(r)/r, twice the derivative of log cosh(r) in r^2
tanhc = even(lambda r: jnp.tanh(r) / r, tuple(2 * a for a in _slope(_LOG_COSH)))
# the derivative of log_sinhc
log_sinhc_slope = even(lambda r: (r / jnp.tanh(r) - 1) / (2 * r * r), _slope(_LOG_SINHC))


def log_sinhc(q: Array) -> Array:
    """log(sinh(r) / r) for r = sqrt(q), without overflow; by its series as far as the closed form cancels (q < 1.5)."""
    small = q < 1.5
    near = jnp.where(small, q, 0.0)
    terms = _LOG_SINHC[: 10 if q.dtype.itemsize <= 4 else 22]
    taylor = functools.reduce(lambda total, a: total * near + a, terms[::-1])
    r = jnp.sqrt(jnp.where(small, 1.5, q))
    return jnp.where(small, taylor, r + jnp.log(-jnp.expm1(-2 * r) / (2 * r)))


atanc = even(
    lambda r: jnp.arctan(r) / r, tuple((-1) ** k / (2 * k + 1) for k in range(9))
)  # atan(r)/r


def log_sinc(q: Array) -> Array:
    """log |sin(r)/r| for r = sqrt(q), with a finite floor where the sine vanishes (r = pi, 2 pi, ...).

    For r < 1 by the power series of sin(r)/r - 1: the logarithm of a number next to 1 has lost its digits.
    """
    short = q < 1
    near, r = jnp.where(short, q, 0.0), jnp.sqrt(jnp.where(short, 1.0, q))
    taylor = functools.reduce(lambda total, a: total * near + a, _factorials(-1)[:0:-1])
    far = jnp.maximum(jnp.abs(jnp.sin(r) / r), jnp.finfo(q.dtype).tiny)
    return jnp.where(short, jnp.log1p(near * taylor), jnp.log(far))


def cos_minus_one(q: Array) -> Array:
    """cos(r) - 1 for r = sqrt(q), without cancellation and smooth at q = 0."""
    return -q / 2 * jnp.square(sinc(q / 4))
