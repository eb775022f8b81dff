"""Emergent equivariance: ensembles trained on all turned images, and the kernels that they have in the limit.

The mean of infinitely many infinitely wide networks, trained on all elements of C_4 of each image, is the regression
with the group's kernel, mean_g Theta(x, g x'): at all times of the training, also for inputs that are no images
(Gerken & Kessel 2024; Misof, Kessel & Gerken 2025).
"""

from dataclasses import dataclass
from functools import cache, partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse.linalg import eigsh

from experiments import _images
from experiments._run import Run, markdown_table
from experiments.infinite import networks, pictures
from experiments.infinite.orbits import COPIES, canonical, disagreement, orbit
from geodl import infinite, train


@dataclass(frozen=True)
class Emergence:
    """The protocol; runs of one name share it. Nothing of it was chosen by looking at results."""

    name: str = "default"
    data: Literal["digits", "mnist"] = "digits"
    images: int = 300
    """to train on, each in four orientations"""
    test: int = 200
    noise: int = 50
    """inputs that are no images: independent normal pixels"""
    width: int = 128
    """of the finite networks"""
    members: int = 16
    """of their ensembles"""
    steps: int = 300
    """of gradient descent, all images at once, at 1 / (the largest eigenvalue of the kernel of upright images)"""
    root: str = "runs"


network = cache(networks.dense)  # on flattened images; one program for all members


def run(config: Emergence) -> dict[str, np.ndarray]:
    """Predictions of kernels and ensembles; table and picture land in the run's folder."""
    run = Run("infinite-emergence", config)
    images, labels, test_images, test_labels = _images.load(config.data)[0]
    rng = np.random.default_rng(0)
    of_train = rng.permutation(len(images))[: config.images]
    of_test = rng.permutation(len(test_images))[: config.test]
    x, y = images[of_train] / 255, np.eye(10)[labels[of_train]] - 0.1
    mean, deviation = x.mean(), x.std()  # numbers, so that turned images are standardized alike
    x, test = (x - mean) / deviation, (test_images[of_test] / 255 - mean) / deviation
    test = np.concatenate([test, rng.normal(size=(config.noise, *test.shape[1:]))])
    protocol = {k: v for k, v in run.protocol.items() if k not in ("width", "members")}
    found = train.cached_map(
        lambda _: limits(x, y, test, config.steps), [0], run.folder / "kernels", depends=protocol
    )[0]
    rate = float(found.pop("rate"))
    for kind in ("augmented", "plain"):
        inputs, targets = (orbit(x), np.stack([y] * COPIES)) if kind == "augmented" else (x, y)
        members = train.cached_map(
            partial(member, config, inputs, targets, orbit(test), rate),
            list(range(config.members)),
            run.folder / f"members-{kind}",
            depends=(run.protocol["width"], protocol, kind),
        )
        found[f"members {kind}"] = np.stack([m["outputs"] for m in members])
    labels = test_labels[of_test]
    pictures.emergence(run.folder / "emergence.png", found, config.test)
    summary = summaries(found, labels)
    run.finish(table(config, found, summary, labels), {"results": summary})
    return found


# -------------------------------------------------------------------------------------------------
# Infinite width, float64
# -------------------------------------------------------------------------------------------------


def limits(x: np.ndarray, y: np.ndarray, test: np.ndarray, steps: int) -> dict[str, np.ndarray]:
    """Mean predictions (times, 4, tests, 10) of infinite ensembles, for all orientations of the test inputs.

    Times: that of the finite ensembles, and the end. ``rate`` is the learning rate of the finite ensembles.
    """
    with jax.enable_x64(True):
        net, seen = network(1, 1), orbit(test)
        flat = seen.reshape(-1, x[0].size)
        turned = orbit(x).reshape(-1, x[0].size)
        upright = x.reshape(len(x), -1)
        augmented, plain = _kernel(net, turned), _kernel(net, upright)
        # The largest eigenvalue of the augmented kernel, by the number of copies, is no larger.
        start = np.ones(len(upright))  # else a random one, and the last digits with it
        rate = 1 / eigsh(np.asarray(plain), 1, v0=start, return_eigenvectors=False)[0]
        times = jnp.array([rate * steps, np.inf])
        targets = np.concatenate([y] * COPIES)
        # of the same network with filters as large as the image and as the group
        one = partial(_kernel, networks.turned(1, 1, (None, 1)))
        images, tests = x[..., None], seen.reshape(-1, *x.shape[1:], 1)
        chosen = canonical(x).reshape(len(x), -1)
        seen_chosen = canonical(tests[..., 0]).reshape(len(flat), -1)
        found = {
            "plain": _flow(plain, _kernel(net, flat, upright), y, times),
            "canonical": _flow(_kernel(net, chosen), _kernel(net, seen_chosen, chosen), y, times),
            # times of a sum over all copies
            "augmented": _flow(augmented, _kernel(net, flat, turned), targets, times / COPIES),
            "group kernel": _flow(one(images), one(tests, images), y, times),
        }
        shaped = {k: np.asarray(v).reshape(2, *seen.shape[:2], -1) for k, v in found.items()}
        mean = shaped["plain"].mean(1, keepdims=True)
        shaped["averaged"] = np.broadcast_to(mean, shaped["plain"].shape)
        return shaped | {"rate": np.array(rate)}


