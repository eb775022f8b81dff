"""MNIST (Mathieu et al. 2019, section 5.2): gray pixels as Bernoulli means, one hidden layer of 600."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import _devices, _grid, _images
from experiments._pictures import from_picture, to_picture
from experiments._run import Run
from experiments._training import by_batches, minimize, on_minibatches
from experiments.pvae import models, pictures
from experiments.pvae.mnist_tables import DIMS, Cell, results_tables
from geodl import datasets, nn, plotting, train, vae


@dataclass(frozen=True)
class Mnist:
    """The protocol; the defaults are the paper's whole table.

    Runs of one name share it and add to one table, whatever ``kinds``, ``dims`` and ``curvatures`` they ask for.
    """

    name: str = "paper"
    data: _images.Data = "mnist"
    """auto: MNIST where its files are found, else scikit-learn's digits"""
    download: bool = False
    """fetch MNIST once from its public mirrors where GEODL_DATA does not hold it"""
    kinds: tuple[models.Kind, ...] = ("N-VAE", "wrapped", "Riemannian")
    dims: tuple[int, ...] = DIMS
    curvatures: tuple[float, ...] = (0.1, 0.2, 0.7, 1.4)
    seeds: int = 1
    """trained at once by vmap"""
    prior_scale: float = 1.0
    epochs: int = 80
    hidden: int = 600
    batch: int = 128
    learning_rate: float = 5e-4
    decay: float = 0.0
    """share of the training, its end, in which the learning rate falls to 0 along a cosine; the paper's is constant"""
    samples: int = 5000
    """importance samples of the reported likelihood"""
    test_items: int = 10_000
    chart: models.Chart = "hyperboloid"
    first: models.First = "gyroplane"
    """the first layer of the hyperbolic decoders"""
    validate: bool = False
    """to choose settings: the last sixth of the training images (MNIST: 10,000) is held out and stands for the test"""
    results: str = ""
    """folder of one JSON file for each finished cell, by default in the run's: cells found there are not run again"""
    root: str = "runs"


# minutes on two cores
QUICK = Mnist(
    name="quick",
    data="auto",
    kinds=("N-VAE", "Riemannian"),
    dims=(2,),
    curvatures=(1.4,),
    epochs=5,
    samples=500,
    test_items=1000,
)


def cells(config: Mnist) -> list[Cell]:
    """Every model of the table."""
    return [
        Cell(kind, dim, c)
        for dim in config.dims
        for kind in config.kinds
        for c in ([None] if kind == "N-VAE" else config.curvatures)
    ]


def run(config: Mnist) -> dict[Cell, dict[str, Any]]:
    """Train and evaluate every cell asked for that has no result yet; tables and pictures land in the run's folder.

    Raises ``ValueError`` where a result that is there was measured by another protocol.
    """
    images, source = _images.load(config.data, config.download, config.validate)
    free = ("kinds", "dims", "curvatures", "results")
    run = Run("pvae-mnist", config, free, data=source)
    print(f"{source}: {len(images.train_images)} training, {len(images.test_images)} test images")

    def score(cell: Cell, folder: Path) -> dict[str, Any]:
        params = train_cell(config, cell, images, folder)
        result: dict[str, Any] = evaluate(config, cell, params, images, folder)
        if cell.dim == 2:
            result["accuracy"] = classify(config, cell, params, images, folder)
            draw(config, cell, jax.tree.map(lambda a: a[0], params), images, folder)
        return result

    store = Path(config.results) if config.results else None
    found = _grid.fill(run, cells(config), score, store)
    run.finish(results_tables(found, source))
    return found


def pixels(images: jax.Array) -> jax.Array:
    """Images uint8 (..., height, width) as Bernoulli means (..., height width), off 0 and 1 as in the paper's code."""
    return jnp.clip(images.reshape(*images.shape[:-2], -1) / 255.0, 1e-5, 1 - 1e-5)


def make_model(config: Mnist, cell: Cell, images: datasets.Images) -> vae.VAE:
    """The cell's model; its last bias starts at the logit of the mean training image."""
    mean = images.train_images.reshape(len(images.train_images), -1).mean(0) / 255
    bias = jnp.asarray(np.log(mean + 1e-4) - np.log1p(-mean - 1e-4), jnp.float32)
    return models.make(
        cell.kind,
        cell.dim,
        cell.c or 1.0,
        config.prior_scale,
        config.hidden,
        mean.size,
        vae.bernoulli,
        config.first,
        config.chart,
        final_bias_init=lambda key, shape, *_: bias,
    )


def train_cell(config: Mnist, cell: Cell, images: datasets.Images, folder: Path):
    """Parameters of each seed."""
    model = make_model(config, cell, images)

    def loss(params, batch, key):
        bound = vae.elbo(model, params, pixels(batch.data), key)
        total = jnp.sum(batch.weight)
        metrics = {k: jnp.sum(batch.weight * v) / total for k, v in bound._asdict().items()}
        return -jnp.sum(batch.weight * bound.elbo), metrics

    data = jnp.asarray(images.train_images)
    epoch = train.steps_per_epoch(len(data), config.batch)
    steps = config.epochs * epoch
    optimizer = _devices.optimizer(models.optimizer(config.learning_rate, steps, config.decay))
    step = on_minibatches(_devices.make_step(loss, optimizer), config.batch)
    states = jax.vmap(lambda key: train.init(model.init(key), optimizer, key, len(data)))(
        seed_keys(config)
    )
    states, _ = _devices.fit(jax.vmap(step, (0, None)), states, data, steps, folder, chunk=epoch)
    return states.params


