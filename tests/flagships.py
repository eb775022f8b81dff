"""The flagship steps of training and evaluation, small: run on any devices, lowered for any platform."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from experiments import _devices
from experiments._training import on_minibatches
from experiments.flows import training
from geodl import counterfactual as cf
from geodl import distributions, equivariant, flows, nn, train, vae
from geodl.equivariant.fields import FieldType
from geodl.equivariant.gauge import gauge_net, neighborhoods, stencil
from geodl.equivariant.groups import so2
from geodl.flows import dequantize
from geodl.manifolds import Euclidean, PoincareBall, Sphere


ROWS, IMAGE = 64, (8, 8, 1)


class Training(NamedTuple):
    """A step on the whole data, the state it starts from, the data."""

    step: Callable[[Any, Any], Any]
    state: train.TrainState
    data: Any
    convolutional: bool = False


class Evaluation(NamedTuple):
    """A function of parameters (a pytree) and samples, whose arrays have the leading axis of the samples."""

    function: Callable[[Any, Any], Any]
    params: Any
    samples: Any


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def minibatches(loss, params, optimizer, data, batch=16, convolutional=False):
    """Of a loss of each sample."""

    def mean(params, batch, key):
        each = loss(params, batch.data, key)
        return jnp.sum(batch.weight * each) / jnp.sum(batch.weight), {}

    optimizer = _devices.optimizer(optimizer)
    step = on_minibatches(_devices.make_step(mean, optimizer), batch)
    rows = len(jax.tree.leaves(data)[0])
    return Training(
        step, train.init(params, optimizer, jax.random.key(1), rows), data, convolutional
    )


def pvae_model(width=32, items=16, family=distributions.RiemannianNormal):
    return vae.vae(
        PoincareBall(2, 1.2),
        family,
        nn.mlp([items, width, 3]),
        vae.decoder(nn.Gyroplane, 2, [width, items]),
        vae.gaussian,
    )


def pvae(width=32, items=16, batch=16):
    model = pvae_model(width, items)

    def loss(params, x, key):
        return -vae.elbo(model, params, x, key).elbo

    data = normal(4 * batch, items)
    return minibatches(loss, model.init(jax.random.key(0)), optax.adam(1e-3), data, batch)


def field(width=16, depth=2, frequencies=8):
    size = {"width": width, "depth": depth, "frequencies": frequencies}
    return flows.vector_field(Sphere(2), "ambient", **size, band=(1.0, 4.0))


def matching(batch=32, **size):
    sphere = Sphere(2)
    model = training.Model(sphere, distributions.Uniform(sphere), field(**size))
    recipe = training.Recipe(batch=batch, steps=200, warmup=5)
    optimizer = _devices.optimizer(recipe.optimizer())
    loss = training.matching(model, training.draw_from, recipe.batch)
    state = train.init(model.field.init(jax.random.key(0)), optimizer, jax.random.key(1))
    points = np.asarray(sphere.project(normal(ROWS, 3)))
    return Training(_devices.make_step(loss, optimizer), state, points)


def likelihood():
    """Maximum likelihood by the geometric RK4."""
    vectors, base = field(), distributions.Uniform(Sphere(2))

    def loss(params, x, key):
        return flows.nll(flows.ContinuousFlow(base, vectors, params, flows.RK4(4)), x)

    points = np.asarray(Sphere(2).project(normal(ROWS, 3)))
    return minibatches(loss, vectors.init(jax.random.key(0)), optax.adam(1e-3), points)


def glow(shape=IMAGE, levels=((2, 1),), width=8, conditioner=nn.conv_net, batch=16):
    net = flows.glow(shape, levels, width, conditioner=conditioner)
    images = np.random.default_rng(0).integers(0, 256, (4 * batch, *shape)).astype(np.uint8)

    @jax.jit
    def first(key):
        return net.data_init(net.init(key), dequantize(images, key))

    def loss(params, x, key):
        return flows.bits_per_dim(net.distribution(params), x, key)

    params = first(jax.random.key(0))
    return minibatches(loss, params, optax.adam(1e-3), images, batch, convolutional=True)


def classifier_step(apply, params, images):
    """The tables that an equivariant network's ``apply`` has bound are data of its step."""
    labels = np.arange(len(images)) % 3

    def step(state, data):
        apply, rows = data

        def loss(params, batch, key):
            x, label = batch.data
            logits = apply(params, x)
            nats = optax.softmax_cross_entropy_with_integer_labels(logits, label)
            return jnp.sum(batch.weight * nats) / jnp.sum(batch.weight), {}

        return on_minibatches(_devices.make_step(loss, optimizer), 16)(state, rows)

    optimizer = _devices.optimizer(optax.adam(1e-3))
    state = train.init(params, optimizer, jax.random.key(1), len(images))
    return Training(step, state, (apply, (images, labels)))


