"""Counterfactuals of handwritten digits, and what other classifiers make of them.

The training images are in two halves. The explained classifier and the generator see A; the judges, the neighbours
and a second flow see B. What is explained are test images that the classifier names rightly, the classes to reach are
drawn in advance, and a result counts as it would be stored, clipped and rounded to 8 bits.
"""

import functools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from experiments.counterfactuals import flow as image_flows
from experiments.counterfactuals import images as pipeline
from experiments.counterfactuals import models, pictures
from experiments.counterfactuals.data import halves
from experiments.counterfactuals.flow import FlowRun
from experiments.counterfactuals.images import Found, stored
from experiments.pvae.mnist import load
from geodl import counterfactual as cf
from geodl import datasets, flows, nn, train
from geodl.bijectors import bin_centers, quantize


Kind = Literal["flow", "vae", "gan", "pvae"]
CONFIDENT = 0.99
NAMES = {
    "flow": "flow",
    "vae": "convolutional VAE",
    "gan": "GAN",
    "pvae": "Poincaré VAE",
}


@dataclass(frozen=True)
class Mnist:
    """The protocol; runs of one name share it and add to one table, whatever ``generator`` they ask for."""

    name: str = "paper"
    data: Literal["mnist", "digits", "auto"] = "auto"
    """auto: MNIST where its files are found, else scikit-learn's digits"""
    download: bool = False
    """fetch MNIST once from its public mirrors where GEODL_DATA does not hold it"""
    generator: Kind = "flow"
    samples: int = 1000
    """test images to explain"""
    fewer: int = 200
    """of them, for what each lever does; 0 leaves that out"""
    batch: int = 250
    """searches that are kept at a time"""
    confidence: float = 0.999
    """that searches go on to; a result counts from 0.99 on"""
    steps: int = 300
    """the most of a search"""
    length: float = 0.5
    """of a step in the base"""
    length_in_data: float = 0.1
    """of a step of the adversarial search, in l2 of pixels"""
    prior: float = 2.0
    """weight of the base's log-density"""
    classifier: models.Training = field(default_factory=lambda: models.Training(steps=1500))
    """of the explained one; the lever has another one, with noise and weight decay"""
    flow: FlowRun = field(default_factory=lambda: FlowRun(name="mnist"))
    """trained twice, on A and on B"""
    decoder: models.Decoder = field(default_factory=models.Decoder)
    """of the other generators"""
    judge_items: int = 10_000
    """training images of the support vector machines"""
    root: str = "runs"


def scaled(config: Mnist, source: str) -> Mnist:
    """The protocol itself for MNIST; for scikit-learn's digits, small and few, less of everything."""
    if source == "mnist":
        return config
    return replace(
        config,
        samples=min(config.samples, 100),
        fewer=min(config.fewer, 50),
        classifier=replace(config.classifier, steps=min(config.classifier.steps, 800)),
        flow=replace(config.flow, steps=min(config.flow.steps, 2000)),
        decoder=replace(config.decoder, steps=min(config.decoder.steps, 1500)),
    )


class Task(NamedTuple):
    """What is explained, and who judges."""

    images: np.ndarray
    """uint8 (n, height, width, 1)"""
    labels: np.ndarray
    goal: np.ndarray
    explained: Partial
    judges: Mapping[str, Callable[[Any], np.ndarray]]
    neighbours: cf.evaluate.Neighbours
    features: Callable[[Any], np.ndarray]
    feature_neighbours: cf.evaluate.Neighbours
    bits: Mapping[str, Callable[[Any], np.ndarray]]
    """bits per dimension of images under flows"""


