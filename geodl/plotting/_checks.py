"""Input checks shared by the plotting helpers."""

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike


def planar(x: ArrayLike, name: str) -> Float[np.ndarray, "*batch 2"]:
    """``x`` as a float64 array of points of the plane; ValueError unless its last axis has size 2."""
    array = np.asarray(x, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] != 2:
        raise ValueError(f"{name} has shape {array.shape}; expected (..., 2)")
    return array


def hyperplane(w: ArrayLike, b: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit normals (..., 2), their left-hand perpendiculars (..., 2), and |w| b (...)."""
    normals = planar(w, "w")
    offsets = np.asarray(b, dtype=np.float64)
    if offsets.shape != normals.shape[:-1]:
        raise ValueError(f"b has shape {offsets.shape}; expected {normals.shape[:-1]}, one per w")
    lengths = np.linalg.norm(normals, axis=-1)
    if np.any(lengths == 0):
        raise ValueError("w has a zero row; a hyperplane needs a normal direction")
    units = normals / lengths[..., None]
    return units, np.stack([-units[..., 1], units[..., 0]], axis=-1), np.asarray(lengths * offsets)


def shape(array: Any, pattern: tuple[int | None, ...], name: str) -> np.ndarray:
    """``array`` as numpy; ValueError unless its shape matches ``pattern`` (None matches any size)."""
    array = np.asarray(array)
    if array.ndim != len(pattern) or any(
        want is not None and want != got for want, got in zip(pattern, array.shape, strict=True)
    ):
        wanted = ", ".join("any" if size is None else str(size) for size in pattern)
        raise ValueError(f"{name} has shape {array.shape}; expected ({wanted})")
    return array
