"""80-digit references for hyperbolic space of curvature -c, straight from the textbook formulas.

Transcribed from the papers and independent of ``geodl``: Möbius operations for the ball (Ganea et al. 2018),
Minkowski products for the hyperboloid (Nickel & Kiela 2018). Both cancel badly; 80 digits pay for it.

Every function takes float arrays, coordinates on the last axis, as exactly the numbers they store, and returns
object arrays of mpmath numbers. With gmpy2 installed mpmath uses it and is some times faster.
"""

from collections.abc import Callable

import mpmath
import numpy as np


_mp = type(mpmath.mp)()  # a context of its own: the precision of mpmath.mp stays as it is
_mp.dps = 80

_sqrt, _exp, _log, _sinh, _cosh, _tanh, _acosh, _atanh = (
    np.frompyfunc(getattr(_mp, name), 1, 1)
    for name in ("sqrt", "exp", "log", "sinh", "cosh", "tanh", "acosh", "atanh")
)
_to_mpf = np.frompyfunc(lambda a: a if isinstance(a, _mp.mpf) else _mp.mpf(float(a)), 1, 1)


def exact(a) -> np.ndarray:
    """The stored numbers as mpmath numbers, without rounding."""
    return np.asarray(_to_mpf(np.asarray(a)), object)


def _dot(x, y):
    return (x * y).sum(-1)


def _unit(v):
    """Direction and length of v; direction 0 where v = 0."""
    length = np.asarray(_sqrt(_dot(v, v)), object)
    return v / np.where(length == 0, 1, length)[..., None], length


# ------------------------------------------------------------------------------------------------------
# The Poincaré ball
# ------------------------------------------------------------------------------------------------------


def _add(x, y, c):
    xx, yy, xy = _dot(x, x), _dot(y, y), _dot(x, y)
    numerator = (1 + 2 * c * xy + c * yy)[..., None] * x + (1 - c * xx)[..., None] * y
    return numerator / (1 + 2 * c * xy + c * c * xx * yy)[..., None]


def _lambda(x, c):
    return 2 / (1 - c * _dot(x, x))


def conformal_factor(x, c):
    return _lambda(exact(x), exact(c))


def mobius_add(x, y, c):
    return _add(exact(x), exact(y), exact(c))


def dist(x, y, c):
    x, y, c = exact(x), exact(y), exact(c)
    return 2 / _sqrt(c) * _atanh(_sqrt(c) * _unit(_add(-x, y, c))[1])


def logmap(x, y, c):
    x, y, c = exact(x), exact(y), exact(c)
    u, length = _unit(_add(-x, y, c))
    return (2 / (_sqrt(c) * _lambda(x, c)) * _atanh(_sqrt(c) * length))[..., None] * u


def expmap(x, v, c):
    x, v, c = exact(x), exact(v), exact(c)
    u, length = _unit(v)
    return _add(x, (_tanh(_sqrt(c) * _lambda(x, c) * length / 2) / _sqrt(c))[..., None] * u, c)


def gyration(a, b, w, c):
    """gyr[a, b] w by its definition -(a + b) + (a + (b + w)); linear in w, which is shortened into the ball."""
    a, b, w, c = exact(a), exact(b), exact(w), exact(c)
    u, length = _unit(w)
    inside = u / (2 * _sqrt(c))[..., None]
    turned = _add(-_add(a, b, c), _add(a, _add(b, inside, c), c), c)
    return (length * 2 * _sqrt(c))[..., None] * turned


def transport(x, y, v, c):
    x, y, c = exact(x), exact(y), exact(c)
    return (_lambda(x, c) / _lambda(y, c))[..., None] * gyration(y, -x, v, c)


def logdetexp(x, v, c):
    x, v, c = exact(x), exact(v), exact(c)
    r = _sqrt(c) * _lambda(x, c) * _unit(v)[1]
    r = np.where(r == 0, _mp.mpf("1e-60"), r)
    return (x.shape[-1] - 1) * _log(_sinh(r) / r)


def to_hyperboloid(x, c):
    x, c = exact(x), exact(c)
    scale = _lambda(x, c)
    return np.concatenate([((scale - 1) / _sqrt(c))[..., None], scale[..., None] * x], -1)


# ------------------------------------------------------------------------------------------------------
# The hyperboloid: arrays hold (X_0, X_1, ..., X_d), of which X_0 is computed anew from the others
# ------------------------------------------------------------------------------------------------------


