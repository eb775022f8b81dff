"""Closed triangle meshes as spaces for gauge convolutions: frames, log maps and transport at the vertices.

The angles around a vertex, scaled so that they sum to 2 pi, are the directions in its tangent plane; the first one is
that of the edge to the neighbor of the smallest index. An edge has a direction at both of its ends, and transport along
it takes one to the other (Knöppel, Crane, Pinkall & Schröder 2013). From a vertex, distances and directions grow
triangle by triangle, as polar coordinates (Melvær & Reimers 2012), and with them the transport to it. All of it is
computed once, on the host.
"""

import cmath
import functools
import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from geodl._core.checks import check, check_positive
from geodl.equivariant.gauge import Neighborhoods


@dataclass(frozen=True, eq=False)
class TriangleMesh:
    """A closed, oriented surface of triangles.

    Args:
        vertices: (n, 3).
        faces: (m, 3) indices of vertices, counterclockwise as seen from outside.

    Raises:
        ValueError: Other shapes, indices of no vertices, an edge without length, or one without exactly one triangle on
            either side; a vertex in no triangle, or where several sheets meet.
    """

    vertices: np.ndarray
    faces: np.ndarray

    def __post_init__(self):
        v, faces = np.asarray(self.vertices, np.float64), np.asarray(self.faces)
        if v.ndim != 2 or v.shape[1] != 3 or not len(v) or not np.all(np.isfinite(v)):
            raise ValueError(f"TriangleMesh: finite vertices (n, 3) are needed, got {v.shape}")
        indices = np.issubdtype(faces.dtype, np.integer) and np.all((faces >= 0) & (faces < len(v)))
        if faces.ndim != 2 or faces.shape[1] != 3 or not indices:
            raise ValueError(
                f"TriangleMesh: faces (m, 3) of indices of the {len(v)} vertices are needed, got {faces.shape} "
                f"of {faces.dtype}"
            )
        lengths = np.linalg.norm(v[faces] - v[np.roll(faces, 1, 1)], axis=-1)
        check(
            np.all(lengths > 0, 1),
            "TriangleMesh: an edge has no length in triangle",
            np.arange(len(faces)),
        )
        object.__setattr__(self, "vertices", v)
        object.__setattr__(self, "faces", faces.astype(np.int64))
        self._rings  # noqa: B018 - checks the mesh

    @functools.cached_property
    def _next(self):
        """next[i][j] = k for each triangle (i, j, k), from each of its corners."""
        found = [{} for _ in range(len(self.vertices))]
        for face in self.faces.tolist():
            for a in range(3):
                i, j, k = face[a], face[a - 2], face[a - 1]
                if j in found[i]:
                    raise ValueError(
                        f"TriangleMesh: two triangles have the edge from {i} to {j} on one side"
                    )
                found[i][j] = k
        return found

    @functools.cached_property
    def _rings(self):
        """The neighbors of each vertex, counterclockwise."""
        rings = []
        for i, after in enumerate(self._next):
            ring = [min(after)] if after else []
            while ring and (j := after.get(ring[-1])) != ring[0]:
                if j is None or len(ring) > len(after):
                    raise ValueError(f"TriangleMesh: the triangles around vertex {i} do not close")
                ring.append(j)
            if not ring or len(ring) != len(after):
                raise ValueError(f"TriangleMesh: the triangles around vertex {i} are not one fan")
            rings.append(ring)
        return rings

    @functools.cached_property
    def _lengths(self):
        """lengths[i][j] of the edges."""
        v = self.vertices
        return [
            dict(zip(ring, np.linalg.norm(v[ring] - v[i], axis=-1).tolist(), strict=True))
            for i, ring in enumerate(self._rings)
        ]

    @functools.cached_property
    def _corners(self):
        """(angles, total): the corners of the triangles around each vertex, ring by ring, and their sums."""
        corners = []
        for i, ring in enumerate(self._rings):
            u = self.vertices[ring] - self.vertices[i]
            u = u / np.linalg.norm(u, axis=-1, keepdims=True)
            w = np.roll(u, -1, 0)
            corners.append(np.arctan2(np.linalg.norm(np.cross(u, w), axis=-1), np.sum(u * w, -1)))
        return corners, np.array([c.sum() for c in corners])

    @functools.cached_property
    def _directions(self):
        """directions[i][j] = e^{i theta} of the edges at each vertex, as complex numbers."""
        found = []
        for ring, corners, total in zip(self._rings, *self._corners, strict=True):
            angles = np.concatenate([[0], np.cumsum(corners)[:-1]]) * (2 * np.pi / total)
            found.append(dict(zip(ring, np.exp(1j * angles).tolist(), strict=True)))
        return found

    @functools.cached_property
    def areas(self) -> np.ndarray:
        """A third of the area of the triangles around each vertex (n,): the weights of a quadrature."""
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        third = np.linalg.norm(np.cross(b - a, c - a), axis=-1) / 6
        return np.bincount(self.faces.ravel(), np.repeat(third, 3), len(self.vertices))

    @functools.cached_property
    def curvature(self) -> np.ndarray:
        """What is missing to 2 pi around each vertex (n,): the Gaussian curvature, integrated around it."""
        return 2 * np.pi - self._corners[1]

    @functools.cached_property
    def frames(self) -> np.ndarray:
        """Orthonormal tangent vectors (n, 2, 3) at the vertices, in rows; the first one along the first edge."""
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        of_faces = np.cross(b - a, c - a)
        normal = np.zeros_like(self.vertices)
        np.add.at(normal, self.faces, of_faces[:, None])
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        edge = self.vertices[[ring[0] for ring in self._rings]] - self.vertices
        first = edge - np.sum(edge * normal, -1, keepdims=True) * normal
        first /= np.linalg.norm(first, axis=-1, keepdims=True)
        return np.stack([first, np.cross(normal, first)], 1)

    def _carry(self, i, j):
        """Transport along the edge from vertex j to vertex i, as a complex number."""
        return -self._directions[i][j] / self._directions[j][i]

    def holonomy(self, loop: Sequence[int]) -> np.ndarray:
        """What transport once around a loop of vertices, neighbors of each other, does to vectors at the first one.

        Returns:
            (2, 2) in its frame: the rotation by the curvature that the loop encloses, if it is counterclockwise.

        Raises:
            ValueError: There is no vertex, or two that follow each other are no neighbors.
        """
        if not len(loop):
            raise ValueError("TriangleMesh.holonomy: a loop has at least one vertex, got none")
        z = complex(1)
        for j, i in zip(loop, [*loop[1:], loop[0]], strict=True):
            if i not in self._next[j]:
                raise ValueError(f"TriangleMesh.holonomy: {j} and {i} are no neighbors")
            z *= self._carry(i, j)
        return _rotation(np.complex128(z))

    def neighborhoods(self, radius: float, dtype: DTypeLike | None = None) -> Neighborhoods:
        """The vertices within a distance of each vertex, as :func:`~geodl.equivariant.gauge.neighborhoods` has them.

        The weights are the areas of the vertices: that the exponential map changes areas is of second order in the
        radius, and left out.
        """
        check_positive("TriangleMesh.neighborhoods: radius", radius)
        seen = [self._grown(i, radius) for i in range(len(self.vertices))]
        k = max(map(len, seen))
        index = np.repeat(np.arange(len(seen))[:, None], k, 1)
        log, carry = np.zeros(index.shape, np.complex128), np.ones(index.shape, np.complex128)
        weight = np.zeros(index.shape)
        for i, found in enumerate(seen):
            index[i, : len(found)] = list(found)
            log[i, : len(found)], carry[i, : len(found)] = zip(*found.values(), strict=True)
            weight[i, : len(found)] = self.areas[list(found)]
        pairs = np.stack([log.real, log.imag], -1)
        arrays = (jnp.asarray(a, dtype or float) for a in (weight, pairs, _rotation(carry)))
        return Neighborhoods(jnp.asarray(index), *arrays)

    def _grown(self, source, radius):
        """{vertex: (log, transport to the source)} within the radius, as complex numbers.

        A front of polar coordinates: a triangle with two vertices behind it gives the third.
        """
        lengths = self._lengths
        known: dict[int, tuple[float, complex, complex]] = {source: (0.0, 1.0, 1.0)}
        for j, r in lengths[source].items():
            known[j] = (r, self._directions[source][j], self._carry(source, j))
        done, heap = {source}, [(r, j) for j, r in lengths[source].items()]
        heapq.heapify(heap)
        while heap:
            r, j = heapq.heappop(heap)
            if r >= radius:
                break
            if j in done or r > known[j][0]:
                continue
            done.add(j)
            for k in self._rings[j]:
                if k == source or k not in done:
                    continue
                for l in (self._next[j][k], self._next[k][j]):
                    if l in done:
                        continue
                    found = self._unfolded(j, k, l, known)
                    if l not in known or found[0] < known[l][0] * (1 - 1e-12):
                        known[l] = found
                        heapq.heappush(heap, (found[0], l))
        return {j: (known[j][0] * known[j][1], known[j][2]) for j in done}

    def _unfolded(self, j, k, l, known):
        """Distance, direction and transport of l from those of j and k, in the plane of the triangle (j, k, l)."""
        (r_j, d_j, t_j), (r_k, d_k, t_k) = known[j], known[k]
        e, to_j, to_k = self._lengths[j][k], self._lengths[l][j], self._lengths[l][k]
        # j at 0, k at e, the source below
        s, target = _apex(r_j, r_k, e).conjugate(), _apex(to_j, to_k, e)
        height = target.imag - s.imag
        crossing = s.real - s.imag / height * (target.real - s.real) if height else -1.0
        if 0 <= crossing <= e and r_j and r_k:
            r = abs(target - s)
            whole = cmath.phase((e - s) / -s)
            part = cmath.phase((target - s) / -s) / whole if whole else 0.0
        elif r_j + to_j <= r_k + to_k:
            r, part = r_j + to_j, 0.0
        else:
            r, part = r_k + to_k, 1.0
        direction = d_j * cmath.exp(1j * part * cmath.phase(d_k / d_j))
        by_j, by_k = t_j * self._carry(j, l), t_k * self._carry(k, l)
        return r, direction, by_j * cmath.exp(1j * part * cmath.phase(by_k / by_j))


