"""80-digit references for the sphere, SO(3) and the torus, from textbook formulas, independent of ``geodl``.

As in :mod:`tests.oracles.hyperbolic`: float arrays are exactly the numbers they store, results are object arrays of
mpmath numbers. A stored point means the point next to it: the unit vector of its direction, the nearest rotation. The
last argument, a curvature, is there for that module's helpers and not read. Results on SO(3) have flat axes (..., 9).
"""

import numpy as np

from tests.oracles.hyperbolic import _dot, _mp, _sqrt, _unit, exact


_sin, _cos, _log = (np.frompyfunc(getattr(_mp, name), 1, 1) for name in ("sin", "cos", "log"))
_atan2, _floor = np.frompyfunc(_mp.atan2, 2, 1), np.frompyfunc(_mp.floor, 1, 1)


def _sinc(r):
    return np.where(r == 0, 1, _sin(r) / np.where(r == 0, 1, r))


def _log_abs_sinc(r):
    return _log(np.abs(_sinc(r)))


def _column(a):
    return np.asarray(a, object)[..., None]


# ------------------------------------------------------------------------------------------------------
# The sphere
# ------------------------------------------------------------------------------------------------------


def _direction(x):
    return _unit(exact(x))[0]


def sphere_dist(x, y, c=None):
    x, y = _direction(x), _direction(y)
    return 2 * _atan2(_unit(x - y)[1], _unit(x + y)[1])


def sphere_logmap(x, y, c=None):
    angle, x, y = sphere_dist(x, y), _direction(x), _direction(y)
    return _column(angle) * _unit(y - _column(_dot(x, y)) * x)[0]


def sphere_expmap(x, v, c=None):
    x, (u, r) = _direction(x), _unit(exact(v))
    return _column(_cos(r)) * x + _column(_sin(r)) * u


def sphere_transport(x, y, v, c=None):
    x, y, v = _direction(x), _direction(y), exact(v)
    return v - _column(_dot(y, v) / (1 + _dot(x, y))) * (x + y)


def sphere_logdetexp(x, v, c=None):
    return (v.shape[-1] - 2) * _log_abs_sinc(_unit(exact(v))[1])


def sphere_norm(x, v, c=None):
    return _unit(exact(v))[1]


# ------------------------------------------------------------------------------------------------------
# Rotations
# ------------------------------------------------------------------------------------------------------


def _t(a):
    return np.swapaxes(a, -1, -2)


def _rotation(x):
    """The orthogonal factor of the polar decomposition, by Newton's iteration."""
    x = exact(x)
    for _ in range(7):
        x = x @ (3 * np.eye(3, dtype=int) - _t(x) @ x) / 2
    return x


def _length(w):
    """Of the rotation vector of a skew matrix."""
    return np.asarray(_sqrt((w * w).sum((-1, -2)) / 2), object)


def _skew_log(r):
    skew = (r - _t(r)) / 2
    sine, cosine = _length(skew), (np.trace(r, axis1=-1, axis2=-2) - 1) / 2
    scale = np.where(sine == 0, 1, _atan2(sine, cosine) / np.where(sine == 0, 1, sine))
    return _column(_column(scale)) * skew


def _skew_exp(w):
    r = _length(w)
    s, h = _column(_column(_sinc(r))), _column(_column(_sinc(r / 2)))
    return np.eye(3, dtype=int) + s * w + h * h / 2 * (w @ w)


def _flat(m):
    return m.reshape(*m.shape[:-2], 9)


def so3_dist(x, y, c=None):
    return _length(_skew_log(_t(_rotation(x)) @ _rotation(y)))


def so3_logmap(x, y, c=None):
    x = _rotation(x)
    return _flat(x @ _skew_log(_t(x) @ _rotation(y)))


def _body(x, v):
    """The skew part of x^T v."""
    w = _t(x) @ exact(v)
    return (w - _t(w)) / 2


def so3_expmap(x, v, c=None):
    x = _rotation(x)
    return _flat(x @ _skew_exp(_body(x, v)))


def so3_transport(x, y, v, c=None):
    x, y = _rotation(x), _rotation(y)
    half = _skew_exp(_skew_log(_t(x) @ y) / 2)
    return _flat(x @ half @ _body(x, v) @ half)


def so3_logdetexp(x, v, c=None):
    return 2 * _log_abs_sinc(_length(_body(_rotation(x), v)) / 2)


def so3_norm(x, v, c=None):
    return _length(_body(_rotation(x), v))


# ------------------------------------------------------------------------------------------------------
# The torus
# ------------------------------------------------------------------------------------------------------


def _wrap(a):
    turn = 2 * _mp.pi
    return a - turn * _floor(a / turn + _mp.mpf(1) / 2)


def torus_logmap(x, y, c=None):
    return _wrap(exact(y) - exact(x))


def torus_dist(x, y, c=None):
    return _unit(torus_logmap(x, y))[1]


def torus_expmap(x, v, c=None):
    return _wrap(exact(x) + exact(v))


def torus_transport(x, y, v, c=None):
    return exact(v)


def torus_norm(x, v, c=None):
    return _unit(exact(v))[1]
