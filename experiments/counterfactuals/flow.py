"""The generator: a convolutional flow of handwritten digits, by maximum likelihood."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

from experiments.counterfactuals.data import halves
from experiments.counterfactuals.models import with_channels
from experiments.pvae.mnist import load
from geodl import datasets, flows, nn, plotting, train
from geodl.flows.coupling import Coupling


@dataclass(frozen=True)
class FlowRun:
    """Network and optimizer; the defaults are for minutes on two cores."""

    name: str = "flow"
    data: Literal["mnist", "digits", "auto"] = "auto"
    """auto: MNIST where its files are found, else scikit-learn's digits"""
    download: bool = False
    """fetch MNIST once from its public mirrors where GEODL_DATA does not hold it"""
    half: Literal["all", "A", "B"] = "all"
    """of the training images, for judges that have seen none of the flow's"""
    coupling: Coupling = "affine"
    noise: Literal["uniform", "learned"] = "learned"
    """within the grey values' bins, in training and in scores"""
    alpha: float = 1e-4
    """of the logits"""
    levels: tuple[tuple[int, int], ...] = ((4, 8),)
    """of each scale the factor to squeeze by and the number of steps"""
    conditioner: Literal["mixer", "conv"] = "mixer"
    """the couplings' networks: for few positions, or for many"""
    width: int = 64
    """their channels"""
    batch: int = 32
    steps: int = 13_500
    learning_rate: float = 8e-3
    """falls to 0 along a cosine, after a warm-up"""
    warmup: int = 200
    clip: float = 1.0
    """of the gradient's norm, in bits per dimension"""
    average: float = 0.999
    """decay of the moving average of the parameters, which is what is evaluated"""
    seed: int = 0
    root: str = "runs"


def run(config: FlowRun) -> dict[str, Any]:
    """Train, score on all test images, draw samples; everything lands in the run's folder."""
    images, source, folder = start(config)
    print(f"{source}: {len(images.train_images)} training, {len(images.test_images)} test images")
    model, noise = make_model(config, images)
    params, history = fit(config, model, noise, images, folder)
    scores = evaluate(model, noise, params, images.test_images, folder)
    result = train.circumstances() | {
        "coupling": config.coupling,
        "noise": config.noise,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "steps": config.steps,
        "cpu_minutes": sum(record["cpu_seconds"] for record in history) / 60,
        "bits_per_dim": float(scores.mean()),
        "standard_error": float(scores.std() / np.sqrt(len(scores))),
    }
    train.write_text(folder / "result.json", json.dumps(result, indent=2) + "\n")
    table = results_table(result, source, len(scores))
    train.write_text(folder / "table.md", table + "\n")
    draw(model, params["flow"], images.test_images, folder / "samples.png")
    print(f"\n{table}\n\ntable: {folder / 'table.md'}\nsamples: {folder / 'samples.png'}")
    return result


def trained(config: FlowRun) -> tuple[flows.InvertibleNet, flows.LearnedNoise, Any]:
    """Flow, noise and the averaged parameters {"flow", "noise"} of both, as the run of this configuration has them.

    What is not finished is trained.
    """
    images, _, folder = start(config)
    model, noise = make_model(config, images)
    return model, noise, fit(config, model, noise, images, folder)[0]


def start(config: FlowRun) -> tuple[datasets.Images, str, Path]:
    """The images that are asked for, the name of their source, and the run's folder."""
    images, source = load(config)
    if config.half != "all":
        images = halves(images)[config.half]
    protocol = asdict(config) | {"data": source}
    del protocol["root"]
    return images, source, train.start_run("counterfactuals", config.name, protocol, config.root)


def make_model(
    config: FlowRun, images: datasets.Images
) -> tuple[flows.InvertibleNet, flows.LearnedNoise]:
    """The flow, from N(0, I) to images (height, width, channels) in [0, 1], and the noise of its scores."""
    shape = with_channels(images.train_images).shape[1:]
    conditioner = {"mixer": nn.mixer_net, "conv": nn.conv_net}[config.conditioner]
    net = flows.glow(shape, config.levels, config.width, config.coupling, config.alpha, conditioner)
    return net, NOISES[config.noise]


NOISES = {
    "uniform": flows.LearnedNoise(lambda key: {}, lambda params: flows.uniform_noise),
    "learned": flows.logit_normal_noise(),
}


