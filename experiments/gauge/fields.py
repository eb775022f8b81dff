"""The turned gradient of a scalar field on a surface: a vector that no isotropic network can point anywhere."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments._run import Run
from experiments.gauge import pictures, regression, surfaces
from geodl.datasets.files import data_dir
from geodl.equivariant import TriangleMesh


TESTS = ("given frames", "random frames", "turned surface")


@dataclass(frozen=True)
class Fields(regression.Training):
    """The protocol."""

    name: str = "default"
    surfaces: tuple[str, ...] = ("torus",)
    """`torus` (deformed), or files of GEODL_DATA/meshes without `_simp.obj`; those that are not there are skipped"""
    reach: float = 2.2
    """radius of the neighborhoods, by the distance of neighboring points"""
    fields: int = 32
    """to train on; a quarter to choose the learning rate by, and a quarter to test on"""
    gauges: int = 2
    """random gauges, and rotations of the surface, that the test fields are seen in"""
    root: str = "runs"


def run(config: Fields) -> dict[regression.Cell, dict[str, Any]]:
    """Train and test every network on every surface; tables and pictures land in the run's folder."""
    run = Run("gauge-fields", config, ("surfaces", "models", "seeds"))
    meshes = {name: mesh for name in config.surfaces if (mesh := surface(name)) is not None}
    problems = {name: problem(config, mesh) for name, mesh in meshes.items()}
    scored = regression.fill(run, config, problems)
    for name, mesh in meshes.items():
        scene = problems[name].tests["random frames"][0]
        found = regression.predictions(run, config, problems[name], name, scored, scene)
        pictures.vectors_on(
            run.folder / f"{name}.png", mesh, np.asarray(scene.inputs[0, :, 0]), found
        )
    run.finish(regression.table(scored, TESTS))
    return scored


def surface(name: str) -> TriangleMesh | None:
    """By name; None, and a word of it, where its file is not there."""
    if name == "torus":
        return surfaces.deformed_torus()
    try:
        return surfaces.read_mesh(data_dir() / "meshes" / f"{name}_simp.obj")
    except FileNotFoundError as error:
        print(f"{name}: skipped, {error}")
        return None


def problem(config: Fields, mesh: TriangleMesh) -> regression.Problem:
    """The scenes of a mesh, in upright frames."""
    radius = config.reach * float(np.sqrt(mesh.areas.mean()))
    near = mesh.neighborhoods(radius, np.float32)
    some = max(1, config.fields // 4)
    counts = (config.fields, some, some)
    own = [surfaces.scene(mesh, near, count, seed) for seed, count in enumerate(counts)]
    train, validation, given = (surfaces.turned(scene, np.eye(3)) for scene in own)
    test, turns = own[2], surfaces.rotations(config.gauges, 0)
    tests = {
        "given frames": [given],
        "random frames": [test.randomly_framed(jax.random.key(i)) for i in range(config.gauges)],
        "turned surface": [surfaces.turned(test, turn) for turn in turns],
    }
    return regression.Problem(radius, train, validation, tests)
