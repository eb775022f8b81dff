"""The networks, whose width their kernels do not depend on."""

from typing import Any

import numpy as np

from geodl import infinite
from geodl.equivariant import groups, harmonics
from geodl.infinite import Layer


SCALES: dict[str, Any] = {"weight_std": 2**0.5, "bias_std": 0.1}


def dense(width: int, last: int) -> Layer:
    """Two hidden layers, ReLU."""
    hidden = [infinite.dense(width, **SCALES), infinite.relu()]
    return infinite.serial(*hidden, *hidden, infinite.dense(last))


def turned(width: int, last: int, sides: tuple[int | None, int] = (3, 3)) -> Layer:
    """Lifting and group convolution of C_4, ReLU, means; of the first filters None are as large as the image."""
    c4 = groups.cyclic(4)
    return infinite.serial(
        infinite.lifting_conv(c4, width, sides[0], **SCALES),
        infinite.relu(),
        infinite.group_conv(c4, width, sides[1], **SCALES),
        infinite.relu(),
        infinite.group_pool(c4),
        infinite.mean_pool(),
        infinite.dense(last),
    )


def spherical(width: int, last: int) -> Layer:
    """Lifting and group convolution of SO(3), degrees below 3 and 4, ReLU, the mean."""
    image = harmonics.sphere_transform(3, dtype=np.float32)
    grid = harmonics.gauss_legendre(4, 6)
    rotation = harmonics.rotation_transform(4, grid=grid, turns=12, dtype=np.float32)
    return infinite.serial(
        infinite.sphere_conv(image, rotation, width, **SCALES),
        infinite.relu(),
        infinite.rotation_conv(rotation, width, **SCALES),
        infinite.relu(),
        infinite.rotation_pool(rotation),
        infinite.dense(last),
    )
