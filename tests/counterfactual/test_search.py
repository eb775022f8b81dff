"""What a search promises of its batches, targets and errors."""

import dataclasses
import functools

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

from geodl.counterfactual import (
    Flat,
    Generator,
    Search,
    Status,
    confidence,
    data_space,
    from_bijector,
    interval,
    inverse_metric,
    invert,
    margin,
    perturbed,
    reconstruction,
    run,
    singular_values,
    value,
)
from geodl.manifolds import Euclidean, Hyperboloid, PoincareBall, Sphere, Torus


WEIGHTS = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
MATRIX = np.array([[1.0, 0.3], [0.0, 0.5]], np.float32)
STARTS = np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32)
ADAM = optax.adam(0.05)


def linear(matrix, z):
    return matrix @ z


GENERATOR = Generator(Partial(linear, MATRIX))
MODEL = Partial(linear, WEIGHTS)
SEARCH = Search(GENERATOR, MODEL, confidence(0.9), ADAM, steps=400)


def towards(state):
    """The runner-up class of every start."""
    logits = jax.vmap(lambda z: WEIGHTS @ (MATRIX @ z))(state)
    return jnp.argsort(logits, -1)[:, 1]


def position(state):
    return state.position


def test_every_sample_stops_by_itself():
    goal = towards(STARTS)
    state, path = run(SEARCH, SEARCH.init(STARTS, goal), position)
    assert np.all(state.status == Status.FOUND)
    assert len(set(state.steps.tolist())) > 2
    probability = jax.nn.softmax(state.best.x @ WEIGHTS.T)[np.arange(5), goal]
    assert np.all(probability >= 0.9) and np.all(probability < 0.95)
    np.testing.assert_allclose(state.score, jnp.log(probability / (1 - probability)), rtol=1e-4)
    np.testing.assert_array_equal(state.best.x, jax.vmap(GENERATOR.decode)(state.best.z))

    # a path begins at the start, and stays where its search has ended
    assert path.shape == (state.steps.max() + 1, 5, 2)
    np.testing.assert_array_equal(path[0], STARTS)
    for i, steps in enumerate(state.steps):
        np.testing.assert_array_equal(
            path[steps:, i], np.tile(state.best.z[i], (len(path) - steps, 1))
        )
    assert run(SEARCH, state)[0].steps.tolist() == state.steps.tolist()  # ended is ended

    # by the host or by a scan; all of them, two at a time or one alone: the same numbers
    chunked, other_path = run(SEARCH, SEARCH.init(STARTS, goal), position, on_host=False)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), chunked, state)
    np.testing.assert_allclose(other_path, path, rtol=1e-5, atol=1e-7)
    two, _ = run(SEARCH, SEARCH.init(STARTS, goal), slots=2)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), two, state)
    alone, _ = run(SEARCH, SEARCH.init(STARTS[2:3], goal[2:3]))
    np.testing.assert_allclose(alone.best.z[0], state.best.z[2], rtol=1e-5)


def test_a_bad_sample_does_not_spoil_its_batch():
    """One start that decodes to NaN, one that is there, and one that runs into a wall."""

    def decode(z):
        return jnp.where(z[0] > 2, jnp.nan, z)

    def model(x):
        return jnp.stack([x[0], -x[0]])

    search = Search(Generator(decode), model, confidence(0.999), optax.sgd(0.1), steps=100)
    starts = jnp.array([[3.0, 0.0], [4.0, 0.0], [1.0, 0.0], [0.0, 0.0]]).at[1, 0].set(-4.0)
    state, _ = run(search, search.init(starts, jnp.array([0, 1, 0, 1])))
    assert state.status.tolist() == [
        Status.NOT_FINITE, Status.FOUND, Status.NOT_FINITE, Status.FOUND,
    ]  # fmt: skip
    assert state.score[0] == -jnp.inf and state.steps[:2].tolist() == [0, 0]
    assert 1 < state.best.x[2, 0] <= 2 and np.all(np.isfinite(state.best.x[1:]))
    assert state.best.x[3, 0] <= -np.log(999) / 2


