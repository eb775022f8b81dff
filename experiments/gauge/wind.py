"""Wind from geopotential and the height of the pole: on a generated globe, or on ERA-Interim's monthly means."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import RegularGridInterpolator
from scipy.io import netcdf_file

from experiments._run import Run
from experiments.gauge import pictures, regression
from experiments.gauge.points import fibonacci
from experiments.gauge.surfaces import Scene, rotations, waves
from geodl.datasets.files import data_dir
from geodl.equivariant import neighborhoods
from geodl.equivariant.gauge import Neighborhoods, gauge_of_vectors
from geodl.manifolds import Sphere


TESTS = ("given frames", "random frames", "turned globe")


@dataclass(frozen=True)
class Wind(regression.Training):
    """The protocol."""

    name: str = "default"
    data: Literal["generated", "era"] = "generated"
    """`era`: GEODL_DATA/era_interim_uvz; January is learned, July is tested"""
    points: int = 600
    radius: float = 0.35
    fields: int = 32
    """generated ones, to train on; a quarter to choose the learning rate by, and a quarter to test on"""
    gauges: int = 2
    """random gauges, and rotations of the globe, that the test fields are seen in"""
    friction: float = 0.5
    """of the generated flow, over the Coriolis parameter at the pole"""
    steps: int = 300
    root: str = "runs"


def run(config: Wind) -> dict[regression.Cell, dict[str, Any]]:
    """Train and test every network; the table lands in the run's folder."""
    run = Run("gauge-wind", config, ("models", "seeds"))
    globe = problem(config)
    scored = regression.fill(run, config, {config.data: globe})
    scene = globe.tests["given frames"][0]
    found = regression.predictions(run, config, globe, config.data, scored, scene)
    mesh = pictures.hull(fibonacci(config.points))
    pictures.vectors_on(run.folder / "wind.png", mesh, np.asarray(scene.inputs[0, :, 0]), found)
    run.finish(regression.table(scored, TESTS))
    return scored


class Globe(NamedTuple):
    """Weather as functions of unit vectors x (n, 3), its potential (fields, n) and wind in space (fields, n, 3)."""

    potential: Callable[[np.ndarray], np.ndarray]
    wind: Callable[[np.ndarray], np.ndarray]


def generated(config: Wind, count: int, seed: int) -> Globe:
    """Random geopotentials Phi, and the wind that balances them: sin(latitude) n x u + friction u = -grad Phi."""

    def potential(x):
        return waves(x, count, seed)[0]

    def wind(x):
        gradient = waves(x, count, seed)[1] / np.pi
        gradient = gradient - np.sum(gradient * x, -1, keepdims=True) * x
        turned, spin = np.cross(x, gradient), x[:, 2:]
        return (spin * turned - config.friction * gradient) / (spin**2 + config.friction**2)

    return Globe(potential, wind)


def era(path: Path, month: int) -> Globe:
    """Three levels of January (0) or July (1): geopotential without each level's mean, wind as vectors in space."""
    with netcdf_file(path, mmap=False) as file:
        values = {
            name: file.variables[name][month] * file.variables[name].scale_factor
            + file.variables[name].add_offset
            for name in "zuv"
        }
        latitude = np.radians(np.array(file.variables["latitude"][:], float))
        longitude = np.radians(np.array(file.variables["longitude"][:], float))
    lat, lon = np.meshgrid(latitude, longitude, indexing="ij")
    east = np.stack([-np.sin(lon), np.cos(lon), 0 * lon], -1)
    north = np.stack([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)], -1)
    wind = values["u"][..., None] * east + values["v"][..., None] * north
    area = np.cos(lat) / np.cos(lat).sum()
    potential = values["z"] - np.sum(values["z"] * area, (1, 2), keepdims=True)
    both = np.moveaxis(np.concatenate([potential[..., None], wind], -1), 0, -2)
    both = np.concatenate([both, both[:, :1]], 1)[::-1]  # round the globe; latitudes that rise
    around = np.append(longitude, longitude[0] + 2 * np.pi)
    at = RegularGridInterpolator((latitude[::-1], around), both)

    def sampled(x):
        angle = np.arctan2(x[:, 1], x[:, 0])
        angle = (angle - longitude[0]) % (2 * np.pi) + longitude[0]
        return np.moveaxis(at(np.stack([np.arcsin(np.clip(x[:, 2], -1, 1)), angle], -1)), 1, 0)

    return Globe(lambda x: sampled(x)[..., 0], lambda x: sampled(x)[..., 1:])


def frames(x: np.ndarray) -> np.ndarray:
    """Vectors to the north and to the west (n, 2, 3) at unit vectors x (n, 3)."""
    north = np.array([0, 0, 1.0]) - x[:, 2:] * x
    north = north / np.linalg.norm(north, axis=-1, keepdims=True)
    return np.stack([north, np.cross(x, north)], 1)


def scene(globe: Globe, x: np.ndarray, near: Neighborhoods, turn: np.ndarray) -> Scene:
    """The globe turned in space, seen at unit vectors x in frames to the fixed north and west."""
    back = x @ turn  # of the globe's own coordinates
    potential, wind = globe.potential(back), globe.wind(back) @ turn.T
    spin = np.broadcast_to(back[:, 2], potential.shape)
    vectors = np.einsum("nij,fnj->fni", frames(x), wind)
    arrays = (np.stack([potential, spin], -1), vectors, frames(x))
    return Scene(near, *(jnp.asarray(a, jnp.float32) for a in arrays))


def problem(config: Wind) -> regression.Problem:
    """The scenes: potential and wind in units of their standard deviation in training."""
    x = fibonacci(config.points)
    points = jnp.asarray(x, jnp.float32)
    own = neighborhoods(Sphere(2), points, 4 * np.pi / len(x), config.radius)
    near = own.in_gauge(gauge_of_vectors(Sphere(2), points, jnp.asarray(frames(x), jnp.float32)))
    if config.data == "era":
        path = data_dir() / "era_interim_uvz" / "eraint_uvz.nc"
        learned, test = era(path, 0), era(path, 1)
        validation = learned
    else:
        some = max(1, config.fields // 4)
        counts = (config.fields, some, some)
        learned, validation, test = (generated(config, n, seed) for seed, n in enumerate(counts))
    upright, turns = np.eye(3), rotations(config.gauges, 0)
    first = scene(learned, x, near, upright)
    of_inputs = jnp.array([jnp.std(first.inputs[..., 0]), 1.0])
    of_vectors = jnp.sqrt(jnp.mean(jnp.square(first.vectors)))

    def scaled(scene):
        return scene._replace(inputs=scene.inputs / of_inputs, vectors=scene.vectors / of_vectors)

    given = scaled(scene(test, x, near, upright))
    tests = {
        "given frames": [given],
        "random frames": [given.randomly_framed(jax.random.key(i)) for i in range(config.gauges)],
        "turned globe": [scaled(scene(test, x, near, turn)) for turn in turns],
    }
    held_out = scaled(scene(validation, x, near, upright))
    return regression.Problem(config.radius, scaled(first), held_out, tests)