def _minkowski(u, v):
    return _dot(u[..., 1:], v[..., 1:]) - u[..., 0] * v[..., 0]


def _on_sheet(x, c):
    space = exact(x)[..., 1:]
    return np.concatenate(
        [np.asarray(_sqrt(1 / c + _dot(space, space)), object)[..., None], space], -1
    )


def _tangent(x, v):
    space = exact(v)[..., 1:]
    return np.concatenate([(_dot(x[..., 1:], space) / x[..., 0])[..., None], space], -1)


def hyperboloid_dist(x, y, c):
    c = exact(c)
    return _acosh(_cosh_dist(_on_sheet(x, c), _on_sheet(y, c), c)) / _sqrt(c)


def _cosh_dist(x, y, c):
    """-c <x, y>; exactly 1 for equal points, where the square roots leave a last digit."""
    return np.where((x == y).all(-1), 1, np.maximum(-c * _minkowski(x, y), 1))


def hyperboloid_expmap(x, v, c):
    c = exact(c)
    x = _on_sheet(x, c)
    v = _tangent(x, v)
    r = _sqrt(c * _minkowski(v, v))
    shc = _sinh(r) / np.where(r == 0, 1, r) + (r == 0)
    return _cosh(r)[..., None] * x + shc[..., None] * v


def hyperboloid_expmap_frame(x, a, c):
    """expmap of the vector that transport from the origin makes of (0, a)."""
    sheet = _on_sheet(x, exact(c))
    space = (
        exact(a)
        + (exact(c) * _dot(sheet[..., 1:], exact(a)) / (1 + _sqrt(exact(c)) * sheet[..., 0]))[
            ..., None
        ]
        * sheet[..., 1:]
    )
    return hyperboloid_expmap(x, np.concatenate([0 * space[..., :1], space], -1), c)


def hyperboloid_logmap(x, y, c):
    c = exact(c)
    x, y = _on_sheet(x, c), _on_sheet(y, c)
    cosh = _cosh_dist(x, y, c)
    sinh = _sqrt(cosh * cosh - 1)
    scale = np.where(sinh == 0, 1, _acosh(cosh) / np.where(sinh == 0, 1, sinh))
    return scale[..., None] * (y - cosh[..., None] * x)


def hyperboloid_transport(x, y, v, c):
    c = exact(c)
    x, y = _on_sheet(x, c), _on_sheet(y, c)
    v = _tangent(x, v)
    return v + (c * _minkowski(y, v) / (1 - c * _minkowski(x, y)))[..., None] * (x + y)


# ------------------------------------------------------------------------------------------------------
# Errors
# ------------------------------------------------------------------------------------------------------


def relative_error(value, reference) -> np.ndarray:
    """|value - reference| / |reference| as floats; for vectors (one axis more than a scalar has) in the 2-norm.

    Where the reference is 0 the value must be 0: the error is 0 or infinite.
    """
    value, reference = (
        np.atleast_2d(exact(value).T).T,
        np.atleast_2d(np.asarray(reference, object).T).T,
    )
    error, size = _unit(value - reference)[1], _unit(reference)[1]
    error = np.where(
        size == 0, np.where(error == 0, 0, np.inf), error / np.where(size == 0, 1, size)
    )
    return error.astype(float)


def conditioning(
    f: Callable, arrays: tuple, c, rng: np.random.Generator, trials: int = 3
) -> np.ndarray:
    """Largest relative change of ``f(*arrays, c)`` when every stored coordinate moves by half an ulp.

    What any algorithm may lose: an input that was rounded once gives no better answer.
    """
    reference, worst = f(*arrays, c), 0.0
    for _ in range(trials):
        moved = [
            exact(a) + exact(np.spacing(np.abs(a))) / 2 * rng.choice([-1, 1], a.shape)
            for a in arrays
        ]
        worst = np.maximum(worst, relative_error(f(*moved, c), reference))
    return worst


def derivative(f: Callable, arrays: tuple, c, directions: tuple, dc, order: int = 1) -> np.ndarray:
    """First or second derivative of f(*arrays, c) along a line, by central differences right to 25 digits."""

    def at(s):
        return f(
            *(exact(a) + s * exact(t) for a, t in zip(arrays, directions, strict=True)),
            exact(c) + s * exact(dc),
        )

    h = _mp.mpf("1e-15")
    if order == 1:
        return (at(h) - at(-h)) / (2 * h)
    return (at(h) - 2 * at(_mp.mpf(0)) + at(-h)) / (h * h)
