"""A fisheye camera on the sphere: its image in directions, and directions in its image; generated scenes, no training.

A direction at the angle theta from the camera's axis is seen at the distance r(theta) = sum_i k_i theta^i from the
image's center, as WoodScape's cameras are calibrated (Yogamani et al. 2019). On the sphere the camera's turning is a
rotation, which it is not in the image.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from experiments._pictures import save
from experiments._run import Run, markdown_table
from experiments.spherical import data
from geodl.equivariant import harmonics
from geodl.manifolds import SO3
from geodl.plotting import Orthographic, sphere_density, sphere_frame


class Camera(NamedTuple):
    """A fisheye camera that looks along z, x to the right in its image and y down.

    Attributes:
        coefficients: k_1, k_2, ... in pixels, such that r rises with theta over the field.
        shape: height and width of the image; its center is the axis.
        field: the largest angle from the axis, in radians.
    """

    coefficients: tuple[float, ...] = (67.9, -6.4, 9.7, -1.4)
    shape: tuple[int, int] = (193, 257)
    field: float = np.radians(95)

    def radius(self, theta: Array) -> Array:
        """r(theta), in pixels."""
        return jnp.polyval(jnp.array([*self.coefficients[::-1], 0.0], theta.dtype), theta)

    def angle(self, radius: Array) -> Array:
        """theta of r, by Newton's method from an equidistant table on."""
        table = jnp.linspace(0, self.field, 64, dtype=radius.dtype)
        theta = jnp.interp(radius, self.radius(table), table)
        slope = jax.vmap(jax.grad(self.radius))
        for _ in range(3):
            rest = self.radius(theta) - radius
            theta = theta - rest / slope(theta.ravel()).reshape(theta.shape)
        return theta

    def pixels(self, x: Array) -> tuple[Array, Array]:
        """Rows and columns of directions (..., 3), also of those beyond the field."""
        planar = jnp.linalg.norm(x[..., :2], axis=-1)
        r = self.radius(jnp.arctan2(planar, x[..., 2]))
        scale = r / jnp.where(planar > 0, planar, 1)
        height, width = self.shape
        return (height - 1) / 2 + scale * x[..., 1], (width - 1) / 2 + scale * x[..., 0]

    def sees(self, x: Array, margin: float = 0.0) -> Array:
        """Whether directions (..., 3) are in the image and in the field, so many pixels from the edge of either."""
        center = (np.array(self.shape) - 1) / 2
        rows, columns = (p - c for p, c in zip(self.pixels(x), center, strict=True))
        framed = (abs(rows) <= center[0] - margin) & (abs(columns) <= center[1] - margin)
        return framed & (jnp.hypot(rows, columns) <= self.radius(jnp.asarray(self.field)) - margin)

    def rays(self) -> tuple[Array, Array]:
        """Unit vectors (height, width, 3) of the pixels, and whether they are within the field."""
        height, width = self.shape
        down, right = jnp.meshgrid(
            jnp.arange(height) - (height - 1) / 2,
            jnp.arange(width) - (width - 1) / 2,
            indexing="ij",
        )
        r = jnp.hypot(right, down)
        seen = r <= self.radius(jnp.asarray(self.field))
        theta = self.angle(jnp.where(seen, r, 0))
        scale = jnp.sin(theta) / jnp.where(r > 0, r, 1)
        return jnp.stack([scale * right, scale * down, jnp.cos(theta)], -1), seen


def to_sphere(camera: Camera, image: Array, grid: harmonics.Grid) -> Array:
    """An image (height, width) on the sphere's grid (rings, longitudes), 0 beyond the camera's field."""
    x = jnp.asarray(data.points(grid), image.dtype)
    picture = data.bilinear(image, *camera.pixels(x))
    return jnp.where(camera.sees(x), picture, 0)


def to_image(camera: Camera, picture: Array, grid: harmonics.Grid) -> Array:
    """What the camera sees of a picture (rings, longitudes) on the sphere: (height, width), 0 beyond its field."""
    x, seen = camera.rays()
    return jnp.where(seen, data.sample(picture, grid, x), 0)


