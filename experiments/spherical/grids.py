"""How far nonlinearities on grids are from commuting with rotations, on SO(3) and on the sphere; no training."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments import _images
from experiments._run import Run, markdown_table
from experiments.spherical import data
from geodl.equivariant import harmonics, spherical
from geodl.manifolds import SO3


DEGREES, KEPT, IMAGE = 10, 6, 30  # of the features, of their ReLU, of the pictures

# Rings, longitudes, turns in gamma and the largest |n|
LAYOUTS = (
    (10, 20, 20, 9),
    (13, 26, 26, 9),
    (14, 28, 22, 9),
    (15, 30, 19, 9),
    (18, 36, 13, 4),
    (20, 40, 11, 2),
    (22, 40, 10, 1),
    (24, 45, 8, 1),
    (24, 48, 7, 1),
    (29, 58, 5, 1),
    (15, 30, 30, 9),
    (20, 40, 40, 9),
)

FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "none": lambda x: x,
    "ReLU": jax.nn.relu,
    "leaky ReLU, 0.2": partial(jax.nn.leaky_relu, negative_slope=0.2),
    "GELU": jax.nn.gelu,
}


@dataclass(frozen=True)
class Grids:
    """The protocol."""

    name: str = "default"
    data: _images.Data = "auto"
    download: bool = False
    images: int = 8
    rotations: int = 4
    root: str = "runs"


def run(config: Grids) -> dict[str, list[dict[str, Any]]]:
    """Both tables; they land in the run's folder."""
    images, found = _images.load(config.data, config.download)
    run = Run("spherical-grids", config, data=found)
    grid = harmonics.gauss_legendre(IMAGE)
    x, labels = images.test_images[: config.images], images.test_labels[: config.images]
    at = data.points(grid)
    sphere = data.on_sphere(jax.random.key(0), x / np.float32(255), labels, at, False)
    # As networks are fed: in the background nothing is at ReLU's kink.
    pictures = (sphere.images - jnp.mean(sphere.images)) / jnp.std(sphere.images)
    turns = SO3().random_uniform(jax.random.key(1), (config.rotations,), dtype=np.float32)
    on_rotations = rotation_rows(pictures, grid, turns)
    on_sphere = sphere_rows(pictures, grid, turns)
    run.finish(f"{markdown_table(on_rotations)}\n\n{markdown_table(on_sphere)}")
    return {"rotations": on_rotations, "sphere": on_sphere}


def rotation_rows(images, grid, turns):
    """Features after a lifting convolution, as initialised; a row for each layout."""
    transform = harmonics.sphere_transform(DEGREES, grid, np.float32)
    kernel = spherical.sphere_kernel(DEGREES, np.pi / 8, dtype=np.float32)
    spectrum = kernel.spectrum(kernel.init(jax.random.key(0), 1, 20))
    f = spherical.lift(transform.analyze(jnp.transpose(images, (2, 1, 0, 3))), spectrum)
    rows = []
    for rings, longitudes, gammas, orders in LAYOUTS:
        layout = replace(harmonics.gauss_legendre(DEGREES, rings), longitudes=longitudes)
        grid = harmonics.rotation_transform(DEGREES, orders, layout, gammas, np.float32)
        tables = grid, harmonics.rotator(DEGREES, np.float32)
        bias = jnp.zeros((orders + 1, 1))
        functions = {
            name: partial(spherical.pointwise, function=function, degrees=KEPT)
            for name, function in FUNCTIONS.items()
        } | {"magnitudes of spins": partial(spherical.magnitudes, bias=bias, degrees=KEPT)}
        rows.append(
            {
                "rings x longitudes x turns": f"{rings} x {longitudes} x {gammas}",
                "points": f"{rings * longitudes * gammas:,}",
                "orders": f"<= {orders}",
            }
            | {
                name: f"{_rotation_gap(function, tables, f[:, : orders + 1], turns):.1e}"
                for name, function in functions.items()
            }
        )
    return rows


