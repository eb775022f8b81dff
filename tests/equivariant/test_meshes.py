"""Triangle meshes against the surfaces that they approximate."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ellipeinc

from geodl.equivariant.meshes import TriangleMesh, sphere_mesh, torus_mesh


def angle(matrix):
    return np.arctan2(matrix[1, 0], matrix[0, 0])


def test_curvature_and_holonomy():
    for mesh, whole, area in (
        (sphere_mesh(2), 4 * np.pi, 4 * np.pi),
        (torus_mesh(30, 15), 0, 1.6 * np.pi**2),
    ):
        np.testing.assert_allclose(mesh.curvature.sum(), whole, atol=1e-9)
        np.testing.assert_allclose(mesh.areas.sum(), area, rtol=0.03)
        found = sum(angle(mesh.holonomy(face)) for face in mesh.faces.tolist())
        np.testing.assert_allclose(found, whole, atol=1e-9)
        # the same surface from inside
        inside = TriangleMesh(mesh.vertices, mesh.faces[:, ::-1])
        face = inside.faces[7].tolist()
        np.testing.assert_allclose(angle(inside.holonomy(face)), angle(mesh.holonomy(face[::-1])))


def test_holonomy_of_a_cap_is_its_area():
    """Along a loop of edges around a pole of the sphere: the curvature of all triangles inside."""
    mesh = sphere_mesh(3)
    pole = int(np.argmax(mesh.vertices[:, 2]))
    loop = [pole]
    inside = set()
    for _ in range(3):  # rings: the outer border of all triangles that touch what is inside
        inside |= set(loop)
        edges = {}
        for i, j, k in mesh.faces.tolist():
            for a, b, c in ((i, j, k), (j, k, i), (k, i, j)):
                if a in inside and b not in inside and c not in inside:
                    edges[b] = c
        loop = [min(edges)]
        while edges[loop[-1]] != loop[0]:
            loop.append(edges[loop[-1]])
    within = inside | set(loop)
    triangles = [f for f in mesh.faces.tolist() if set(f) <= within]
    u, v, w = (mesh.vertices[[f[i] for f in triangles]] for i in range(3))
    triple = np.einsum("ij,ij->i", u, np.cross(v, w))
    cosines = 1 + np.sum(u * v + v * w + w * u, -1)
    area = np.sum(
        2 * np.arctan2(triple, cosines)
    )  # Van Oosterom & Strackee, of spherical triangles
    np.testing.assert_allclose(angle(mesh.holonomy(loop)), area, rtol=0.02)


def test_log_maps_and_transport_of_a_sphere():
    mesh = sphere_mesh(3)
    near = mesh.neighborhoods(0.5)
    index, weight = np.asarray(near.indices), np.asarray(near.weight)
    x, y, frames = mesh.vertices[:, None], mesh.vertices[index], mesh.frames
    counts = weight > 0
    cosine = np.clip(np.sum(x * y, -1, keepdims=True), -1, 1)
    across = y - cosine * x
    length = np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-12)
    log = np.arccos(cosine) * across / length
    assert np.abs(near.log - np.einsum("nkc,nic->nki", log, frames))[counts].max() < 8e-3
    everyone = mesh.vertices @ mesh.vertices.T
    assert counts.sum() == pytest.approx(np.sum(everyone > np.cos(0.5)), rel=0.02)
    # v - <x, v> / (1 + <x, y>) (x + y), from y to x
    v = frames[index]
    share = np.einsum("nkc,nkjc->nkj", np.broadcast_to(x, y.shape), v) / (1 + cosine)
    carried = v - share[..., None] * (x + y)[:, :, None]
    matrices = np.einsum("nkjc,nic->nkij", carried, frames)
    assert np.abs(near.transport - matrices)[counts].max() < 1e-2
    np.testing.assert_allclose(weight.sum(-1), 2 * np.pi * (1 - np.cos(0.5)), rtol=0.25)


def test_an_ellipsoid():
    """A prolate spheroid: its area, its curvature, distances from a tip along meridians."""
    ball = sphere_mesh(3)
    a, c = 0.7, 1.0
    mesh = replace(ball, vertices=ball.vertices * [a, a, c])
    e = np.sqrt(1 - a**2 / c**2)
    np.testing.assert_allclose(
        mesh.areas.sum(), 2 * np.pi * a**2 * (1 + c / (a * e) * np.arcsin(e)), rtol=0.01
    )
    np.testing.assert_allclose(mesh.curvature.sum(), 4 * np.pi, atol=1e-9)
    # more curved at the tips, c^2 / a^4, than on the belt, 1 / c^2
    density = mesh.curvature / mesh.areas
    tip, belt = np.argmax(mesh.vertices[:, 2]), np.abs(mesh.vertices[:, 2]) < 0.1
    np.testing.assert_allclose(density[tip], c**2 / a**4, rtol=0.1)
    np.testing.assert_allclose(density[belt].mean(), 1 / c**2, rtol=0.1)
    near = mesh.neighborhoods(0.4)
    counts = np.asarray(near.weight[tip]) > 0
    seen = mesh.vertices[near.indices[tip]][counts]
    # from the tip: (a sin t, c cos t), of length int sqrt(a^2 cos^2 + c^2 sin^2) dt
    t = np.arctan2(np.linalg.norm(seen[:, :2] / a, axis=-1), seen[:, 2] / c)
    asked = a * ellipeinc(t, 1 - c**2 / a**2)
    found = np.linalg.norm(near.log[tip], axis=-1)[counts]
    np.testing.assert_allclose(found, asked, atol=0.01)


def test_what_is_no_closed_surface():
    faces = sphere_mesh(0).faces
    with pytest.raises(ValueError, match="do not close"):
        TriangleMesh(sphere_mesh(0).vertices, faces[1:])
    with pytest.raises(ValueError, match="on one side"):
        TriangleMesh(sphere_mesh(0).vertices, np.concatenate([faces, faces[:1]]))
    with pytest.raises(ValueError, match="around vertex 12 are not one fan"):
        TriangleMesh(np.concatenate([sphere_mesh(0).vertices, np.ones((1, 3))]), faces)
    with pytest.raises(ValueError, match=r"faces .* of indices of the 11 vertices are needed"):
        TriangleMesh(sphere_mesh(0).vertices[1:], faces)
    with pytest.raises(ValueError, match=r"finite vertices .* are needed"):
        TriangleMesh(sphere_mesh(0).vertices * np.nan, faces)
    with pytest.raises(ValueError, match="an edge has no length in triangle, got 20"):
        TriangleMesh(sphere_mesh(0).vertices, np.concatenate([faces, [[0, 0, 1]]]))
    with pytest.raises(ValueError, match=r"a ratio in \(0, 1\) are needed"):
        torus_mesh(8, 6, 1.5)
    with pytest.raises(ValueError, match="radius must be positive"):
        sphere_mesh(0).neighborhoods(-1.0)
    with pytest.raises(ValueError, match="are no neighbors"):
        mesh = sphere_mesh(1)
        mesh.holonomy([0, int(np.argmin(mesh.vertices @ mesh.vertices[0])), 0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bunny_simp", "spot_simp"])
def test_real_meshes(name, data_dir):
    """Scanned and modelled animals: all vertices have neighborhoods, distances are no shorter than straight lines."""
    rows = [line.split() for line in (data_dir / "meshes" / f"{name}.obj").read_text().splitlines()]
    vertices = np.array([row[1:4] for row in rows if row[:1] == ["v"]], float)
    faces = (
        np.array([[c.split("/")[0] for c in row[1:4]] for row in rows if row[:1] == ["f"]], int) - 1
    )
    mesh = TriangleMesh(vertices / np.ptp(vertices), faces)
    assert (
        abs(mesh.curvature.sum() / (2 * np.pi) - round(mesh.curvature.sum() / (2 * np.pi))) < 1e-9
    )
    radius = 3 * np.sqrt(mesh.areas.mean())
    near = mesh.neighborhoods(radius)
    straight = np.linalg.norm(mesh.vertices[:, None] - mesh.vertices[near.indices], axis=-1)
    length = np.linalg.norm(near.log, axis=-1)
    assert np.all(length >= straight * (1 - 1e-6))
    assert np.all(np.sum(near.weight > 0, -1) > 3)
