"""Random convex polyhedra, and what is measured of them: counts of the true faces, volume, area, angles."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull, QhullError


# of a corner's distance from the plane of its neighbor, in units of the polyhedron
TOLERANCE = 1e-9


class Polyhedron(NamedTuple):
    """Counts and measures of one convex polyhedron; no relation between them has been used."""

    edges: int
    vertices: int
    faces: int
    volume: float
    area: float
    angle: float
    """the angles of the faces at a vertex, their sum, on average over the vertices; radians"""


def measure(points: np.ndarray) -> Polyhedron:
    """Of the convex polyhedron with these vertices (n, 3).

    Triangles of the hull that lie in one plane are one face. Edges are pairs of faces that meet.

    Raises:
        ValueError: not finite points in space; they lie in a plane, or some of them are no vertices of their hull, as
            of a polyhedron that is not convex.
    """
    points = np.asarray(points, float)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise ValueError(f"no polyhedron: finite points (n, 3) are needed, got {points.shape}")
    try:
        hull = ConvexHull(points)
    except QhullError as error:
        raise ValueError(f"no polyhedron: the {len(points)} points do not span space") from error
    normal, offset = hull.equations[:, :3], hull.equations[:, 3]
    size = np.ptp(points)
    count = len(hull.simplices)
    here, there = np.repeat(np.arange(count), 3), hull.neighbors.ravel()
    # a neighbor is in the same plane where all its corners are
    away = np.einsum("ki,kji->kj", normal[here], points[hull.simplices[there]]) + offset[here, None]
    flat = np.max(np.abs(away), 1) < TOLERANCE * size
    graph = coo_array((np.ones(flat.sum()), (here[flat], there[flat])), (count, count))
    faces, face = connected_components(graph, directed=False)
    pairs = np.sort(np.stack([face[here], face[there]], 1)[face[here] != face[there]], 1)
    corners = np.unique(np.stack([hull.simplices.ravel(), np.repeat(face, 3)], 1), axis=0)
    at = np.bincount(corners[:, 0], minlength=len(points))  # faces that meet at each point
    if np.any(at < 3):
        raise ValueError(
            f"not the vertices of a convex polyhedron: {np.sum(at < 3)} of {len(points)} points are no corners of "
            "their hull"
        )
    return Polyhedron(
        edges=len(np.unique(pairs, axis=0)),
        vertices=len(points),
        faces=int(faces),
        volume=float(hull.volume),
        area=float(hull.area),
        angle=float(np.mean(_angles(points, hull.simplices))),
    )


def _angles(points, triangles):
    """The sum of the triangles' angles at each point."""
    corner = points[triangles]
    a, b = np.roll(corner, -1, 1) - corner, np.roll(corner, 1, 1) - corner
    angle = np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.sum(a * b, -1))
    total = np.zeros(len(points))
    np.add.at(total, triangles.ravel(), angle.ravel())
    return total


# ---------------------------------------------------------------------------------------------------
# Families: vertices (n, 3) of a random member
# ---------------------------------------------------------------------------------------------------


def simplicial(rng: np.random.Generator) -> np.ndarray:
    """Points on the sphere: all faces are triangles."""
    return _on_sphere(rng, rng.integers(4, 40))


def simple(rng: np.random.Generator) -> np.ndarray:
    """Between planes that touch the sphere: three faces meet at each vertex."""
    while True:
        normals = _on_sphere(rng, rng.integers(4, 24))
        if np.all(ConvexHull(normals).equations[:, 3] < -0.1):  # bounded, and not too pointed
            return _between(normals)


def truncated(rng: np.random.Generator) -> np.ndarray:
    """Points on the sphere, some of them cut off by a plane: faces of many kinds."""
    while True:
        points = _on_sphere(rng, rng.integers(5, 14))
        hull = ConvexHull(points)
        if np.all(hull.equations[:, 3] < -0.1):
            break
    walls = hull.equations[:, :3] / -hull.equations[:, 3:]
    cut = rng.random(len(points)) < rng.uniform(0.2, 1)
    near = np.max(points @ points.T - 2 * np.eye(len(points)), 1)  # cosine to the next point
    # planes that cut one point off, and no other point, nor each other
    walls = np.concatenate([walls, points[cut] / (0.3 * near + 0.7)[cut, None]])
    return _between(walls)


def prism(rng: np.random.Generator) -> np.ndarray:
    """Over a random polygon, oblique."""
    base = _polygon(rng, rng.integers(3, 18))
    return np.concatenate([base, base + np.array([*rng.normal(size=2), rng.uniform(0.5, 2)])])


def pyramid(rng: np.random.Generator) -> np.ndarray:
    """Over a random polygon, with one apex or with two."""
    base = _polygon(rng, rng.integers(3, 24))
    tips = np.array([[0, 0, 1.0], [0, 0, -1.0]])[: rng.integers(1, 3)]
    return np.concatenate([base, tips * rng.uniform(0.5, 2)])


FAMILIES: tuple[Callable[[np.random.Generator], np.ndarray], ...] = (
    simplicial,
    simple,
    truncated,
    prism,
    pyramid,
)


def sample(rng: np.random.Generator, count: int) -> list[Polyhedron]:
    """Polyhedra of all families in turn, stretched along three axes and of random size."""
    found = []
    for k in range(count):
        points = FAMILIES[k % len(FAMILIES)](rng)
        stretch = np.exp(rng.uniform(-0.7, 0.7, 3) + rng.uniform(-1, 1))
        found.append(measure(points * stretch))
    return found


def _on_sphere(rng, n):
    x = rng.normal(size=(n, 3))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _polygon(rng, n):
    """Points on a circle about the origin, no two of them too near."""
    angle = 2 * np.pi * (np.arange(n) + rng.uniform(-0.3, 0.3, n)) / n
    return np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)


def _between(walls):
    """Vertices of the polyhedron a x <= 1 for all rows a of the walls: the planes of the dual's faces."""
    equations = ConvexHull(walls).equations
    corners = equations[:, :3] / -equations[:, 3:]
    return corners[np.unique(np.round(corners, 7), axis=0, return_index=True)[1]]
