"""What every experiment on images shares: searches by several methods, in batches that a killed run keeps.

Images are uint8 (n, height, width, channels) outside, and the centres of their bins in [0, 1] inside. A result counts
as it would be stored: clipped, and rounded to 8 bits.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from geodl import counterfactual as cf
from geodl import train
from geodl.bijectors import bin_centers, quantize


def stored(x: Array) -> Array:
    """The image that is left of x after clipping and rounding to 8 bits: ``finish`` of every search here."""
    return bin_centers(quantize(x))


class Found(NamedTuple):
    """What a search has ended with, arrays of leading axis n."""

    x: np.ndarray
    """the best images, in [0, 1]"""
    start: np.ndarray
    """the images that the searches set out from: of an exact generator the originals, else their reconstructions"""
    z: Any
    """base points of x"""
    status: np.ndarray
    """a ``cf.Status`` each"""
    measures: dict[str, np.ndarray]
    """of the search (``cf.evaluate.search_measures``)"""


def encode(generator: cf.Generator, images: np.ndarray, batch: int = 100) -> np.ndarray:
    """Base points of images, by the generator's own encoder.

    Raises:
        TypeError: images that are not uint8.
        ValueError: a generator without an encoder, or images of another shape than it makes.
    """
    if generator.encode is None:
        raise ValueError("encode: a generator with an encoder is needed; use cf.invert")
    one = jax.ShapeDtypeStruct(images.shape[1:], jnp.float32)
    made = jax.eval_shape(lambda x: generator.decode(generator.encode(x)), one).shape
    if made != images.shape[1:]:
        raise ValueError(f"encode: images of shape {made} are needed, got {images.shape[1:]}")
    parts = [
        _encode(jax.tree_util.Partial(generator.encode), bin_centers(chunk))[:count]
        for chunk, count in _batches(images, batch)
    ]
    return np.concatenate(parts)


@jax.jit
def _encode(encode, x):
    return jax.vmap(encode)(x)


def search(
    rule: cf.Search, z: Any, goal: np.ndarray, folder: Path, batch: int = 100, depends: Any = None
) -> Found:
    """Counterfactuals of all samples with base points z, towards the goals (n, ...).

    Each finished batch is kept in ``folder``; what is kept is used again where the starts, goals, and the parameters
    of generator and model are the same. Functions (target, optimizer) are not compared: their settings
    belong to the run's configuration, or into ``depends``.
    """

    def one(chunk):
        (z, goal), count = chunk
        state, _ = cf.run(rule, rule.init(z, goal))
        measures = cf.evaluate.search_measures(rule.generator.manifold, state)
        kept = {"x": state.best.x, "start": state.start.x, "z": state.best.z}
        return {k: np.asarray(v)[:count] for k, v in (measures | kept).items()} | {
            "status": np.asarray(state.status)[:count]
        }

    depends = jax.tree.leaves(rule), rule.steps, depends
    parts = train.resumable_map(one, _batches((z, goal), batch), folder, depends)
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Found(*(whole.pop(name) for name in ("x", "start", "z", "status")), measures=whole)


def search_all(
    rules: Mapping[str, cf.Search],
    images: np.ndarray,
    goal: np.ndarray,
    folder: Path,
    batch: int = 100,
    starts: Mapping[str, Any] | None = None,
    depends: Any = None,
) -> dict[str, Found]:
    """Counterfactuals of the images by every rule, as {"base space": ..., "data space": ...}.

    Args:
        rules: by name; each sets out from where its generator encodes the images, but for those in ``starts``.
        images: uint8 (n, height, width, channels).
        goal: classes (n,), values (n,) or intervals (n, 2), as the rules' target has them.
        folder: gets a folder for each rule.
        batch: samples at a time.
        starts: base points (n, ...) for rules whose generators have no exact encoder, as of ``cf.invert``.
        depends: as for :func:`search`.
    """
    found = {}
    for name, rule in rules.items():
        if starts and name in starts:
            z = starts[name]
        else:
            z = encode(rule.generator, images, batch)
        found[name] = search(rule, z, goal, folder / name.replace(" ", "-"), batch, depends)
    return found


def as_far(
    rule: cf.Search, images: np.ndarray, goal: np.ndarray, radius: np.ndarray, batch: int = 100
) -> np.ndarray:
    """Images (n, ...) of a search in the data that goes on until it is ``radius`` (n,) from its start, in l2.

    The rule's target should be one that is never reached, as ``cf.margin(math.inf)``. A radius that is not finite
    gives NaN.
    """

    parts = []
    for (some, goals, radii), count in _batches((images, goal, radius), batch):
        state = rule.init(bin_centers(some), goals)
        for _ in range(rule.steps):
            state, on = _nearer_than(rule, state, jnp.asarray(radii, jnp.float32))
            if not on:
                break
        x = jax.vmap(rule.finish)(state.position)
        valid = np.isfinite(radii).reshape(-1, *[1] * (x.ndim - 1))
        parts.append(np.where(valid, x, np.nan)[:count])
    return np.concatenate(parts)


@jax.jit
def _nearer_than(rule, state, radius):
    """A step of those samples that are nearer to their start than the radius, and whether there are any."""

    def distance(x):
        return jnp.sqrt(jnp.sum(jnp.square(x - state.start.x), tuple(range(1, x.ndim))))

    near = distance(state.position) < radius
    moved = rule.step(state)
    state = jax.tree.map(
        lambda a, b: jnp.where(near.reshape(-1, *[1] * (a.ndim - 1)), a, b), moved, state
    )
    return state, jnp.any(near)


def trajectories(
    rule: cf.Search, z: Any, goal: np.ndarray, frames: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, frames, height, width, channels) at even steps from start to end, and those steps (n, frames)."""
    state, path = cf.run(rule, rule.init(z, goal), _position)
    steps = np.round(np.linspace(0, 1, frames) * np.asarray(state.steps)[:, None]).astype(int)
    shown = path[steps, np.arange(len(steps))[:, None]]
    images = _decode(rule, shown.reshape(-1, *shown.shape[2:]))
    return np.asarray(images).reshape(*shown.shape[:2], *images.shape[1:]), steps


def _position(state):
    return state.position


@jax.jit
def _decode(rule, z):
    return jax.vmap(lambda z: rule.finish(rule.generator.decode(z)))(z)


def spectra(rule: cf.Search, z: Any) -> np.ndarray:
    """Singular values (n, k) of the Jacobian of the rule's generator at base points z (n, ...), in units of pixels."""
    return np.stack([_spectrum(rule.generator, point) for point in z])


@jax.jit  # one point at a time: on the CPU a convolution is slow in a loop over them
def _spectrum(generator, z):
    return cf.singular_values(generator, z)


def _batches(tree, size):
    """Batches of one size with their counts of samples; the last is filled up by its own, to compile but once."""
    count = len(jax.tree.leaves(tree)[0])
    batches = []
    for first in range(0, count, size):
        m = min(size, count - first)
        index = first + np.arange(min(size, count)) % m
        batches.append((jax.tree.map(lambda a, i=index: np.asarray(a)[i], tree), m))
    return batches
