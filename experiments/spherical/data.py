"""Digits on the sphere, made on the device: stereographic projection, a rotation per image, several digits, labels."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from geodl.equivariant.harmonics import Grid
from geodl.manifolds import SO3


FRAME = 1.5  # half the side of the image in the plane: as Gerken et al. (2022), 46 % of the sphere
EYE = 1e-3  # how far above the north pole the rays start
THRESHOLD = 150 / 255  # of a pixel that belongs to a digit


class Sphere(NamedTuple):
    """Images on the sphere, and what is to be said of them.

    Attributes:
        images: (n, rings, longitudes, 1), in [0, 1]; at scattered points (n, points, 1).
        labels: of each image's first digit (n,).
        masks: of each pixel (n, rings, longitudes), or point: 0, or 1 + the label of the digit there.
    """

    images: Array
    labels: Array
    masks: Array


def points(grid: Grid) -> np.ndarray:
    """Unit vectors (rings, longitudes, 3) of a grid."""
    alpha = 2 * np.pi * np.arange(grid.longitudes) / grid.longitudes
    beta = np.array(grid.betas)[:, None]
    x, y, z = np.sin(beta) * np.cos(alpha), np.sin(beta) * np.sin(alpha), np.cos(beta) + 0 * alpha
    return np.stack([x, y, z], -1)


def to_plane(x: Array) -> Array:
    """Stereographic projection (..., 2) of unit vectors (..., 3); the south pole is the origin.

    The sphere lies on the plane, the ray comes from just above its north pole.
    """
    return (2 + EYE) * x[..., :2] / (1 + EYE - x[..., 2:])


def bilinear(image: Array, rows: Array, columns: Array) -> Array:
    """An image (height, width) between its pixels (row 0 to height - 1), 0 outside of it."""
    height, width = image.shape
    padded = jnp.pad(image, 1)
    rows, columns = jnp.clip(rows, -1, height), jnp.clip(columns, -1, width)
    i, j = jnp.floor(rows).astype(int), jnp.floor(columns).astype(int)
    i, j = jnp.clip(i, -1, height - 1), jnp.clip(j, -1, width - 1)
    v, u = rows - i, columns - j

    def at(di, dj):
        return padded[i + 1 + di, j + 1 + dj]

    upper = (1 - u) * at(0, 0) + u * at(0, 1)
    lower = (1 - u) * at(1, 0) + u * at(1, 1)
    return (1 - v) * upper + v * lower


def project(canvas: Array, x: Array) -> Array:
    """A canvas (height, width) on the sphere, at unit vectors (..., 3), the canvas upright seen from within."""
    height, width = canvas.shape
    q = to_plane(x) / FRAME
    rows, columns = (1 - q[..., 1]) / 2 * (height - 1), (1 + q[..., 0]) / 2 * (width - 1)
    return bilinear(canvas, rows, columns)


def sample(picture: Array, grid: Grid, x: Array) -> Array:
    """A picture (rings, longitudes) between its grid's points, at unit vectors (..., 3); constant beyond the rings."""
    beta = jnp.arctan2(jnp.linalg.norm(x[..., :2], axis=-1), x[..., 2])
    turn = jnp.arctan2(x[..., 1], x[..., 0]) / (2 * np.pi) % 1
    rows = jnp.interp(beta, jnp.array(grid.betas), jnp.arange(len(grid.betas), dtype=x.dtype))
    around = jnp.concatenate([picture, picture[:, :1]], 1)
    return bilinear(around, rows, turn * grid.longitudes)


def on_sphere(
    key: Array,
    images: ArrayLike,
    labels: ArrayLike,
    x: ArrayLike,
    rotated: bool,
    digits: int = 1,
    batch: int = 256,
) -> Sphere:
    """A picture on the sphere of each of the images, made on the device.

    Args:
        key: of the rotations, of the further digits and of their places.
        images: (n, height, width), in [0, 1].
        labels: (n,).
        x: where the pictures are sampled, unit vectors (*shape, 3), such as a grid's :func:`points`.
        rotated: whether each picture is rotated at random; else all digits are at the south pole.
        digits: 1 to 4 on each sphere: with more than one, each takes a quarter of a canvas of twice the side, the
            first is the image's own and the others are drawn from all images.
        batch: pictures made at a time.

    Raises:
        ValueError: Not 1 to 4 digits.
    """
    if not 1 <= digits <= 4:
        raise ValueError(f"on_sphere: 1 to 4 digits are possible, got {digits}")
    images, labels = jnp.asarray(images, jnp.float32), jnp.asarray(labels)
    x, keys = jnp.asarray(x, jnp.float32), jax.random.split(key, len(images))

    @jax.jit
    def draw(key, i, images, labels):
        of_rotation, of_digits, of_places = jax.random.split(key, 3)
        others = jax.random.randint(of_digits, (digits - 1,), 0, len(images))
        which = jnp.concatenate([i[None], others])
        if digits == 1:
            canvas, said = images[i], jnp.full(images[i].shape, labels[i] + 1)
        else:
            places = jax.random.permutation(of_places, 4)[:digits]
            quarters = jnp.zeros((4, *images.shape[1:])).at[places].set(images[which])
            of_quarters = jnp.zeros(4, int).at[places].set(labels[which].astype(int) + 1)
            canvas = _tile(quarters)
            said = _tile(jnp.broadcast_to(of_quarters[:, None, None], quarters.shape))
        # The picture f(Q^-1 x).
        seen = x @ SO3().random_uniform(of_rotation) if rotated else x
        picture = project(canvas, seen)
        height, width = said.shape
        q = to_plane(seen) / FRAME
        row = jnp.clip(jnp.round((1 - q[..., 1]) / 2 * (height - 1)), 0, height - 1).astype(int)
        column = jnp.clip(jnp.round((1 + q[..., 0]) / 2 * (width - 1)), 0, width - 1).astype(int)
        return picture, jnp.where(picture > THRESHOLD, said[row, column], 0)

    pictures, masks = jax.lax.map(
        lambda row: draw(*row, images, labels), (keys, jnp.arange(len(images))), batch_size=batch
    )
    return Sphere(pictures[..., None], labels.astype(jnp.int32), masks.astype(jnp.int32))


def _tile(quarters):
    """One canvas (2 height, 2 width) of four quarters."""
    upper, lower = jnp.concatenate(quarters[:2], 1), jnp.concatenate(quarters[2:], 1)
    return jnp.concatenate([upper, lower], 0)
