"""What every experiment on images shares: searches by several methods, in batches that a killed run keeps.

Images are uint8 (n, height, width, channels) outside, and the centers of their bins in [0, 1] inside. A result counts
as it would be stored: clipped, and rounded to 8 bits.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from experiments import _devices
from experiments._training import by_batches
from experiments.counterfactuals import models
from geodl import counterfactual as cf
from geodl.flows import bin_centers, quantize


def as_8bit(x: ArrayLike) -> Array:
    """The image that is left of x after clipping and rounding to 8 bits: ``postprocess`` of every search here."""
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
    """of the search (``cf.evaluation.search_metrics``)"""


def in_both_spaces(
    generator: cf.Generator,
    shape: tuple[int, ...],
    model: Any,
    target: cf.Target,
    steps: int,
    lengths: tuple[float, float],
) -> dict[str, cf.Search]:
    """Searches by steps of one length each, in a generator's base and among the images of its shape."""
    spaces = {"base space": generator, "data space": cf.data_space(shape)}
    return {
        name: cf.Search(space, model, target, fixed_length(length), steps, postprocess=as_8bit)
        for (name, space), length in zip(spaces.items(), lengths, strict=True)
    }


@functools.cache
def fixed_length(length: float) -> optax.GradientTransformation:
    """Ascent by steps of one length, the gradient's direction untouched."""
    return optax.chain(optax.normalize_by_update_norm(), optax.sgd(length))


def encode(generator: cf.Generator, images: np.ndarray, batch: int = 100) -> np.ndarray:
    """Base points of images, by the generator's own encoder; ``TypeError`` for images that are not uint8."""
    return models.outputs(Partial(generator.encode), bin_centers(images), batch)


def search(rule: cf.Search, z: Any, goal: np.ndarray, folder: Path, batch: int = 250) -> Found:
    """Counterfactuals of all samples with base points z (n, ...), towards the goals (n, ...).

    Each finished batch is kept in ``folder``; what is kept is used again where the starts, goals, and the parameters
    of generator and model are the same. Functions (target, optimizer) are not compared: their settings belong to the
    run's configuration, or into the folder's name.
    """

    def one(chunk, _):
        # one device: no more work than there is; several: every sample on its own one, to the end
        concurrent = 64 if _devices.count() == 1 else None
        state, _ = cf.run(rule, rule.init(*chunk), max_concurrent=concurrent)
        measures = cf.evaluation.search_metrics(rule.generator.manifold, state)
        kept = {"x": state.best.x, "start": state.start.x, "z": state.best.z}
        return kept | measures | {"status": state.status}

    depends = jax.tree.leaves(rule), rule.steps
    whole = by_batches(one, (z, goal), batch, folder, depends)
    return Found(*(whole.pop(name) for name in ("x", "start", "z", "status")), measures=whole)


def search_all(
    rules: Mapping[str, cf.Search],
    images: np.ndarray,
    goal: np.ndarray,
    folder: Path,
    batch: int = 250,
    starts: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Found]:
    """Counterfactuals of the images by every rule, as {"base space": ..., "data space": ...}.

    Args:
        rules: by name; each sets out from where its generator encodes the images, but for those in ``starts``.
        images: uint8 (n, height, width, channels).
        goal: classes (n,), values (n,) or intervals (n, 2), as the rules' target has them.
        folder: gets a folder for each rule.
        batch: samples that are kept at a time.
        starts: base points (n, ...) for rules whose generators have no exact encoder, as of ``cf.invert``.
    """
    found = {}
    for name, rule in rules.items():
        z = starts[name] if name in starts else encode(rule.generator, images, batch)
        found[name] = search(rule, z, goal, folder / name.replace(" ", "-"), batch)
    return found