def scene(key: Array, discs: int = 24):
    """A generated world, a function of directions (..., 3) with values in [0, 1]: ground, sky and soft discs."""
    of_centers, of_sizes, of_shades = jax.random.split(key, 3)
    centers = jax.random.normal(of_centers, (discs, 3))
    centers = centers / jnp.linalg.norm(centers, axis=-1, keepdims=True)
    sizes = jax.random.uniform(of_sizes, (discs,), minval=0.1, maxval=0.4)
    shades = jax.random.uniform(of_shades, (discs,))

    def world(x):
        value = 0.35 + 0.4 * jax.nn.sigmoid(-12 * x[..., 1])  # y points down
        for center, size, shade in zip(centers, sizes, shades, strict=True):
            angle = jnp.arccos(jnp.clip(x @ center, -1, 1))
            value = value + jax.nn.sigmoid(30 * (size - angle)) * (shade - value)
        return value

    return world


@dataclass(frozen=True)
class Fisheye:
    """The protocol."""

    name: str = "default"
    degrees: tuple[int, ...] = (32, 64, 128)
    """L of the sphere's grids, of L x 2L points"""
    scenes: int = 2
    root: str = "runs"


def run(config: Fisheye) -> list[dict[str, Any]]:
    """What is lost on the way from the image to the sphere and back; a table and a picture."""
    run, camera, rows = Run("spherical-fisheye", config), Camera(), []
    rays, seen = camera.rays()
    inner = np.array(seen & camera.sees(rays, margin=4))  # at the edge pixels mix with the outside
    for degrees in config.degrees:
        grid = harmonics.gauss_legendre(degrees)
        on_grid = jnp.asarray(data.points(grid), jnp.float32)
        there, back = [], []
        for i in range(config.scenes):
            world = scene(jax.random.key(i))
            image = jnp.where(seen, world(rays), 0)
            picture = to_sphere(camera, image, grid)
            shown = np.array(camera.sees(on_grid, margin=4))
            there.append(rms((picture - world(on_grid))[shown]))
            back.append(rms((to_image(camera, picture, grid) - image)[inner]))
        rows.append(
            {
                "grid": f"{degrees} x {2 * degrees}",
                "to the sphere": f"{np.mean(there):.4f}",
                "and back": f"{np.mean(back):.4f}",
            }
        )
    draw(camera, config.degrees[-1], run.folder)
    run.finish(markdown_table(rows))
    return rows


def rms(x: Array) -> float:
    """The root mean square."""
    return float(jnp.sqrt(jnp.mean(jnp.square(x))))


def draw(camera, degrees, folder):
    """The image, the sphere, the image from the sphere, and that of the turned camera."""
    grid = harmonics.gauss_legendre(degrees)
    rays, seen = camera.rays()
    image = jnp.where(seen, scene(jax.random.key(0))(rays), 0)
    picture = to_sphere(camera, image, grid)
    turn = SO3().expmap(jnp.eye(3), jnp.array([[0, 0, 0.6], [0, 0, 0], [-0.6, 0, 0]]))
    turned = data.sample(picture, grid, jnp.asarray(data.points(grid), jnp.float32) @ turn)
    figure = Figure(figsize=(12, 3), layout="constrained")
    axes = figure.subplots(1, 4)
    titles = (
        "the camera's image",
        "on the sphere, seen from outside",
        "back in the image",
        "the sphere turned by 34 degrees",
    )
    style = {"cmap": "gray", "vmin": 0, "vmax": 1}
    axes[0].imshow(image, **style)
    view = Orthographic(latitude=90, longitude=90)
    sphere_density(
        axes[1],
        view,
        lambda x: data.sample(picture, grid, jnp.asarray(x)),
        norm=Normalize(0, 1, clip=True),
        cmap="gray",
    )
    sphere_frame(axes[1], view)
    axes[2].imshow(to_image(camera, picture, grid), **style)
    axes[3].imshow(to_image(camera, turned, grid), **style)
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, fontsize=9)
    for ax in axes[[0, 2, 3]]:
        ax.set(xlabel="column, pixels", ylabel="row, pixels")
    save(figure, folder / "fisheye.png")
