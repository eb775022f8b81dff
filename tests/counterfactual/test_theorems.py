"""The theorems of arXiv:2206.05075 on generators in closed form, no training, in double precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.counterfactuals import helix
from geodl.counterfactual import (
    Generator,
    Search,
    Status,
    data_space,
    interval,
    inverse_metric,
    jacobian,
    natural_gradient,
    singular_values,
    split_tangent_normal,
)
from geodl.manifolds import Euclidean, PoincareBall, Sphere
from tests.counterfactual import toys


jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
pytestmark = pytest.mark.usefixtures("x64")


def order(x, y):
    """Exponent of a power law, by least squares in the logarithms."""
    return np.polyfit(np.log(x), np.log(y), 1)[0]


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def remainder_and_metrics(generator, z, f, rates):
    """What g does in a step l grad(f o g), without l J g_Z^{-1} J^T grad f: (rates, x); that vector, and G grad f."""
    space = generator.manifold
    x, pull = jax.vjp(generator.decode, z)
    slope = jax.grad(f)(x)
    gradient = space.egrad_to_rgrad(z, pull(slope)[0])
    along = jax.jvp(generator.decode, (z,), (gradient,))[1]

    def step(t):
        return generator.decode(space.expmap(z, t * gradient)) - x - t * along

    return jax.vmap(step)(rates), (along, inverse_metric(generator, z, slope))


def f(x):
    """A function to ascend that is not linear, and depends on every coordinate."""
    w = jnp.arange(1.0, x.size + 1)
    return jnp.sin(x) @ w + jnp.cos(x @ w[::-1] / x.size)


def test_a_linear_flow_has_no_remainder():
    matrix = random(4, 4)
    flow = toys.linear(matrix, random(4, seed=1))
    z, v = random(4, seed=2), random(4, seed=4)

    @jit
    def found():
        remainder, _ = remainder_and_metrics(flow, z, f, jnp.array([1.0, 0.1]))
        return remainder, jax.vmap(lambda e: inverse_metric(flow, z, e))(jnp.eye(4))

    remainder, metric = found()
    np.testing.assert_allclose(remainder, 0, atol=1e-13)
    np.testing.assert_allclose(metric, matrix @ matrix.T, atol=1e-14)
    np.testing.assert_allclose(flow.decode(flow.encode(v)), v, atol=1e-13)


def test_a_quadratic_flow_has_a_quadratic_remainder():
    form = random(4, 3, 3, seed=1)
    form = form + form.swapaxes(1, 2)
    flow = toys.quadratic(random(4, 3), form)
    z, rates = random(3, seed=2), jnp.array([1.0, 0.1])

    @jit
    def found():
        u = jax.grad(lambda z: f(flow.decode(z)))(z)
        return remainder_and_metrics(flow, z, f, rates)[0], jnp.einsum("xij,i,j->x", form, u, u) / 2

    remainder, constant = found()
    np.testing.assert_allclose(remainder, rates[:, None] ** 2 * constant, rtol=1e-11)


def curved(space):
    """A smooth generator on a manifold, into R^3."""
    weights = random(3, 8)

    def decode(z):
        return jnp.tanh(weights[:, : z.size] @ z) + 0.3 * jnp.sin(z[:3].sum())

    return Generator(decode, space)


def test_the_remainder_of_a_step():
    """Of order 2, with half of the second derivative as its constant."""
    tube, z, rates = toys.helix(0.1, 0.7), random(3, seed=5), np.geomspace(1e-4, 1e-2, 5)

    @jit
    def found():
        u = jax.grad(lambda z: f(tube.decode(z)))(z)
        second = jax.jacfwd(jax.jacfwd(lambda t: tube.decode(z + t * u)))(0.0)
        return remainder_and_metrics(tube, z, f, rates)[0], second / 2

    remainder, constant = found()
    size = np.linalg.norm(remainder, axis=-1)
    assert order(rates, size) == pytest.approx(2, abs=0.02)
    np.testing.assert_allclose(size[0] / rates[0] ** 2, np.linalg.norm(constant), rtol=1e-2)


@pytest.mark.parametrize("space", [PoincareBall(2, 0.7), Sphere(2)], ids=repr)
def test_theorem_1_on_manifolds(space):
    """The inverse metric is J g_Z^{-1} J^T in the coordinates, and the remainder of a step of order 2."""
    generator = curved(space)
    rates = np.geomspace(1e-4, 1e-2, 3)
    near = 0.4 * random(*space.event_shape, seed=5)

    @jit
    def found():
        return remainder_and_metrics(generator, space.project(near), f, rates)

    remainder, metrics = found()
    assert order(rates, np.linalg.norm(remainder, axis=-1)) == pytest.approx(2, abs=0.02)
    np.testing.assert_allclose(*metrics, rtol=1e-10, atol=1e-12)


def test_isometries_of_the_base_change_nothing():
    """Neither the metric nor, with one scale for the whole gradient, the search and its momentum."""
    z, v, sphere = random(3, seed=1), random(3, seed=2), curved(Sphere(2))
    start = z / np.linalg.norm(z)

    @jit
    @jax.vmap
    def found(rotation):
        tube = Generator(lambda z: toys.helix(0.1).decode(rotation @ z), Euclidean(3))
        turned = sphere._replace(decode=lambda z: sphere.decode(rotation @ z))
        state = ascended(turned, rotation.T @ start, f, optax.sgd(0.01, momentum=0.9), 20, 1e9)
        return inverse_metric(tube, rotation.T @ z, v), state.best.x, state.position

    metrics, x, position = found(np.stack([np.eye(3), np.linalg.qr(random(3, 3))[0]]))
    np.testing.assert_allclose(*metrics, atol=1e-13)
    np.testing.assert_allclose(*x, atol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(position, axis=-1), 1, atol=1e-14)


def test_spectra_of_the_tubes():
    @jit
    @jax.vmap
    def found(delta):
        return (
            singular_values(toys.circle(delta, 1.3), jnp.array([0.7, 0.4])),
            singular_values(toys.helix(delta, 0.8), jnp.array([0.7, 0.0, 0.0])),
            singular_values(toys.uniform_helix(delta), jnp.zeros(3)),
        )

    delta = np.array([0.1, 0.01])
    circle, helix, uniform = found(delta)
    np.testing.assert_allclose(circle.T, [1.3 * (1 + 0.4 * delta), delta], rtol=1e-12)
    np.testing.assert_allclose(helix.T, [2**0.5 * 0.8 + 0 * delta, delta, delta], rtol=1e-12)
    np.testing.assert_allclose(
        uniform.T[1:] ** 2, np.stack([delta**2] * 2) / (2 * np.pi), rtol=1e-12
    )


@pytest.mark.parametrize("make", [toys.circle, toys.helix, toys.uniform_helix])
def test_normal_eigenvalues_are_of_order_two_in_the_width(make):
    delta = np.geomspace(1e-3, 1e-1, 5)
    z = jnp.array([0.7, 0.4, -0.3])[: 2 if make is toys.circle else 3]
    eigenvalues = jit(jax.vmap(lambda d: singular_values(make(d), z) ** 2))(delta)
    orders = [order(delta, eigenvalue) for eigenvalue in eigenvalues.T]
    np.testing.assert_allclose(orders, [0, 2, 2][: len(orders)], atol=0.05)


def test_theorem_3_a_base_of_fewer_dimensions():
    tube, a = toys.helix(0.1, base_dim=2), random(50, 4)

    @jit
    def found():
        z = jnp.array([0.7, 0.0])
        j = jacobian(tube, z)
        binormal = jnp.cross(*j.T)
        # x = A z: whatever the search does, it stays in the span of A.
        flat = Generator(lambda z: a @ z, Euclidean(4))
        state = ascended(flat, random(4, seed=1), f, optax.adam(0.05), 40, 1e9)
        return jnp.linalg.eigvalsh(j @ j.T), inverse_metric(tube, z, binormal), state.best.x[0]

    eigenvalues, across, x = found()
    np.testing.assert_allclose(eigenvalues, [0, 0.01, 2], atol=1e-15)
    np.testing.assert_allclose(across, 0, atol=1e-16)
    basis = np.linalg.qr(a)[0]
    np.testing.assert_allclose(basis @ (basis.T @ x), x, atol=1e-12)


def test_one_step_off_the_circle():
    """By l delta^2 |d_n f|; a step of Adam, as of the sign, by l delta."""
    z = jnp.array([0.7, 0.0])

    @jit
    def found(delta, rate):
        circle = toys.circle(delta)
        ends = [
            ascended(circle, z, f, optimizer, 1, 1e9).best.x[0]
            for optimizer in (optax.sgd(rate), optax.adam(rate, eps=0.0))
        ]
        normal = circle.decode(z)
        return toys.distance_to_circle(jnp.stack(ends)), normal @ jax.grad(f)(normal)

    for delta, rate in ((0.1, 0.1), (0.01, 0.01)):
        distances, slope = found(delta, rate)
        expected = [rate * delta**2 * abs(slope), rate * delta]
        np.testing.assert_allclose(distances, expected, rtol=1e-9)


def test_split_tangent_normal_parts():
    circle, z = toys.circle(0.1), jnp.array([0.7, 0.0])
    normal, tangent = circle.decode(z), jax.jacfwd(circle.decode)(z)[:, 0]
    split = jit(functools.partial(split_tangent_normal, circle, z, rank=1))
    np.testing.assert_allclose(
        split(2 * tangent - 3 * normal), (2 * tangent, -3 * normal), atol=1e-14
    )


def ascended(generator, z, model, optimizer, steps, goal, **options):
    """The state after the search from one start z to model >= goal, by a scan: pure all the way."""
    search = Search(generator, model, interval(), optimizer, steps, **options)
    state = search.init(z[None], jnp.array([[goal, jnp.inf]]))
    return jax.lax.scan(lambda s, _: (search.step(s), None), state, length=steps + 1)[0]


def climb(x):
    """Along the helix and off it."""
    return x[2] + 0.5 * jnp.sin(x[0]) + 0.3 * x[1]


PLAIN = optax.sgd(0.05)
RULES = {
    "plain": (PLAIN, {}, 2),
    "fixed length": (optax.chain(optax.normalize_by_update_norm(), PLAIN), {}, 2),
    "Adam": (optax.adam(0.05), {}, 1),
    "damped": (PLAIN, {"direction": natural_gradient(1.0, 3)}, 2),
    "natural": (PLAIN, {"direction": natural_gradient(0.0, 3)}, 0),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.quick("plain", "Adam", "damped")
def test_the_distance_to_the_data_after_a_search(rule):
    optimizer, options, expected = RULES[rule]
    delta = np.geomspace(1e-3, 3e-2, 4)

    @jit
    @jax.vmap
    def search(delta):
        state = ascended(
            toys.helix(delta, 0.7), jnp.zeros(3), climb, optimizer, 120, 1.5, **options
        )
        return state.best.x[0], state.status[0]

    x, status = search(delta)
    assert np.all(status == Status.FOUND)
    distance = helix.distance_to_helix(x)
    assert order(delta, distance) == pytest.approx(expected, abs=0.1)
    if rule == "natural":  # ascent in the data, to the order of the step
        along = jit(ascended, static_argnums=(0, 2, 3, 4))(
            data_space(3, -9.0, 9.0), helix.curve(jnp.zeros(())), climb, optimizer, 120, 1.5
        )
        np.testing.assert_allclose(distance, helix.distance_to_helix(along.best.x[0]), rtol=0.1)
