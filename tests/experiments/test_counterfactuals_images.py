"""The pipeline of the image experiments on generators and models in closed form, and the digits' run made small."""

import math
from dataclasses import replace

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial
from sklearn.linear_model import LogisticRegression

from experiments._images import split_in_two
from experiments.counterfactuals import image_flows, mnist, models, pictures, searches
from experiments.counterfactuals.held_out import mlp_net
from experiments.counterfactuals.image_flows import FlowRecipe, TrainedFlow
from experiments.counterfactuals.rules import Rule
from geodl import counterfactual as cf
from geodl import datasets, distributions, flows
from geodl.flows import bin_centers
from geodl.manifolds import Box, Euclidean, Sphere


SHAPE = (4, 4, 1)
RATE = optax.sgd(5e-4)


def test_the_two_halves_share_no_training_image():
    images = datasets.Images(
        *(np.arange(n).astype(np.uint8) for n in (101, 101, 7, 7))
    )  # any arrays
    parts = split_in_two(images)
    a, b = (set(part.train_images.tolist()) for part in parts)
    assert len(a) == len(b) == 50 and not a & b
    for part in parts:
        np.testing.assert_array_equal(part.train_images, part.train_labels)
        np.testing.assert_array_equal(part.test_images, images.test_images)
    again = split_in_two(images)[0].train_images
    np.testing.assert_array_equal(again, parts[0].train_images)


def brightness(scale, x):
    """Logits of dark and bright."""
    bright = scale * (jnp.mean(x) - 0.5)
    return jnp.stack([-bright, bright])


def linear(factor, z):
    return 0.5 + factor * z


def linear_inverse(factor, x):
    return (x - 0.5) / factor


def generator(factor=2.0):
    factor = jnp.float32(factor)
    base = Euclidean(SHAPE)
    return cf.Generator(Partial(linear, factor), base, Partial(linear_inverse, factor), exact=True)


def rule(target=None, steps=60, generator=generator()):  # noqa: B008 (a constant)
    model = Partial(brightness, jnp.float32(50.0))
    target = target or cf.confidence(0.9)
    return cf.Search(generator, model, target, RATE, steps, postprocess=searches.as_8bit)


def some_images(n):
    """Dark ones, some more than others."""
    noise = np.random.default_rng(0).integers(0, 20, (n, *SHAPE))
    return (noise + np.linspace(20, 100, n).reshape(-1, 1, 1, 1)).astype(np.uint8)


