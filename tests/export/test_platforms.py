"""Programs exported for accelerators from a CPU host: no branch and no barrier that is for the CPU is in them."""

import functools

import jax
import jax.numpy as jnp
import optax
import pytest
from jax import export

from geodl import counterfactual as cf
from geodl import nn
from geodl._core.platform import cpu_once
from geodl.manifolds import Euclidean, poincare


IMAGE = (8, 8, 1)


def shapes(tree):
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(jnp.shape(a), jnp.result_type(a)), tree)


def geometry():
    points = jax.ShapeDtypeStruct((5, 3), jnp.float32)
    return jax.grad(lambda x, y: poincare.dist(x, y, 1.0).sum()), (points, points)


def convolution():
    net = nn.conv_net(IMAGE, 16, 2)
    params = jax.eval_shape(net.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((3, *IMAGE), jnp.float32)
    return jax.grad(lambda p, x: net.apply(p, x).sum()), (params, images)


def search_step():
    decoder, classifier = nn.conv_decoder(4, IMAGE, (4, 4)), nn.conv_classifier(IMAGE, 3, (4,), 8)
    params = jax.eval_shape(lambda k: (decoder.init(k), classifier.init(k)), jax.random.key(0))

    def step(params, z, goal):
        of_decoder, of_classifier = params
        search = cf.Search(
            cf.Generator(functools.partial(decoder.apply, of_decoder), Euclidean(4)),
            functools.partial(classifier.apply, of_classifier),
            cf.confidence(0.9),
            optax.sgd(0.1),
            steps=3,
            direction=cf.natural_gradient(0.1),
        )
        return search.step(search.init(z, goal)).position

    z, goal = jax.ShapeDtypeStruct((3, 4), jnp.float32), jax.ShapeDtypeStruct((3,), jnp.int32)
    return step, (params, z, goal)


PROGRAMS = {f.__name__: f for f in (geometry, convolution, search_step)}
CONVOLUTIONAL = ("convolution", "search_step")


@functools.cache
def exported(name, platform):
    function, arguments = PROGRAMS[name]()
    return export.export(jax.jit(function), platforms=(platform,))(*arguments).mlir_module()


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_no_branch_of_the_cpu(name, platform):
    program = exported(name, platform)
    assert "optimization_barrier" not in program
    assert "callback" not in program
    assert "f64" not in program
    if name in CONVOLUTIONAL:
        assert "stablehlo.convolution" in program
    if name == "convolution":  # the shifted copies that it is made of on the CPU
        assert "stablehlo.pad" not in program


@pytest.mark.parametrize("name", ["geometry", "convolution"])
def test_the_cpu_has_its_own(name):
    """So that the test above can fail."""
    program = exported(name, "cpu")
    assert "optimization_barrier" in program
    assert "stablehlo.convolution" not in program


def test_integers_are_computed_once_too():
    x, n = jax.jit(cpu_once)((jnp.array([jnp.inf, jnp.nan, -0.0]), jnp.arange(2)))
    assert jnp.isinf(x[0]) and jnp.isnan(x[1]) and jnp.signbit(x[2]) and n.tolist() == [0, 1]