def run(config: Mnist) -> dict[str, dict[str, np.ndarray]]:
    """Train what is not trained yet, search, judge; tables and pictures land in the run's folder."""
    images, source = load(config)
    config = scaled(config, source)
    protocol = asdict(config) | {"data": source}
    for free in ("generator", "root"):
        del protocol[free]
    protocol["flow"] = {k: v for k, v in protocol["flow"].items() if k not in ("data", "root")}
    folder = train.start_run("mnist-counterfactual", config.name, protocol, config.root)
    place = folder / config.generator
    parts = halves(images)
    grey = {half: models.with_channels(part.train_images) for half, part in parts.items()}
    laws = {half: trained_flow(config, source, half) for half in parts}
    net = nn.conv_classifier(grey["A"].shape[1:], 10)
    explained = models.classifier(net, parts["A"], config.classifier, folder / "classifier")
    task = make_task(config, images, parts["B"], explained, laws, folder)
    generator = make_generator(config, laws["A"], grey["A"], folder)
    notes = [accuracies(task, images)]
    z = None
    if not generator.exact:
        task, z, note = invertible_part(task, generator, config, place)
        notes.append(note)
    found = searches(config, task, generator, grey["A"], laws["A"], z, place)
    rows = judged(config, task, generator, parts["B"], found)
    levers = {}
    if config.generator == "flow" and config.fewer:
        noisy = replace(config.classifier, noise=0.6, weight_decay=0.01)
        noisy = models.classifier(net, parts["A"], noisy, folder / "classifier-noisy")
        levers = judged_levers(config, task, generator, noisy, found["base space"], place)
        notes.append(identity_check(config, task, found["data space"], place))
    text = report(config, source, rows, levers, notes)
    train.write_text(place / "table.md", text + "\n")
    whole = [path.read_text() for path in sorted(folder.glob("*/table.md"))]
    train.write_text(folder / "tables.md", "\n".join(whole))
    figures = {row: {k: v.tolist() for k, v in m.items()} for row, m in rows.items()}
    result = train.circumstances() | {"rows": figures}
    train.write_text(place / "result.json", json.dumps(result) + "\n")
    draw(config, task, generator, found, grey["A"], place)
    draw_fours(config, task, make_rule(config, task, generator), place)
    print(f"\n{text}\n\ntables: {folder / 'tables.md'}\npictures: {place}/*.png")
    return rows


class Law(NamedTuple):
    """A trained flow, the noise that it was trained with, and the parameters of both."""

    model: flows.InvertibleNet
    noise: flows.LearnedNoise
    params: Any


def trained_flow(config: Mnist, source: str, half: str) -> Law:
    """The flow of one half of the training images."""
    name = f"{config.flow.name if source == 'mnist' else source}-{half}"
    asked = {"data": source, "download": config.download, "root": config.root}
    return Law(*image_flows.trained(replace(config.flow, name=name, half=half, **asked)))


def make_task(
    config: Mnist,
    images: datasets.Images,
    unseen: datasets.Images,
    explained: Partial,
    laws: Mapping[str, Law],
    folder: Path,
) -> Task:
    """Test images that the classifier names rightly, the classes to reach, and judges trained on unseen images.

    Order and classes are drawn before anything is known of the classifier: another classifier meets the same pairs.
    """
    rng = np.random.default_rng(1)
    test, labels = models.with_channels(images.test_images), images.test_labels.astype(np.int32)
    goals = ((labels + rng.integers(1, 10, len(labels))) % 10).astype(np.int32)
    order = rng.permutation(len(labels))
    right = models.classes(explained)(bin_centers(test[order])) == labels[order]
    chosen = order[right][: config.samples]

    x = models.with_channels(unseen.train_images)
    training = replace(config.classifier, noise=0.0, weight_decay=0.0, seed=1)
    looks = {"widths": (8, 16, 32), "hidden": 100, "kernel": 5}
    cnn = models.classifier(
        nn.conv_classifier(x.shape[1:], 10, **looks), unseen, training, folder / "judge-cnn"
    )
    mlp = models.classifier(mlp_net(x.shape[1:]), unseen, training, folder / "judge-mlp")
    features = nn.conv_features(x.shape[1:], **looks)
    features = Partial(features.apply, cnn.args[0]["features"])

    def look(x):
        return models.outputs(features, x)

    vectors = functools.partial(models.support_vectors, images=unseen, items=config.judge_items)
    return Task(
        test[chosen],
        labels[chosen],
        goals[chosen],
        explained,
        {
            "linear SVM": vectors("linear", C=0.05),
            "RBF SVM": vectors("rbf", C=5.0),
            "CNN": models.classes(cnn),
            "MLP": models.classes(mlp),
        },
        cf.evaluate.Neighbours(bin_centers(x), unseen.train_labels),
        look,
        cf.evaluate.Neighbours(look(bin_centers(x)), unseen.train_labels),
        {
            "bits/dim": functools.partial(bits, laws["A"]),
            "bits/dim, flow of B": functools.partial(bits, laws["B"]),
        },
    )