def test_a_killed_search_resumes_at_the_last_finished_batch(tmp_path, monkeypatch):
    images, goal = some_images(10), np.ones(10, np.int32)
    whole = searches.search_all({"base space": rule()}, images, goal, tmp_path / "whole", 4)
    calls, run = [], cf.run

    def dies(*args, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run(*args, **options)

    monkeypatch.setattr(cf, "run", dies)
    with pytest.raises(KeyboardInterrupt):
        searches.search_all({"base space": rule()}, images, goal, tmp_path / "broken", 4)
    resumed = searches.search_all({"base space": rule()}, images, goal, tmp_path / "broken", 4)
    assert len(calls) == 2 + 2  # of three batches the first was not searched again
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    found = whole["base space"]
    assert found.x.shape == (10, *SHAPE) and found.measures["found"].all()
    np.testing.assert_allclose(found.start, bin_centers(images), atol=1e-6)
    # another model is another search
    other = replace(rule(), model=Partial(brightness, jnp.float32(60.0)))
    searches.search_all({"base space": other}, images, goal, tmp_path / "broken", 4)
    assert len(calls) == 4 + 3


def test_one_bad_sample_spoils_nothing(tmp_path):
    z = searches.encode(generator(), some_images(4))
    z[1] = np.nan
    found = searches.search(rule(), z, np.ones(4, np.int32), tmp_path / "nan")
    assert [cf.Status(s).name for s in found.status] == ["FOUND", "NOT_FINITE", "FOUND", "FOUND"]
    short = searches.search(rule(steps=1), z, np.ones(4, np.int32), tmp_path / "short")
    assert cf.Status(short.status[0]) == cf.Status.MAX_STEPS and np.isfinite(short.x[0]).all()


def test_bad_input_is_an_error(tmp_path):
    images = some_images(3)
    with pytest.raises(TypeError, match="uint8 are needed, got float32"):
        searches.encode(generator(), images / np.float32(256))
    with pytest.raises(ValueError, match="a class among 0"):
        searches.search_all({"base": rule()}, images, np.full(3, 2, np.int32), tmp_path)


def test_matched_distance():
    images, radius = some_images(5), np.array([0.3, 0.7, 1.1, np.nan, 0.0])
    steps = optax.chain(optax.normalize_by_update_norm(), optax.sgd(0.05))
    attack = replace(rule(cf.margin(math.inf), 200, cf.data_space(SHAPE)), optimizer=steps)
    x = searches.matched_distance(attack, images, np.ones(5, np.int32), radius, batch=2)
    far = np.sqrt(np.sum((x - bin_centers(images)) ** 2, (1, 2, 3)))
    np.testing.assert_allclose(far[[0, 1, 2, 4]], radius[[0, 1, 2, 4]], atol=0.06)
    assert np.isnan(far[3])


def test_a_search_through_the_identity_is_one_in_the_data(tmp_path):
    images, goal = some_images(3), np.ones(3, np.int32)
    identity = distrax.Block(distrax.ScalarAffine(jnp.float32(0), jnp.float32(1)), 3)
    spaces = {
        "data": cf.data_space(SHAPE),
        "identity": cf.from_bijector(identity, Box(0.0, 1.0, SHAPE)),
    }
    rules = {name: rule(generator=space) for name, space in spaces.items()}
    found = searches.search_all(rules, images, goal, tmp_path)
    assert not np.array_equal(found["data"].x, found["data"].start)
    np.testing.assert_array_equal(found["data"].x, found["identity"].x)


def test_inversion_finds_the_images(tmp_path):
    lossy = cf.Generator(Partial(linear, jnp.float32(0.5)), Euclidean(3))
    images = np.random.default_rng(0).integers(60, 200, (5, 3)).astype(np.uint8)
    z, error = searches.inverted(lossy, images, tmp_path, batch=3, starts=2, steps=200)
    assert z.shape == (5, 3) and error.max() < 1e-5
    np.testing.assert_allclose(0.5 + 0.5 * z, bin_centers(images), atol=0.01)


def test_principal_components_are_whitened():
    images = np.random.default_rng(0).integers(0, 256, (400, 3, 2)).astype(np.uint8)
    images[:, 0, 0] = 7  # a pixel that never changes
    linear = models.pca(images)
    z = searches.encode(linear, images[..., None])
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-4)
    spread = np.sort(np.var(z, axis=0))
    assert spread[0] < 1e-3  # of that pixel only the dequantization would vary
    np.testing.assert_allclose(spread[1:], 1, rtol=0.01)
    x = searches.decoded(linear, z)
    np.testing.assert_allclose(x[..., 0], bin_centers(images), atol=1e-6)


@pytest.mark.slow
def test_classifier_learns_digits(tmp_path):
    images = datasets.digits()
    net, config = mlp_net((8, 8, 1)), models.Training(steps=120, noise=0.3, weight_decay=0.01)
    model = models.classifier(net, images, config, tmp_path)
    x = bin_centers(images.test_images[..., None])
    assert (models.classes(model)(x) == images.test_labels).mean() > 0.85
    noise = jax.random.normal(jax.random.key(0), (3, 8, 8, 1))
    mean = np.mean([model(x[0] + e) for e in noise], 0)
    np.testing.assert_allclose(models.smoothed(model, noise)(x[0]), mean, rtol=1e-4, atol=1e-4)


def test_pictures(tmp_path):
    x = np.random.default_rng(0).uniform(size=(3, 8, 8, 3))
    pictures.panels(tmp_path / "rgb.png", x, x[::-1], x, ["a", "b", "c"])
    pictures.panels(tmp_path / "gray.png", x[..., :1], x[..., 1:2], x[..., :1], ["a", "b", "c"])
    pictures.strip(tmp_path / "strip.png", np.stack([x, x]), "step {}", np.arange(6).reshape(2, 3))
    pictures.spectrum(tmp_path / "spectrum.png", {"flow": x[:, 0, :, 0], "other": x[:1, 0, :, 1]})
    assert all(file.stat().st_size > 4000 for file in tmp_path.iterdir())


def test_density_of_a_base_is_that_of_its_prior():
    model = models.poincare_vae((2, 2, 1), 3)
    ball, z = model.manifold(), jnp.array([[0.3, -0.2, 0.5], [0.0, 0.0, 0.0]])
    ours, slope = jax.jit(jax.vmap(jax.value_and_grad(models.base_density, 1), (None, 0)))(ball, z)
    np.testing.assert_allclose(ours, jax.jit(lambda z: model.prior().log_prob(z))(z), rtol=1e-5)
    assert jnp.isfinite(slope).all()


