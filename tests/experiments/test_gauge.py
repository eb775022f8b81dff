"""Fields on surfaces: the truth that networks are measured by, what frames and turns do, and experiments that end."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.gauge import digits, fields, points, regression, surfaces, wind
from geodl.equivariant.meshes import sphere_mesh


TINY = fields.Fields(
    fields=4, steps=2, models=("gauge",), learning_rates=(1e-2,), seeds=(0,), gauges=1
)


def test_waves_have_their_gradient():
    x, step = np.random.default_rng(0).normal(size=(5, 3)), 1e-5
    values, gradients = surfaces.waves(x, 2, 0)
    for i, e in enumerate(np.eye(3)):
        there, back = (surfaces.waves(x + sign * step * e, 2, 0)[0] for sign in (1, -1))
        np.testing.assert_allclose(gradients[..., i], (there - back) / (2 * step), atol=1e-6)
    assert values.shape == (2, 5)


def test_turned_gradients_of_a_height_go_to_the_west():
    """On the sphere n x grad z = (y, -x, 0): to the west."""
    mesh = sphere_mesh(2)
    x = mesh.vertices
    up = np.broadcast_to([0, 0, 1.0], x.shape)
    found = np.einsum("ni,nij->nj", surfaces.turned_gradients(mesh.frames, up), mesh.frames)
    asked = np.stack([x[:, 1], -x[:, 0], 0 * x[:, 2]], -1)
    np.testing.assert_allclose(found, asked, atol=0.03)  # normals are those of the mesh


@pytest.fixture(scope="module")
def problem():
    return fields.problem(
        TINY, replace(sphere_mesh(1), vertices=sphere_mesh(1).vertices * [1, 0.8, 0.6])
    )


def test_frames_change_components_and_not_vectors(problem, key):
    given = problem.tests["given frames"][0]
    seen = given.randomly_framed(key)
    np.testing.assert_allclose(
        given.in_space(given.vectors), seen.in_space(seen.vectors), atol=1e-5
    )
    # the first frame points up, and a turn in space changes frames but no lengths
    assert np.all(given.frames[:, 0, 2] >= np.abs(given.frames[:, 1, 2]) - 1e-6)
    turned = problem.tests["turned surface"][0]
    length = [jnp.linalg.norm(s.vectors, axis=-1) for s in (given, turned)]
    np.testing.assert_allclose(*length, atol=1e-5)
    assert jnp.abs(turned.vectors - given.vectors).max() > 0.1


@pytest.mark.quick("gauge")
@pytest.mark.parametrize("model", ["gauge", "isotropic", "plain"])
def test_only_the_gauge_network_does_not_see_frames(model, problem, key):
    net = regression.network(model, 1)
    params = net.init(key)
    assert 7000 < sum(a.size for a in jax.tree.leaves(params)) < 8000

    @jax.jit
    def found(table, inputs):
        return net.apply(params, table, inputs)

    scenes = [problem.tests[name][0] for name in fields.TESTS]
    tables = [regression.table_of(model, scene, problem.radius) for scene in scenes]
    errors = [
        regression.relative(found(table, scene.inputs), scene.vectors)
        for table, scene in zip(tables, scenes, strict=True)
    ]
    assert (np.ptp(errors) < 1e-5) == (model == "gauge")


@pytest.mark.slow
def test_fields_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GEODL_DATA", str(tmp_path))
    small = replace(TINY, surfaces=("small", "spot"), root=str(tmp_path))
    monkeypatch.setattr(surfaces, "deformed_torus", lambda: sphere_mesh(1))
    scored = fields.run(replace(small, surfaces=("torus", "spot")))
    folder = tmp_path / "gauge-fields" / "default"
    assert "spot: skipped" in capsys.readouterr().out and (folder / "torus.png").exists()
    (found,) = scored.values()
    assert found["random frames"] == pytest.approx(found["given frames"], rel=1e-4)
    assert json.loads(next((folder / "results").glob("*.json")).read_text())["parameters"] == 7176


def test_generated_wind_is_in_balance():
    config = wind.Wind()
    x = points.fibonacci(50)
    globe = wind.generated(config, 2, 0)
    u, spin = globe.wind(x), x[:, 2:]
    gradient = surfaces.waves(x, 2, 0)[1] / np.pi
    gradient = gradient - np.sum(gradient * x, -1, keepdims=True) * x
    force = spin * np.cross(x, u) + config.friction * u + gradient
    np.testing.assert_allclose(force, 0 * force, atol=1e-12)


def test_a_turned_globe_has_the_same_weather(key):
    """Seen from where its points have gone, the vectors are the same ones, turned."""
    x = points.fibonacci(30)
    globe = wind.generated(wind.Wind(), 1, 0)
    turn = surfaces.rotations(1, 3)[0]
    here = wind.scene(globe, x, None, np.eye(3))
    there = wind.scene(globe, x @ turn.T, None, turn)
    np.testing.assert_allclose(here.inputs, there.inputs, atol=1e-5)
    vectors = here.in_space(here.vectors) @ turn.T
    np.testing.assert_allclose(vectors, there.in_space(there.vectors), atol=1e-4)


@pytest.mark.slow
def test_era_interim(data_dir):
    """Westerlies blow to the east in middle latitudes, and sampling at a grid point gives its value."""
    globe = wind.era(data_dir / "era_interim_uvz" / "eraint_uvz.nc", 0)
    lat, lon = np.radians(45.0), np.radians(np.arange(-180, 180, 30.0))
    x = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat) + 0 * lon], -1)
    east = np.stack([-np.sin(lon), np.cos(lon), 0 * lon], -1)
    upper = np.sum(globe.wind(x)[0] * east, -1)
    assert globe.potential(x).shape == (3, 12) and np.mean(upper) > 10


@pytest.mark.slow
def test_digits_end(tmp_path):
    config = digits.Digits(
        rotated=(True,),
        seeds=(0,),
        pictures=64,
        points=(60, 30, 20),
        radii=(0.8, 1.3),
        fields=(2, 2),
        steps=3,
        planar_steps=3,
        test=20,
        root=str(tmp_path),
    )
    scored = digits.run(config)
    assert {cell.model for cell in scored} == {"gauge", "spherical", "planar"}
    assert all(0 <= found["rotated_accuracy"] <= 100 for found in scored.values())
    assert digits.run(config) == scored


@pytest.mark.slow
def test_points_end(tmp_path):
    found = points.run(points.Points(numbers=(100, 400), root=str(tmp_path)))
    assert all(rows[1]["isometry"] < rows[0]["isometry"] for rows in found.values())
    assert (tmp_path / "gauge-points" / "default" / "orders.svg").exists()
