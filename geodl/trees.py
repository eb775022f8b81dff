r"""Trees in the hyperbolic plane, of any depth, in float32 and without coordinates.

    tree = trees.from_edges(edges)                                # (n - 1, 2) node numbers
    drawing = trees.embed(tree, trees.edge_length(tree, 1.01))    # distances within 1 % of the tree's
    drawing.dist(i, j)                                            # of any pairs, batched, differentiable

Sarkar's construction: every edge has one length, at every node the edges leave at equal angles. What it needs in the
disk are as many digits as the tree is deep, since float coordinates end at a radius of 15 (float64: 35), and a pair far
out is a difference of coordinates that agree in all digits but the last. Here no node has coordinates. An edge is the
isometry from the frame at its upper end to that at its lower one, an element of SU(1, 1),

    (a, b) = e^{i angle / 2} (cosh(length / 2), sinh(length / 2)),     z -> (a z + b) / (\bar b z + \bar a),

kept as a pair of size 1 and the logarithm of its scale. A path is their product. Turning back is the only thing that
cancels, and a path in a tree does not; so the distance of a pair, 2 asinh |b| of the path between them, has the
relative precision of the floats at any radius. Products over 2^k edges upwards from each node are tabulated, so that a
pair costs the logarithm of the depth.

In more dimensions edges leave in the directions of the biorthogonal code, the rows of a Hadamard matrix and their
negatives, all at right angles: a node of degree up to 2 dim loses no more than one of degree 4, and edges can be short.
Isometries are matrices of SO(1, dim) there, scaled in the same way.

Sources: Sarkar, *Low Distortion Delaunay Embedding of Trees in Hyperbolic Plane* (2011); Sala et al., *Representation
Tradeoffs for Hyperbolic Embeddings* (2018), for the lengths and the angles by codes.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from geodl._core.checks import as_floats, check, check_positive
from geodl._core.records import register_record
from geodl._core.reductions import binade, dot, safe_norm, safe_sqrt
from geodl._core.special import asinhc
from geodl.manifolds import poincare


__all__ = [
    "Drawing",
    "Tree",
    "code_directions",
    "degrees",
    "edge_length",
    "embed",
    "equal_angles",
    "from_edges",
]


# ---------------------------------------------------------------------------------------------------------------
# The tree itself, on the host
# ---------------------------------------------------------------------------------------------------------------


class Tree(NamedTuple):
    """A rooted tree of the nodes 0, ..., n - 1."""

    parents: np.ndarray
    """(n,), the root's is itself"""
    depths: np.ndarray
    """(n,), edges to the root"""


