"""Branching diffusion: a tree observed in R^50 (Mathieu et al. 2019, section 5.1)."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.decomposition import PCA

from experiments import _devices
from experiments._pictures import from_picture, to_picture
from experiments._run import Run, markdown_table, mean_and_error
from experiments._training import on_minibatches
from experiments.pvae import baselines, models, pictures
from geodl import datasets, plotting, train, vae
from geodl.datasets.branching import DIM


# -log p(x), IWAE-5000; +-0.2 over 20 runs (Mathieu et al. 2019, table 1)
PAPER = {
    1.0: {"N-VAE": 57.1, 0.1: 57.1, 0.3: 57.2, 0.8: 56.9, 1.0: 56.7, 1.2: 56.6},
    1.7: {"N-VAE": 57.0, 0.1: 56.8, 0.3: 56.6, 0.8: 55.9, 1.0: 55.7, 1.2: 55.6},
}


@dataclass(frozen=True)
class Branching:
    """The protocol; the defaults are the paper's whole table.

    Runs of one name share it, and what is trained already, whatever curvatures, prior scales and decoders they ask for.
    """

    name: str = "paper"
    seeds: int = 10
    """trees, each with its own split; all seeds of a model are trained at once"""
    seed: int = 0
    """of the trees and of the training: another number is another draw of all of them"""
    curvatures: tuple[float, ...] = (0.1, 0.3, 0.8, 1.0, 1.2)
    prior_scales: tuple[float, ...] = (1.0, 1.7)
    decoders: tuple[models.First, ...] = ("gyroplane",)
    """first layers of the Poincaré VAE's decoder, to compare"""
    posterior: Literal["Riemannian", "wrapped"] = "Riemannian"
    epochs: int = 1000
    hidden: int = 200
    batch: int = 64
    learning_rate: float = 1e-3
    samples: int = 5000
    """importance samples of the reported likelihood"""
    picture_seed: int = 0
    root: str = "runs"


# the flagship: two models of the table, minutes on two cores
DEMO = Branching(name="demo", seeds=5, curvatures=(1.2,), prior_scales=(1.7,))


@dataclass(frozen=True)
class Cell:
    """One model of the table."""

    kind: models.Kind
    prior_scale: float
    c: float = 1.0
    first: models.First = "gyroplane"

    @property
    def label(self) -> str:
        if self.kind == "N-VAE":
            return f"N-VAE, σ0={self.prior_scale}"
        return f"{self.kind} P-VAE, {self.first}, c={self.c}, σ0={self.prior_scale}"

    @property
    def folder(self) -> str:
        kind = self.kind if self.kind == "N-VAE" else f"{self.kind}-{self.first}-c{self.c}"
        return f"{kind}-s{self.prior_scale}".lower()

    def published(self) -> float | None:
        row = PAPER.get(self.prior_scale, {})
        if self.kind == "N-VAE":
            return row.get("N-VAE")
        return row.get(self.c) if (self.kind, self.first) == ("Riemannian", "gyroplane") else None


def cells(config: Branching) -> list[Cell]:
    """Every model of the table."""
    of_paper = list(product(config.decoders, config.curvatures))
    return [
        cell
        for scale in config.prior_scales
        for cell in [
            Cell("N-VAE", scale),
            *(Cell(config.posterior, scale, c, first) for first, c in of_paper),
        ]
    ]


def run(config: Branching) -> dict[Cell, np.ndarray]:
    """Train and evaluate every cell on the same trees; tables and pictures land in the run's folder.

    Raises:
        ValueError: no prior scale, curvature or decoder, or a ``picture_seed`` of no seed.
    """
    if not (config.prior_scales and config.curvatures and config.decoders):
        raise ValueError("branching: a prior scale, a curvature and a decoder are needed at least")
    if not 0 <= config.picture_seed < config.seeds:
        raise ValueError(
            f"branching: picture_seed is one of {config.seeds} seeds, from 0, got {config.picture_seed}"
        )
    run = Run("pvae-branching", config, free=("curvatures", "prior_scales", "decoders"))
    keys = jax.random.split(jax.random.key(config.seed), config.seeds)
    trees = jax.vmap(datasets.branching_diffusion)(keys)
    losses, params = {}, {}
    for cell in cells(config):
        params[cell], losses[cell] = train_cell(config, cell, trees, keys, run.folder / cell.folder)
    tree = jax.tree.map(np.asarray, seed_of(trees, config.picture_seed))
    draw(config, params, tree, run.folder)
    draw_baselines(tree, run.folder)
    run.finish(results_table(losses), {"loss": {c.folder: loss for c, loss in losses.items()}})
    return losses