def bits(model: flows.InvertibleNet, noise: flows.LearnedNoise, params: Any, images: Any, key: Any):
    """Bits per dimension of images (..., height, width, channels), with one draw of the noise."""
    return flows.bits_per_dim(model.law(params["flow"]), images, key, noise.noise(params["noise"]))


def fit(
    config: FlowRun,
    model: flows.InvertibleNet,
    noise: flows.LearnedNoise,
    images: datasets.Images,
    folder: Path,
) -> tuple[Any, list[dict[str, Any]]]:
    """The averaged parameters, and the log; a run that was killed goes on where it was."""
    data = jnp.asarray(with_channels(images.train_images))
    init_key, noise_key, key = jax.random.split(jax.random.key(config.seed), 3)

    def loss(params, batch, key):
        score = bits(model, noise, params, batch.data, key)
        return jnp.sum(batch.weight * score) / jnp.sum(batch.weight), {}

    @jax.jit
    def first(init_key, noise_key, some):
        noise_params = noise.init(init_key)
        x, _ = noise.noise(noise_params)(some, noise_key)
        return {"flow": model.data_init(model.init(init_key), x), "noise": noise_params}

    warmup = min(config.warmup, config.steps // 10)
    rate = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warmup, config.steps)
    adam = optax.chain(optax.clip_by_global_norm(config.clip), optax.adam(rate))
    optimizer = train.averaged(adam, config.average)
    step = train.on_minibatches(train.make_step(loss, optimizer), config.batch)
    run = train.chunked(step, convolutional=True)
    state = train.init(first(init_key, noise_key, data[:512]), optimizer, key, len(data))
    chunk = min(500, config.steps)
    state, history = train.fit(run, state, data, config.steps, folder, chunk=chunk)
    return state.opt_state.average, history


def evaluate(
    model: flows.InvertibleNet,
    noise: flows.LearnedNoise,
    params: Any,
    images: np.ndarray,
    folder: Path,
):
    """Bits per dimension of each image; by chunks that a killed run keeps."""

    @jax.jit
    def score(params, images, first):
        key = jax.random.fold_in(jax.random.key(0), first)
        return {"bits": bits(model, noise, params, with_channels(images), key)}

    size = 500
    chunks = [(images[i : i + size], np.int32(i)) for i in range(0, len(images), size)]
    parts = train.resumable_map(
        lambda chunk: score(params, *chunk), chunks, folder / "bits", depends=params
    )
    return np.concatenate([part["bits"] for part in parts]).astype(float)


def results_table(result: dict[str, Any], source: str, count: int) -> str:
    """One row: the flow, what it has cost, its score."""
    header = "coupling, noise, parameters, steps, CPU minutes, bits/dim, date, revision"
    row = [
        result["coupling"],
        result["noise"],
        result["parameters"],
        result["steps"],
        f"{result['cpu_minutes']:.1f}",
        f"{result['bits_per_dim']:.3f} ± {result['standard_error']:.3f}",
        result["date"][:10],
        str(result["revision"])[:7],
    ]
    caption = (
        f"Bits per dimension of {count} test images of {source}, the noise of the training, one "
        "draw; mean ± its standard error over images:"
    )
    return f"{caption}\n\n{train.markdown_table(header.split(', '), [row])}"


def draw(model: flows.InvertibleNet, params: Any, images: np.ndarray, path: Path) -> None:
    """Test images, and samples at two temperatures."""
    rows, columns = 8, 8

    @jax.jit
    def sample(params, key):
        laws = (model.law(params, temperature) for temperature in (1.0, 0.7))
        return [law.sample(seed=key, sample_shape=rows * columns) for law in laws]

    panels = {"test images": images[: rows * columns] / 255}
    drawn = sample(params, jax.random.key(1))
    for title, x in zip(("samples", "samples at temperature 0.7"), drawn, strict=True):
        panels[title] = np.clip(np.asarray(x)[..., 0], 0, 1)
    figure = Figure(figsize=(4.0 * len(panels), 4.3), layout="constrained")
    for ax, (title, shown) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        plotting.image_grid(ax, shown.reshape(rows, columns, *shown.shape[1:]))
        ax.set_title(title)
    figure.savefig(path, dpi=150)