def seed_keys(config: Mnist) -> jax.Array:
    """One key for each seed."""
    return jax.random.split(jax.random.key(0), config.seeds)


def evaluate(config: Mnist, cell: Cell, params, images, folder: Path) -> dict[str, list]:
    """Per seed: IWAE, ELBO and its parts in nats per test image, and the number of active units.

    By chunks of test images that a killed run keeps.
    """
    model, keys = make_model(config, cell, images), seed_keys(config)
    test = images.test_images[: config.test_items]
    inner = max(n for n in range(1, 11) if config.samples % n == 0)

    def iwae(params, x, key):
        return {"log_likelihood": vae.iwae(model, params, x, key, config.samples, inner)}

    def elbo(params, x, key):
        return vae.elbo(model, params, x, key, samples=10)._asdict()

    def mean_over_images(bounds, size):
        @jax.jit
        def of_seeds(x, first):
            def one(seed):
                params, key = seed
                return bounds(params, pixels(x), jax.random.fold_in(key, first))

            # In turn: on a CPU three products of matrices take 1.3 times as long at once.
            return jax.tree.map(jnp.transpose, jax.lax.map(one, (params, keys)))

        depends = params, config.samples
        found = by_batches(of_seeds, test, size, folder / bounds.__name__, depends)
        return {name: values.mean(0) for name, values in found.items()}

    tight = mean_over_images(iwae, 100)["log_likelihood"]
    bound = mean_over_images(elbo, 500)
    variances = jax.jit(jax.vmap(lambda p: vae.posterior_mean_variance(model, p, pixels(test))))(
        params
    )
    return {
        "loss": (-tight).tolist(),
        "negative_elbo": (-bound["elbo"]).tolist(),
        "reconstruction": (-bound["log_likelihood"]).tolist(),
        "kl": bound["kl"].tolist(),
        "active_units": jnp.sum(variances > vae.ACTIVE_UNIT_THRESHOLD, -1).tolist(),
    }


def classify(config: Mnist, cell: Cell, params, images, folder: Path) -> list[list[float]]:
    """Per seed, share of each digit's test images that a classifier of the latent means gets right.

    The classifier has the decoder's architecture, 100 hidden units and ten outputs.
    """
    model = make_model(config, cell, images)
    first = vae.CoordinateLayer if cell.c is None else nn.Gyroplane
    net = vae.decoder(first, cell.dim, [100, 10])
    encode = jax.jit(jax.vmap(lambda p, x: model.encode(p, pixels(x)).loc, (0, None)))
    latents = encode(params, jnp.asarray(images.train_images))
    labels = jnp.asarray(images.train_labels)

    def logits(weights, z):
        return net.apply(weights, z, model.manifold())

    def loss(weights, samples, key):
        z, label = samples
        return {"loss": optax.softmax_cross_entropy_with_integer_labels(logits(weights, z), label)}

    steps = 20 * train.steps_per_epoch(len(labels), config.batch)
    optimizer, shares = models.optimizer(2e-3, steps, 1.0), []
    tested = encode(params, jnp.asarray(images.test_images))
    for seed, key in enumerate(seed_keys(config)):
        data, where = (latents[seed], labels), folder / "classifier" / f"{seed}"
        state, _ = minimize(
            loss, net.init(key), optimizer, data, config.batch, steps, key, where, steps // 4, False
        )
        right = jnp.argmax(logits(state.params, tested[seed]), -1) == images.test_labels
        shares.append([float(right[images.test_labels == digit].mean()) for digit in range(10)])
    return shares


def draw(config: Mnist, cell: Cell, params, images: datasets.Images, folder: Path) -> None:
    """Reconstructions, the latent grid and the latents by digit, of a two-dimensional model."""
    model = make_model(config, cell, images)
    test = jnp.asarray(images.test_images)
    shape = test.shape[1:]

    manifold = model.manifold(params)

    @jax.jit
    def decode(z):
        parameters = model.decode(params, from_picture(manifold, z))
        return jax.nn.sigmoid(parameters).reshape(-1, *shape)

    @jax.jit
    def encode(x):
        return to_picture(manifold, model.encode(params, pixels(x)).loc)

    first = test[:30]
    chart = plotting.Plane(3.0 * config.prior_scale) if cell.c is None else plotting.Disk(cell.c)
    pictures.reconstructions(folder, np.asarray(first) / 255, np.asarray(decode(encode(first))))
    pictures.latent_grid(folder, chart, lambda z: np.asarray(decode(jnp.asarray(z, jnp.float32))))
    pictures.digits(folder, chart, np.asarray(encode(test)), images.test_labels)
