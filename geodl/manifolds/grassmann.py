"""The Grassmann manifold of p-dimensional subspaces of R^n.

A point is the orthogonal projection (..., n, n) to the subspace, symmetric, of eigenvalues 1 (p times) and 0:
one array for one subspace, however its basis turns. Tangent vectors at x are the symmetric matrices v with v
x + x v = v, <u, v> = tr(u v) / 2, so that the distance is the root of the sum of the squared principal
angles. The origin is the span of the first p basis vectors, the frame at x the origin's, transported along
the geodesic. Functions take a point for one (eagerly, an entry of x^2 - x above 2e-2 or another rank raises
``ValueError``); ``project`` makes it so, and :func:`from_basis` a subspace of its vectors.

Numerics. The geodesic with velocity v turns space by exp([v, x]), and twice the logarithm of that rotation is
the one of (I - 2 y) (I - 2 x) = I - 2 (y - x) (I - 2 x): as on :mod:`~geodl.manifolds.so`, close points keep
their digits. A principal angle of pi / 2 is the cut locus; what is said there of an angle of pi holds here of
that.

Sources: Batzies, Hüper, Machado & Silva Leite, *Geometric Mean and Geodesic Regression on Grassmannians*
(2015); Bendokat, Zimmermann & Absil, *A Grassmann Manifold Handbook* (2024).
"""

import math
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from geodl._core.checks import as_shape, check, check_integer, primitive
from geodl._core.records import register_record
from geodl._core.reductions import binade, dot, safe_norm, safe_sqrt, zero_of
from geodl._core.special import log_sinc
from geodl.manifolds import _matrices as matrices
from geodl.manifolds._matrices import (
    commutator,
    entries,
    mul,
    reflection_turn,
    rotation_step,
    symmetric,
    t,
    turn_from_origin,
)
from geodl.manifolds.base import ModuleManifold
from geodl.manifolds.sphere import log_area


Matrix = Float[Array, "*#batch n n"]
Components = Float[Array, "*#batch d"]  # d = p (n - p)
Scalar = Float[Array, "*#batch"]


def _validate(**arguments):
    for name in ("x", "y"):
        if name in arguments:
            x = arguments[name]
            off = np.abs(np.swapaxes(x, -2, -1) @ x - x).max((-2, -1))
            check(
                ~(off >= 2e-2),
                f"{name} must be an orthogonal projection: largest entry of |{name}^T {name} - {name}|",
                off,
            )
            trace = np.trace(x, axis1=-2, axis2=-1)
            p = arguments.get("p", np.round(trace))
            check(
                ~(np.abs(trace - p) >= 0.1), f"{name} must be a projection to p dimensions", trace
            )
    if "x" in arguments and "y" in arguments:
        other = np.trace(arguments["y"] - arguments["x"], axis1=-2, axis2=-1)
        check(~(np.abs(other) >= 0.5), "y must project to as many dimensions as x: more by", other)


def _primitive(*points, static=()):
    return primitive(*points, validate=_validate, static=static)


def _carry(step, v):
    """r v r^T for the rotation r = I + step."""
    moved = v + mul(step, v)
    return symmetric(moved + mul(moved, t(step)))


def _generator(x, v):
    """[v, x], the skew matrix that turns x with velocity v, of the tangent part of v."""
    w = commutator(symmetric(v), x)
    return (w - t(w)) / 2


# -------------------------------------------------------------------------------------------------
# Exponential, logarithm, distance
# -------------------------------------------------------------------------------------------------


@_primitive("x", "v")
def expmap(x: Matrix, v: Matrix) -> Matrix:
    """r x r^T, r = exp([v, x]) (Batzies et al. 2015)."""
    return _carry(rotation_step(_generator(x, v)), x)


@_primitive("x", "y")
def logmap(x: Matrix, y: Matrix) -> Matrix:
    """[w, x], w = log((I - 2 y) (I - 2 x)) / 2: inverse of expmap for principal angles below pi / 2."""
    return symmetric(commutator(reflection_turn(x, y), x))


@_primitive("x", "y")
def dist(x: Matrix, y: Matrix) -> Scalar:
    """The root of the sum of the squared principal angles; gradient 0 at x = y."""
    return safe_sqrt(sqdist(x, y))


@_primitive("x", "y")
def sqdist(x: Matrix, y: Matrix) -> Scalar:
    """The sum of the squared principal angles, smooth also at x = y."""
    return matrices.rotation_sqdist(matrices.reflection_step(x, y)) / 4