def test_what_cannot_be_reached():
    def bounded(x):  # at most 1
        return jnp.tanh(x[0])

    search = Search(GENERATOR, bounded, interval(), ADAM, steps=20)
    state, _ = run(search, search.init(STARTS, jnp.array([[2.0, jnp.inf]] * 5)))
    assert np.all(state.status == Status.EXHAUSTED) and np.all(state.steps == 20)
    assert np.all(state.score > np.tanh(STARTS @ MATRIX[0]) - 2)  # better than the start

    search = Search(GENERATOR, lambda x: jnp.sign(x[0]), interval(), ADAM, steps=20)
    state, _ = run(search, search.init(STARTS, jnp.array([[2.0, jnp.inf]] * 5)))
    assert np.all(state.status == Status.NO_GRADIENT) and np.all(state.steps == 0)

    # The class can be seen by nobody inside jit; the last of the three is not taken in its place.
    state = jax.jit(lambda z, goal: SEARCH.step(SEARCH.init(z, goal)))(STARTS, jnp.arange(5))
    assert np.all((state.status == Status.NOT_FINITE) == (np.arange(5) > 2))


@pytest.mark.parametrize(
    ("model", "target", "goal", "reached"),
    [
        (MODEL, margin(0.5), 1, lambda y: y[1] - max(y[0], y[2]) >= 0.5),
        (jnp.sum, value(0.01), 3.0, lambda y: abs(y - 3) <= 0.01),
        (jnp.sum, interval(), (-1.0, -0.9), lambda y: -1 <= y <= -0.9),
        (jnp.sum, interval(), (-np.inf, -2.0), lambda y: y <= -2),
    ],
)
def test_targets(model, target, goal, reached):
    search = Search(GENERATOR, model, target, optax.sgd(0.03), steps=400)
    state, _ = run(search, search.init(STARTS, jnp.array([goal] * 5)))
    assert np.all(state.status == Status.FOUND)
    assert all(reached(y) for y in jax.vmap(model)(state.best.x))


def test_penalties_keep_near():
    goal = towards(STARTS)

    def found(**options):
        search = Search(GENERATOR, MODEL, confidence(0.999), optax.sgd(0.05), 60, **options)
        return run(search, search.init(STARTS, goal))[0]

    free = found()
    for options in ({"near_base": 1.0}, {"near_data": 1.0}, {"sparse": 0.5}):
        kept = found(**options)
        for before, after, start in zip(free.best, kept.best, free.start, strict=True):
            assert np.all(np.sum((after - start) ** 2, -1) < np.sum((before - start) ** 2, -1))
    likely = found(log_prob=lambda z: -jnp.sum(z**2))
    assert np.all(np.sum(likely.best.z**2, -1) < np.sum(free.best.z**2, -1))