def _apex(a, b, base):
    """The corner of a triangle above its base from 0 to ``base``, at distances a and b from the ends."""
    x = (a * a - b * b + base * base) / (2 * base)
    return complex(x, math.sqrt(max(a * a - x * x, 0.0)))


def _rotation(z: Any):
    """Matrices (..., 2, 2) of products by unit complex numbers z (...)."""
    return np.stack([np.stack([z.real, -z.imag], -1), np.stack([z.imag, z.real], -1)], -2)


def sphere_mesh(subdivisions: int) -> TriangleMesh:
    """The icosahedron, each triangle divided into four a number of times.

    Returns:
        The mesh, of 10 * 4^subdivisions + 2 vertices on the unit sphere.
    """
    g = (1 + 5**0.5) / 2
    corners = [(0, a, b * g) for a in (-1, 1) for b in (-1, 1)]
    vertices = [np.roll(c, shift) for shift in range(3) for c in corners]
    vertices = [v / np.linalg.norm(v) for v in vertices]
    edge = min(np.linalg.norm(vertices[0] - v) for v in vertices[1:])
    near = [[bool(0 < np.linalg.norm(a - b) < 1.01 * edge) for b in vertices] for a in vertices]
    faces = [
        (i, j, k) if np.linalg.det([vertices[i], vertices[j], vertices[k]]) > 0 else (i, k, j)
        for i in range(12)
        for j in range(i)
        for k in range(j)
        if near[i][j] and near[j][k] and near[i][k]
    ]
    for _ in range(subdivisions):

        @functools.cache
        def middle(edge):
            a, b = edge
            v = vertices[a] + vertices[b]
            vertices.append(v / np.linalg.norm(v))
            return len(vertices) - 1

        parts = []
        for i, j, k in faces:
            ij, jk, ki = (middle(frozenset(edge)) for edge in ((i, j), (j, k), (k, i)))
            parts += [(i, ij, ki), (ij, j, jk), (ki, jk, k), (ij, jk, ki)]
        faces = parts
    return TriangleMesh(np.array(vertices), np.array(faces))


