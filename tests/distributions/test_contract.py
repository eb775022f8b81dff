"""What every distribution keeps: NaN stays NaN, dtypes, empty shapes, stacks, points off the manifold."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl.distributions import (
    KernelDensity,
    RiemannianNormal,
    Uniform,
    VonMisesFisher,
    WrappedNormal,
    fit_von_mises_fisher_mixture,
)
from geodl.manifolds import SO3, Euclidean, Hyperboloid, PoincareBall, Product, Sphere, Torus
from tests.distributions.cases import jit


def normal(family, manifold):
    return lambda loc, scale: family(manifold, loc, scale), manifold


SPACES = {
    "euclidean": Euclidean(2),
    "ball": PoincareBall(2, 0.7),
    "hyperboloid": Hyperboloid(2, 0.7),
    "circle": Sphere(1),
    "sphere": Sphere(2),
    "torus": Torus(2),
    "so3": SO3(),
    "product": Product(PoincareBall(2), Torus(1), Sphere(2)),
}
# name: (distribution of loc and one positive number, the manifold)
DISTRIBUTIONS = {f"wrapped {name}": normal(WrappedNormal, space) for name, space in SPACES.items()}
DISTRIBUTIONS |= {
    f"riemannian {n}": normal(RiemannianNormal, SPACES[n]) for n in ("ball", "hyperboloid")
}
DISTRIBUTIONS |= {f"von mises-fisher {d}": (VonMisesFisher, Sphere(d)) for d in (1, 2, 4)}
SOME = ("wrapped sphere", "riemannian ball", "von mises-fisher 2")
every_distribution = pytest.mark.parametrize("name", DISTRIBUTIONS)


def origin(name, dtype="float32"):
    return jax.tree.map(lambda a: a.astype(dtype), DISTRIBUTIONS[name][1].origin())


def with_nan(point, leaf):
    """The point with a NaN in one of its arrays."""
    leaves, tree = jax.tree.flatten(point)
    leaves[leaf] = leaves[leaf] * np.where(np.arange(leaves[leaf].size) == 0, np.nan, 1).reshape(
        leaves[leaf].shape
    )
    return tree.unflatten([a.astype(jnp.float32) for a in leaves])


@every_distribution
@pytest.mark.quick(*SOME)
def test_nan_stays_nan_and_bad_numbers_become_it(name):
    """Under jit; with one NaN coordinate of the value or of loc, and with scales that cannot be."""
    make, loc = DISTRIBUTIONS[name][0], origin(name)
    value = jax.tree.map(np.asarray, jit(lambda: make(loc, 0.5).sample(seed=jax.random.key(0)))())
    leaves = range(len(jax.tree.leaves(loc)))
    bad = [(loc, np.float32(s), value) for s in (np.nan, -1, np.inf)]
    bad += [(with_nan(loc, i), np.float32(0.5), value) for i in leaves]
    bad += [(loc, np.float32(0.5), with_nan(value, i)) for i in leaves]
    rows = jax.tree.map(lambda *a: jnp.stack(a), (loc, np.float32(0.5), value), *bad)

    @jit
    @jax.vmap
    def evaluate(loc, scale, value):
        q = make(loc, scale)
        return q.log_prob(value), *q.sample_and_log_prob(seed=jax.random.key(1))

    log_prob, draws, log_p = evaluate(*rows)
    drawn = sum(jnp.sum(jnp.reshape(a, (len(a), -1)), -1) for a in jax.tree.leaves(draws))
    parameters = 1 + 3 + len(leaves)
    assert all(np.isfinite(a[0]) for a in (log_prob, drawn, log_p))
    assert np.all(np.isnan(log_prob[1:]))
    assert np.all(np.isnan(drawn[1:parameters])) and np.all(np.isnan(log_p[1:parameters]))


def test_nan_in_a_kernel_density_and_the_uniform_distribution():
    points, bad = np.eye(3, dtype=np.float32), np.float32([np.nan, 0, 1])

    @jit
    def evaluate(points, kappa, weight, value):
        q = KernelDensity(points, kappa, weight)
        draws = q.sample(seed=jax.random.key(0), sample_shape=20)
        return q.log_prob(value), draws, Uniform(Sphere(2)).log_prob(value)

    good = points, np.float32(3), np.float32(0.5), points[0]
    assert all(np.all(np.isfinite(a)) for a in evaluate(*good))
    for i, entry in ((0, bad * points), (1, np.float32(np.nan)), (2, np.float32(np.nan)), (3, bad)):
        log_prob, draws, uniform = evaluate(*good[:i], entry, *good[i + 1 :])
        assert np.isnan(log_prob)
        assert np.isnan(uniform) == (i == 3)
        assert np.any(np.isnan(draws)) == (i < 3)
    for weight in (-0.1, 1.0):
        assert np.isnan(evaluate(*good[:2], np.float32(weight), good[3])[0])


def shapes(function, *arguments):
    return jax.tree.leaves(jax.eval_shape(function, *arguments))


@every_distribution
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_precision_is_the_parameters_whatever_the_default(name, dtype, x64):
    make = DISTRIBUTIONS[name][0]

    def evaluate(loc, scale):
        q = make(loc, scale)
        z, log_p = q.sample_and_log_prob(seed=jax.random.key(0), sample_shape=(2,))
        return z, log_p, q.log_prob(z), make(loc, 0.5).log_prob(z)  # a Python float is neither

    found = shapes(evaluate, origin(name, dtype), jnp.asarray(0.5, dtype))
    assert {a.dtype.name for a in found} == {dtype}


@every_distribution
def test_empty_samples_and_batches(name):
    make, loc = DISTRIBUTIONS[name][0], origin(name)

    def draw(loc, scale, shape):
        q = make(loc, scale)
        z, log_p = q.sample_and_log_prob(seed=jax.random.key(0), sample_shape=shape)
        return log_p, q.log_prob(z)

    none = (
        jnp.zeros((0, 1))
        if isinstance(DISTRIBUTIONS[name][1], SO3) or "von" not in name
        else jnp.ones(0)
    )
    empty = jax.tree.map(lambda p: jnp.zeros((0, *p.shape)), loc)
    one = jax.tree.map(lambda p: p[None], loc)
    for parameters, shape, expected in (
        ((loc, jnp.ones(())), (0,), (0,)),
        ((loc, jnp.ones(())), (2, 0), (2, 0)),
        ((empty, jnp.ones(())), (3,), (3, 0)),
        ((one, none), (3,), (3, 0)),
    ):
        found = shapes(lambda *p, shape=shape: draw(*p, shape), *parameters)
        assert [a.shape for a in found] == [expected] * 2


def test_empty_kernel_density_samples_and_uniform():
    for q in (KernelDensity(jnp.eye(3), 2.0, 0.1), Uniform(Product(Sphere(2), Torus(1)))):

        def draw(key, q=q):
            z, log_p = q.sample_and_log_prob(seed=key, sample_shape=(0,))
            return log_p, q.log_prob(z)

        assert [a.shape for a in shapes(draw, jax.random.key(0))] == [(0,)] * 2


@every_distribution
@pytest.mark.quick(*SOME)
def test_a_stack_is_a_batch(name):
    """Out of vmap, stacked leaf by leaf, and with a batch inside of the one that vmap adds."""
    make, loc = DISTRIBUTIONS[name][0], origin(name)
    scales = jnp.array([0.3, 0.6])
    twice = jax.tree.map(lambda p: jnp.stack([p, p]), loc)

    @jit
    def evaluate(scales, loc, twice):
        z = make(loc, scales[0]).sample(seed=jax.random.key(0))
        distributions = [make(loc, scale) for scale in scales]
        mapped = jax.vmap(make, (None, 0))(loc, scales)
        stacked = jax.tree.map(lambda *a: jnp.stack(a), *distributions)
        inside = jax.vmap(make, (None, 0))(twice, scales)
        return [q.log_prob(z) for q in distributions], mapped, stacked, inside, z

    each, mapped, stacked, inside, z = evaluate(scales, loc, twice)
    assert mapped.batch_shape == stacked.batch_shape == (2,) and inside.batch_shape == (2, 2)
    log_prob = jit(lambda q, z: q.log_prob(z))
    for q in (mapped, stacked):
        np.testing.assert_allclose(log_prob(q, z), each, rtol=1e-5)
    np.testing.assert_allclose(log_prob(inside, z), np.stack([each, each], -1), rtol=1e-5)


def test_a_stack_of_curvatures_is_a_batch():
    cs, locs, z = jnp.array([0.5, 1.5]), jnp.array([[0.1, 0.2], [-0.3, 0.1]]), jnp.array([0.4, 0.1])

    def make(c):
        return WrappedNormal(PoincareBall(2, c), locs, 0.5)

    found = jit(jax.vmap(make))(cs)
    assert found.batch_shape == (2, 2)
    found, each = jit(lambda q: (q.log_prob(z), [make(c).log_prob(z) for c in cs]))(found)
    np.testing.assert_allclose(found, each, rtol=1e-5)


def test_columns_are_refused():
    """(n, 1) for one number each: it would make all pairs."""
    with pytest.raises(ValueError, match=r"concentration has shape \(3, 1\).*\(3,\)"):
        VonMisesFisher(jnp.eye(3), jnp.ones((3, 1)))
    for family in (WrappedNormal, RiemannianNormal):
        with pytest.raises(ValueError, match=r"curvature has shape \(3, 1\).*\(3,\)"):
            family(PoincareBall(2, jnp.ones((3, 1))), jnp.zeros((3, 2)), 0.5)
        assert family(PoincareBall(2), jnp.zeros((3, 2)), jnp.ones((3, 1))).batch_shape == (3,)
    assert VonMisesFisher(jnp.eye(3)[None], jnp.ones((5, 1))).batch_shape == (5, 3)


def test_a_stack_of_kernel_densities_is_refused():
    stack = jax.vmap(lambda kappa: KernelDensity(jnp.eye(3), kappa))(jnp.ones(2))
    with pytest.raises(ValueError, match=r"stack.*\(2, 3, 3\).*vmap"):
        stack.log_prob(jnp.eye(3)[0])
    assert shapes(jax.vmap(lambda q: q.log_prob(jnp.eye(3)[0])), stack)[0].shape == (2,)


OFF = {
    "ball": (np.float32([1.2, 0.2]), "open ball"),
    "hyperboloid": (np.float32([1, 1, 1]), "hyperboloid"),
    "circle": (np.float32([1, 1]), "unit sphere"),
    "sphere": (np.float32([1, 1, 1]), "unit sphere"),
    "so3": (np.ones((3, 3), np.float32), "rotation matrix"),
    "product": (
        (np.zeros(2, np.float32), np.zeros(1, np.float32), np.float32([1, 1, 1])),
        "unit sphere",
    ),
}


@pytest.mark.parametrize("name", OFF)
def test_points_off_the_manifold_raise(name):
    """Values and locations, in every distribution, and the message says whose, which, and what was expected."""
    off, expected = OFF[name]
    space = SPACES[name]
    distributions = [WrappedNormal(space, space.origin(), 0.5)]
    if name in ("ball", "hyperboloid"):
        distributions.append(RiemannianNormal(space, space.origin(), 0.5))
    else:
        distributions.append(Uniform(space if name != "product" else Product(*space.factors[1:])))
    if name in ("circle", "sphere"):
        distributions += [
            VonMisesFisher(space.origin(), 3.0),
            KernelDensity(space.origin()[None], 3.0),
        ]
    for q in distributions:
        value = off if q.event_shape == space.event_shape else off[1:]
        with pytest.raises(ValueError, match=f"{type(q).__name__}: .*{expected}.*got [0-9]"):
            q.log_prob(value)
    with pytest.raises(ValueError, match=f"WrappedNormal: loc: .*{expected}"):
        WrappedNormal(space, off, 0.5)


def test_points_off_the_sphere_raise_in_mixtures_and_estimates():
    off, on = jnp.ones((4, 3)), jnp.eye(3)
    mixture = distrax.MixtureSameFamily(
        distrax.Categorical(logits=jnp.zeros(3)), VonMisesFisher(on, jnp.ones(3))
    )
    for attempt in (
        lambda: mixture.log_prob(off),
        lambda: VonMisesFisher(off, 1.0),
        lambda: KernelDensity(off, 1.0),
        lambda: fit_von_mises_fisher_mixture(jax.random.key(0), off, 2),
    ):
        with pytest.raises(ValueError, match=r"unit sphere.*got 3"):
            attempt()


@every_distribution
@pytest.mark.quick("von mises-fisher 4")
def test_second_derivatives_at_loc_and_origin(name):
    """Reverse over reverse, which is where a branch's NaN shows; against forward over reverse."""
    make, loc = DISTRIBUTIONS[name][0], origin(name)

    def log_prob(loc, scale, value):
        return make(loc, scale).log_prob(value)

    def second(outer):
        return jit(outer(jax.jacrev(log_prob, (0, 1, 2)), (0, 1, 2)))(loc, jnp.asarray(0.5), loc)

    reverse, forward = second(jax.jacrev), second(jax.jacfwd)
    for found, expected in zip(*map(jax.tree.leaves, (reverse, forward)), strict=True):
        assert np.all(np.isfinite(found))
        size = np.max(np.abs(expected))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * (1 + size))
