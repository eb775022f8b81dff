"""MNIST (Mathieu et al. 2019, section 5.2): grey pixels as Bernoulli means, one hidden layer of 600."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.pvae import models, pictures
from experiments.pvae.report import mean_and_error
from geodl import datasets, plotting, train, vae


DIMS = (2, 5, 10, 20)
MARK = "<!-- table -->"
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


# digits 0 to 9: accuracy in percent of a classifier of the 2-d latents (the same, table 3)
PAPER_ACCURACY = {
    ("N-VAE", None): (89, 97, 81, 75, 59, 43, 89, 78, 68, 57),
    ("Riemannian", 1.4): (94, 97, 82, 79, 69, 47, 90, 77, 68, 53),
}


@dataclass(frozen=True)
class Mnist:
    """The protocol; the defaults are the paper's whole table.

    Runs of one name share it and add to one table, whatever ``kinds``, ``dims`` and ``curvatures`` they ask for.
    """

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
    decay: float = 0.0
    """share of the training, its end, in which the learning rate falls to 0 along a cosine; the paper's is constant"""
    samples: int = 5000
    """importance samples of the reported likelihood"""
    test_items: int = 10_000
    chart: models.Chart = "hyperboloid"
    validate: bool = False
    """to choose settings: the last sixth of the training images (MNIST: 10,000) is held out and stands for the test"""
    results: str = ""
    """folder of one JSON file for each finished cell, by default in the run's: cells found there are not run again"""
    root: str = "runs"


@dataclass(frozen=True)
class Table:
    """The tables of a folder of results, in a page between two of its marks."""

    results: str = "docs/results/mnist"
    page: str = "docs/results/mnist.md"


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


def run(config: Mnist) -> dict[Cell, dict[str, Any]]:
    """Train and evaluate every cell asked for that has no result yet; tables and pictures land in the run's folder.

    Raises ``ValueError`` where a result that is there was measured by another protocol.
    """
    images, source = load(config)
    protocol = asdict(config) | {"data": source}
    for free in ("kinds", "dims", "curvatures", "results", "root"):
        del protocol[free]
    folder = train.start_run("mnist", config.name, protocol, config.root)
    del protocol["name"]
    store = Path(config.results) if config.results else folder / "results"
    store.mkdir(parents=True, exist_ok=True)
    print(f"{source}: {len(images.train_images)} training, {len(images.test_images)} test images")
    for cell in cells(config):
        known = results(store).get(cell)
        if known and known["protocol"] != protocol:
            raise ValueError(
                f"{store}: {cell.folder} was measured by {known['protocol']}, asked for {protocol}"
            )
        if known:
            continue
        place = folder / cell.folder
        params = train_cell(config, cell, images, place)
        result = evaluate(config, cell, params, images, place)
        if cell.dim == 2:
            result["accuracy"] = classify(config, cell, params, images, place)
            draw(config, cell, jax.tree.map(lambda a: a[0], params), images, place)
        record = asdict(cell) | {"protocol": protocol} | train.circumstances() | result
        train.write_text(store / f"{cell.folder}.json", json.dumps(record, indent=2) + "\n")
    tables = results_tables(results(store), source)
    train.write_text(folder / "table.md", tables + "\n")
    print(f"\n{tables}\n\ntable: {folder / 'table.md'}\npictures: {folder}/*/*.png")
    return results(store)


def write_table(config: Table) -> None:
    """Put the tables of all results that there are into the page."""
    page = Path(config.page)
    before, _, after = page.read_text().split(MARK)
    tables = results_tables(results(Path(config.results)), "mnist")
    train.write_text(page, f"{before}{MARK}\n\n{tables}\n\n{MARK}{after}")
    print(tables)