def mlp_net(shape: tuple[int, ...]) -> nn.Net:
    """A perceptron of images, two hidden layers."""
    net = nn.mlp([math.prod(shape), 256, 128, 10])
    return net._replace(apply=lambda params, x: net.apply(params, x.reshape(*x.shape[:-3], -1)))


def bits(law: Law, x: np.ndarray) -> np.ndarray:
    """Bits per dimension (n,) of images as they are stored, one draw of the noise; NaN where x is."""
    valid = np.isfinite(x).all((1, 2, 3))
    stored = quantize(np.where(valid[:, None, None, None], x, 0))
    size = min(250, len(x))
    parts = [
        _bits(law.model, law.noise, law.params, images, np.int32(i))[:count]
        for i, (images, count) in enumerate(pipeline.batches(stored, size))
    ]
    return np.where(valid, np.concatenate(parts), np.nan)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _bits(model, noise, params, images, i):
    key = jax.random.fold_in(jax.random.key(0), i)
    return image_flows.bits(model, noise, params, images, key)


def accuracies(task: Task, images: datasets.Images) -> str:
    """Of all classifiers and of the nearest neighbours, on the test images."""
    x = np.asarray(bin_centers(models.with_channels(images.test_images)))
    judges = {"explained classifier": models.classes(task.explained), **task.judges}
    shares = {name: (judge(x) == images.test_labels).mean() for name, judge in judges.items()}
    some, labels = x[:1000], images.test_labels[:1000]
    for name, known, seen in (
        ("10-NN majority", task.neighbours, some),
        ("10-NN majority in features", task.feature_neighbours, task.features(some)),
    ):
        shares[name] = cf.evaluate.agreement(jnp.asarray(seen), labels, known)[1].mean()
    named = ", ".join(f"{name} {share:.3f}" for name, share in shares.items())
    return f"Share of test images named rightly: {named}."


def make_generator(config: Mnist, law: Law, grey: np.ndarray, folder: Path) -> cf.Generator:
    """The generator that is asked for, of the images that the explained classifier has seen."""
    shape, place = grey.shape[1:], folder / f"generator-{config.generator}"
    match config.generator:
        case "flow":
            return models.flow(law.model, law.params["flow"])
        case "gan":
            return models.gan_generator(grey, replace(config.decoder, dim=64), place)
        case "vae":
            model = models.convolutional_vae(shape, config.decoder.dim)
        case "pvae":
            model = models.poincare_vae(shape, config.decoder.dim)
    return models.vae_generator(model, grey, config.decoder, place)


def invertible_part(
    task: Task, generator: cf.Generator, config: Mnist, place: Path
) -> tuple[Task, np.ndarray, str]:
    """Those images whose reconstruction the classifier still names rightly, their base points, and what was left."""
    z, error = pipeline.inverted(generator, task.images, place / "inverse", config.batch)
    x = pipeline.decoded(generator, z, config.batch)
    kept = models.classes(task.explained)(x) == task.labels
    if not kept.any():
        raise ValueError(f"the {NAMES[config.generator]} keeps the class of no image")
    low, median, high = np.quantile(error, (0.1, 0.5, 0.9))
    note = (
        f"Reconstructions by the {NAMES[config.generator]}: mean squared error {error.mean():.4f} "
        f"(deciles {low:.4f}, {median:.4f}, {high:.4f}); {np.sum(~kept)} of {len(kept)} images left "
        "out, whose reconstruction the explained classifier takes for another class."
    )
    some = {"images": task.images[kept], "labels": task.labels[kept], "goal": task.goal[kept]}
    return task._replace(**some), z[kept], note


