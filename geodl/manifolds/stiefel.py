"""The Stiefel manifold of orthonormal p-frames in R^n, 0 < p < n, with the canonical metric.

Points are matrices (..., n, p) with x^T x = I; tangent vectors at x are v with x^T v skew, <u, v> = tr(u^T (I
- x x^T / 2) v), the metric of the quotient SO(n) / SO(n - p). The origin is the first p basis vectors. The
frame at x is that of v = x w + z b with w skew and z the complement of x that the shortest rotation of the
origin's span to x's makes of the origin's: components are the entries of w below the diagonal and those of b.
Functions take x^T x = I for granted (eagerly, an entry off by more than 2e-2 raises ``ValueError``);
``project`` makes it so.

Geodesics are orbits of rotations and parallel transport is one of the tangent space, both in closed form. The
logarithm is not: it is found by Gauss-Newton steps from the chord, and is NaN where these do not converge,
which :func:`solve_log` reports; within a distance of 2.5 they do. dist, geodesic and transport are by way of
it. What is not offered: logdetexp, and with it wrapped distributions.

Sources: Edelman, Arias & Smith, *The Geometry of Algorithms with Orthogonality Constraints* (1998);
Zimmermann & Hüper, *Computing the Riemannian Logarithm on the Stiefel Manifold* (2022).
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float

from geodl._core.checks import as_shape, check, check_integer, primitive
from geodl._core.records import register_record
from geodl._core.reductions import dot, safe_norm
from geodl.manifolds import _matrices as matrices
from geodl.manifolds._matrices import entries, mul, rotation_step, skew, symmetric, t
from geodl.manifolds.base import ModuleManifold
from geodl.manifolds.sphere import log_area


Matrix = Float[Array, "*#batch n p"]
Components = Float[Array, "*#batch d"]  # d = n p - p (p + 1) / 2
Scalar = Float[Array, "*#batch"]


def _validate(**arguments):
    for name in ("x", "y"):
        if name in arguments:
            x = arguments[name]
            off = np.abs(np.swapaxes(x, -2, -1) @ x - np.eye(x.shape[-1])).max((-2, -1))
            check(
                ~(off >= 2e-2),
                f"{name} must have orthonormal columns: largest entry of |{name}^T {name} - I|",
                off,
            )


def _primitive(*points):
    return primitive(*points, validate=_validate)


# -------------------------------------------------------------------------------------------------
# Tangent vectors as skew matrices w b^T ... of the whole space
# -------------------------------------------------------------------------------------------------


def _whole(x):
    """The rotation or reflection (x, z) of the whole space."""
    n, p = x.shape[-2:]
    if not p < n:
        raise ValueError(f"stiefel: points have shape (..., n, p) with p < n, got {x.shape}")
    step = matrices.turn_from_origin(symmetric(mul(x, t(x))), p)
    z = (jnp.eye(n, dtype=x.dtype) + step)[..., p:]
    z = z - mul(x, t(x), z)  # what the logarithm has lost next to the cut locus
    z = z + mul(z, jnp.eye(n - p, dtype=x.dtype) - mul(t(z), z)) / 2
    return jnp.concatenate([x, z], -1)


def _generator(a, n, p):
    """The skew matrix (w, -b^T; b, 0) of components."""
    turns = p * (p - 1) // 2
    if a.shape[-1] != turns + p * (n - p):
        raise ValueError(
            f"stiefel: components have shape (..., {turns + p * (n - p)}), got {a.shape}"
        )
    w = matrices.from_skew_components(a[..., :turns], p)
    b = a[..., turns:].reshape(*a.shape[:-1], n - p, p)
    corner = jnp.zeros((*a.shape[:-1], n - p, n - p), a.dtype)
    return jnp.concatenate([jnp.concatenate([w, b], -2), jnp.concatenate([-t(b), corner], -2)], -1)


def _components(g, p):
    """Of (the projection of) a skew matrix."""
    return jnp.concatenate(
        [matrices.skew_components(skew(g[..., :p, :p])), entries(g[..., p:, :p])], -1
    )


# -------------------------------------------------------------------------------------------------
# Exponential and logarithm
# -------------------------------------------------------------------------------------------------


@_primitive("x", "v")
def expmap(x: Matrix, v: Matrix) -> Matrix:
    """exp(v x^T - x v^T - x x^T v x^T) x (Edelman et al. 1998, 2.4.2)."""
    v = project_tangent(x, v)
    half = mul(v, t(x)) - mul(x, skew(mul(t(x), v)), t(x)) / 2
    return x + mul(rotation_step(half - t(half)), x)


@_primitive("x")
def expmap_frame(x: Matrix, a: Components) -> Matrix:
    """expmap of the tangent vector with components a (..., d) in the frame at x."""
    return _exp(_whole(x), a, x.shape[-1])


def _exp(whole, a, p):
    return whole[..., :p] + mul(whole, rotation_step(_generator(a, whole.shape[-1], p))[..., :p])


class Logarithm(NamedTuple):
    """Components (..., d) of a tangent vector, and the Frobenius norm (...) by which its geodesic misses its end."""

    components: Array
    residual: Array


_MAX_STEPS = 30


@_primitive("x", "y")
def solve_log(x: Matrix, y: Matrix) -> Logarithm:
    """Components of the logarithm by Gauss-Newton steps from the chord y - x, and what is left between its end and y.

    Derivatives are those of two steps from the end: right, and finite, up to order two.
    """
    return Logarithm(*jnp.vectorize(_solve_log, signature="(n,n),(n,p)->(d),()")(_whole(x), y))


def _solve_log(whole, y):
    p = y.shape[-1]

    def missing(a):
        return (_exp(whole, a, p) - y).ravel()

    def step(a):
        slope = lax.stop_gradient(jax.jacfwd(missing)(lax.stop_gradient(a)))
        change = mul(t(slope), missing(a)[:, None])
        return a - jnp.linalg.solve(mul(t(slope), slope), change)[:, 0]

    def length(a):
        return safe_norm(missing(a))

    enough = _tolerance(y)
    start = _components(mul(t(whole), y - whole[:, :p]), p)
    fixed = jax.tree.map(lax.stop_gradient, (start, length(start), jnp.zeros((), jnp.int32)))

    def running(state):
        return (state[1] > enough) & (state[2] < _MAX_STEPS)

    def advance(state):
        a = lax.stop_gradient(step(state[0]))
        return a, lax.stop_gradient(length(a)), state[2] + 1

    a = lax.stop_gradient(lax.while_loop(running, advance, fixed)[0])
    a = step(step(a))
    return a, length(a)


def _tolerance(y):
    return 16 * float(jnp.finfo(y.dtype).eps) * math.sqrt(y.shape[-2] * y.shape[-1])


def _log(x, y):
    found = solve_log(x, y)
    lost = ~(found.residual <= 4 * _tolerance(y))
    return jnp.where(lost[..., None], jnp.nan, found.components)


@_primitive("x", "y")
def logmap(x: Matrix, y: Matrix) -> Matrix:
    """Inverse of expmap by :func:`solve_log`; NaN where that does not converge."""
    return from_frame(x, _log(x, y))


@_primitive("x", "y")
def logmap_frame(x: Matrix, y: Matrix) -> Components:
    """Components (..., d) of logmap(x, y): inverse of expmap_frame."""
    return _log(x, y)


# -------------------------------------------------------------------------------------------------
# Tangent vectors
# -------------------------------------------------------------------------------------------------


@_primitive("x", "u", "v")
def inner(x: Matrix, u: Matrix, v: Matrix) -> Scalar:
    """tr(u^T (I - x x^T / 2) v), of the tangent parts."""
    return dot(_parts(x, u), _parts(x, v))


@_primitive("x", "v")
def norm(x: Matrix, v: Matrix) -> Scalar:
    """sqrt(tr(v^T (I - x x^T / 2) v)), gradient 0 at 0."""
    return safe_norm(_parts(x, v))


def _parts(x, v):
    """The entries of v across x, and those of x^T v below the diagonal."""
    along = mul(t(x), v)
    turn = matrices.skew_components(skew(along))
    return jnp.concatenate([entries(v - mul(x, along)), turn], -1)


@_primitive("x", "y", "v")
def transport(x: Matrix, y: Matrix, v: Matrix) -> Matrix:
    """Parallel transport of v along the geodesic of logmap(x, y): see :func:`transport_frame`."""
    return _transport(x, y, to_frame(x, v))


@_primitive("x", "y")
def transport_frame(x: Matrix, y: Matrix, a: Components) -> Components:
    """Parallel transport in frame components: exp(-ad_g / 2) in the tangent space, g the generator of the geodesic."""
    return to_frame(y, _transport(x, y, a))


def _transport(x, y, a):
    n, p = x.shape[-2:]
    whole, g = _whole(x), _generator(_log(x, y), n, p)
    unit = _generator(jnp.eye(a.shape[-1], dtype=a.dtype), n, p)
    rows = -_components(matrices.commutator(g[..., None, :, :], unit), p) / 2
    a = a + mul(a[..., None, :], rotation_step(rows))[..., 0, :]
    turned = whole + mul(whole, rotation_step(g))
    return mul(turned, _generator(a, n, p)[..., :p])


@_primitive("x", "v")
def project_tangent(x: Matrix, v: Matrix) -> Matrix:
    """Orthogonal projection v - x (x^T v + v^T x) / 2, in either metric."""
    return v - mul(x, symmetric(mul(t(x), v)))


@_primitive("x", "g")
def egrad_to_rgrad(x: Matrix, g: Matrix) -> Matrix:
    """Riemannian gradient g - x g^T x."""
    return g - mul(x, t(g), x)


@_primitive("x")
def from_frame(x: Matrix, a: Components) -> Matrix:
    """Tangent vector x w + z b with components a (..., d)."""
    n, p = x.shape[-2:]
    return mul(_whole(x), _generator(a, n, p)[..., :p])


@_primitive("x", "v")
def to_frame(x: Matrix, v: Matrix) -> Components:
    """Components (..., d) of v in the frame at x."""
    return _components(mul(t(_whole(x)), v), x.shape[-1])


# -------------------------------------------------------------------------------------------------
# Points
# -------------------------------------------------------------------------------------------------


@primitive("x")
def project(x: Matrix) -> Matrix:
    """Nearest point in the Frobenius norm, u v^T for the factors u and v of the singular value decomposition."""
    return matrices.nearest_orthogonal(x)


def origin(n: int, p: int, dtype: DTypeLike | None = None) -> Float[Array, "n p"]:
    """The first p basis vectors of R^n.

    Args:
        n: Dimension of the space.
        p: Number of vectors.
        dtype: Of the result, by default the default float type.

    Returns:
        Array (n, p).
    """
    return jnp.eye(n, p, dtype=dtype)


def random_uniform(
    key: Array, shape: int | tuple[int, ...], dtype: DTypeLike | None = None
) -> Array:
    """Points of the given full shape (..., n, p), uniform: the nearest ones to matrices of normal numbers."""
    return project(jax.random.normal(key, as_shape(shape), dtype))


@register_record
@dataclass(frozen=True)
class Stiefel(ModuleManifold):
    """The orthonormal p-frames in R^n, 0 < p < n, as a :class:`~geodl.manifolds.base.Manifold`."""

    n: int = field(metadata={"static": True})
    p: int = field(metadata={"static": True})

    def __post_init__(self):
        check_integer("Stiefel: p", self.p)
        check_integer("Stiefel: n", self.n, self.p + 1)

    @property
    def dim(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.n * self.p - self.p * (self.p + 1) // 2

    @property
    def event_shape(self):
        return (self.n, self.p)

    def origin(self, dtype=None):
        return origin(self.n, self.p, dtype)

    def logdetexp(self, x, v):
        raise self._does_not_say("the differential of its exponential map", "logdetexp")

    def log_volume(self):
        """The sum of the logarithms of the areas of S^(n - p), ..., S^(n - 1)."""
        return math.fsum(log_area(k) for k in range(self.n - self.p, self.n))

    def coordinates(self, x):
        """The entries of the matrix."""
        return entries(jnp.asarray(x))