def results(folder: Path) -> dict[Cell, dict[str, Any]]:
    """What the finished cells of a folder of results have measured."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return {Cell(r["kind"], r["dim"], r["c"]): r for r in records}


def load(config: Mnist) -> tuple[datasets.Images, str]:
    """The images, and the name of their source."""
    images, source = _load(config)
    if config.validate:
        fit = slice(len(images.train_images) * 5 // 6)
        rest = slice(fit.stop, None)
        (x, labels), name = images[:2], f"{source}, held-out training images"
        return datasets.Images(x[fit], labels[fit], x[rest], labels[rest]), name
    return images, source


def _load(config: Mnist) -> tuple[datasets.Images, str]:
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
        chart=config.chart,
    )

    def init(key):
        params = model.init(key)
        layers = params["decoder"]["rest"]["layers"]
        layers[max(layers)]["bias"] = bias
        return params

    return model._replace(init=init)


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
    optimizer = models.optimizer(config.learning_rate, steps, config.decay)
    step = train.on_minibatches(train.make_step(loss, optimizer), config.batch)
    states = jax.vmap(lambda key: train.init(model.init(key), optimizer, key, len(data)))(
        seed_keys(config)
    )
    run = train.chunked(jax.vmap(step, (0, None)))
    states, _ = train.fit(run, states, data, steps, folder, chunk=epoch)
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

    @jax.jit
    def iwae_bound(x, first):
        def one(params, key):
            key = jax.random.fold_in(key, first)
            return vae.iwae(model, params, pixels(x), key, config.samples, inner)

        return {"log_likelihood": jax.vmap(one)(params, keys)}

    @jax.jit
    def elbo_parts(x, first):
        def one(params, key):
            key = jax.random.fold_in(key, first)
            return vae.elbo(model, params, pixels(x), key, samples=10)._asdict()

        return jax.vmap(one)(params, keys)

    def mean_over_images(bounds, name, size):
        chunks = [(test[i : i + size], np.int32(i)) for i in range(0, len(test), size)]
        parts = train.resumable_map(
            lambda chunk: bounds(*chunk), chunks, folder / name, depends=(params, config.samples)
        )
        return {k: np.concatenate([part[k] for part in parts], -1).mean(-1) for k in parts[0]}

    tight = mean_over_images(iwae_bound, "iwae", 100)["log_likelihood"]
    bound = mean_over_images(elbo_parts, "elbo", 500)
    variances = jax.jit(jax.vmap(lambda p: vae.unit_variances(model, p, pixels(test))))(params)
    return {
        "loss": (-tight).tolist(),
        "negative_elbo": (-bound["elbo"]).tolist(),
        "reconstruction": (-bound["log_likelihood"]).tolist(),
        "kl": bound["kl"].tolist(),
        "active_units": jnp.sum(variances > vae.ACTIVE, -1).tolist(),
    }


def classify(config: Mnist, cell: Cell, params, images, folder: Path) -> list[list[float]]:
    """Per seed, share of each digit's test images that a classifier of the latent means names rightly.

    The classifier has the decoder's architecture, 100 hidden units and ten outputs.
    """
    model = make_model(config, cell, images)
    net = vae.decoder("linear" if cell.c is None else "gyroplane", cell.dim, [100, 10])
    encode = jax.jit(jax.vmap(lambda p, x: model.encode(p, pixels(x)).loc, (0, None)))
    latents = encode(params, jnp.asarray(images.train_images))
    labels = jnp.asarray(images.train_labels)

    def logits(weights, z):
        return net.apply(weights, z, model.manifold(None))

    def loss(weights, batch, key):
        z, label = batch.data
        nats = optax.softmax_cross_entropy_with_integer_labels(logits(weights, z), label)
        return jnp.sum(batch.weight * nats) / jnp.sum(batch.weight), {}

    epoch = train.steps_per_epoch(len(labels), config.batch)
    steps = 20 * epoch
    optimizer = models.optimizer(2e-3, steps, 1.0)
    step = train.on_minibatches(train.make_step(loss, optimizer), config.batch)
    states = jax.vmap(lambda key: train.init(net.init(key), optimizer, key, len(labels)))(
        seed_keys(config)
    )
    data = latents, jnp.broadcast_to(labels, latents.shape[:2])
    run = train.chunked(jax.vmap(step))
    states, _ = train.fit(run, states, data, steps, folder / "classifier", chunk=5 * epoch)
    named = jax.vmap(lambda w, z: jnp.argmax(logits(w, z), -1))(
        states.params, encode(params, jnp.asarray(images.test_images))
    )
    right = np.asarray(named) == images.test_labels
    return [[float(r[images.test_labels == digit].mean()) for digit in range(10)] for r in right]


def results_tables(results: dict[Cell, dict[str, Any]], source: str) -> str:
    """Ours beside the paper's: likelihoods; their parts; classification of the 2-d latents."""
    mnist, rows = source == "mnist", []
    dims = DIMS if mnist else tuple(sorted({cell.dim for cell in results}))
    kinds = list(PAPER) if mnist else list(dict.fromkeys((c.kind, c.c) for c in results))
    for kind, c in kinds:
        row = [label(kind, c)]
        for i, dim in enumerate(dims):
            ours = results.get(Cell(kind, dim, c))
            row.append("–" if ours is None else mean_and_error(ours["loss"]))
            if mnist:
                row.append(PAPER[kind, c][i] or "*")
        rows.append(row)
    header = ["model"]
    for dim in dims:
        header += [f"d={dim}", "paper"] if mnist else [f"d={dim}"]
    details = "d, model, seeds, IWAE, −ELBO, reconstruction, KL, active units, date, revision"
    tables = [
        f"−log p(x) in nats per test image of {source}, IWAE; mean ± its standard error over seeds; "
        "–: not run; *: the paper's code could not train it",
        train.markdown_table(header, rows),
        "The bounds and their parts, the latent units in use, and the run:",
        train.markdown_table(
            details.split(", "),
            [
                detail(*item)
                for item in sorted(
                    results.items(), key=lambda item: (item[0].dim, item[0].kind, item[0].c or 0)
                )
            ],
        ),
    ]
    accuracies = {cell: r["accuracy"] for cell, r in results.items() if "accuracy" in r}
    if accuracies:
        rows = []
        for cell, accuracy in accuracies.items():
            ours = 100 * np.mean(accuracy, 0)
            rows.append(
                [label(cell.kind, cell.c), *(f"{a:.0f}" for a in ours), f"{ours.mean():.1f}"]
            )
            paper = PAPER_ACCURACY.get((cell.kind, cell.c)) if mnist else None
            if paper:
                rows.append(
                    [f"{label(cell.kind, cell.c)} (paper)", *paper, f"{np.mean(paper):.1f}"]
                )
        tables += [
            "Percent of each digit's test images that a classifier of the 2-d latents names rightly:",
            train.markdown_table(["model", *map(str, range(10)), "average"], rows),
        ]
    return "\n\n".join(tables)


def detail(cell: Cell, result: dict[str, Any]) -> list[object]:
    """A row of the second table."""
    names = ("loss", "negative_elbo", "reconstruction", "kl", "active_units")
    figures = [mean_and_error(result[name]) for name in names]
    run = [result["date"][:10], str(result["revision"])[:7]]
    return [cell.dim, label(cell.kind, cell.c), len(result["loss"]), *figures, *run]


def label(kind: models.Kind, c: float | None) -> str:
    """A model's name in tables."""
    return kind if c is None else f"{kind}, c={c}"


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