@functools.cache
def fixed_length(length: float) -> optax.GradientTransformation:
    """Ascent by steps of one length, the gradient's direction untouched."""
    return optax.chain(optax.normalize_by_update_norm(), optax.sgd(length))


@functools.cache
def adam(rate: float) -> optax.GradientTransformation:
    """Adam, one object for each rate."""
    return optax.adam(rate)


def make_rule(config: Mnist, task: Task, generator: cf.Generator, **changes: Any) -> cf.Search:
    """Our search in a generator's base, or what changes of it."""
    rule = {
        "generator": generator,
        "model": task.explained,
        "target": cf.confidence(config.confidence),
        "optimizer": fixed_length(config.length),
        "steps": config.steps,
        "finish": stored,
        "log_prob": prior(config.prior, generator),
    }
    return cf.Search(**rule | changes)


def prior(weight: float, generator: cf.Generator) -> Partial | None:
    """The log-density of a generator's base, weighted; None for weight 0."""
    return Partial(_prior, jnp.float32(weight), generator.manifold) if weight else None


def _prior(weight, space, z):
    return weight * models.base_density(space, z)


def in_data(config: Mnist, task: Task, **changes: Any) -> cf.Search:
    """The adversarial search."""
    optimizer = fixed_length(config.length_in_data)
    settings = {"optimizer": optimizer, "steps": 2 * config.steps, "log_prob": None}
    return make_rule(config, task, cf.data_space(), **settings | changes)


def searches(
    config: Mnist,
    task: Task,
    generator: cf.Generator,
    seen: np.ndarray,
    law: Law,
    z: np.ndarray | None,
    place: Path,
) -> dict[str, Found]:
    """By every method."""
    rules = {"base space": make_rule(config, task, generator)}
    if config.generator == "flow":
        untrained = models.flow(law.model, models.untrained(law.model, seen))
        rules["base space, untrained flow"] = make_rule(config, task, untrained)
    components = models.pca(seen)
    rules["principal components"] = make_rule(config, task, components, log_prob=None)
    if config.prior:
        rules["principal components, prior"] = make_rule(config, task, components)
    rules["data space"] = in_data(config, task)
    return pipeline.search_all(
        rules,
        task.images,
        task.goal,
        place,
        config.batch,
        None if z is None else {"base space": z},
    )


def judged(
    config: Mnist,
    task: Task,
    generator: cf.Generator,
    unseen: datasets.Images,
    found: dict[str, Found],
) -> dict[str, dict[str, np.ndarray]]:
    """The rows of the table: what every judge makes of every method's images."""
    original, base = np.asarray(bin_centers(task.images)), found["base space"]
    far = np.sqrt(np.sum((base.x - base.start) ** 2, (1, 2, 3)))
    endless = in_data(config, task, target=cf.margin(math.inf))
    as_far = pipeline.as_far(endless, task.images, task.goal, far, config.batch)
    rows = {
        "originals": measure(task, original, original),
        "reconstructions": measure(task, base.start, original),
        "nearest real image of the class": measure(
            task, nearest(original, task.goal, unseen), original
        ),
    }
    for name, f in found.items():
        same = {"data space": "data space, same confidence"}
        rows[same.get(name, name)] = measure(task, f.x, f.start) | f.measures
    rows["data space, same l2"] = measure(task, as_far, original)
    return rows


def measure(task: Task, x: np.ndarray, start: np.ndarray) -> dict[str, np.ndarray]:
    """Whether the explained classifier is confident, the distances, the judges, the neighbours, the flows."""
    valid = np.isfinite(x).all((1, 2, 3))
    clean = jnp.asarray(np.where(valid[:, None, None, None], x, 0))
    chance = np.asarray(jax.nn.softmax(models.outputs(task.explained, clean)))
    share, majority = cf.evaluate.agreement(
        jnp.asarray(task.features(clean)), task.goal, task.feature_neighbours
    )
    return (
        {f"p ≥ {CONFIDENT}": valid & (chance[np.arange(len(x)), task.goal] >= CONFIDENT)}
        | cf.evaluate.data_measures(x, start, task.goal, task.judges, task.neighbours)
        | {"10-NN share, features": share * valid, "10-NN majority, features": majority & valid}
        | {name: score(x) for name, score in task.bits.items()}
    )


