"""Optimizers on manifolds: what they are on R^d, that they see no coordinates, that optax composes with them."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from geodl import optim
from geodl.manifolds import (
    SE3,
    SO,
    SO3,
    Euclidean,
    Hyperboloid,
    PoincareBall,
    Product,
    Sphere,
    Stereographic,
    Torus,
    statistics,
)
from tests.devices import on_devices
from tests.manifolds.foreign import HalfSpace
from tests.manifolds.spaces import (
    EVERY_SPACE,
    NEWER,
    SPACES,
    components,
    random_setting,
    rows,
)
from tests.optim.problem import descend


BALL, SPHERE = PoincareBall(2, 0.7), Sphere(2)


def bumps(x):
    return jnp.sum(jnp.sin(3 * x) * x)


@pytest.mark.optimized
@pytest.mark.parametrize("manifold", [None, Euclidean(3)], ids=["None", "Euclidean"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            lambda m: optim.adam(m, 0.1, 0.8, 0.99, 1e-4, 1e-6),
            optax.adam(0.1, 0.8, 0.99, 1e-4, 1e-6),
        ),
        (lambda m: optim.adam(m, 0.1, amsgrad=True), optax.amsgrad(0.1)),
        (lambda m: optim.adamw(m, 0.1, weight_decay=0.1), optax.adamw(0.1, weight_decay=0.1)),
        (lambda m: optim.sgd(m, 0.1), optax.sgd(0.1)),
        (lambda m: optim.sgd(m, 0.1, 0.9), optax.sgd(0.1, 0.9)),
        (lambda m: optim.sgd(m, 0.1, 0.9, nesterov=True), optax.sgd(0.1, 0.9, nesterov=True)),
        (lambda m: optim.in_frame(m, optax.adamw(0.1)), optax.adamw(0.1)),
    ],
    ids=["adam", "amsgrad", "adamw", "sgd", "momentum", "nesterov", "in_frame"],
)
def test_flat_is_optax_bit_for_bit(manifold, ours, theirs):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(7, 3)), jnp.float32)
    np.testing.assert_array_equal(
        descend(ours(manifold), bumps, x, 50, manifold),
        descend(theirs, bumps, x, 50, None),
    )


@pytest.mark.parametrize("name", rows(EVERY_SPACE))
def test_gradients_are_derivatives_along_the_frame(name, x64):
    """Against central differences along geodesics."""
    space = EVERY_SPACE[name]
    x = random_setting(space, (4,))[0]
    weights = jax.tree.map(lambda p: np.random.default_rng(1).normal(size=p.shape), x)

    def f(x):
        return sum(
            jnp.sum(jnp.sin(w * p))
            for w, p in zip(jax.tree.leaves(weights), jax.tree.leaves(x), strict=True)
        )

    def along(x, a):
        return jax.vmap(lambda a: f(space.expmap_frame(x, a * jnp.ones((4, 1)))))(a)

    h, units = 1e-5, np.eye(space.dim)

    @jax.jit
    def both(x):
        transform = optim.riemannian_gradient(space)
        found, _ = transform.update(jax.grad(f)(x), transform.init(x), x)
        return found.sum(0), (along(x, h * units) - along(x, -h * units)) / (2 * h)

    np.testing.assert_allclose(*both(x), atol=1e-8)


OPTIMIZERS = {
    "sgd": lambda m: optim.sgd(m, 0.05),
    "momentum": lambda m: optim.sgd(m, 0.02, 0.9, nesterov=True),
    "adam": lambda m: optim.adam(m, 0.05),
    "amsgrad": lambda m: optim.adam(m, 0.05, amsgrad=True),
    "adamw": lambda m: optim.adamw(m, 0.05, weight_decay=0.1),
    "in_frame": lambda m: optax.chain(
        optim.riemannian_gradient(m), optim.in_frame(m, optax.rmsprop(0.02, eps=0.01, momentum=0.5))
    ),
}


@pytest.mark.quick("float32-0.0001-adam", "float32-0.0001-in_frame")
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-4), (np.float64, 1e-11)])
def test_ball_and_hyperboloid_go_one_way(name, dtype, tolerance, x64):
    """Isometric spaces, one loss: a step on one is the step on the other."""
    sheet = Hyperboloid(2, BALL.c)
    anchors = BALL.expmap_frame(np.zeros(2, dtype), components(1, (5, 2)).astype(dtype))
    start = BALL.expmap_frame(np.zeros(2, dtype), components(2, (3, 1, 2)).astype(dtype))

    def loss(space, to_space, x):
        d = space.dist(x, to_space(anchors))
        return jnp.sum(jnp.log1p(jnp.square(d - 1)))

    on_ball = descend(OPTIMIZERS[name](BALL), partial(loss, BALL, lambda p: p), start, 60, BALL)
    on_sheet = descend(
        OPTIMIZERS[name](sheet),
        partial(loss, sheet, BALL.to_hyperboloid),
        BALL.to_hyperboloid(start),
        60,
        sheet,
    )
    assert on_ball.dtype == on_sheet.dtype == dtype
    assert np.max(BALL.dist(on_ball[0], on_ball[-1])) > 0.5  # far enough to see a difference
    np.testing.assert_allclose(sheet.to_ball(on_sheet), on_ball, atol=tolerance)


@pytest.mark.quick("ball-in_frame momentum", "sphere-momentum")
@pytest.mark.parametrize("name", ["momentum", "adam", "amsgrad", "in_frame momentum"])
@pytest.mark.parametrize("space", ["ball", "sphere", "so3"])
def test_isometries_change_nothing(name, space, x64):
    space, move, back = {
        "ball": (BALL, lambda x: BALL.mobius_add(SHIFT, x), lambda x: BALL.mobius_add(-SHIFT, x)),
        "sphere": (SPHERE, lambda x: x @ TURN, lambda x: x @ TURN.T),
        "so3": (SO3(), lambda x: TURN @ x, lambda x: TURN.T @ x),
    }[space]
    make = {
        "in_frame momentum": lambda m: optax.chain(
            optim.riemannian_gradient(m), optim.in_frame(m, optax.sgd(0.02, 0.9))
        )
    }.get(name) or OPTIMIZERS[name]
    start = random_setting(space, (3,))[0]
    weights = jnp.asarray(np.random.default_rng(0).normal(size=space.event_shape))

    def f(x):
        return jnp.sum(jnp.sin(2 * weights * x) * x)

    plain = descend(make(space), f, start, 60, space)
    moved = descend(make(space), lambda x: f(move(x)), back(start), 60, space)
    assert np.max(space.dist(plain[0], plain[-1])) > 0.3
    np.testing.assert_allclose(move(moved), plain, atol=1e-9)


SHIFT = np.array([0.5, -0.2])
TURN = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
TURN *= np.linalg.det(TURN)


@pytest.mark.quick("foreign")
@pytest.mark.parametrize(
    "space",
    [BALL, SPHERE, HalfSpace(2), Product(BALL, SPHERE)],
    ids=["ball", "sphere", "foreign", "product"],
)
def test_a_momentum_that_is_kept_goes_along_one_geodesic(space, x64):
    """Steps of a momentum that no gradient changes, by the trace and in a carried frame."""
    x, _, velocity, _ = random_setting(space)
    velocity = 0.02 * space.to_frame(x, velocity)
    times = jnp.arange(41.0)
    geodesic = jax.vmap(lambda t: space.expmap_frame(x, t * velocity))(times)
    inertia = optax.GradientTransformation(lambda _: velocity, lambda g, v, _=None: (v, v))
    momentum = optim.riemannian_momentum(space, 1.0)
    started = momentum.init(x)._replace(trace=velocity)
    for optimizer, state in [
        (momentum, started),
        (optim.in_frame(space, inertia), None),
    ]:
        visited = descend(optimizer, lambda x: 0.0, x, 41, space, state, raw=jnp.zeros(space.dim))
        for a, b in zip(jax.tree.leaves(visited), jax.tree.leaves(geodesic), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-11)


def test_a_frame_gives_momentum_what_the_trace_gives(x64):
    start = random_setting(SPHERE, (3,))[0]
    inner = optim.in_frame(SPHERE, optax.sgd(0.05, 0.9, nesterov=True))
    framed = optax.chain(optim.riemannian_gradient(SPHERE), inner)
    np.testing.assert_allclose(
        descend(framed, bumps, start, 40, SPHERE),
        descend(optim.sgd(SPHERE, 0.05, 0.9, nesterov=True), bumps, start, 40, SPHERE),
        atol=1e-12,
    )


def test_second_moments_are_one_for_each_point_and_factor():
    space = Product(BALL, Euclidean(3), Product(SO3(), Torus(2)))
    x = random_setting(space, (4,))[0]
    manifolds = {"points": space, "network": None}
    params = {"points": x, "network": [jnp.ones(5), {"b": jnp.ones((2, 2))}]}
    state = jax.jit(optim.scale_by_riemannian_adam(manifolds).init)(params)
    assert [v.shape for v in state.nu["points"]] == [(4, 1), (4, 3), (4, 1), (4, 2)]
    assert state.mu["points"].shape == (4, 10)
    assert state.points["network"] is None

    @jax.jit
    def first(params):
        optimizer, grads = optim.adam(manifolds, 0.1), jax.tree.map(jnp.ones_like, params)
        return optimizer.update(grads, optimizer.init(params), params)[0]

    updates = first(params)
    lengths = [jnp.linalg.norm(a, axis=-1) for a in space.split(updates["points"])]
    for length, expected in zip(
        lengths[:2], [0.1, 0.1 * 3**0.5], strict=True
    ):  # the first step of Adam
        np.testing.assert_allclose(length, expected, rtol=1e-4)


def test_optax_composes():
    """Schedules, clipping, several optimizers, accumulation, jit, vmap over seeds, scan and donation."""
    manifolds = {"x": SPHERE, "y": BALL, "w": None}
    schedule = optax.cosine_decay_schedule(0.1, 30)
    on_points = optax.chain(
        optim.riemannian_gradient(manifolds),
        optax.clip_by_global_norm(1.0),
        optim.scale_by_riemannian_adam(manifolds),
        optax.scale_by_learning_rate(schedule),
    )
    labels = {"x": "points", "y": "points", "w": "rest"}
    several = optax.multi_transform({"points": on_points, "rest": optax.adam(schedule)}, labels)
    optimizer = optax.MultiSteps(several, 3)

    def loss(params):
        mixed = jnp.sum(params["x"][..., :2] * params["y"]) + jnp.sum(jnp.cos(params["w"]))
        return mixed + jnp.sum(jnp.square(params["x"] - params["w"]))

    def draw(key):
        keys = jax.random.split(key, 3)
        return {
            "x": SPHERE.random_uniform(keys[0], 5),
            "y": BALL.random_uniform(keys[1], 5),
            "w": jax.random.normal(keys[2], (3,)),
        }

    def step(params, state):
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optim.apply_updates(manifolds, params, updates), state

    params = jax.vmap(draw)(jax.random.split(jax.random.key(0), 2))
    one = jax.tree.map(lambda p: p[1], params)
    start, state = loss(one), jax.vmap(optimizer.init)(params)
    donating = jax.jit(jax.vmap(step), donate_argnums=(0, 1))
    for _ in range(30):
        params, state = donating(params, state)

    @jax.jit
    def scanned(one):
        carry = one, optimizer.init(one)
        return jax.lax.scan(lambda c, _: (step(*c), None), carry, length=30)[0]

    alone, _ = scanned(one)
    for name in manifolds:
        np.testing.assert_allclose(params[name][1], alone[name], atol=1e-5)
    assert loss(alone) < start - 0.5
    np.testing.assert_allclose(jnp.linalg.norm(alone["x"], axis=-1), 1, atol=1e-6)


def test_rayleigh_quotient():
    """The least eigenvector, on the sphere of R^6."""
    a = np.random.default_rng(0).normal(size=(6, 6)).astype(np.float32)
    a = a + a.T
    values, vectors = np.linalg.eigh(a.astype(np.float64))
    sphere = Sphere(5)
    path = descend(optim.sgd(sphere, 0.03, 0.8), lambda x: x @ a @ x, sphere.origin(), 400, sphere)
    np.testing.assert_allclose(path[-1] @ a @ path[-1], values[0], rtol=1e-5)
    assert abs(path[-1] @ vectors[:, 0]) > 1 - 1e-5


def test_procrustes():
    """The rotation that fits best, against the singular value decomposition."""
    rng = np.random.default_rng(0)
    p, q = rng.normal(size=(2, 3, 20)).astype(np.float32)
    u, _, vt = np.linalg.svd(q @ p.T)
    best = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    path = descend(
        optim.sgd(SO3(), 0.01, 0.7),
        lambda r: jnp.sum(jnp.square(r @ p - q)) / 2,
        jnp.eye(3),
        200,
        SO3(),
    )
    np.testing.assert_allclose(path[-1], best, atol=1e-5)


@pytest.mark.slow
def test_procrustes_in_five_dimensions():
    rng = np.random.default_rng(1)
    p, q = rng.normal(size=(2, 5, 20)).astype(np.float32)
    u, _, vt = np.linalg.svd(q @ p.T)
    best = u @ np.diag([1, 1, 1, 1, np.linalg.det(u @ vt)]) @ vt
    path = descend(
        optim.sgd(SO(5), 0.005, 0.8),
        lambda r: jnp.sum(jnp.square(r @ p - q)) / 2,
        jnp.eye(5),
        400,
        SO(5),
    )
    np.testing.assert_allclose(path[-1], best, atol=1e-4)


@pytest.mark.quick("0.9")
@pytest.mark.parametrize("truth", [0.9, -0.9])
def test_a_curvature_is_learned_through_zero(truth):
    """From the other sign, by the side of an equilateral triangle whose tips are at distance 1 from its middle."""
    angle = 2 * np.pi / 3 * np.arange(3)
    arms = np.stack([np.cos(angle), np.sin(angle)], -1).astype(np.float32)
    target = Stereographic(2, truth)
    tips = target.expmap_frame(np.zeros(2), arms)
    side = target.dist(tips[0], tips[1])

    def loss(params):
        space = Stereographic(2, params["kappa"])
        x = space.expmap_frame(jnp.zeros(2), params["arms"])
        sides = jax.vmap(space.dist)(x, jnp.roll(x, 1, 0))
        return jnp.sum(jnp.square(sides - side))

    def only_kappa(kappa):
        return loss({"kappa": kappa, "arms": arms})

    path = descend(optim.adam(None, 0.03), only_kappa, jnp.asarray(-truth), 400, None)
    np.testing.assert_allclose(path[-1], truth, atol=1e-3)
    assert np.min(np.abs(path)) < 0.03  # it has gone through 0


@pytest.mark.slow
@pytest.mark.parametrize("name", NEWER)
def test_adam_goes_to_the_mean(name, x64):
    """On each of the newer spaces, to the point that frechet_mean finds."""
    space = SPACES[name]
    middle = space.expmap_frame(space.origin(), 0.5 * np.eye(space.dim)[0])
    points = space.expmap_frame(middle, components(2, (9, space.dim), 0.6))
    found = jax.jit(statistics.frechet_mean)(space, points)
    assert found.converged
    rate = optax.cosine_decay_schedule(0.05, 300)
    path = descend(
        optim.adam(space, rate),
        lambda x: jnp.mean(space.sqdist(x, points)),
        space.origin(),
        300,
        space,
    )
    assert space.dist(path[-1], found.point) < 1e-4


def test_a_curvature_is_learned():
    """Three points at the distances of an equilateral triangle whose angles say that c = 1.5."""
    truth = PoincareBall(2, 1.5)
    angle = 2 * np.pi / 3 * np.arange(3)
    tips = truth.expmap_frame(np.zeros(2), 1.0 * np.stack([np.cos(angle), np.sin(angle)], -1))
    side = truth.dist(tips[0], tips[1])

    def manifolds(params):
        return {"x": PoincareBall(2, jnp.exp(params["log_c"])), "log_c": None}

    def loss(params):
        ball, x = manifolds(params)["x"], params["x"]
        sides = jax.vmap(ball.dist)(x, jnp.roll(x, 1, 0))
        return jnp.sum(jnp.square(ball.dist(jnp.zeros(2), x) - 1)) + jnp.sum(
            jnp.square(sides - side)
        )

    start = {"x": 0.3 * jnp.array([[1.0, 0], [0, 1], [-1, 0]]), "log_c": jnp.zeros(())}
    path = descend(optim.adam(manifolds, 0.05), loss, start, 2000, manifolds)
    np.testing.assert_allclose(jnp.exp(path["log_c"][-1]), 1.5, rtol=1e-2)


def test_a_shrinking_ball_keeps_its_points():
    """When c grows, points near the rim are brought inside, and so is what a momentum remembers of them."""

    def manifolds(params):
        return {"x": PoincareBall(2, params["c"]), "c": None}

    params = {"x": jnp.array([[0.9, 0.0], [0.0, -0.7]]), "c": jnp.ones(())}
    path = descend(
        optim.sgd(manifolds, 0.1, 0.9), lambda p: -p["c"] + bumps(p["x"]), params, 30, manifolds
    )
    radius2 = path["c"] * jnp.max(jnp.sum(jnp.square(path["x"]), -1), -1)
    assert path["c"][-1] > 3 and jnp.all(radius2 < 1)


SPECIAL = np.array([0.0, 1e-38, 1e-7, 1.0, 20.0, 1e5, 1e18])  # their squares are floats


@pytest.mark.quick("3-ball")
@pytest.mark.parametrize("name", ["ball", "hyperboloid", "sphere", "torus", "so3", "product"])
@pytest.mark.parametrize("steps", [3, 400])
def test_no_update_gives_nan(name, steps):
    """Random and special gradients at random and special points, float32: 1e6 of them in the wide sweep."""
    space, n = EVERY_SPACE[name], 416
    optimizer = optim.adam(space, 0.1)

    def special(key, shape):
        size, sign, kind = jax.random.split(key, 3)
        values = jnp.asarray(SPECIAL, jnp.float32)
        drawn = jax.random.choice(size, values, shape) * jax.random.rademacher(sign, shape)
        plain = jnp.exp(4 * jax.random.normal(kind, shape)) * jax.random.rademacher(kind, shape)
        return jnp.where(
            jax.random.bernoulli(kind, 0.5, (shape[0], *[1] * (len(shape) - 1))), drawn, plain
        )

    def step(carry, key):
        x, state = carry
        leaves, tree = jax.tree.flatten(x)
        keys = jax.random.split(key, len(leaves))
        grads = tree.unflatten([special(k, p.shape) for k, p in zip(keys, leaves, strict=True)])
        updates, state = optimizer.update(grads, state, x)
        jumps = special(key, updates.shape)  # whatever another optimizer may do
        if name == "hyperboloid":  # whose coordinates end at r = 87
            jumps = jnp.clip(jumps, -20, 20)
        jumped = optim.apply_updates(space, x, jumps)
        x = optim.apply_updates(space, x, updates)
        fine = [jnp.all(jnp.isfinite(p)) for p in jax.tree.leaves((x, jumped, updates))]
        return (x, state), jnp.all(jnp.stack(fine))

    @jax.jit
    def run(key):
        x = space.expmap_frame(
            space.origin(jnp.float32), 5 * jax.random.normal(key, (n, space.dim))
        )
        return jax.lax.scan(step, (x, optimizer.init(x)), jax.random.split(key, steps))[1]

    assert np.all(run(jax.random.key(0)))


def test_bad_input_is_named():
    adam = optim.adam({"x": BALL, "w": None}, 0.1)
    good = {"x": jnp.zeros((4, 2)), "w": jnp.ones(3)}
    state = adam.init(good)
    with pytest.raises(ValueError, match="manifolds must be a tree of Manifold or None"):
        adam.init({"x": good["x"], "y": good["w"]})
    with pytest.raises(ValueError, match="points have shape"):
        adam.init({"x": jnp.zeros((4, 3)), "w": good["w"]})
    with pytest.raises(ValueError, match="open ball"):
        adam.init({"x": jnp.ones((4, 2)), "w": good["w"]})
    with pytest.raises(ValueError, match="needs the points"):
        adam.update(good, state)
    with pytest.raises(ValueError, match=r"a point is a tree of arrays as .*\*, \*"):
        optim.adam(SE3(), 0.1).init(jnp.eye(4))
    with pytest.raises(ValueError, match=r"components \(3,\), got \(3, 3\); to freeze"):
        optim.apply_updates(SO3(), jnp.eye(3), jnp.zeros((3, 3)))
    with pytest.raises(TypeError, match="Manifold or None, got 'ball'"):
        optim.adam("ball", 0.1).init(good["x"])


def test_a_manifold_over_a_subtree_is_that_of_all_points_in_it():
    params = {"x": {"u": jnp.array([0.0, 0, 1]), "v": jnp.array([0.0, 1, 0])}, "w": jnp.ones(3)}
    grads = jax.tree.map(lambda a: a + 0.3, params)

    def stepped(manifolds, optimizer):
        updates, _ = optimizer.update(grads, optimizer.init(params), params)
        return optim.apply_updates(manifolds, params, updates)

    leaves = {"x": {"u": Sphere(2), "v": Sphere(2)}, "w": None}
    expected = stepped(leaves, optim.adam(leaves, 0.1))
    over = {"x": Sphere(2), "w": None}
    chex.assert_trees_all_equal(stepped(over, optim.adam(over, 0.1)), expected)
    parts = {"sphere": optim.adam(Sphere(2), 0.1), "plain": optim.adam(None, 0.1)}
    masked = optax.multi_transform(parts, {"x": "sphere", "w": "plain"})
    chex.assert_trees_all_equal(stepped(over, masked), expected)
    pairs = {"a": (params["x"]["u"], jnp.zeros(2)), "b": [(params["x"]["v"], jnp.ones(2) / 2)]}
    space = Product(Sphere(2), PoincareBall(2))
    moments = optim.adam(space, 0.1).init(pairs)[1].mu
    assert moments["a"].shape == moments["b"][0].shape == (4,)


# --- a few rows of a table --------------------------------------------------------------------------------------


def test_rows_step_as_points_of_their_own():
    """What is touched moves as a point alone would, with its own count of steps; what is not, does not."""
    optimizer = optim.adam(BALL, optax.cosine_decay_schedule(0.1, 20))
    table = BALL.random_uniform(jax.random.key(0), 50)
    targets = BALL.random_uniform(jax.random.key(1), 50)
    batches = np.array([[3, 7, 7, 9], [9, 9, 3, 40], [3, 3, 3, 3]])

    @jax.jit
    def steps(table):
        state = optim.init_rows(optimizer, table)
        for batch in batches:
            rows, places = optim.unique_rows(jnp.asarray(batch), len(table))

            def loss(points, places=places, batch=batch):
                return jnp.sum(BALL.sqdist(points[places], targets[batch]))

            grads = jax.grad(loss)(table[rows])
            table, state = optim.update_rows(optimizer, BALL, grads, state, table, rows)
        return table

    moved = steps(table)
    touched = np.unique(batches)
    np.testing.assert_array_equal(np.delete(moved, touched, 0), np.delete(table, touched, 0))

    @jax.jit
    def alone(x, state, target, times):
        gradient = times * jax.grad(BALL.sqdist)(x, target)
        updates, state = optimizer.update(gradient, state, x)
        return optim.apply_updates(BALL, x, updates), state

    for row in touched:
        x = table[row]
        state = optimizer.init(x)
        for batch in batches:
            if times := int(np.sum(batch == row)):
                x, state = alone(x, state, targets[row], times)
        np.testing.assert_allclose(moved[row], x, atol=1e-6)


@pytest.mark.slow
def test_rows_of_products():
    space = Product(SPHERE, Euclidean(2))
    optimizer = optim.sgd(space, 0.1, 0.9)
    table = space.random_uniform(jax.random.key(0), (6,))
    rows, grads = (
        jnp.array([4, 1, 6, 7]),
        jax.tree.map(lambda p: jnp.ones((4, *p.shape[1:])), table),
    )

    @jax.jit
    def step(table, rows):
        return optim.update_rows(
            optimizer, space, grads, optim.init_rows(optimizer, table), table, rows
        )

    moved, _ = step(table, rows)
    for new, old in zip(moved, table, strict=True):
        assert np.array_equal(np.any(new != old, -1), [False, True, False, False, True, False])


@pytest.mark.slow
def test_the_cost_of_rows_does_not_know_the_table():
    optimizer, k = optim.adam(BALL, 0.1), 16

    def work(size):
        table = jax.ShapeDtypeStruct((size, 2), jnp.float32)
        state = jax.eval_shape(partial(optim.init_rows, optimizer), table)
        step = jax.jit(partial(optim.update_rows, optimizer, BALL), donate_argnums=(1, 2))
        grads, rows = (
            jax.ShapeDtypeStruct((k, 2), jnp.float32),
            jax.ShapeDtypeStruct((k,), jnp.int32),
        )
        return step.lower(grads, state, table, rows).compile().cost_analysis()["flops"]

    assert work(100_000) < 1.1 * work(1000)


def test_unique_rows():
    indices = jnp.array([[5, 2], [5, 0]])
    rows, places = jax.jit(partial(optim.unique_rows, size=6))(indices)
    np.testing.assert_array_equal(rows[:3], [0, 2, 5])
    np.testing.assert_array_equal(rows[places], indices)
    assert len(np.unique(rows)) == 4 and rows[3] >= 6
    with pytest.raises(ValueError, match="each row may stand once"):
        optim.update_rows(
            optim.sgd(None, 1.0), None, jnp.ones(2), (), jnp.ones(6), jnp.array([2, 2])
        )


def test_rows_that_are_not_there():
    table, optimizer = jnp.zeros((10, 2)), optim.sgd(None, 1.0)
    state, one = optim.init_rows(optimizer, table), jnp.ones((1, 2))
    for index, words in ((-11, "-10 or more, got -11"), (12, "below 10, got 12")):
        with pytest.raises(ValueError, match=words):
            optim.unique_rows(jnp.array([index, 3]), 10)
    with pytest.raises(ValueError, match="-10 or more, got -11"):
        optim.update_rows(optimizer, None, one, state, table, jnp.array([-11]))
    # Under jit they are left alone.
    found, _ = jax.jit(partial(optim.update_rows, optimizer, None))(
        one, state, table, jnp.array([-11])
    )
    assert not found.any()
    rows, _ = optim.unique_rows(jnp.array([3, 3, 5], jnp.int8), 300)
    assert (rows == jnp.array([3, 5, 302])).all()


def test_what_does_not_belong_to_the_rows_is_named():
    table, optimizer = jnp.zeros((6, 5)), optim.adam(PoincareBall(5), 0.1)
    rows, state = jnp.array([1, 2]), optim.init_rows(optimizer, table)
    with pytest.raises(ValueError, match=r"the gradients have a leading axis of 2, got .*3"):
        optim.update_rows(optimizer, PoincareBall(5), jnp.ones((3, 5)), state, table, rows)
    with pytest.raises(ValueError, match="the state of each row is made by init_rows"):
        whole = optimizer.init(table)
        optim.update_rows(optimizer, PoincareBall(5), jnp.ones((2, 5)), whole, table, rows)


@pytest.mark.slow
def test_a_sharded_table_goes_the_same_way():
    found = on_devices("tests.optim.parallel")
    assert found["devices"] == found["moments"] == 8
    assert found["moved"] > 0.3 and found["difference"] < 1e-5


def test_rows_counted_from_the_end_are_the_same_rows():
    table, optimizer = jnp.zeros((6, 5)), optim.adam(PoincareBall(5), 0.1)
    state = optim.init_rows(optimizer, table)
    rows, places = optim.unique_rows(jnp.array([-1, 5]), 6)
    assert rows[0] == 5 and rows[1] >= 6 and not places.any()
    with pytest.raises(ValueError, match="each row may stand once"):
        optim.update_rows(
            optimizer, PoincareBall(5), jnp.ones((2, 5)), state, table, jnp.array([-1, 5])
        )
