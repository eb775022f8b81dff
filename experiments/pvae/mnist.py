"""MNIST (Mathieu et al. 2019, section 5.2): grey pixels as Bernoulli means, one hidden layer of 600."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from experiments.pvae import models, pictures
from experiments.pvae.report import mean_and_error
from geodl import datasets, plotting, train, vae


DIMS = (2, 5, 10, 20)
# -log p(x), IWAE-5000, for d = 2, 5, 10, 20 (Mathieu et al. 2019, table 2); None: not trainable by their code
PAPER = {
    ("N-VAE", None): (144.5, 114.7, 100.2, 97.6),
    ("wrapped", 0.1): (143.9, 115.5, 100.2, 97.2),
    ("wrapped", 0.2): (144.2, 115.3, 100.0, 97.1),
    ("wrapped", 0.7): (143.8, 115.1, 100.2, 97.5),
    ("wrapped", 1.4): (144.0, 114.7, 100.7, 98.0),
    ("Riemannian", 0.1): (143.7, 115.2, 99.9, 97.0),
    ("Riemannian", 0.2): (143.8, 114.7, 99.7, 97.4),
    ("Riemannian", 0.7): (143.1, 114.1, 101.2, None),
    ("Riemannian", 1.4): (142.5, 115.5, None, None),
}


@dataclass(frozen=True)
class Mnist:
    """The protocol; the defaults are the paper's whole table."""

    name: str = "paper"
    data: Literal["mnist", "digits", "auto"] = "mnist"
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
    samples: int = 5000
    """importance samples of the reported likelihood"""
    test_items: int = 10_000
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


@dataclass(frozen=True)
class Cell:
    """One model of the table."""

    kind: models.Kind
    dim: int
    c: float | None

    @property
    def folder(self) -> str:
        return f"{self.kind}{'' if self.c is None else f'-c{self.c}'}-d{self.dim}".lower()


def cells(config: Mnist) -> list[Cell]:
    """Every model of the table."""
    return [
        Cell(kind, dim, c)
        for dim in config.dims
        for kind in config.kinds
        for c in ([None] if kind == "N-VAE" else config.curvatures)
    ]


def run(config: Mnist) -> dict[Cell, np.ndarray]:
    """Train and evaluate every cell; tables and pictures land in the run's folder."""
    images, source = load(config)
    folder = train.start_run("mnist", config.name, asdict(config) | {"data": source}, config.root)
    print(f"{source}: {len(images.train_images)} training, {len(images.test_images)} test images")
    losses = {}
    for cell in cells(config):
        params, losses[cell] = train_cell(config, cell, images, folder / cell.folder)
        table = results_table(losses, source)
        train.write_text(folder / "table.md", table + "\n")
        if cell.dim == 2:
            draw(config, cell, jax.tree.map(lambda a: a[0], params), images, folder / cell.folder)
    print(f"\n{table}\n\ntable: {folder / 'table.md'}\npictures: {folder}/*/*.png")
    return losses


def load(config: Mnist) -> tuple[datasets.Images, str]:
    """The images, and the name of their source."""
    if config.data != "digits":
        try:
            return datasets.mnist(download=config.download), "mnist"
        except FileNotFoundError as error:
            if config.data == "mnist":
                raise
            print(f"{error}\nTraining on scikit-learn's 8x8 digits instead.")
    return datasets.digits(), "digits"


def pixels(images: jax.Array) -> jax.Array:
    """Images uint8 (..., height, width) as Bernoulli means (..., height width), off 0 and 1 as in the paper's code."""
    return jnp.clip(images.reshape(*images.shape[:-2], -1) / 255.0, 1e-5, 1 - 1e-5)


def make_model(config: Mnist, cell: Cell, images: datasets.Images) -> vae.VAE:
    """The cell's model; its last bias starts at the logit of the mean training image."""
    mean = images.train_images.reshape(len(images.train_images), -1).mean(0) / 255
    bias = jnp.asarray(np.log(mean + 1e-4) - np.log1p(-mean - 1e-4), jnp.float32)
    model = models.make(
        cell.kind,
        cell.dim,
        cell.c or 1.0,
        config.prior_scale,
        config.hidden,
        mean.size,
        vae.bernoulli,
    )

    def init(key):
        params = model.init(key)
        layers = params["decoder"]["rest"]["layers"]
        layers[max(layers)]["bias"] = bias
        return params

    return model._replace(init=init)