@_primitive("x", "y")
def geodesic(t: Scalar, x: Matrix, y: Matrix) -> Matrix:
    """Point at time t of the shortest geodesic from x (time 0) to y (time 1)."""
    return _carry(rotation_step(t[..., None, None] * reflection_turn(x, y)), x)


# -------------------------------------------------------------------------------------------------
# Tangent vectors
# -------------------------------------------------------------------------------------------------


@_primitive("x", "v")
def project_tangent(x: Matrix, v: Matrix) -> Matrix:
    """Orthogonal projection x v (I - x) + (I - x) v x of the symmetric part of v."""
    half = mul(x, symmetric(v))
    half = half - mul(half, x)
    return half + t(half)


@_primitive("x", "g")
def egrad_to_rgrad(x: Matrix, g: Matrix) -> Matrix:
    """Riemannian gradient: twice the tangent part of g, as the metric is half the ambient one."""
    return 2 * project_tangent(x, g)


@_primitive("x", "u", "v")
def inner(x: Matrix, u: Matrix, v: Matrix) -> Scalar:
    """tr(u v) / 2."""
    return dot(entries(project_tangent(x, u)), entries(project_tangent(x, v))) / 2


@_primitive("x", "v")
def norm(x: Matrix, v: Matrix) -> Scalar:
    """sqrt(tr(v^2) / 2), gradient 0 at 0."""
    return safe_norm(entries(project_tangent(x, v))) / math.sqrt(2)


@_primitive("x", "y", "v")
def transport(x: Matrix, y: Matrix, v: Matrix) -> Matrix:
    """Parallel transport r v r^T along the shortest geodesic from x to y, which r takes there."""
    return _carry(rotation_step(reflection_turn(x, y)), v)


def _block(a, n, p):
    """The lower left block (..., n - p, p) of a tangent vector at the origin."""
    if a.shape[-1] != p * (n - p):
        raise ValueError(f"grassmann: components have shape (..., {p * (n - p)}), got {a.shape}")
    return a.reshape(*a.shape[:-1], n - p, p)


def _at_origin(a, n, p):
    b = _block(a, n, p)
    padding = [(0, 0)] * (b.ndim - 2)
    v = jnp.pad(b, [*padding, (p, 0), (0, n - p)])
    return v + t(v)


@_primitive("x", static=("p",))
def from_frame(x: Matrix, a: Components, p: int) -> Matrix:
    """Tangent vector with components a (..., p (n - p)) in the frame at x.

    Args:
        x: Points (..., n, n).
        a: Components (..., p (n - p)).
        p: Dimension of the subspaces.

    Returns:
        Tangent vectors (..., n, n).
    """
    return project_tangent(x, _carry(turn_from_origin(x, p), _at_origin(a, x.shape[-1], p)))


@_primitive("x", "v", static=("p",))
def to_frame(x: Matrix, v: Matrix, p: int) -> Components:
    """Components (..., p (n - p)) of v in the frame at x.

    Args:
        x: Points (..., n, n).
        v: Tangent vectors at x.
        p: Dimension of the subspaces.

    Returns:
        Array (..., p (n - p)).
    """
    back = t(turn_from_origin(x, p))
    block = _carry(back, symmetric(v))[..., p:, :p]
    return entries(block)


@_primitive("x", static=("p",))
def expmap_frame(x: Matrix, a: Components, p: int) -> Matrix:
    """expmap of the tangent vector with components a in the frame at x.

    Args:
        x: Points (..., n, n).
        a: Components (..., p (n - p)).
        p: Dimension of the subspaces.

    Returns:
        Points (..., n, n).
    """
    return expmap(x, from_frame(x, a, p))


@_primitive("x", "v", static=("p",))
def logdetexp(x: Matrix, v: Matrix, p: int) -> Scalar:
    """log |det d exp_x| at v: the sum of log |sin(r) / r| over r = t_i +- t_j, i < j, and |n - 2 p| times r = t_i.

    The t_i are the principal angles of the step.


    Args:
        x: Points (..., n, n).
        v: Tangent vectors at x.
        p: Dimension of the subspaces.

    Returns:
        Array (...).
    """
    return logdetexp_frame(x, to_frame(x, v, p), p)