def torus_mesh(around: int, across: int, ratio: float = 0.4) -> TriangleMesh:
    """A torus of radii 1 and ``ratio`` in space.

    Args:
        around: Number of vertices on the circles of radius about 1, around the axis.
        across: Number of vertices on the circles of radius ``ratio``.
        ratio: The small radius, below 1.

    Returns:
        The mesh, of ``around`` times ``across`` vertices.

    Raises:
        ValueError: The small radius is not between 0 and 1, or fewer than 3 vertices on a circle.
    """
    if not 0 < ratio < 1 or min(around, across) < 3:
        raise ValueError(
            f"torus_mesh: 3 vertices on each circle and a ratio in (0, 1) are needed, got {around}, {across}, {ratio}"
        )
    i, j = np.indices((around, across))
    a, b = 2 * np.pi * i / around, 2 * np.pi * j / across
    out = 1 + ratio * np.cos(b)
    vertices = np.stack([out * np.cos(a), out * np.sin(a), ratio * np.sin(b)], -1).reshape(-1, 3)

    def at(i, j):
        return (i % around) * across + j % across

    squares = at(i, j), at(i + 1, j), at(i + 1, j + 1), at(i, j + 1)
    p, q, r, s = (c.ravel() for c in squares)
    return TriangleMesh(
        vertices, np.concatenate([np.stack([p, q, r], -1), np.stack([p, r, s], -1)])
    )
