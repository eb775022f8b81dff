"""Surfaces, and smooth fields on them with the tangent vectors that a network is to find."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from geodl.equivariant import TriangleMesh
from geodl.equivariant.gauge import Neighborhoods
from geodl.equivariant.groups import so2
from geodl.equivariant.meshes import torus_mesh
from geodl.manifolds import SO3


class Scene(NamedTuple):
    """Fields on one set of points, in one gauge.

    Attributes:
        near: neighborhoods of the n points, in the gauge.
        inputs: scalars (fields, n, channels).
        vectors: what is to be found (fields, n, 2): components in the gauge.
        frames: its vectors in space (n, 2, 3).
    """

    near: Neighborhoods
    inputs: Array
    vectors: Array
    frames: Array

    def in_gauge(self, gauge: Array) -> "Scene":
        """The same fields in other frames (n, 2, 2), given in those of now."""
        return Scene(
            self.near.in_gauge(gauge),
            self.inputs,
            jnp.sum(self.vectors[..., None] * gauge, -2),
            jnp.sum(gauge[..., None] * self.frames[:, :, None], 1),
        )

    def in_space(self, vectors: Array) -> np.ndarray:
        """Vectors (..., n, 3) of components (..., n, 2) in the scene's frames."""
        return np.einsum("...ni,nij->...nj", vectors, self.frames)

    def randomly_framed(self, key: Array) -> "Scene":
        """The same fields in frames turned at random at every point."""
        return self.in_gauge(so2().random(key, self.vectors.shape[1], self.vectors.dtype))


def deformed_torus() -> TriangleMesh:
    """A torus that is bent and thicker on one side: no rotation maps it to itself."""
    mesh = torus_mesh(40, 14)
    x, y, z = mesh.vertices.T
    thick = 1 + 0.35 * np.sin(np.arctan2(y, x) + 0.4)
    bent = np.stack([x, y, z * thick + 0.35 * x**2 - 0.2 * x * y], -1)
    return replace(mesh, vertices=bent)


def read_mesh(path: Path) -> TriangleMesh:
    """The triangles of an OBJ file, its longest extent 2."""
    rows = [line.split() for line in path.read_text().splitlines()]
    vertices = np.array([row[1:4] for row in rows if row[:1] == ["v"]], float)
    corners = [[corner.split("/")[0] for corner in row[1:4]] for row in rows if row[:1] == ["f"]]
    vertices = vertices - vertices.mean(0)
    return TriangleMesh(2 * vertices / np.ptp(vertices, 0).max(), np.array(corners, int) - 1)


def upright(frames: np.ndarray) -> np.ndarray:
    """The gauge (n, 2, 2) whose first vectors point along the z axis as far as they can, in frames (n, 2, 3)."""
    first = frames[:, :, 2]
    first = first / np.linalg.norm(first, axis=-1, keepdims=True)
    return np.stack([first, np.stack([-first[:, 1], first[:, 0]], -1)], -1)


def waves(x: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random smooth functions in space, each a sum of ten plane waves of length about 2, most of them along z.

    Returns:
        Values (count, n) at points x (n, 3), and gradients (count, n, 3).
    """
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(count, 10, 3)) * np.pi * np.array([0.3, 0.3, 1.2])
    phase = rng.uniform(0, 2 * np.pi, (count, 10, 1))
    a = rng.normal(size=(count, 10, 1)) / 10**0.5
    angle = np.einsum("cwi,ni->cwn", w, x) + phase
    return np.sum(a * np.sin(angle), 1), np.einsum("cwn,cwi->cni", a * np.cos(angle), w)


def turned_gradients(frames: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Components (..., n, 2) in frames (n, 2, 3) of gradients (..., n, 3), turned by +90 degrees in the surface."""
    a, b = np.moveaxis(np.einsum("nij,...nj->...ni", frames, gradients), -1, 0)
    return np.stack([-b, a], -1)


def scene(mesh: TriangleMesh, near: Neighborhoods, fields: int, seed: int) -> Scene:
    """Random scalar fields on a mesh and their turned gradients, in the mesh's own frames; both of size about 1."""
    values, gradients = waves(mesh.vertices, fields, seed)
    vectors = turned_gradients(mesh.frames, gradients) / np.pi
    arrays = (values[..., None], vectors, mesh.frames)
    return Scene(near, *(jnp.asarray(a, jnp.float32) for a in arrays))


def turned(scene: Scene, rotation: np.ndarray) -> Scene:
    """The surface and its fields turned in space, in upright frames."""
    scene = scene._replace(frames=scene.frames @ jnp.asarray(rotation.T, jnp.float32))
    return scene.in_gauge(jnp.asarray(upright(np.asarray(scene.frames)), jnp.float32))


def rotations(count: int, seed: int) -> np.ndarray:
    """Random rotations of space (count, 3, 3)."""
    return np.asarray(SO3().random_uniform(jax.random.key(seed), (count,)))
