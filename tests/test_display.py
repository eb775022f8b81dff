"""Objects print what they are: spaces, shapes and counts, no address and no array's numbers."""

import jax
import jax.numpy as jnp
import optax
import pytest

from geodl import counterfactual as cf
from geodl import distributions, flows, generators, nn, vae
from geodl.generators import Generator
from geodl.manifolds import SO3, Box, Euclidean, Hyperboloid, PoincareBall, Product, Sphere, Torus


BALL = PoincareBall(2, 1.0)
NET = nn.mlp([50, 8, 4])
FIELD = flows.vector_field(Sphere(2), width=8, depth=1, frequencies=0, harmonics=0)
UNIFORM = distributions.Uniform(Sphere(2))
READ = nn.mlp([2, 8, 50])
DECODER = nn.Net(READ.init, lambda params, z, manifold: READ.apply(params, z))
MODEL = vae.vae(BALL, distributions.WrappedNormal, NET, DECODER, vae.gaussian)


def of_rows(shape):
    return {"rows": jnp.zeros(shape)}


PRINTED = {
    "Net(rows float32[3, 4]; 12 parameters)": nn.Net(lambda key: of_rows((3, 4)), jnp.dot),
    "Net(layers/0/bias float32[8], layers/0/kernel float32[50, 8], layers/1/bias float32[4], "
    "layers/1/kernel float32[8, 4]; 444 parameters)": NET,
    "VAE(PoincareBall(dim=2, c=1.0), WrappedNormal, gaussian; 918 parameters)": MODEL,
    "VectorField(Sphere(dim=2); 67 parameters)": FIELD,
    "InvertibleNet((2,); 76 parameters)": flows.realnvp(2, couplings=2, widths=(8,)),
    "Generator(Box(low=0.0, high=1.0, shape=(3,)) -> float32[3], exact)": generators.data_space(3),
    "Generator(Sphere(dim=2) -> float32[], no encoder)": Generator(jnp.sum, Sphere(2)),
    "Generator(Sphere(dim=2) -> ?, no encoder)": Generator(lambda z: z.nothing, Sphere(2)),
    "Uniform(Sphere(dim=2))": UNIFORM,
    "WrappedNormal(Torus(dim=2), loc float32[2], scale float32[1])": distributions.WrappedNormal(
        Torus(2), jnp.zeros(2), 1.0
    ),
    "VonMisesFisher(loc float32[5, 3], concentration float32[5])": distributions.VonMisesFisher(
        jnp.tile(jnp.eye(3)[0], (5, 1)), jnp.ones(5)
    ),
    "Search(Generator(Sphere(dim=2) -> float32[], no encoder), confidence(0.99), 9 steps at most)": (
        cf.Search(Generator(jnp.sum, Sphere(2)), jnp.sum, cf.confidence(), optax.sgd(0.1), steps=9)
    ),
    "SO3()": SO3(),
    "Hyperboloid(dim=2, c=0.5)": Hyperboloid(2, 0.5),
    "Product(factors=(Sphere(dim=2), Euclidean(3)))": Product(Sphere(2), Euclidean(3)),
    "Box(low=0.0, high=1.0, shape=(3,))": Box(0.0, 1.0, (3,)),
}


@pytest.mark.parametrize("expected", PRINTED)
def test_prints(expected):
    assert repr(PRINTED[expected]) == expected


def test_a_flow_prints_its_parts():
    flow = flows.ContinuousFlow(UNIFORM, FIELD, FIELD.init(jax.random.key(0)), flows.RK4(8))
    assert repr(flow) == f"ContinuousFlow({UNIFORM}, {FIELD}, RK4(steps=8))"
    assert repr(flow.generator()) == "Generator(Sphere(dim=2) -> float32[3], exact)"


def test_a_generator_prints_no_numbers():
    generator = MODEL.generator(MODEL.init(jax.random.key(0)))
    assert repr(generator) == "Generator(PoincareBall(dim=2, c=1.0) -> float32[50], inexact)"