def spherical():
    net = equivariant.spherical_classifier(3, (6, 4, 3), (1, 4, 4))
    images = normal(ROWS, *equivariant.harmonics.gauss_legendre(6).shape, 1)
    return classifier_step(net.apply, net.init(jax.random.key(0)), images)


def gauged():
    """Features of points on the sphere, in the gauge of its frames."""
    sphere, group = Sphere(2), so2()
    points = sphere.project(normal(24, 3))
    near = neighborhoods(sphere, points, np.full(24, 4 * np.pi / 24), 1.2)
    hidden, scalars = FieldType([(group.irrep(0), 2), (group.irrep(1), 2)]), [(group.irrep(0), 3)]
    table = stencil(near, group, 1.2, 2, 2)
    net = gauge_net(hidden, hidden, FieldType(scalars), table, 1)

    def apply(net, params, x):
        return jnp.mean(net(params, x), -2)

    params = net.init(jax.random.key(0))
    return classifier_step(Partial(apply, net.apply), params, normal(ROWS, 24, hidden.dim))


def iwae():
    model = pvae_model()

    def bound(params, x):
        return vae.iwae(model, params, x, jax.random.key(2), 20, 10)

    return Evaluation(bound, model.init(jax.random.key(0)), normal(ROWS, 16))


def adaptive_likelihood():
    """As reported: by diffrax."""
    vectors, base = field(), distributions.Uniform(Sphere(2))

    def log_prob(params, x):
        return flows.ContinuousFlow(base, vectors, params, flows.Tsit5(1e-4, 1e-4)).log_prob(x)

    points = np.asarray(Sphere(2).project(normal(ROWS, 3)))
    return Evaluation(log_prob, vectors.init(jax.random.key(0)), points)


def sampling():
    vectors, base = field(), distributions.Uniform(Sphere(2))

    def ends(params, x0):
        flow = flows.ContinuousFlow(base, vectors, params, flows.RK4(4))
        return flows.RK4(4)(flow.rate, x0, 0.0, 1.0, flow.manifold)[0]

    points = np.asarray(Sphere(2).project(normal(ROWS, 3)))
    return Evaluation(ends, vectors.init(jax.random.key(0)), points)


def search_of(params):
    decoder, classifier = _search_nets()
    return cf.Search(
        cf.Generator(Partial(decoder.apply, params[0]), Euclidean(4)),
        Partial(classifier.apply, params[1]),
        CONFIDENT,
        ASCENT,
        steps=50,
    )


CONFIDENT, ASCENT = cf.confidence(0.99), optax.sgd(0.2, momentum=0.5)


def _search_nets():
    return nn.conv_decoder(4, IMAGE, (4, 4)), nn.conv_classifier(IMAGE, 3, (4,), 8)


def search():
    """One step of a batch of counterfactual searches."""
    decoder, classifier = _search_nets()
    params = decoder.init(jax.random.key(0)), classifier.init(jax.random.key(1))
    state = search_of(params).init(normal(16, 4), np.arange(16) % 3)
    return Evaluation(lambda params, state: search_of(params).step(state), params, state)


TRAININGS = {f.__name__: f for f in (pvae, matching, likelihood, glow, spherical, gauged)}
EVALUATIONS = {f.__name__: f for f in (iwae, adaptive_likelihood, sampling, search)}