def nearest(x: np.ndarray, goal: np.ndarray, real: datasets.Images) -> np.ndarray:
    """Of each image the nearest real one of the class to reach, by l2."""
    from sklearn.neighbors import NearestNeighbors

    known, best = np.asarray(bin_centers(models.with_channels(real.train_images))), x.copy()
    for label in np.unique(goal):
        some = known[real.train_labels == label]
        index = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(models.flat(some))
        of = goal == label
        best[of] = some[index.kneighbors(models.flat(x[of]), return_distance=False)[:, 0]]
    return best


def judged_levers(
    config: Mnist,
    task: Task,
    generator: cf.Generator,
    noisy: Partial,
    ours: Found,
    place: Path,
) -> dict[str, dict[str, np.ndarray]]:
    """What each lever does, alone: rows that differ in one thing from the published settings, then all of ours."""
    some = slice(config.fewer)
    task = task._replace(images=task.images[some], labels=task.labels[some], goal=task.goal[some])
    noise = 0.3 * jax.random.normal(jax.random.key(2), (8, *task.images.shape[1:]))

    def published(**changes):
        settings = {
            "target": cf.confidence(CONFIDENT),
            "optimizer": adam(0.05),
            "log_prob": None,
        }
        return make_rule(config, task, generator, **settings | changes)

    rules = {
        "Adam 0.05, 0.99": published(),
        "Adam 0.02": published(optimizer=adam(0.02)),
        "steps of fixed length": published(optimizer=fixed_length(config.length)),
        "steps of half that length": published(optimizer=fixed_length(config.length / 2)),
        "confidence 0.999": published(target=cf.confidence(0.999)),
        "confidence 0.9999": published(target=cf.confidence(0.9999)),
        "classifier trained with noise, weight decay": published(model=noisy),
        "classifier averaged over noise": published(model=models.smoothed(task.explained, noise)),
        "log-density of the base, 0.1": published(log_prob=prior(0.1, generator)),
        "log-density of the base, 1": published(log_prob=prior(1.0, generator)),
        "near the start in the base": published(near_base=jnp.float32(0.1)),
    }
    found = pipeline.search_all(rules, task.images, task.goal, place / "levers", config.batch)
    found["ours"] = jax.tree.map(lambda a: a[some], ours)
    return {name: measure(task, f.x, f.start) | f.measures for name, f in found.items()}


def identity_check(config: Mnist, task: Task, in_data_space: Found, place: Path) -> str:
    """The attack through a flow that is the identity: the very same images."""
    some = slice(config.fewer)
    identity = distrax.Block(distrax.ScalarAffine(jnp.float32(0), jnp.float32(1)), 3)
    generator = cf.from_bijector(identity, cf.Flat(0.0, 1.0))
    rule = replace(in_data(config, task), generator=generator)
    z = pipeline.encode(generator, task.images[some], config.batch)
    found = pipeline.search(rule, z, task.goal[some], place / "identity", config.batch)
    apart = np.abs(found.x - in_data_space.x[some]).max()
    return (
        f"A search through the identity as flow ends in the images of the search in data space: {len(z)} of them "
        f"differ by at most {apart:.3g}."
    )


JUDGES = ("linear SVM", "RBF SVM", "CNN", "MLP", "10-NN share", "10-NN share, features")