@partial(jax.jit, static_argnames="batch_size")
def _kernel(net, x1, x2=None, batch_size=200):
    return infinite.kernels(net, x1, x2, batch_size).ntk


@jax.jit
def _flow(kernel, cross, y, times):
    """Means alone: of the covariances, whose kernels are not given, nothing is computed."""
    unused = jnp.zeros((len(cross), len(cross)))
    train, test = infinite.Kernels(kernel, kernel), infinite.Kernels(cross, cross)
    return jax.vmap(lambda t: infinite.gradient_flow(train, test, unused, y, t).mean)(times)


# -------------------------------------------------------------------------------------------------
# Finite width
# -------------------------------------------------------------------------------------------------


def member(
    config: Emergence, x: np.ndarray, y: np.ndarray, test: np.ndarray, rate: float, seed: int
) -> dict[str, np.ndarray]:
    """Outputs (4, tests, 10) of a network trained by gradient descent.

    The loss is a sum over images, and a mean over their copies.
    """
    size = test[0, 0].size
    net = network(config.width, y.shape[-1]).net((size,))
    copies = x.size // (config.images * size)
    flat = jnp.asarray(x.reshape(-1, size), jnp.float32)
    targets = jnp.asarray(y.reshape(-1, y.shape[-1]), jnp.float32)
    params = net.init(jax.random.key(seed))
    params = _descend(net.apply, copies, config.steps, rate, params, flat, targets)
    seen = jnp.asarray(test.reshape(*test.shape[:2], size), jnp.float32)
    return {"outputs": np.asarray(net.apply(params, seen))}


@partial(jax.jit, static_argnums=(1, 2))
def _descend(apply, copies, steps, rate, params, x, y):
    def loss(params):
        return jnp.sum(jnp.square(apply(params, x) - y)) / (2 * copies)

    def step(params, _):
        return jax.tree.map(lambda p, g: p - rate * g, params, jax.grad(loss)(params)), None

    return jax.lax.scan(step, params, None, steps)[0]


# -------------------------------------------------------------------------------------------------
# Figures of merit
# -------------------------------------------------------------------------------------------------


def summaries(found: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, dict[str, float]]:
    """Of each method and time: accuracies and disagreements."""
    outputs = {}
    for name, values in found.items():
        if name.startswith("members"):
            outputs[f"ensemble, {name.split()[1]}"] = values.mean(0)
            outputs[f"one member, {name.split()[1]}"] = values[0]
        else:
            outputs |= {f"{name}, t": values[0], f"{name}, end": values[1]}
    n = len(labels)
    return {
        name: {
            "upright": float(np.mean(f[0, :n].argmax(-1) == labels)),
            "turned": float(np.mean(f[:, :n].argmax(-1) == labels)),
            "disagreement": disagreement(f[:, :n]),
            "of noise": disagreement(f[:, n:]),
        }
        for name, f in outputs.items()
    }


ROWS = {
    "plain": "kernel, upright images",
    "averaged": "the same, averaged over the group when tested",
    "canonical": "kernel, canonical orientation",
    "augmented": "kernel, all orientations (infinite augmented ensemble)",
    "group kernel": "group's kernel, upright images",
}


def table(
    config: Emergence,
    found: dict[str, np.ndarray],
    summary: dict[str, dict[str, float]],
    labels: np.ndarray,
) -> str:
    """Accuracies and how far predictions are from invariance; and how far the two sides of the theorem are apart."""
    rows = [
        _row(f"{words}; {'end' if time == 'end' else 'time t'}", summary[f"{name}, {time}"])
        for time in ("end", "t")
        for name, words in ROWS.items()
    ]
    finite = {"one member": "one network", "ensemble": f"ensemble of {config.members}"}
    for kind, of in {"plain": "upright images", "augmented": "all orientations"}.items():
        for what, words in finite.items():
            name = f"{words} of width {config.width}, {of}; time t"
            rows.append(_row(name, summary[f"{what}, {kind}"]))
    gap = np.abs(found["augmented"] - found["group kernel"])
    n = len(labels)
    return (
        f"{config.data}, {config.images} images, {n} to test on; accuracy in per cent, upright and over all four "
        "orientations; disagreement: standard deviation over orientations of the outputs, whose targets are -0.1 and "
        "0.9, of test images and of noise\n\n"
        + markdown_table(rows)
        + "\n\nLargest difference of the augmented ensemble and the group's kernel: "
        f"{gap[1, :, :n].max():.1e} at the end, {gap[0, :, :n].max():.1e} at t; "
        f"{gap[1, :, n:].max():.1e} and {gap[0, :, n:].max():.1e} for noise"
    )


def _row(name, values):
    return {
        "method": name,
        "upright, %": f"{100 * values['upright']:.1f}",
        "turned, %": f"{100 * values['turned']:.1f}",
        "disagreement": f"{values['disagreement']:.2g}",
        "of noise": f"{values['of noise']:.2g}",
    }