def _rotation_gap(function, tables, f, turns):
    """|phi(Q f) - Q phi(f)| / |phi(f)|, the mean over rotations and pictures; norms over SO(3) and channels."""
    grid, rotator = tables
    copies = jnp.stack([f, *(_rotated(rotator, f, turn) for turn in turns)], 5)
    found = jax.jit(function)(grid, copies.reshape(*f.shape[:5], -1, f.shape[-1]))
    found = found.reshape(*found.shape[:5], -1, *f.shape[5:])
    plain, norm = found[:, :, :, :, :, 0], _norm(found[:, :, :, :, :, 0])
    gaps = []
    for i, turn in enumerate(turns, 1):
        difference = found[:, :, :, :, :, i] - _rotated(rotator, plain, turn)
        gaps.append(_norm(difference) / norm)
    return float(np.mean(gaps))


@jax.jit
def _rotated(rotator, f, turn):
    few = harmonics.Rotator(rotator.quarter[:, : len(f), : len(f), : len(f)])
    return few.rotate_left(f, turn)


def _norm(f):
    """Of each picture's features (m, n, l, s, t, batch, channel)."""
    squares = jnp.sum(jnp.square(f), (0, 1, 3, 4, 6))
    return jnp.sqrt(jnp.sum((2 * np.arange(len(squares)) + 1)[:, None] * squares, 0))


def sphere_rows(images, grid, turns):
    """ReLU of pictures of 16 degrees, back to 8, on grids of the sphere of like numbers of points."""
    degrees, kept = 16, 8
    f = harmonics.sphere_transform(degrees, grid, np.float32).analysis(images[..., 0])
    rotator = harmonics.rotator(degrees, np.float32)
    rows, transforms = [], {}
    on_grid = partial(harmonics.sphere_transform, degrees, dtype=np.float32)
    for n in (16, 20, 28):
        transforms[f"Gauss-Legendre, {n} rings"] = on_grid(harmonics.gauss_legendre(degrees, n))
    for n in (16, 20):
        transforms[f"Driscoll-Healy, {n} degrees"] = on_grid(harmonics.driscoll_healy(n))
    for nside in (8, 12, 16):
        fitted = harmonics.healpix_transform(degrees, nside, np.float32)
        transforms[f"HEALPix, nside {nside}, least squares"] = fitted
    for name, transform in transforms.items():
        gap, back, seconds = _sphere_gap(transform, rotator, f, turns, kept)
        rows.append(
            {
                "grid": name,
                "points": transform.synthesis(f)[0].size,
                "round trip": f"{back:.0e}",
                "ReLU, degrees < 8": f"{gap:.1e}",
                "analysis, ms": f"{1e3 * seconds:.2f}",
            }
        )
    return rows


def _sphere_gap(transform, rotator, f, turns, kept):
    """Of ReLU on the grid, the error of the round trip, and CPU seconds of an analysis."""

    @jax.jit
    def relu(transform, f):
        return transform.analysis(jax.nn.relu(transform.synthesis(f)))[..., : kept**2]

    analyze = jax.jit(lambda transform, y: transform.analysis(y))
    few = harmonics.Rotator(rotator.quarter[:, :kept, :kept, :kept])
    plain, values = relu(transform, f), transform.synthesis(f)
    back = jnp.linalg.norm(analyze(transform, values) - f) / jnp.linalg.norm(f)
    gaps = []
    for turn in turns:
        difference = relu(transform, rotator.sphere(f, turn)) - few.sphere(plain, turn)
        gaps.append(jnp.linalg.norm(difference, axis=-1) / jnp.linalg.norm(plain, axis=-1))
    seconds = []
    for _ in range(20):
        start = time.process_time()
        jax.block_until_ready(analyze(transform, values))
        seconds.append(time.process_time() - start)
    return float(np.mean(gaps)), float(back), min(seconds)