def report(
    config: Mnist,
    source: str,
    rows: dict[str, dict[str, np.ndarray]],
    levers: dict[str, dict[str, np.ndarray]],
    notes: list[str],
) -> str:
    """Tables in Markdown, with what they show and where they come from."""
    now, count = train.circumstances(), len(rows["originals"]["l2"])
    command = "python " + " ".join(now["command"][1:])
    method = (
        f"steps of length {config.length:g} in the base, its log-density weighted by {config.prior:g}, until p ≥ "
        f"{config.confidence:g} or for {config.steps} steps; in data space of length {config.length_in_data:g}"
    )
    parts = [
        f"### Generator: {NAMES[config.generator]}",
        f"`{command}`, {now['date'][:10]}, revision {str(now['revision'])[:7]}. {count} test images of {source}; "
        f"{method}. Shares with 95 % intervals, means ± standard errors, over images: all nets were trained once.",
        *notes,
        table(rows),
        "By how much the base space is ahead (means of paired differences ± standard errors):",
        train.markdown_table(["base space against", *JUDGES], advantages(rows)),
    ]
    if levers:
        parts += [
            f"What each lever does, on {len(levers['ours']['l2'])} of the images: rows differ from the first in what "
            "they name, and the last has all of our settings.",
            table(levers),
        ]
    return "\n\n".join(parts)


def table(rows: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """A row for each method."""
    hidden = ("found", "l∞", "10-NN majority, features")
    shown = {
        name: {k: v for k, v in measures.items() if k not in hidden}
        for name, measures in rows.items()
    }
    return train.markdown_table(*cf.evaluate.summary(shown))


def advantages(rows: Mapping[str, Mapping[str, np.ndarray]]) -> list[list[str]]:
    """How many more of the images the judges accept than of each rival's."""
    base, table = rows["base space"], []
    for name in rows:
        if name.startswith(("base space, ", "principal components", "data space")):
            gaps = [1.0 * base[judge] - rows[name][judge] for judge in JUDGES]
            cells = [f"{g.mean():+.3f} ± {g.std() / math.sqrt(len(g)):.3f}" for g in gaps]
            table.append([name, *cells])
    return table


def draw(
    config: Mnist,
    task: Task,
    generator: cf.Generator,
    found: dict[str, Found],
    seen: np.ndarray,
    place: Path,
) -> None:
    """Panels of the first images, and spectra."""
    base, data = found["base space"], found["data space"]
    first = np.arange(min(24, len(task.images)))
    names = [f"{a} → {b}" for a, b in zip(task.labels, task.goal, strict=True)]
    pictures.panels(
        place / "panels.png",
        base.start[first],
        base.x[first],
        data.x[first],
        [names[i] for i in first],
    )
    few = slice(min(8, len(task.images)))
    rule = make_rule(config, task, generator)
    components = make_rule(config, task, models.pca(seen), log_prob=None)
    spectra = {
        NAMES[config.generator]: pipeline.spectra(rule, base.z[few]),
        "principal components": pipeline.spectra(components, found["principal components"].z[:1]),
    }
    pictures.spectrum(place / "spectrum.png", spectra)


def draw_fours(config: Mnist, task: Task, rule: cf.Search, place: Path) -> None:
    """Fours that become nines: the searches' paths, and panels."""
    fours = np.flatnonzero(task.labels == 4)[:8]
    if not len(fours):
        return
    nines = np.full(len(fours), 9, np.int32)
    if rule.generator.exact:
        z = pipeline.encode(rule.generator, task.images[fours])
    else:
        z = pipeline.inverted(rule.generator, task.images[fours], place / "inverse-fours")[0]
    frames, steps = pipeline.trajectories(rule, z, nines)
    logits = models.outputs(task.explained, frames.reshape(-1, *frames.shape[2:]))
    chance = np.asarray(jax.nn.softmax(logits))[:, 9].reshape(steps.shape)
    captions = [
        [f"step {n}, p = {p:.2g}" for n, p in zip(*row, strict=True)]
        for row in zip(steps, chance, strict=True)
    ]
    pictures.strip(place / "paths.png", frames[:4], captions[:4])
    attack = in_data(config, task)
    attacked = pipeline.search(
        attack, bin_centers(task.images[fours]), nines, place / "fours", config.batch
    )
    pictures.panels(
        place / "fours.png", frames[:, 0], frames[:, -1], attacked.x, ["4 → 9"] * len(fours)
    )
