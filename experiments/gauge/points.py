"""Points with weights on the sphere, the torus and the disk, and how near a convolution on them is to the integral."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._run import Run, markdown_table
from experiments.gauge import pictures
from geodl.equivariant import FieldType, gauge_conv, harmonics, neighborhoods, stencil
from geodl.equivariant.groups import so2
from geodl.manifolds import Manifold, PoincareBall, Sphere, Torus, poincare


GOLDEN = np.pi * (3 - 5**0.5)  # the angle between successive points


def fibonacci(n: int) -> np.ndarray:
    """n unit vectors (n, 3) in a spiral from pole to pole, of equal weight."""
    i = np.arange(n) + 0.5
    height, angle = 1 - 2 * i / n, i * GOLDEN
    s = np.sqrt(1 - height**2)
    return np.stack([s * np.cos(angle), s * np.sin(angle), height], -1)


def on_sphere(n: int) -> tuple[np.ndarray, Any]:
    """Fibonacci's points and their weight."""
    return fibonacci(n), 4 * np.pi / n


def on_healpix(n: int) -> tuple[np.ndarray, Any]:
    """The centers of about n of HEALPix's pixels, and their weight."""
    nside = max(1, round((n / 12) ** 0.5))
    beta, alpha = harmonics.healpix_centers(nside)
    x = [np.sin(beta) * np.cos(alpha), np.sin(beta) * np.sin(alpha), np.cos(beta)]
    return np.stack(x, -1), 4 * np.pi / len(beta)


def on_torus(n: int) -> tuple[np.ndarray, Any]:
    """The Fibonacci lattice of at least n points, and their weight."""
    a, b = 1, 1
    while b < n:
        a, b = b, a + b
    i = np.arange(b)
    x = 2 * np.pi * np.stack([(i + 0.5) / b, (i * a / b) % 1], -1) - np.pi
    return x, 4 * np.pi**2 / b


def on_disk(n: int, edge: float = 0.85) -> tuple[np.ndarray, Any]:
    """A sunflower of n points in a disk, and their hyperbolic areas."""
    i = np.arange(n) + 0.5
    r, angle = edge * np.sqrt(i / n), i * GOLDEN
    x = r[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    return x, np.pi * edge**2 / n * (2 / (1 - r**2)) ** 2


class Space(NamedTuple):
    """Points of a surface, an isometry of it, and 40 points to look from."""

    manifold: Manifold
    points: Callable[[int], tuple[np.ndarray, Any]]
    move: Callable[[np.ndarray], np.ndarray]
    centers: np.ndarray


_TURN, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
_TURN = _TURN * np.sign(np.linalg.det(_TURN))


def _turned(x):
    return x @ _TURN.T


def _shifted(x):
    return (x + np.array([0.31, 0.17]) + np.pi) % (2 * np.pi) - np.pi


def _translated(x):
    return np.asarray(poincare.mobius_add(jnp.array([0.1, 0.05]), jnp.asarray(x), 1.0))


SPACES = {
    "sphere, Fibonacci": Space(Sphere(2), on_sphere, _turned, on_sphere(40)[0]),
    "sphere, HEALPix": Space(Sphere(2), on_healpix, _turned, on_sphere(40)[0]),
    "flat torus": Space(Torus(2), on_torus, _shifted, on_torus(40)[0]),
    "Poincaré disk": Space(PoincareBall(2, 1.0), on_disk, _translated, 0.3 * on_disk(40)[0]),
}


@dataclass(frozen=True)
class Points:
    """The protocol."""

    name: str = "default"
    numbers: tuple[int, ...] = (192, 768, 3072)
    """of points"""
    radius: float = 1.0
    root: str = "runs"


def run(config: Points) -> dict[str, list[dict[str, float]]]:
    """Measure every space at every number of points, in float64; table and picture land in the run's folder."""
    run = Run("gauge-points", config)
    with jax.enable_x64(True):
        found = {name: [error(config, s, n) for n in config.numbers] for name, s in SPACES.items()}
    pictures.orders(run.folder / "orders.png", found, config.radius)
    run.finish(table(found), found)
    return found


def error(config: Points, space: Space, n: int) -> dict[str, float]:
    """The norm of Phi(g f) - g Phi(f) over that of Phi(f), g moving the points, in the mean over a few outputs."""
    points, weights = space.points(n)
    centers, group = jnp.asarray(space.centers), so2()
    kind = FieldType([(group.irrep(m), 1) for m in range(3)])

    def output(x):
        near = neighborhoods(space.manifold, jnp.asarray(x), weights, config.radius, centers)
        net = gauge_conv(kind, kind, stencil(near, group, config.radius))
        params = jax.tree.map(lambda a: a.astype(float), net.init(jax.random.key(0)))
        return net.apply(params, smooth(space.manifold, x))

    here, there = output(points), output(space.move(points))
    size = jnp.linalg.norm(here)
    return {"points": len(points), "isometry": float(jnp.linalg.norm(there - here) / size)}


def smooth(manifold: Manifold, x: np.ndarray) -> jax.Array:
    """A scalar, a vector and its square (n, 5) in the space's own frames, smooth all over it."""
    if isinstance(manifold, Sphere):
        v = np.stack([x[:, 1] * x[:, 2], x[:, 0] ** 2 - x[:, 2], x[:, 0] + x[:, 1] * x[:, 0]], -1)
    elif isinstance(manifold, Torus):
        v = np.stack([np.sin(x[:, 1]) + 0.3, np.cos(x[:, 0] + x[:, 1])], -1)
    else:
        v = np.stack([np.sin(2 * x[:, 0] + 1) * 0.3, x[:, 1] * x[:, 0] + 0.2], -1)
    points = jnp.asarray(x)
    tangent = manifold.project_tangent(points, jnp.asarray(v))
    a, b = jnp.moveaxis(manifold.to_frame(points, tangent), -1, 0)
    return jnp.stack([jnp.asarray(v[:, 0]), a, b, a * a - b * b, 2 * a * b], -1)


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Errors, and by which power of the distance of neighbors they fall from one number of points to the next."""
    rows = []
    for name, errors in found.items():
        n, e = (np.array([r[key] for r in errors]) for key in ("points", "isometry"))
        order = [None, *(-2 * np.diff(np.log(e)) / np.diff(np.log(n))).tolist()]
        rows += [
            {"points of": name, "points": n, "isometry error": f"{e:.1e}", "order": order}
            for n, e, order in zip(n, e, order, strict=True)
        ]
    return markdown_table(rows)