def train_cell(config: Mnist, cell: Cell, images: datasets.Images, folder: Path):
    """Parameters, and -log p(x) in nats per test image, of each seed."""
    model = make_model(config, cell, images)

    def loss(params, batch, key):
        bound = vae.elbo(model, params, pixels(batch.data), key)
        total = jnp.sum(batch.weight)
        metrics = {k: jnp.sum(batch.weight * v) / total for k, v in bound._asdict().items()}
        return -jnp.sum(batch.weight * bound.elbo), metrics

    keys = jax.random.split(jax.random.key(0), config.seeds)
    optimizer = models.optimizer(config.learning_rate)
    step = train.on_minibatches(train.make_step(loss, optimizer), config.batch)
    states = jax.vmap(lambda key: train.init(model.init(key), optimizer, key))(keys)
    data = jnp.asarray(images.train_images)
    epoch = train.steps_per_epoch(len(data), config.batch)
    run = train.chunked(jax.vmap(step, (0, None)))
    states, _ = train.fit(run, states, data, config.epochs * epoch, folder, chunk=epoch)
    return states.params, evaluate(config, model, states.params, keys, images, folder)


def evaluate(config: Mnist, model: vae.VAE, params, keys, images, folder: Path) -> np.ndarray:
    """Mean -log p(x) of each seed, by chunks of test images that a killed run keeps."""
    test = images.test_images[: config.test_items]
    inner = max(n for n in range(1, 11) if config.samples % n == 0)

    @jax.jit
    def bounds(x, first):
        def one(params, key):
            key = jax.random.fold_in(key, first)
            return vae.iwae(model, params, pixels(x), key, config.samples, inner)

        return {"log_likelihood": jax.vmap(one)(params, keys)}

    chunks = [(test[i : i + 100], np.int32(i)) for i in range(0, len(test), 100)]
    results = train.resumable_map(
        lambda chunk: bounds(*chunk), chunks, folder / "iwae", depends=(params, config.samples)
    )
    return -np.concatenate([result["log_likelihood"] for result in results], -1).mean(-1)


def results_table(losses: dict[Cell, np.ndarray], source: str) -> str:
    """Ours beside the paper's."""
    rows = []
    for cell, loss in losses.items():
        paper = PAPER.get((cell.kind, cell.c), (None,) * 4)
        known = cell.dim in DIMS and source == "mnist" and (cell.kind, cell.c) in PAPER
        published = (paper[DIMS.index(cell.dim)] or "*") if known else "–"
        model = cell.kind if cell.c is None else f"{cell.kind}, c={cell.c}"
        rows.append([cell.dim, model, mean_and_error(loss), published])
    header = ["d", "model", f"ours, {len(loss)} seeds", "paper"]
    return (
        f"−log p(x) in nats per test image of {source}, IWAE; mean ± its standard error over seeds; "
        "*: the paper's code could not train it\n\n" + train.markdown_table(header, rows)
    )


def draw(config: Mnist, cell: Cell, params, images: datasets.Images, folder: Path) -> None:
    """Reconstructions, the latent grid and the latents by digit, of a two-dimensional model."""
    model = make_model(config, cell, images)
    test = jnp.asarray(images.test_images)
    shape = test.shape[1:]

    manifold = model.manifold(params)

    @jax.jit
    def decode(z):
        parameters = model.decode(params, models.from_picture(manifold, z))
        return jax.nn.sigmoid(parameters).reshape(-1, *shape)

    @jax.jit
    def encode(x):
        return models.to_picture(manifold, model.encode(params, pixels(x)).loc)

    first = test[:30]
    chart = plotting.Plane(3.0 * config.prior_scale) if cell.c is None else plotting.Disk(cell.c)
    pictures.mnist_figures(
        folder,
        np.asarray(first) / 255,
        np.asarray(decode(encode(first))),
        chart,
        np.asarray(encode(test)),
        images.test_labels,
        lambda z: np.asarray(decode(jnp.asarray(z, jnp.float32))),
    )