@_primitive("x", static=("p",))
def logdetexp_frame(x: Matrix, a: Components, p: int) -> Scalar:
    """logdetexp at the tangent vector with frame components a, the same at every x.

    By the curvature u -> u b^T b + b b^T u - 2 b u^T b, b the block of the vector.

    Args:
        x: Points (..., n, n).
        a: Components (..., p (n - p)).
        p: Dimension of the subspaces.

    Returns:
        Array (...).
    """
    n, b = x.shape[-1], _block(a, x.shape[-1], p)[..., None, :, :]

    def curvature(u):
        u = _block(u, n, p)
        return entries(mul(u, t(b), b) + mul(b, t(b), u) - 2 * mul(b, t(u), b))

    zero = zero_of(a)
    return matrices.log_det_exp(log_sinc, curvature, a.shape[-1], zero) + zero_of(entries(x))


# -------------------------------------------------------------------------------------------------
# Points
# -------------------------------------------------------------------------------------------------


@primitive("x", static=("p",))
def project(x: Matrix, p: int) -> Matrix:
    """The projection to the span of the p eigenvectors of largest eigenvalues of the symmetric part: the nearest one.

    Args:
        x: Matrices (..., n, n).
        p: Dimension of the subspaces.

    Returns:
        Points (..., n, n); where the nearest is not unique one of them, with derivatives 0.
    """
    s, n = symmetric(x / binade(entries(x))[..., None, None]), x.shape[-1]
    values, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(s))
    upper, lower = values[..., n - p], values[..., n - p - 1]
    rounding = 4 * n * float(jnp.finfo(x.dtype).eps)
    tie = (upper - lower <= rounding * jnp.max(jnp.abs(values), -1))[..., None, None]
    middle = (upper + lower)[..., None, None] / 2
    eye = jnp.eye(n, dtype=x.dtype)
    step = jnp.diag(jnp.where(jnp.arange(n) < n - p, -1.0, 1.0).astype(x.dtype))
    shifted = jnp.where(tie, step, s - middle * eye)
    top = vectors[..., n - p :]
    return jnp.where(tie, mul(top, t(top)), matrices.spectral(_STEP, shifted))


def _divided_step(a, b):
    apart = (a > 0) != (b > 0)
    return jnp.where(apart, 1 / jnp.where(apart, jnp.abs(a - b), 1.0), 0.0)


_STEP = matrices.Spectral(
    lambda a: jnp.where(a > 0, 1.0, 0 * a),
    _divided_step,
    lambda a, b: jnp.abs(a) + jnp.abs(b),
)


@primitive()
def from_basis(b: Float[Array, "*#batch n p"]) -> Matrix:
    """The projection (..., n, n) to the span of the columns of b (..., n, p), which need not be orthonormal."""
    q = matrices.nearest_orthogonal(b)
    return symmetric(mul(q, t(q)))


def origin(n: int, p: int, dtype: DTypeLike | None = None) -> Float[Array, "n n"]:
    """The projection diag(1, ..., 1, 0, ..., 0) to the first p coordinates of R^n.

    Args:
        n: Dimension of the space.
        p: Dimension of the subspaces.
        dtype: Of the result, by default the default float type.

    Returns:
        Array (n, n).
    """
    return jnp.diag(jnp.asarray(np.arange(n) < p, dtype or float))


def random_uniform(
    key: Array, shape: int | tuple[int, ...], p: int, dtype: DTypeLike | None = None
) -> Array:
    """Subspaces spanned by p vectors of normal numbers: uniform.

    Args:
        key: Random key.
        shape: Of the result, (..., n, n).
        p: Dimension of the subspaces.
        dtype: Of the result, by default the default float type.

    Returns:
        Points of the given shape.
    """
    shape = as_shape(shape)
    return from_basis(jax.random.normal(key, (*shape[:-1], p), dtype))


@register_record
@dataclass(frozen=True)
class Grassmann(ModuleManifold):
    """The p-dimensional subspaces of R^n, 0 < p < n, as a :class:`~geodl.manifolds.base.Manifold`."""

    n: int = field(metadata={"static": True})
    p: int = field(metadata={"static": True})

    embedded = True

    def __post_init__(self):
        check_integer("Grassmann: p", self.p)
        check_integer("Grassmann: n", self.n, self.p + 1)

    @property
    def dim(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.p * (self.n - self.p)

    @property
    def event_shape(self):
        return (self.n, self.n)

    def origin(self, dtype=None):
        return origin(self.n, self.p, dtype)

    def log_volume(self):
        """The logarithms of the areas of S^(n - p), ..., S^(n - 1), less those of S^0, ..., S^(p - 1)."""
        above = math.fsum(log_area(k) for k in range(self.n - self.p, self.n))
        return above - math.fsum(log_area(k) for k in range(self.p))