@pytest.mark.slow
def test_search_in_the_base_of_a_riemannian_flow():
    sphere = Sphere(2)
    field = flows.vector_field(sphere, width=16, depth=1, frequencies=8)
    base = distributions.Uniform(sphere)
    params = field.init(jax.random.key(0))
    generator = flows.ContinuousFlow(base, field, params).generator(flows.RK4(8))
    x = sphere.random_uniform(jax.random.key(1), (3,))
    z = jax.jit(jax.vmap(generator.encode))(x)
    np.testing.assert_allclose(jax.jit(jax.vmap(generator.decode))(z), x, atol=1e-4)
    up = cf.Search(generator, hemisphere, cf.confidence(0.99), optax.sgd(0.02), 60)
    state, _ = cf.run(up, up.init(z, jnp.ones(3, jnp.int32)))
    assert (state.status == cf.Status.FOUND).all()
    np.testing.assert_allclose(jnp.linalg.norm(state.best.z, axis=-1), 1, atol=1e-5)
    assert (state.best.x[:, 2] > 0.2).all()


def hemisphere(x):
    return jnp.stack([-x[2], x[2]]) * 8


TINY = mnist.Mnist(
    name="tiny",
    data="digits",
    samples=12,
    ablation_samples=0,
    rule=Rule(steps=8, confidence=0.99, prior=0.1),
    classifier=models.Training(steps=40, noise=0.3),
    flow=FlowRecipe(levels=((4, 1),), width=4, steps=2, batch=16),
    decoder=models.Decoder(steps=2, dim=3),
    svm_images=200,
)


@pytest.fixture
def quick(monkeypatch):
    """No training: a flow as it starts, logistic regression, two held-out networks that know nothing. No pictures."""
    model, noise = flows.glow((8, 8, 1), ((4, 1),), 4), image_flows.NOISES["uniform"]
    params = models.untrained(model, datasets.digits().train_images[..., None])
    flow = TrainedFlow(model, noise, {"flow": params, "noise": {}}, [])

    def classifier(net, images, config, folder):
        if folder.name != "classifier":
            return Partial(net.apply, net.init(jax.random.key(0)))
        x = models.flat(bin_centers(images.train_images))
        fit = LogisticRegression(max_iter=500).fit(x, images.train_labels)
        return Partial(logits, *(jnp.asarray(a, jnp.float32) for a in (fit.coef_, fit.intercept_)))

    monkeypatch.setattr(mnist, "train_flow", lambda *_: flow)
    monkeypatch.setattr(models, "classifier", classifier)
    for picture in ("draw", "draw_fours"):
        monkeypatch.setattr(mnist, picture, lambda *_: None)


def logits(weights, bias, x):
    return weights @ x.reshape(-1) + bias


@pytest.mark.slow
def test_digits_end_and_resume(tmp_path, capsys, monkeypatch, quick):
    config = replace(TINY, root=str(tmp_path))
    rows = mnist.run(config)
    folder = tmp_path / "cf-mnist" / "tiny" / "flow"
    printed = capsys.readouterr().out
    assert (folder / "table.md").read_text() in printed + "\n"
    assert {"base space", "data space, same confidence", "data space, same l2"} < set(rows)
    assert rows["originals"]["l2"].max() == 0 and rows["reconstructions"]["l2"].max() < 1e-3
    assert rows["nearest real image of the class"]["RBF SVM"].mean() > 0.8
    assert all(np.isfinite(m["bits/dim"]).all() for m in rows.values())
    # a second start reads what the searches have found
    monkeypatch.setattr(cf, "run", None)
    again = mnist.run(config)
    for name, row in rows.items():
        for measure, values in row.items():
            np.testing.assert_array_equal(values, again[name][measure], err_msg=measure)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vae", "gan", "pvae"])
def test_other_generators_end(tmp_path, kind):
    decoder = models.Decoder(steps=1500, dim=8)
    config = replace(
        TINY,
        root=str(tmp_path),
        generator=kind,
        decoder=decoder,
        samples=30,
        rule=replace(TINY.rule, steps=60),
        classifier=models.Training(steps=800, learning_rate=1e-2),
    )
    rows = mnist.run(config)
    assert rows["base space"]["found"].mean() > 0.5
    text = (tmp_path / "cf-mnist" / "tiny" / "tables.md").read_text()
    assert "left out" in text and "mean squared error" in text


@pytest.mark.slow
def test_the_ablation(tmp_path):
    config = replace(
        TINY, root=str(tmp_path), samples=40, ablation_samples=6, rule=replace(TINY.rule, steps=20)
    )
    mnist.run(config)
    folder = tmp_path / "cf-mnist" / "tiny"
    for picture in ("panels", "fours", "paths", "spectrum"):
        assert (folder / "flow" / f"{picture}.png").stat().st_size > 8000
    text = (folder / "tables.md").read_text()
    assert "averaged over noise" in text