def from_edges(edges: Any, root: int | None = None, spanning: bool = False) -> Tree:
    """The tree of the given edges.

    Args:
        edges: (m, 2) node numbers, an array or a list, in either direction.
        root: a node; by default the middle of a longest path, which makes the tree as shallow as it can be.
        spanning: whether to take a breadth-first spanning tree where the edges have cycles.

    Returns:
        The rooted tree.

    Raises:
        ValueError: a node number is negative or missing, the edges do not connect the nodes, or there is a cycle.
    """
    edges = np.asarray(edges)
    if edges.ndim != 2 or edges.shape[1] != 2 or len(edges) == 0:
        raise ValueError(f"from_edges: edges have shape (m, 2), m >= 1, got {edges.shape}")
    if edges.dtype.kind not in "iu":
        raise ValueError(f"from_edges: edges are integers, got {edges.dtype}")
    edges = edges.astype(np.int64)
    nodes = np.unique(edges)
    if nodes[0] < 0:
        raise ValueError(f"from_edges: nodes are numbers from 0, got {nodes[0]}")
    if len(nodes) != nodes[-1] + 1:
        missing = np.setdiff1d(np.arange(nodes[-1]), nodes)[0]
        raise ValueError(
            f"from_edges: nodes are 0, ..., {nodes[-1]}, but no edge has node {missing}"
        )
    edges = np.unique(np.sort(edges[edges[:, 0] != edges[:, 1]] if spanning else edges, 1), axis=0)
    first = _breadth_first(edges, len(nodes), 0 if root is None else root)
    if np.any(first.depths < 0):
        node = int(np.argmax(first.depths < 0))
        raise ValueError(
            f"from_edges: the edges do not connect the nodes, none reaches node {node}"
        )
    if len(edges) >= len(nodes) and not spanning:
        used = (first.parents[edges[:, 0]] == edges[:, 1]) | (
            first.parents[edges[:, 1]] == edges[:, 0]
        )
        i, j = edges[~used | (edges[:, 0] == edges[:, 1])][0]
        raise ValueError(f"from_edges: a tree has no cycle, but edge ({i}, {j}) closes one")
    if root is not None:
        return first
    end = _breadth_first(edges, len(nodes), int(np.argmax(first.depths)))
    middle = int(np.argmax(end.depths))
    for _ in range(end.depths[middle] // 2):
        middle = int(end.parents[middle])
    return _breadth_first(edges, len(nodes), middle)


def _breadth_first(edges, n, root):
    """The tree of shortest paths to a root, each node below the first of its nearer neighbors; depth -1 without any."""
    if not 0 <= root < n:
        raise ValueError(f"from_edges: the root is one of the nodes 0, ..., {n - 1}, got {root}")
    both = np.concatenate([edges, edges[:, ::-1]])
    graph = csr_array((np.ones(len(both)), tuple(both.T)), (n, n))
    depths = dijkstra(graph, indices=root, unweighted=True)
    depths = np.where(np.isfinite(depths), depths, -1).astype(np.int64)
    upper, lower = both[depths[both[:, 1]] == depths[both[:, 0]] + 1].T
    parents = np.full(n, n)
    np.minimum.at(parents, lower, upper)
    parents[root] = root
    return Tree(parents, depths)


def degrees(tree: Tree) -> np.ndarray:
    """The number of edges at each node.

    Returns:
        Integers (n,).
    """
    root = tree.depths == 0
    return np.bincount(tree.parents[~root], minlength=len(root)) + ~root


def edge_length(tree: Tree, distortion: float, dim: int = 2) -> float:
    """A length of edges with which the ratio of distances to the tree's varies by no more than the distortion.

    Among paths of m edges of length tau that meet at angles 2 pi / k or more, the ends of that which always turns to
    one side at 2 pi / k are the nearest (Cauchy's arm lemma). It follows a line at a distance, along which an edge
    advances by

        advance = 2 acosh(cosh(tau / 2) sin(pi / k)),

    so that distances are m advance to m tau. The length is the one with advance = tau / distortion, about
    -2 log sin(pi / k) distortion / (distortion - 1) where that is long. In more dimensions, by
    :func:`code_directions`, edges meet at right angles at the least.

    Args:
        tree: whose largest degree k decides, in the plane.
        distortion: largest over smallest ratio, above 1.
        dim: dimension of the hyperbolic space.

    Returns:
        The length, in units of the curvature's radius.

    Raises:
        ValueError: the distortion is not above 1 and finite; or a node has more edges than the code has directions.
    """
    if not 1 < distortion < math.inf:
        raise ValueError(f"edge_length: the distortion is finite and above 1, got {distortion}")
    degree = int(degrees(tree).max())
    if dim != 2:
        _check_code("edge_length", dim, degree)
    sine = math.sin(math.pi / (max(3, degree) if dim == 2 else 4))

    # log(cosh(length / 2) sine) < log(cosh(advance / 2)), which do not overflow
    def misses(length):
        return _log_cosh(length / 2) + math.log(sine) < _log_cosh(length / (2 * distortion))

    low, high = 0.0, 1.0
    while misses(high):
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if misses(middle) else (low, middle)
    return high


def _log_cosh(x):
    return x + math.log1p(math.exp(-2 * x)) - math.log(2)


def _check_code(name, dim, degree):
    if dim < 3 or degree > 2 * dim:
        raise ValueError(
            f"{name}: dim is at least 3 and half of the largest degree {degree}, got {dim}"
        )


def equal_angles(tree: Tree) -> np.ndarray:
    """Equal angles (n,) at which the edges to the nodes leave their parents, where the edge upwards leaves at pi.

    Returns:
        Radians (n,), the root's own is 0.
    """
    nodes, place, siblings = _siblings(tree)
    upwards = tree.depths[tree.parents[nodes]] > 0
    angles = np.zeros(len(tree.parents))
    angles[nodes] = np.pi + 2 * np.pi * (place + 1) / (siblings + upwards)
    return angles


def _siblings(tree):
    """The nodes but the root, which of its siblings each is, from 0, and how many they are."""
    order = np.argsort(tree.parents, kind="stable")
    order = order[tree.depths[order] > 0]
    _, first, counts = np.unique(tree.parents[order], return_index=True, return_counts=True)
    return order, np.arange(len(order)) - np.repeat(first, counts), np.repeat(counts, counts)


def code_directions(tree: Tree, dim: int) -> np.ndarray:
    """Directions of the edges to the nodes in dim > 2 dimensions, at right angles or opposite; that upwards is -e_1.

    The biorthogonal code h_1, ..., h_dim, -h_1, ..., -h_dim of the rows of a Hadamard matrix (Sala et al. 2018), in the
    basis of its rows, where it is there in any dimension.

    Returns:
        Unit vectors (n, dim), the root's own is e_1.

    Raises:
        ValueError: dim < 3, or a node has more than 2 dim edges.
    """
    _check_code("code_directions", dim, int(degrees(tree).max()))
    nodes, place, _ = _siblings(tree)
    code = np.zeros((2 * dim, dim))  # e_1, e_2, -e_2, ..., e_dim, -e_dim, -e_1
    code[0, 0], code[-1, 0] = 1, -1
    axes = np.arange(1, dim)
    code[2 * axes - 1, axes], code[2 * axes, axes] = 1, -1
    directions = np.zeros((len(tree.parents), dim))
    directions[:, 0] = 1
    directions[nodes] = code[place]
    return directions


# ---------------------------------------------------------------------------------------------------------------
# Isometries, as arrays (..., width) that end with the logarithm s of a scale: of the disk (a, b) = e^s (re a, im a,
# re b, im b), width 5; in more dimensions the (dim + 1)^2 entries of a matrix of SO(1, dim)
# ---------------------------------------------------------------------------------------------------------------

_PLANE = 5


def _identity(shape, width, dtype):
    entries = [1, 0, 0, 0] if width == _PLANE else np.eye(math.isqrt(width)).ravel()
    return jnp.broadcast_to(jnp.asarray([*entries, 0], dtype), (*shape, width))


def _edge_in_space(length, direction):
    """A boost along e_1, and then the shortest rotation of e_1 to the direction (..., dim), by half a turn to -e_1."""
    dim = direction.shape[-1]
    first = jnp.eye(1, dim, dtype=length.dtype)[0]
    back = direction[..., 0] < -0.999
    middle = first + direction
    weight = 1 / jnp.where(back, 1.0, 1 + direction[..., 0])
    turn = (
        jnp.eye(dim, dtype=length.dtype)
        - weight[..., None, None] * middle[..., :, None] * middle[..., None, :]
        + 2 * direction[..., :, None] * first
    )
    half_turn = jnp.diag(jnp.where(jnp.arange(dim) < 2, -1, 1)).astype(length.dtype)
    turn = jnp.where(back[..., None, None], half_turn, turn)
    small = jnp.exp(-2 * length)
    cosh, sinh, rest = (1 + small) / 2, -jnp.expm1(-2 * length) / 2, jnp.exp(-length)
    # the boost's diagonal, in space
    along = cosh[..., None] * first + rest[..., None] * (1 - first)
    columns = turn * along[..., None, :]
    top = jnp.concatenate([cosh[..., None], sinh[..., None] * first], -1)
    left = sinh[..., None] * turn[..., :, 0]
    below = jnp.concatenate([left[..., None], columns], -1)
    matrix = jnp.concatenate([top[..., None, :], below], -2)
    return jnp.concatenate(
        [matrix.reshape(*matrix.shape[:-2], (dim + 1) ** 2), length[..., None]], -1
    )


def _edge_in_plane(length, angle):
    small = jnp.exp(-length)
    cos, sin = jnp.cos(angle / 2), jnp.sin(angle / 2)
    a, b = (1 + small) / 2, -jnp.expm1(-length) / 2
    return jnp.stack([a * cos, a * sin, b * cos, b * sin, length / 2], -1)


def _times(p, q):
    if p.shape[-1] == _PLANE:
        return _times_in_plane(p, q)
    n = math.isqrt(p.shape[-1])
    a, b = (m[..., :-1].reshape(*m.shape[:-1], n, n) for m in (p, q))
    product = jnp.sum(a[..., :, :, None] * b[..., None, :, :], -2)
    product = product.reshape(*product.shape[:-2], n * n)
    power = binade(product)[..., None]
    return jnp.concatenate([product / power, p[..., -1:] + q[..., -1:] + jnp.log(power)], -1)


def _times_in_plane(p, q):
    """(a, b) (c, d) = (a c + b \\bar d, a d + b \\bar c), its size brought back to 1 by a power of two."""
    (a, x, b, y, s), (c, z, d, w, t) = (jnp.moveaxis(m, -1, 0) for m in (p, q))
    product = [
        a * c - x * z + b * d + y * w,
        a * z + x * c + y * d - b * w,
        a * d - x * w + b * c + y * z,
        a * w + x * d + y * c - b * z,
    ]
    power = binade(jnp.stack(product, -1))
    return jnp.stack([*(m / power for m in product), s + t + jnp.log(power)], -1)


def _distance(p, q):
    if p.shape[-1] == _PLANE:
        return _distance_in_plane(p, q)
    n = math.isqrt(p.shape[-1])
    x, y = (m[..., : n * n : n] for m in (p, q))  # the points, at which the frames are
    cosh, log = x[..., 0] * y[..., 0] - dot(x[..., 1:], y[..., 1:]), p[..., -1] + q[..., -1]
    near = log < 1
    inside = (cosh * jnp.exp(jnp.where(near, log, 0.0)) - 1) / 2
    inside = jnp.where(near & (inside > 0), inside, 0.0)
    close = 2 * safe_sqrt(inside) * asinhc(inside)
    beyond = jnp.where(near, 2.0, cosh)
    small = jnp.exp(-jnp.where(near, 1.0, log))
    root = beyond + jnp.sqrt(jnp.maximum((beyond - small) * (beyond + small), 0.0))
    return jnp.where(near, close, log + jnp.log(root))


def _distance_in_plane(p, q):
    """2 asinh |b| of p^{-1} q, (a, b)^{-1} = (\\bar a, -b)."""
    (a, x, b, y, s), (c, z, d, w, t) = (jnp.moveaxis(m, -1, 0) for m in (p, q))
    re = a * d + x * w - b * c - y * z
    im = a * w - x * d - y * c + b * z
    square, log = re * re + im * im, s + t
    near = log < 1
    inside = jnp.where(near, square * jnp.exp(2 * jnp.where(near, log, 0.0)), 0.0)
    close = 2 * safe_sqrt(inside) * asinhc(inside)
    beyond = jnp.where(near, 1.0, square)
    root = jnp.sqrt(beyond) + jnp.sqrt(beyond + jnp.exp(-2 * jnp.where(near, 1.0, log)))
    return jnp.where(near, close, 2 * (log + jnp.log(root)))


# ---------------------------------------------------------------------------------------------------------------
# The drawing
# ---------------------------------------------------------------------------------------------------------------


@register_record
@dataclass(frozen=True)
class Drawing:
    """A tree in hyperbolic space of curvature -1, by the isometries over 1, 2, 4, ... edges up from each node."""

    up: Array
    """(k, n), the node 2^k edges above, or the root"""
    paths: Array
    """(k, n, width), from the frame there to that at the node; where the root has come before, from the root's"""
    depths: Array
    """(n,)"""

    def dist(self, i: ArrayLike, j: ArrayLike) -> Array:
        """Distances of the nodes i and j, integer arrays that broadcast; gradients are those in lengths and angles.

        Raises:
            ValueError: there is no such node (under jit some other is taken).
        """
        i, j = jnp.broadcast_arrays(jnp.asarray(i), jnp.asarray(j))
        n = len(self.depths)
        for k in (i, j):
            check((k >= 0) & (k < n), f"Drawing.dist: nodes are 0, ..., {n - 1}", k)
        lower = self.depths[i] >= self.depths[j]
        i, j = jnp.where(lower, i, j), jnp.where(lower, j, i)
        ahead = self.depths[i] - self.depths[j]
        p = q = self._identity(i.shape)
        for k in range(len(self.up)):  # to one depth
            i, p = self._climb(k, i, p, (ahead >> k) & 1 == 1)
        for k in reversed(range(len(self.up))):  # below the node where the paths meet
            apart = self.up[k, i] != self.up[k, j]
            (i, p), (j, q) = self._climb(k, i, p, apart), self._climb(k, j, q, apart)
        (i, p), (j, q) = self._climb(0, i, p, i != j), self._climb(0, j, q, i != j)
        return _distance(p, q)

    def _climb(self, k, node, path, where):
        """The node 2^k edges above, and the path from there, where that is wanted."""
        longer = _times(self.paths[k, node], path)
        return jnp.where(where, self.up[k, node], node), jnp.where(where[..., None], longer, path)

    def _identity(self, shape):
        return _identity(shape, self.paths.shape[-1], self.paths.dtype)

    def _from_root(self):
        path = self._identity(self.depths.shape)
        node = jnp.arange(len(self.depths))
        for k in range(len(self.up)):
            node, path = self._climb(k, node, path, (self.depths >> k) & 1 == 1)
        return path

    def radii(self) -> Array:
        """Distances (n,) of the nodes from the root, which is at the origin."""
        path = self._from_root()
        return _distance(self._identity(self.depths.shape), path)

    def to_disk(self) -> Array:
        """The nodes (n, dim) in the Poincaré disk or ball, curvature -1, the root at 0.

        Those at :meth:`radii` above 15.2 (float64: 35.4) do not fit: they lie on the rim, in the right direction.
        """
        path = self._from_root()
        if path.shape[-1] != _PLANE:
            n = math.isqrt(path.shape[-1])
            x = path[..., : n * n : n]
            z = x[..., 1:] / (jnp.exp(-path[..., -1:]) + x[..., :1])
            return poincare.project(z, 1.0)
        a, x, b, y, _ = jnp.moveaxis(path, -1, 0)  # b / \bar a
        z = jnp.stack([b * a - y * x, b * x + y * a], -1) / (a * a + x * x)[:, None]
        return poincare.project(z, 1.0)


def embed(tree: Tree, length: ArrayLike, angles: ArrayLike | None = None) -> Drawing:
    """The tree in the hyperbolic plane or space of curvature -1: a pure function of lengths and angles.

    Args:
        tree: with static structure, no argument of a jitted function (a drawing may be one).
        length: of all edges, or (n,) of the edge above each node, in units of the curvature's radius; its dtype is
            that of the distances. Under jit one that is not positive gives NaN.
        angles: (n,) in radians, as :func:`equal_angles` gives them by default; or unit vectors (n, dim), as
            :func:`code_directions` gives them, for edges of length 1 or more (short ones lose digits).

    Returns:
        The drawing, whose distances are of the dtype of the lengths.

    Raises:
        ValueError: a length is not positive, lengths or angles are not one for each node, or directions are no unit
            vectors of three or more dimensions.
    """
    check_positive("embed: the length of an edge", length)
    n = len(tree.depths)
    if jnp.shape(length) not in ((), (n,)):
        raise ValueError(
            f"embed: one length, or one for each of {n} nodes, got {jnp.shape(length)}"
        )
    length = jnp.broadcast_to(as_floats(length), (n,))
    length = jnp.where(length > 0, length, jnp.nan)
    angles = jnp.asarray(equal_angles(tree) if angles is None else angles, length.dtype)
    if angles.shape[:1] != (n,) or angles.ndim > 2:
        raise ValueError(f"embed: an angle or direction for each of {n} nodes, got {angles.shape}")
    if angles.ndim == 2:
        if angles.shape[1] < 3:
            raise ValueError(f"embed: directions (n, dim) have dim >= 3, got {angles.shape}")
        size = safe_norm(angles)
        check(~(jnp.abs(size - 1) > 1e-3), "embed: directions are unit vectors, of length", size)
    depths = jnp.asarray(tree.depths, jnp.int32)
    up = [np.asarray(tree.parents, np.int32)]
    root = jnp.asarray(tree.depths == 0)[:, None]
    edges = (_edge_in_plane if angles.ndim == 1 else _edge_in_space)(length, angles)
    paths = [jnp.where(root, _identity((), edges.shape[-1], length.dtype), edges)]
    for k in range(int(tree.depths.max()).bit_length() - 1):
        paths.append(_times(paths[k][up[k]], paths[k]))
        up.append(up[k][up[k]])
    return Drawing(jnp.stack(list(map(jnp.asarray, up))), jnp.stack(paths), depths)