def inverted(
    generator: cf.Generator,
    images: np.ndarray,
    folder: Path,
    batch: int = 100,
    starts: int = 4,
    steps: int = 200,
) -> tuple[np.ndarray, np.ndarray]:
    """Base points (n, ...) of images for a generator whose encoder is no inverse, and their mean squared errors (n,).

    Adam from what the encoder says, if there is one; else from the best of ``starts`` draws of N(0, I), a quarter of
    the steps for each of them and as many as are left for that one. Finished batches are kept in ``folder``.
    """

    def one(images, number):
        x, first = bin_centers(images), None
        if generator.encode is None:
            dim = generator.manifold.dim
            index = number + np.arange(len(images))
            keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(index)
            z = jax.vmap(lambda key: jax.random.normal(key, (starts, dim)), out_axes=1)(keys)
            first = cf.invert(generator, x, SCREEN, steps // 4, z).z[None]
        found = cf.invert(generator, x, REFINE, steps - steps // 4, first)
        return {"z": found.z, "error": found.error}

    both = (generator.decode, generator.encode)
    functions = [Partial(f) for f in both if f is not None]
    depends = jax.tree.leaves((functions, generator.manifold)), starts, steps
    found = by_batches(one, images, batch, folder, depends)
    return found["z"], found["error"]


SCREEN, REFINE = optax.adam(0.1), optax.adam(0.02)


def matched_distance(
    rule: cf.Search, images: np.ndarray, goal: np.ndarray, radius: np.ndarray, batch: int = 100
) -> np.ndarray:
    """Images (n, ...) of a search in the data that goes on until it is ``radius`` (n,) from its start, in l2.

    The rule's target should be one that is never reached, as ``cf.margin(math.inf)``. A radius that is not finite
    gives NaN.
    """

    def one(chunk, _):
        some, goals, radii = chunk
        state = rule.init(bin_centers(some), goals)
        for _ in range(rule.steps):
            state, on = _nearer_than(rule, state, jnp.asarray(radii, jnp.float32))
            if not on:
                break
        x = jax.vmap(rule.postprocess)(state.position)
        return np.where(np.isfinite(radii).reshape(-1, *[1] * (x.ndim - 1)), x, np.nan)

    return by_batches(one, (images, goal, radius), batch)


@jax.jit
def _nearer_than(rule, state, radius):
    """A step of those samples that are nearer to their start than the radius, and whether there are any."""

    def distance(x):
        return jnp.sqrt(jnp.sum(jnp.square(x - state.start.x), tuple(range(1, x.ndim))))

    near = distance(state.position) < radius
    stepped = rule.step(state)
    state = jax.tree.map(
        lambda a, b: jnp.where(near.reshape(-1, *[1] * (a.ndim - 1)), a, b), stepped, state
    )
    return state, jnp.any(near)


def trajectories(
    rule: cf.Search, z: Any, goal: np.ndarray, frames: int = 8
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (n, frames, height, width, channels) at even steps from start to end.

    With those steps (n, frames), and what the model puts out (n, frames, ...).
    """
    state, path = cf.run(rule, rule.init(z, goal), _position)
    steps = np.round(np.linspace(0, 1, frames) * np.asarray(state.steps)[:, None]).astype(int)
    shown = path[steps, np.arange(len(steps))[:, None]]
    images = decoded(rule.generator, shown.reshape(-1, *shown.shape[2:]))
    images, outputs = (
        a.reshape(*steps.shape, *a.shape[1:]) for a in (images, models.outputs(rule.model, images))
    )
    return images, outputs, steps


def _position(state):
    return state.position


def decoded(generator: cf.Generator, z: Any, batch: int = 100) -> np.ndarray:
    """Images of base points z (n, ...), as they would be stored."""
    return np.asarray(as_8bit(models.outputs(Partial(generator.decode), z, batch)))


def spectra(rule: cf.Search, z: Any, count: int | None = None) -> np.ndarray:
    """Singular values (n, k) of the Jacobian of the rule's generator at base points z (n, ...), in units of pixels.

    All of them, or the ``count`` largest where images are large.
    """
    return np.stack([_spectrum(rule.generator, point, count) for point in z])


# one point at a time: on the CPU a convolution is slow in a loop over them
@functools.partial(jax.jit, static_argnums=2)
def _spectrum(generator, z, count):
    return cf.singular_values(generator, z, count, jax.random.key(0))
