"""What networks of infinite width predict: the posterior of the Gaussian process, and training by gradient flow.

With the kernels on training inputs X and test inputs x, targets y, and outputs f of mean 0 at first: gradient flow of
sum |f(X) - y|^2 / 2 at rate 1, dtheta/dt = -grad, makes of f at time t a Gaussian process with

    A_t = Theta(x, X) (1 - e^(-t Theta)) Theta^-1,   mean A_t y,
    covariance K(x, x) + A_t K(X, X) A_t^T - A_t K(X, x) - (A_t K(X, x))^T

(Theta = Theta(X, X)), exact in the limit of infinite width. A descent with learning rate h is at t = h steps; for mean
squares divide by their number.

Sources: Jacot, Gabriel & Hongler (2018); Lee, Xiao et al., *Wide neural networks of any depth evolve as linear models
under gradient descent* (2019); Rasmussen & Williams, *Gaussian processes for machine learning* (2006), chapter 2.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import solve_triangular
from jax.typing import ArrayLike

from geodl._core.checks import as_float, check_nonnegative, is_concrete
from geodl.infinite.layers import Kernels


class Gaussian(NamedTuple):
    """Mean (m, outputs) of independent outputs at m inputs, and the covariance (m, m) that each of them has."""

    mean: Array
    covariance: Array


def posterior(
    train: ArrayLike, cross: ArrayLike, test: ArrayLike, y: ArrayLike, noise: ArrayLike = 0.0
) -> Gaussian:
    """The posterior of a Gaussian process with covariance K: exact Bayesian inference in the infinite network.

    K(x, X) (K(X, X) + noise^2)^-1 y, and K(x, x) - K(x, X) (K(X, X) + noise^2)^-1 K(X, x).

    Args:
        train: K(X, X), (n, n).
        cross: K(x, X), (m, n).
        test: K(x, x), (m, m).
        y: targets (n, outputs).
        noise: standard deviation of the targets' noise.

    Returns:
        Mean and covariance at x.

    Raises:
        ValueError: shapes that do not fit; where values are concrete, a kernel that is singular in its precision, or
            a negative noise. Under ``jit`` the result is NaN.

    Reference:
        Rasmussen & Williams (2006), equations 2.23 and 2.24.
    """
    train, cross, test, y = _checked("posterior", train, cross, test, y)
    check_nonnegative("posterior: noise", noise)
    shifted = train + jnp.square(jnp.asarray(noise, train.dtype)) * jnp.eye(
        len(train), dtype=train.dtype
    )
    factor = jnp.linalg.cholesky(shifted)
    pivots = jnp.square(jnp.diagonal(factor))
    # Of a singular matrix the last pivot is rounding of the diagonal, of either sign.
    regular = jnp.min(pivots) > 10 * jnp.finfo(train.dtype).eps * jnp.max(jnp.diagonal(shifted))
    factor = _regular("posterior", shifted, regular, factor)
    half = solve_triangular(factor, cross.T, lower=True)
    mean = _mm(half.T, solve_triangular(factor, y, lower=True))
    return Gaussian(mean, test - _mm(half.T, half))


def gradient_flow(
    train: Kernels,
    cross: Kernels,
    test: ArrayLike,
    y: ArrayLike,
    time: ArrayLike = np.inf,
    ridge: ArrayLike = 0.0,
) -> Gaussian:
    """The outputs of an ensemble of infinite networks at a time of their training by gradient flow.

    Args:
        train: kernels (n, n) of the training inputs.
        cross: kernels (m, n) of test and training inputs.
        test: NNGP (m, m) of the test inputs.
        y: targets (n, outputs).
        time: t, one number (``vmap`` over several); infinity is the end of the training.
        ridge: weight r of r |theta - theta_0|^2 / 2, which pulls parameters to their initial values.

    Returns:
        Mean and covariance at the test inputs.

    Raises:
        ValueError: shapes that do not fit; where values are concrete, a negative time or ridge, or at infinite time a
            kernel that is singular in its precision. Under ``jit`` the result is NaN.

    Reference:
        Lee, Xiao et al. (2019), equations 14 to 16.
    """
    ntk, cross_ntk, test, y = _checked("gradient_flow", train.ntk, cross.ntk, test, y)
    if is_concrete(time) and not np.all(np.asarray(time) >= 0):
        raise ValueError(f"gradient_flow: time must be at least 0, got {time}")
    check_nonnegative("gradient_flow: ridge", ridge)
    time, ridge = (jnp.asarray(a, ntk.dtype) for a in (time, ridge))
    values, vectors = jnp.linalg.eigh(ntk)
    rates = jnp.maximum(values, 0) + ridge
    # (1 - e^-rt) / r, whose limit at r = 0 is t
    tiny = 10 * jnp.finfo(ntk.dtype).eps * jnp.max(rates)  # as in `posterior`
    regular = jnp.isfinite(time) | (jnp.min(rates) > tiny)
    rates = _regular("gradient_flow", ntk, regular, rates)
    slow = rates <= jnp.finfo(ntk.dtype).tiny
    safe = jnp.where(slow, 1, rates)
    factors = jnp.where(slow, time, -jnp.expm1(-safe * time) / safe)
    a = _mm(_mm(cross_ntk, vectors) * factors, vectors.T)
    both = _mm(a, cross.nngp.T)
    covariance = test + _mm(_mm(a, train.nngp), a.T) - both - both.T
    return Gaussian(_mm(a, y), covariance)


def _mm(a, b):
    return jnp.matmul(a, b, precision="highest")


def _checked(name, train, cross, test, y):
    train, cross, test, y = map(as_float, (train, cross, test, y))
    n, m = len(train), len(cross)
    shapes = [a.shape for a in (train, cross, test, y)]
    if shapes[:3] != [(n, n), (m, n), (m, m)] or y.ndim != 2 or len(y) != n:
        raise ValueError(
            f"{name}: kernels (n, n), (m, n), (m, m), for posterior the nngp of Kernels, and targets (n, outputs) are "
            f"needed, got {shapes}"
        )
    return train, cross, test, y.astype(train.dtype)


def _regular(name, kernel, regular, factor):
    """The factor, NaN where the kernel is singular; which raises where values are concrete."""
    if is_concrete(regular) and not regular and np.isfinite(np.asarray(kernel)).all():
        values = np.linalg.eigvalsh(np.asarray(kernel, np.float64))
        raise ValueError(
            f"{name}: the kernel is singular in {kernel.dtype}: its eigenvalues are {values[0]:.1e} to "
            f"{values[-1]:.1e}. Two equal inputs, or too low a precision: remove the one, use float64, or regularize"
        )
    return jnp.where(regular, factor, jnp.nan)