def test_data_space_stays_in_the_box_and_leaves_its_edge():
    finish = lambda x: jnp.round(255 * x) / 255  # noqa: E731
    model = Partial(linear, 30 * WEIGHTS)
    search = Search(data_space(), model, confidence(0.99), optax.adam(0.01), 300, finish=finish)
    starts = jnp.array([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    state, path = run(search, search.init(starts, jnp.array([1, 0, 2])), position)
    assert np.all((path >= 0) & (path <= 1)) and np.any(path[-1] != path[0])
    np.testing.assert_array_equal(state.best.x, finish(state.best.x))
    probability = jax.nn.softmax(30 * state.best.x @ WEIGHTS.T)[np.arange(3), [1, 0, 2]]
    np.testing.assert_array_equal(probability >= 0.99, state.status == Status.FOUND)


def test_double_precision_gradients_and_vmap(x64):
    """The step is pure: through it by grad, over it by vmap."""
    goal = towards(STARTS)[:2]
    search = Search(
        Generator(Partial(linear, np.float64(MATRIX))), MODEL, confidence(0.9), ADAM, steps=9
    )

    @jax.jit
    @jax.vmap
    def slope(shift):
        def end(shift):
            state = search.init(jnp.asarray(STARTS[:2], float) + shift, goal)
            return jnp.sum(search.step(search.step(state)).position)

        return jax.grad(end)(shift), end(shift)

    gradient, end = slope(jnp.array([0.0, 1e-6]))
    assert end.dtype == float
    np.testing.assert_allclose(gradient[0], (end[1] - end[0]) / 1e-6, rtol=1e-4)


def test_starts_around():
    around = jax.jit(perturbed, static_argnums=3)
    z = around(jax.random.key(0), GENERATOR, STARTS, 3, 0.1).reshape(5, 3, 2)
    np.testing.assert_array_equal(z[:, 0], STARTS)
    spread = jnp.linalg.norm(z[:, 1:] - STARTS[:, None], axis=-1)
    assert np.all((spread > 0.001) & (spread < 0.5))
    on_sphere = around(
        jax.random.key(0), GENERATOR._replace(manifold=Sphere(2)), jnp.eye(3), 4, 0.3
    )
    np.testing.assert_allclose(jnp.linalg.norm(on_sphere, axis=-1), 1, rtol=1e-6)


def test_flows_are_generators():
    bijector = distrax.Block(distrax.ScalarAffine(jnp.ones(2), jnp.array([2.0, 0.5])), 1)
    flow = from_bijector(bijector)
    x = jnp.array([0.3, -0.2])
    assert flow.exact
    np.testing.assert_allclose(flow.decode(flow.encode(x)), x, rtol=1e-6)
    np.testing.assert_allclose(singular_values(flow, x), [2, 0.5], rtol=1e-6)
    other = from_bijector(distrax.Block(distrax.ScalarAffine(jnp.zeros(2), jnp.ones(2)), 1))
    structures = [jax.tree.structure(generator) for generator in (flow, other)]
    assert structures[0] == structures[1]  # what is compiled for one serves the other


def test_inversion_keeps_the_best_start():
    """sin has local minima: of three starts the one in the right valley wins."""
    generator = Generator(lambda z: jnp.sin(z) + 0.1 * z)
    z = jnp.array([[1.0], [2.0]])
    x = jax.vmap(generator.decode)(z)
    starts = jnp.array([-7.0, 1.2, 9.0])[:, None, None] + jnp.zeros((3, 2, 1))
    found = invert(generator, x, optax.adam(0.05), 200, starts, tolerance=1e-6)
    assert np.all(found.error <= 1e-6)
    np.testing.assert_allclose(found.x, x, atol=1e-3)
    rough = generator._replace(encode=lambda x: x + 0.3)
    refined = invert(rough, x, optax.adam(0.05), 200)
    np.testing.assert_allclose(refined.error, 0, atol=1e-6)
    np.testing.assert_allclose(refined.error, jnp.mean((refined.x - x) ** 2, -1), atol=1e-12)


def test_the_largest_singular_values():
    rng = np.random.default_rng(0)
    matrix = np.float32(rng.normal(size=(60, 30)) * 0.7 ** np.arange(30))
    generator = Generator(lambda z: (matrix @ z.ravel()).reshape(6, 10))
    expected = np.linalg.svd(matrix, compute_uv=False)
    z = jnp.zeros((5, 6))
    all_of_them = jax.jit(functools.partial(singular_values, generator, batch_size=7))(z)
    np.testing.assert_allclose(all_of_them, expected, atol=2e-6)
    five = functools.partial(singular_values, generator, count=5)
    np.testing.assert_allclose(
        jax.jit(lambda z, key: five(z, key=key))(z, jax.random.key(0)), expected[:5], rtol=1e-4
    )
    with pytest.raises(ValueError, match="a count in"):
        singular_values(generator, z, 31, jax.random.key(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SEARCH.init(STARTS, jnp.array([0, 1, 2, 3, 0])), "among 0..2 is needed, got 3"),
        (lambda: SEARCH.init(STARTS, jnp.zeros(5)), "integers"),
        (lambda: SEARCH.init(STARTS, jnp.zeros(4, int)), "share a leading axis"),
        (lambda: perturbed(jax.random.key(0), GENERATOR, STARTS, 0, 0.1), "at least 1, got 0"),
        (
            lambda: Search(GENERATOR, jnp.sum, value(0.1), ADAM, 9).init(STARTS, [0, 1, jnp.nan, 2, 3]),
            "finite value is needed, got nan",
        ),
        (lambda: Search(GENERATOR, jnp.sum, confidence(), ADAM, 9).init(STARTS, 0), "leading"),
        (
            lambda: Search(GENERATOR, jnp.sum, margin(), ADAM, 9).init(STARTS, jnp.zeros(5, int)),
            r"logits of shape .* got \(\)",
        ),
        (
            lambda: Search(GENERATOR, MODEL, value(0.1), ADAM, 9).init(STARTS, jnp.zeros(5)),
            r"scalar output is needed, got shape \(3,\)",
        ),
        (
            lambda: Search(GENERATOR, jnp.sum, interval(), ADAM, 9).init(
                STARTS, jnp.array([[1.0, 0.0]] * 5)
            ),
            "low <= high",
        ),
        (lambda: Search(GENERATOR, MODEL, confidence(), ADAM, 9, damping=-1.0), "damping .* -1"),
        (lambda: confidence(1.0), "got 1.0"),
        (lambda: value(0.0), "got 0.0"),
        (lambda: data_space(1.0, 0.0), "got 1.0 and 0.0"),
        (lambda: run(SEARCH, SEARCH.init(STARTS, jnp.zeros(5, int)), slots=0), "at least 1, .* got 0"),
        (lambda: invert(GENERATOR, jnp.zeros((3, 2)), ADAM, 9), "starts"),
        (lambda: invert(GENERATOR, jnp.zeros((3, 2)), ADAM, 9, jnp.zeros((3, 2))), r"\(k, 3, ...\)"),
        (lambda: invert(GENERATOR, jnp.zeros((3, 7)), ADAM, 9, jnp.zeros((1, 3, 2))), r"\(2,\) are"),
    ],
)  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_one_compilation_for_other_parameters():
    count = []

    def counted(matrix, z):
        count.append(None)
        return matrix @ z

    traces = []
    for scale in (1.0, 2.0):
        model = Partial(counted, scale * WEIGHTS)
        search = Search(GENERATOR, model, confidence(0.9), ADAM, steps=5)
        state = search.init(STARTS, towards(STARTS))
        before = len(count)
        run(search, state)
        traces.append(len(count) - before)
    assert traces == [1, 0]


def test_the_flat_box():
    assert Flat().expmap_frame(jnp.zeros(2), jnp.ones(2)).tolist() == [1, 1]
    slope = jax.grad(lambda a: jnp.sum(Flat(0.0, 1.0).expmap_frame(jnp.zeros(2), a)))(-jnp.ones(2))
    assert slope.tolist() == [1, 1]
    assert Flat().dist(jnp.zeros((2, 2)), jnp.ones((2, 2))) == 2


def test_distances_in_the_flat_space():
    slope = jax.jit(jax.grad(Flat().dist))
    assert slope(jnp.ones((2, 2)), jnp.ones((2, 2))).tolist() == [[0, 0], [0, 0]]
    np.testing.assert_allclose(slope(jnp.array([3.0, 0.0]), jnp.array([0.0, 4.0])), [0.6, -0.8])
    assert jnp.isnan(Flat().dist(jnp.array([jnp.nan, 0.0]), jnp.zeros(2)))
    low, high = jnp.array([3, 250], jnp.uint8), jnp.array([250, 3], jnp.uint8)
    assert Flat().sqdist(low, high) == 2 * 247**2 and Flat().sqdist(high, low) == 2 * 247**2


def test_integers_and_lists_are_numbers():
    starts, goal = [[0, 1], [2, -1], [1, 1]], [1, 0, 2]
    found, _ = run(SEARCH, SEARCH.init(starts, goal))
    same, _ = run(SEARCH, SEARCH.init(jnp.array(starts, jnp.float32), jnp.array(goal)))
    jax.tree.map(np.testing.assert_array_equal, found, same)
    search = Search(GENERATOR, jnp.sum, value(0.01), optax.sgd(0.03), steps=400)
    state, _ = run(search, search.init(starts, [3, 250, 0]))
    np.testing.assert_allclose(jnp.sum(state.best.x, -1), [3, 250, 0], atol=0.0101)
    around = perturbed(jax.random.key(0), GENERATOR, starts, 2, 0.1)
    np.testing.assert_array_equal(around[::2], starts)
    np.testing.assert_allclose(
        singular_values(GENERATOR, jnp.array([1, 2])), np.linalg.svd(MATRIX)[1], 1e-6
    )
    inverse = inverse_metric(GENERATOR, jnp.array([1, 2]), jnp.array([1, 0]))
    np.testing.assert_allclose(inverse, (MATRIX @ MATRIX.T)[:, 0], rtol=1e-6)
    x = jnp.array([[3, 4], [200, 100]], jnp.uint8)
    generator = Generator(lambda z: z, lambda x: x)
    assert invert(generator, x, ADAM, 3).x.tolist() == x.tolist()


def test_an_integer_type_does_not_wrap_around():
    """A goal below an integer output, both of them unsigned."""
    y, goal = jnp.uint8(3), jnp.array([5, 9], jnp.uint8)
    assert value(1.0).objective(y, goal[0]) == -2 and not value(1.0).reached(y, goal[0])
    assert interval().objective(y, goal) == -2 and not interval().reached(y, goal)
    image = jnp.array([3, 5], jnp.uint8)
    assert reconstruction().objective(image, image[::-1]) == -4


def test_single_precision_stays_single(x64):
    starts = jnp.asarray(STARTS, jnp.float32)
    search = Search(GENERATOR, jnp.sum, value(0.01), ADAM, steps=400)
    state = search.init(starts, np.linspace(-1, 1, 5))  # goals in double precision
    state, _ = run(search, state, on_host=False)
    assert np.all(state.status == Status.FOUND)
    assert all(leaf.dtype == jnp.float32 for leaf in (state.position, state.best.x, state.score))


def test_no_samples():
    none = jnp.zeros((0, 2))
    state, path = run(SEARCH, SEARCH.init(none, jnp.zeros(0, int)), position)
    assert state.best.x.shape == (0, 2) and path.shape == (1, 0, 2)
    assert run(SEARCH, state, slots=3)[0].status.shape == (0,)
    assert run(SEARCH, state, on_host=False)[0].status.shape == (0,)
    assert perturbed(jax.random.key(0), GENERATOR, none, 3, 0.1).shape == (0, 2)
    assert invert(GENERATOR, none, ADAM, 3, jnp.zeros((2, 0, 2))).error.shape == (0,)


# --- what is not finite ends as such ---------------------------------------------------------------

SPACES = {
    "flat": (Flat(), np.array([0.6, 0.8, 0.0])),
    "box": (Flat(-2.0, 2.0), np.array([0.6, 0.8, 0.0])),
    "Euclidean": (Euclidean(3), np.array([0.6, 0.8, 0.0])),
    "sphere": (Sphere(2), np.array([0.6, 0.8, 0.0])),
    "ball": (PoincareBall(3), np.array([0.3, 0.4, 0.0])),
    "hyperboloid": (Hyperboloid(2), np.array([1.5, 1.0, 0.5])),
    "torus": (Torus(3), np.array([0.6, 0.8, 0.0])),
}
OPTIMIZERS = {
    "sgd": optax.sgd(0.1),
    "momentum": optax.sgd(0.1, momentum=0.9),
    "adam": optax.adam(0.1),
    "normalized": optax.chain(optax.normalize_by_update_norm(), optax.sgd(0.1)),
}


def steep(power, z):
    """10^power (z_2 - z_1), whose gradient does not fit where power is large; the goal is never reached."""
    return (z[1] - z[0]) * 10.0**power


def outcomes(space, start, optimizer, powers, damping=None):
    """A search for each power, all at once: the last state, and what was visited."""

    def decode(z):
        return z

    search = Search(
        Generator(decode, manifold=space), Partial(steep, 0.0), interval(), optimizer, 12, damping
    )

    @jax.jit
    @jax.vmap
    def found(power):
        mine = dataclasses.replace(search, model=Partial(steep, power))
        state = mine.init(jnp.asarray(start)[None], jnp.array([[3e38, jnp.inf]]))
        return jax.lax.scan(lambda s, _: (mine.step(s), s.position), state, length=13)

    state, path = found(jnp.asarray(powers))
    return jax.tree.map(lambda leaf: np.asarray(leaf[:, 0]), state), np.asarray(path)[:, :, 0]


def checked_outcomes(space, start, optimizer, damping=None):
    """Whatever overflows, the best is a visited point, with its own score; the start, where the first step fails."""
    powers = np.array([-30.0, 0.0, 15.0, 21.0, 25.0, 30.0, 37.0, 38.4], np.float32)
    state, path = outcomes(space, np.float32(start), optimizer, powers, damping)
    for i, power in enumerate(powers):
        best = state.best.z[i]
        assert np.all(np.isfinite(best)) and np.any(np.all(path[i] == best, -1))
        with np.errstate(over="ignore"):
            score = np.float32((best[1] - best[0]) * np.float64(10) ** power - 3e38)
        if np.isfinite(state.score[i]):
            np.testing.assert_allclose(state.score[i], score, rtol=1e-5)
        if state.status[i] == Status.NOT_FINITE and state.steps[i] == 0:
            np.testing.assert_array_equal(best, np.float32(start))
        assert np.all(np.isfinite(path[i]))
    return state, powers


@pytest.mark.parametrize(("space", "optimizer"), [("sphere", "sgd"), ("ball", "adam")])
def test_a_gradient_that_overflows(space, optimizer):
    """From 10^25 on the squared length of a step does not fit, that of a gradient from 10^19 on."""
    state, powers = checked_outcomes(*SPACES[space], OPTIMIZERS[optimizer])
    hopeless = powers >= 25
    assert np.all(state.status[hopeless] == Status.NOT_FINITE)
    assert np.all(state.steps[hopeless] == 0)
    assert np.all(state.status[powers < 16] != Status.NOT_FINITE)


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(
    ("optimizer", "damping"), [*((name, None) for name in OPTIMIZERS), ("sgd", 0.1)]
)
def test_nothing_that_overflows_lies(space, optimizer, damping):
    checked_outcomes(*SPACES[space], OPTIMIZERS[optimizer], damping)


@pytest.mark.parametrize("space", ["flat", "sphere"])
def test_a_start_that_is_not_finite(space):
    """Though the decoder makes numbers of it: the best is the start as it is, without a score."""
    manifold, start = SPACES[space]
    generator = Generator(jnp.nan_to_num, manifold=manifold)
    search = Search(generator, jnp.sum, interval(), optax.sgd(0.1), steps=3)
    starts = np.float32([start, [np.nan, 1, 0], [1, np.inf, 0]])
    state, _ = run(search, search.init(starts, jnp.array([[9.0, jnp.inf]] * 3)))
    assert state.status.tolist() == [Status.EXHAUSTED, Status.NOT_FINITE, Status.NOT_FINITE]
    assert state.steps.tolist() == [3, 0, 0] and np.all(np.isneginf(state.score[1:]))
    np.testing.assert_array_equal(state.best.z[1:], starts[1:])


def test_what_swallows_nan_hides_nothing():
    """A decoder whose NaN ``finish`` makes a number; a model that gives NaN, or an infinite score."""

    def decode(z):
        return jnp.where(z > 0.5, jnp.nan, z)

    def searched(decode, model, finish=lambda x: x):
        search = Search(Generator(decode), model, value(0.1), optax.sgd(0.1), 30, finish=finish)
        return run(search, search.init([[0.0, 0.0]], [2.0]))[0]

    swallowed = searched(decode, jnp.sum, jnp.nan_to_num)
    assert swallowed.status == Status.NOT_FINITE and np.all(swallowed.best.x <= 0.5)
    assert np.all(swallowed.best.x > 0.3)
    for wild in (jnp.nan, jnp.inf, -jnp.inf):
        state = searched(lambda z: z, lambda x, w=wild: jnp.where(x[0] > 0.5, w, jnp.sum(x)))
        assert state.status == Status.NOT_FINITE and 0.3 < state.best.x[0, 0] <= 0.5


def test_a_damped_direction_of_any_size():
    """(J^T J + mu)^-1 g for gradients whose squares vanish, and J^T J that overflows."""
    weights = np.array([1.0, -2.0], np.float32)
    for size in (1e-30, 1.0, 1e15):
        model = Partial(linear, size * weights)
        search = Search(
            GENERATOR, model, interval(), optax.sgd(1 / size), 1, damping=0.5, iterations=4
        )
        state, _ = run(search, search.init([[0.0, 0.0]], [[1e30, np.inf]]))
        expected = np.linalg.solve(MATRIX.T @ MATRIX + 0.5 * np.eye(2), MATRIX.T @ weights)
        np.testing.assert_allclose(state.position[0], expected, rtol=1e-5)
    huge = Generator(Partial(linear, 1e25 * MATRIX))
    search = Search(huge, lambda x: jnp.sum(x * 1e-25), interval(), optax.sgd(0.1), 9, damping=0.0)
    state, _ = run(search, search.init([[0.0, 0.0]], [[9.0, np.inf]]))
    assert state.status == Status.NOT_FINITE and np.all(state.best.z == 0)