def train_cell(config: Branching, cell: Cell, trees, keys, folder: Path):
    """Parameters, and -log p(x) in nats per test item, of each seed."""
    model = make_model(config, cell)

    def loss(params, batch, key):
        bound = vae.elbo(model, params, batch.data, key)
        metrics = {name: jnp.mean(value) for name, value in bound._asdict().items()}
        return -jnp.sum(bound.elbo), metrics

    optimizer = _devices.optimizer(models.optimizer(config.learning_rate))
    step = on_minibatches(_devices.make_step(loss, optimizer), config.batch, drop_last=True)
    items = trees.train.shape[1]
    states = jax.vmap(lambda key: train.init(model.init(key), optimizer, key, items))(keys)
    per_epoch = train.steps_per_epoch(items, config.batch, drop_last=True)
    steps, chunk = config.epochs * per_epoch, 50 * per_epoch
    states, _ = _devices.fit(
        jax.vmap(step), states, trees.train, steps, folder, chunk=chunk, save_every=5
    )

    chunk = max(n for n in range(1, 101) if config.samples % n == 0)

    @jax.jit
    def evaluate(params, test, key):
        test = _devices.over_devices(test)
        return {"loss": -jnp.mean(vae.iwae(model, params, test, key, config.samples, chunk))}

    everything = states.params, trees.test, keys
    seeds = [seed_of(everything, i) for i in range(config.seeds)]
    results = train.cached_map(
        lambda seed: evaluate(*seed), seeds, folder / "iwae", depends=config.samples
    )
    return states.params, np.array([result["loss"] for result in results])


def seed_of(tree, i: int):
    """One seed's part of a pytree stacked over seeds."""
    return jax.tree.map(lambda a: a[i], tree)


def make_model(config: Branching, cell: Cell) -> vae.VAE:
    """The cell's model."""
    return models.make(
        cell.kind, 2, cell.c, cell.prior_scale, config.hidden, DIM, vae.gaussian, cell.first
    )


def results_table(losses: dict[Cell, np.ndarray]) -> str:
    """Ours beside the paper's, and the difference to the N-VAE on the same trees."""
    rows = []
    for cell, loss in losses.items():
        paper, baseline = cell.published(), losses[Cell("N-VAE", cell.prior_scale)]
        gain = "" if cell.kind == "N-VAE" else mean_and_error(loss - baseline)
        rows.append(
            {
                "model": cell.label,
                f"ours, {len(loss)} seeds": mean_and_error(loss),
                "paper, 20 runs": "–" if paper is None else f"{paper} ± 0.2",
                "ours − N-VAE, paired": gain,
            }
        )
    return (
        "−log p(x) in nats per test item, IWAE, all 191 test items; mean ± its standard error; "
        f"entropy floor {datasets.ENTROPY_FLOOR:.2f}\n\n" + markdown_table(rows)
    )


def draw(config: Branching, params: dict[Cell, dict], tree, folder: Path) -> Path:
    """The latent tree of one seed: the N-VAE beside the most curved Poincaré VAE, at the widest prior."""
    widest = max(config.prior_scales)
    hyperbolic = max((c for c in params if c.kind != "N-VAE"), key=lambda c: (c.prior_scale, c.c))
    panels = [
        latents(config, cell, seed_of(params[cell], config.picture_seed), tree)
        for cell in (Cell("N-VAE", widest), hyperbolic)
    ]
    owners = np.concatenate([tree.train_node, tree.test_node])
    return pictures.tree_figure(folder / "latents.png", tree, owners, panels)


def draw_baselines(tree, folder: Path) -> Path:
    """The tree by PCA of the training data, and by a GPLVM of the nodes with part of these data."""
    shown = tree.train[: len(tree.nodes)]  # a random part: the items are in random order
    both = np.concatenate([tree.nodes, shown])
    embeddings = {
        "PCA": PCA(2).fit(tree.train).transform(both),
        "GPLVM": np.asarray(baselines.gplvm(both)[0].positions),
    }
    panels = []
    for title, z in embeddings.items():
        low, high = z.min(0), z.max(0)
        nodes, points = np.split(z - (low + high) / 2, [len(tree.nodes)])
        chart = plotting.Plane(0.54 * float(np.max(high - low)))
        panels.append(pictures.Latents(title, chart, nodes, points))
    owners = tree.train_node[: len(shown)]
    return pictures.tree_figure(folder / "baselines.png", tree, owners, panels)


def latents(config: Branching, cell: Cell, params, tree) -> pictures.Latents:
    """Posterior means of nodes and data, and the hyperplanes of the decoder's first layer."""
    model = make_model(config, cell)
    manifold = model.manifold(params)

    @jax.jit
    def means(x):
        return to_picture(manifold, model.encode(params, x).loc)

    @jax.jit
    def density(z):
        return jnp.exp(model.prior(params).log_prob(from_picture(manifold, z)))

    everything = np.concatenate([tree.nodes, tree.train, tree.test])
    nodes, points = np.split(np.asarray(means(everything)), [len(tree.nodes)])

    first = jax.tree.map(np.asarray, params["decoder"]["first"])
    if "weight" in first:  # gyroplanes
        weights, offsets = first["weight"].T, first["bias"]
    else:  # <w, z> + beta = 0 passes through b w with b = -beta / |w|^2
        weights = first["linear"]["kernel"].T
        offsets = -first["linear"]["bias"] / np.sum(weights**2, 1)
    return pictures.Latents(
        title=cell.label,
        chart=plotting.Plane(3.5 * cell.prior_scale)
        if cell.kind == "N-VAE"
        else plotting.Disk(cell.c),
        nodes=nodes,
        points=points,
        hyperplanes=(weights, offsets),
        prior=lambda z: np.asarray(density(jnp.asarray(z, jnp.float32))),
    )
