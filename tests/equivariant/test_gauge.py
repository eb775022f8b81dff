"""Gauge convolutions: exactly independent of frames, and as isometric as the quadrature of their points."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from geodl.equivariant import gauge
from geodl.equivariant.fields import FieldType
from geodl.equivariant.gauge import (
    Neighborhoods,
    change_gauge,
    gauge_conv,
    gauge_net,
    gauge_of_vectors,
    gauge_pool,
    holonomy,
    neighborhoods,
    on_frames,
    on_points,
    own_gauge,
    parallel_transport,
    polar_neighborhoods,
    random_gauge,
    stencil,
)
from geodl.equivariant.groups import o2, so2, so3
from geodl.equivariant.harmonics import healpix_centers
from geodl.equivariant.meshes import torus_mesh
from geodl.equivariant.steerable import Fourier, Kernel, Norm, SteerableConv, invariants
from geodl.manifolds import Euclidean, Hyperboloid, PoincareBall, Sphere, Torus, poincare
from geodl.nn import functional
from tests.devices import on_devices
from tests.manifolds.foreign import HalfSpace


GOLDEN = np.pi * (3 - 5**0.5)


def sphere_points(n):
    """Fibonacci's, with their weights."""
    i = np.arange(n) + 0.5
    height, angle = 1 - 2 * i / n, i * GOLDEN
    s = np.sqrt(1 - height**2)
    return np.stack([height, s * np.cos(angle), s * np.sin(angle)], -1), np.full(n, 4 * np.pi / n)


def healpix_points(n):
    """The centers of 12 nside^2 pixels, the nearest number to n."""
    beta, alpha = healpix_centers(round((n / 12) ** 0.5))
    x = [np.sin(beta) * np.cos(alpha), np.sin(beta) * np.sin(alpha), np.cos(beta)]
    return np.stack(x, -1), np.full(len(beta), 4 * np.pi / len(beta))


def disk_points(n, radius=0.85):
    """A sunflower in the unit disk, weights with the hyperbolic area element."""
    i = np.arange(n) + 0.5
    r, angle = radius * np.sqrt(i / n), i * GOLDEN
    x = r[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    return x, np.pi * radius**2 / n * (2 / (1 - r**2)) ** 2


def torus_points(n):
    """The Fibonacci lattice with at least n points."""
    a, b = 1, 1
    while b < n:
        a, b = b, a + b
    i = np.arange(b)
    x = 2 * np.pi * np.stack([(i + 0.5) / b, (i * a / b) % 1], -1) - np.pi
    return x, np.full(b, 4 * np.pi**2 / b)


def space_points(manifold, n):
    """Random points: frames' independence asks for no quadrature."""
    rng = np.random.default_rng(0)
    a = jnp.asarray(rng.uniform(-1, 1, (n, manifold.dim)))
    origin = manifold.origin(a.dtype)
    return manifold.expmap_frame(jnp.broadcast_to(origin, (n, *manifold.event_shape)), a), 1 / n


def everything(group):
    """Fields of every frequency to 2, odd ones, and functions on the group: every pair of types is in their square."""
    if group == so3():
        return FieldType([(group.trivial, 2), (group.vector, 2)])
    fields = [(group.irrep(m), 2) for m in range(3)]
    if group.reflections:
        fields.append((group.irrep(0, odd=True), 2))
    return FieldType([*fields, (group.band_limited(2), 1)])


def as_float(tree):
    return jax.tree.map(lambda a: a.astype(float), tree)


SPACES = {
    "sphere": (Sphere(2), so2(), *sphere_points(60), 0.9),
    "sphere O(2)": (Sphere(2), o2(), *sphere_points(60), 0.9),
    "HEALPix": (Sphere(2), so2(), *healpix_points(48), 1.0),
    "torus": (Torus(2), so2(), *torus_points(50), 1.5),
    "disk": (PoincareBall(2, 0.7), o2(), *disk_points(60), 1.2),
    "hyperboloid": (Hyperboloid(2, 1.0), so2(), None, None, 1.0),
    "3-sphere": (Sphere(3), so3(), None, None, 1.2),
    "3-ball": (PoincareBall(3, 1.0), so3(), None, None, 1.2),
    "3-space": (Euclidean(3), so3(), None, None, 1.2),
}


def seen(name):
    """Group, radius and neighborhoods of a space."""
    if name == "mesh":
        return so2(), 0.6, torus_mesh(12, 7).neighborhoods(0.6)
    if name == "polar":
        points = jnp.asarray(sphere_points(60)[0], float)
        return so2(), 0.6, polar_neighborhoods(Sphere(2), points, 0.6, 2, 6, 3)
    manifold, group, points, weights, radius = SPACES[name]
    if points is None:
        points, weights = space_points(manifold, 60)
    return group, radius, neighborhoods(manifold, jnp.asarray(points, float), weights, radius)


def in_two_gauges(name, key):
    """The output of a convolution, and that in random frames, turned back."""
    group, radius, near = seen(name)
    assert near.indices.shape[1] > 5
    n, kind, degree = len(near.indices), everything(group), 2 if group.dim == 3 else 4
    own, turned = jnp.tile(jnp.eye(group.dim), (n, 1, 1)), group.random(key, n, float)
    x = jax.random.normal(key, (n, kind.dim), float)

    @jax.jit
    def output(near, frames, x):
        net = gauge_conv(kind, kind, stencil(near.in_gauge(frames), group, radius, 2, degree))
        params = jax.tree.map(lambda a: a.astype(float) + 0.1, net.init(key))  # biases too
        y = net.apply(params, change_gauge(kind, x, own, frames))
        return change_gauge(kind, y, frames, own)

    return output(near, own, x), output(near, turned, x)


@pytest.mark.quick("mesh")
@pytest.mark.parametrize("name", [*SPACES, "mesh", "polar"])
def test_frames_do_not_matter(name, key):
    """New frames at every point change the output by its representation: 1e-12 in float64, 1e-6 in float32."""
    for wide, bound in ((True, 1e-12), (False, 1e-6)):
        with jax.enable_x64(wide):
            y, other = in_two_gauges(name, key)
            assert y.dtype == (jnp.float64 if wide else jnp.float32) and jnp.std(y) > 0.01
            assert jnp.abs(other - y).max() < bound * jnp.abs(y).max()


def smooth_field(manifold, x):
    """A scalar, a vector and its square (spin 2) in the own frames at points x, smooth all over the space."""
    if isinstance(manifold, Sphere):
        v = np.stack([x[:, 1] * x[:, 2], x[:, 0] ** 2 - x[:, 2], x[:, 0] + x[:, 1] * x[:, 0]], -1)
    elif isinstance(manifold, Torus):
        v = np.stack([np.sin(x[:, 1]) + 0.3, np.cos(x[:, 0] + x[:, 1])], -1)
    else:
        v = np.stack([np.sin(2 * x[:, 0] + 1) * 0.3, x[:, 1] * x[:, 0] + 0.2], -1)
    x = jnp.asarray(x)
    a, b = np.asarray(manifold.to_frame(x, manifold.project_tangent(x, jnp.asarray(v)))).T
    return jnp.asarray(np.stack([v[:, 0], a, b, a * a - b * b, 2 * a * b], -1))


def rotated(x):
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    return x @ (q * np.sign(np.linalg.det(q))).T


def shifted(x):
    return (x + np.array([0.31, 0.17]) + np.pi) % (2 * np.pi) - np.pi


def translated(x):
    return np.asarray(poincare.mobius_add(jnp.array([0.1, 0.05]), jnp.asarray(x), 1.0))


# space, points, isometry, radius, and how near to the origin the points are that see (the disk's points have an edge)
ISOMETRIES = {
    "sphere": (Sphere(2), sphere_points, rotated, 1.0, 1.0),
    "torus": (Torus(2), torus_points, shifted, 0.9, 1.0),
    "disk": (PoincareBall(2, 1.0), disk_points, translated, 0.8, 0.3),
}


def convolved(name, n, key):
    """Outputs at 40 points: exact, from n points and from the points moved by an isometry."""
    manifold, points, move, radius, inner = ISOMETRIES[name]
    centers = jnp.asarray(points(40)[0] * inner)
    group = so2()
    kind = FieldType([(group.irrep(m), 1) for m in range(3)])

    def output(near, x):
        net = gauge_conv(kind, kind, stencil(near, group, radius, 3, 4))
        return net.apply(as_float(net.init(key)), smooth_field(manifold, x))

    # Gauss' and the trapezoidal rule in polar coordinates, the field where it is needed
    r, w = np.polynomial.legendre.leggauss(24)
    r, w = radius * (r + 1) / 2, radius * w / 2
    angle = 2 * np.pi * np.arange(48) / 48
    log = (r[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], -1)).reshape(-1, 2)
    nodes = manifold.expmap_frame(centers[:, None], jnp.asarray(log))
    shape = nodes.shape[:2]
    _, transport, _ = jax.jit(gauge._geometry)(manifold, centers[:, None], nodes)
    near = Neighborhoods(
        jnp.arange(shape[0] * shape[1]).reshape(shape),
        jnp.broadcast_to(np.repeat(r * w, 48) * 2 * np.pi / 48, shape),
        jnp.broadcast_to(log, (*shape, 2)),
        transport,
    )
    found = [output(near, np.asarray(nodes).reshape(-1, nodes.shape[-1]))]
    x, weights = points(n)
    for seen in (x, move(x)):
        found.append(
            output(neighborhoods(manifold, jnp.asarray(seen), weights, radius, centers), seen)
        )
    return found


def size(y):
    return float(jnp.sqrt(jnp.mean(jnp.square(y))))


@pytest.mark.slow
@pytest.mark.parametrize("name", ISOMETRIES)
def test_isometries_commute_to_the_order_of_the_quadrature(name, key, x64):
    """2e-4 in the mean square at 3072 points; four times the points are at least six times as good."""
    errors = []
    for n in (768, 3072):
        exact, here, there = convolved(name, n, key)
        errors.append([size(here - exact) / size(exact), size(here - there) / size(exact)])
    (coarse, coarse_isometry), (fine, fine_isometry) = errors
    assert fine < 2e-4 and fine_isometry < 2e-4
    assert coarse > 6 * fine or coarse < 2e-4
    assert coarse_isometry > 6 * fine_isometry or coarse_isometry < 2e-4


@pytest.mark.slow
def test_the_sphere_is_seen_as_it_is(key, x64):
    exact, here, there = convolved("sphere", 768, key)
    assert size(here - exact) < 3e-3 * size(exact) and size(there - exact) < 3e-3 * size(exact)


@pytest.mark.slow
def test_healpix_centers_as_points(key, x64, monkeypatch):
    """A tenth as accurate as Fibonacci's, of lower order."""
    monkeypatch.setitem(ISOMETRIES, "HEALPix", (Sphere(2), healpix_points, rotated, 1.0, 1.0))
    errors = []
    for n in (768, 3072):
        exact, here, there = convolved("HEALPix", n, key)
        errors.append(max(size(here - exact), size(there - exact)) / size(exact))
    assert errors[1] < 2e-3 and errors[0] > 3 * errors[1]


@pytest.mark.slow
def test_interpolated_nodes_agree_with_the_quadrature(key, x64):
    """Uneven points without weights; where these are known they are the better quadrature."""
    x, weights = sphere_points(500)
    group, radius = so2(), 0.8
    kind = FieldType([(group.irrep(m), 1) for m in range(3)])
    f, found = smooth_field(Sphere(2), x), []
    for near in (
        neighborhoods(Sphere(2), jnp.asarray(x), weights, radius),
        polar_neighborhoods(Sphere(2), jnp.asarray(x), radius),
    ):
        net = gauge_conv(kind, kind, stencil(near, group, radius, 2, 4))
        found.append(net.apply(as_float(net.init(key)), f))
    assert size(found[1] - found[0]) < 0.05 * size(found[0])
    with pytest.raises(ValueError, match="a surface is needed, got dimension 3"):
        polar_neighborhoods(Sphere(3), jnp.eye(4), 0.5)


@pytest.mark.slow
def test_flat_space_is_a_plain_convolution(key, x64):
    """On a grid of the torus: lax's convolution with the kernel k(x) at the pixels, all frames alike."""
    n, radius = 12, 1.3
    step = 2 * np.pi / n
    grid = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), -1).reshape(-1, 2)
    manifold, group = Torus(2), o2()
    kind = everything(group)
    near = neighborhoods(manifold, jnp.asarray(grid * step - np.pi), step**2, radius)
    net = gauge_conv(kind, kind, stencil(near, group, radius, 2, 4))
    params = as_float(net.init(key))
    x = jax.random.normal(key, (n * n, kind.dim))

    layer = gauge.GaugeConv(kind, kind, 2, 4, nnx.Rngs(0))
    layer.kernel.weights = nnx.Param(params["kernel"]["weights"])
    offsets = np.arange(-2, 3)
    log = np.stack(np.meshgrid(offsets, offsets, indexing="ij"), -1).reshape(1, -1, 2) * step
    table = gauge._table(group, 2, 4, jnp.asarray(log), jnp.full((1, 25), step**2), radius)[0]
    kernel = jnp.einsum("kh,hio->kio", table, layer.kernel()).reshape(5, 5, kind.dim, kind.dim)
    image = jnp.pad(x.reshape(1, n, n, -1), ((0, 0), (2, 2), (2, 2), (0, 0)), mode="wrap")
    layout = ("NHWC", "HWIO", "NHWC")
    asked = jax.lax.conv_general_dilated(image, kernel, (1, 1), "VALID", dimension_numbers=layout)
    np.testing.assert_allclose(net.apply(params, x), asked.reshape(n * n, -1), atol=1e-12)


def test_scalars_are_convolved_with_a_function_of_the_distance(key, x64):
    x, weights = sphere_points(80)
    kind = FieldType([(so2().trivial, 1)])
    near = neighborhoods(Sphere(2), jnp.asarray(x), weights, 0.8)
    net = gauge_conv(kind, kind, stencil(near, so2(), 0.8, 1, 0))
    f = np.random.default_rng(0).normal(size=(80, 1))
    angle = np.arccos(np.clip(x @ x.T, -1, 1))
    shape = (1 - (angle / 0.8) ** 2) ** 4 * (angle < 0.8)
    shape *= weights / np.where(angle < 1e-7, 1, np.sin(angle) / np.where(angle < 1e-7, 1, angle))
    # of mean square 1: integral_0^1 (1 - r^2)^8 2 r dr = 1/9
    params = {"kernel": {"weights": jnp.ones(1)}, "bias": {"values": jnp.zeros(1)}}
    found = net.apply(params, jnp.asarray(f))
    np.testing.assert_allclose(found, 3 * shape @ f / (np.pi * 0.8**2), atol=1e-12)


# Fourier's nonlinearity commutes with rotations among its samples: by one of these all frames are turned
BETWEEN = {"norm": Norm, "fourier": partial(Fourier, activation=jnp.tanh)}


@pytest.mark.quick("norm")
@pytest.mark.parametrize("between", BETWEEN)
def test_a_network_is_equivariant_whatever_is_between(between, key, x64):
    group, mesh = so2(), torus_mesh(8, 6)
    near = mesh.neighborhoods(0.9)
    some = np.arange(0, 48, 5)
    few = jax.tree.map(lambda a: a[some], near)
    turned = group.random(key, 48, float)
    if between == "fourier":
        turned = jnp.broadcast_to(jnp.asarray(group.elements(8)[1]), (48, 2, 2))
    of, hidden = FieldType([(group.trivial, 2)]), FieldType([(group.band_limited(1), 3)])
    to = FieldType([(group.vector, 2)])
    f = jax.random.normal(key, (2, 48, of.dim))

    @jax.jit
    def outputs(near, few, f):
        table = stencil(near, group, 0.9, 2, 2)
        net = gauge_net(of, hidden, to, table, 1, BETWEEN[between])
        y = net.apply(as_float(net.init(key)), f)
        return y, gauge_pool(to, few, y)

    y, pooled = outputs(near, few, f)
    again, again_pooled = outputs(near.in_gauge(turned), few.in_gauge(turned, turned[some]), f)
    assert y.shape == (2, 48, 4) and pooled.shape == (2, 10, 4) and jnp.std(y) > 1e-3
    back, scale = jnp.swapaxes(turned, -1, -2), float(jnp.abs(y).max())
    np.testing.assert_allclose(again, to.transform(back, y), atol=1e-12 * scale)
    np.testing.assert_allclose(again_pooled, to.transform(back[some], pooled), atol=1e-12 * scale)
    np.testing.assert_allclose(invariants(to, again), invariants(to, y), atol=1e-12 * scale)


@pytest.mark.slow
def test_pooling_to_fewer_points(x64):
    """Constant scalars stay what they are, and a vector field keeps its direction in flat space."""
    x, weights = torus_points(30)
    centers = jnp.asarray([[0.0, 0.1], [1.0, 3.0]])
    near = neighborhoods(Torus(2), jnp.asarray(x), weights, 2.0, centers)
    kind = FieldType([(so2().trivial, 1), (so2().vector, 1)])
    f = jnp.tile(jnp.array([2.0, 0.3, -0.5]), (len(x), 1))
    np.testing.assert_allclose(gauge_pool(kind, near, f), f[:2], atol=1e-12)


def test_sections_are_equivariant_functions_on_frames(key, x64):
    points = jnp.asarray(sphere_points(5)[0])
    for group in (so2(), o2()):
        kind = everything(group)
        f = jax.random.normal(key, (5, kind.dim))
        own = own_gauge(Sphere(2), points)
        frames, k = (random_gauge(Sphere(2), points, group, i) for i in jax.random.split(key))
        function = on_frames(kind, f, own)
        np.testing.assert_allclose(on_points(function, own), f, atol=1e-12)
        turned = function(frames @ k)
        asked = kind.transform(jnp.swapaxes(k, -1, -2), function(frames))
        np.testing.assert_allclose(turned, asked, atol=1e-12)
        there = on_frames(kind, on_points(function, frames), frames)
        np.testing.assert_allclose(there(k), function(k), atol=1e-12)


@pytest.mark.slow
def test_given_frames(x64):
    points = jnp.asarray(sphere_points(7)[0])
    east = jnp.cross(jnp.array([0.3, 0.2, 1.0]), points)
    east = east / jnp.linalg.norm(east, axis=-1, keepdims=True)
    frames = jnp.stack([east, jnp.cross(points, east)], 1)
    found = gauge_of_vectors(Sphere(2), points, frames)
    columns = Sphere(2).from_frame(points[:, None], jnp.swapaxes(found, -1, -2))
    np.testing.assert_allclose(columns, frames, atol=1e-14)
    with pytest.raises(
        ValueError, match="gauge_of_vectors: vectors: orthogonal matrices are needed"
    ):
        gauge_of_vectors(Sphere(2), points, 1.1 * frames)


def angle(matrix):
    return np.arctan2(matrix[1, 0], matrix[0, 0])


def test_holonomy_is_the_curvature_enclosed(x64):
    # an octant of the sphere; in the frame at its first corner it is counterclockwise or not
    octant = jnp.eye(3)
    frame = Sphere(2).tangent_basis(octant[0])
    sign = np.sign(np.linalg.det(np.stack([octant[0], *frame])))
    np.testing.assert_allclose(angle(holonomy(Sphere(2), octant)), sign * np.pi / 2, atol=1e-12)
    # a triangle of the disk of curvature -c: its angles by the law of cosines
    ball = PoincareBall(2, 0.6)
    corners = jnp.array([[0.1, 0.2], [0.7, -0.1], [0.3, 0.8]])
    sides = [float(ball.dist(corners[i], corners[(i + 1) % 3])) * 0.6**0.5 for i in range(3)]
    angles = [
        np.arccos((np.cosh(b) * np.cosh(c) - np.cosh(a)) / (np.sinh(b) * np.sinh(c)))
        for a, b, c in (np.roll(sides, i) for i in range(3))
    ]
    np.testing.assert_allclose(angle(holonomy(ball, corners)), sum(angles) - np.pi, atol=1e-12)
    np.testing.assert_allclose(holonomy(Torus(2), corners), np.eye(2), atol=1e-12)


def test_transport_there_and_back(key, x64):
    path = Sphere(2).random_uniform(key, (6,))
    v = Sphere(2).project_tangent(path[0], jax.random.normal(key, (4, 3)))
    there = parallel_transport(Sphere(2), path, v)
    np.testing.assert_allclose(jnp.sum(there * path[-1], -1), np.zeros(4), atol=1e-12)
    np.testing.assert_allclose(parallel_transport(Sphere(2), path[::-1], there), v, atol=1e-12)


def test_tables_are_arguments_and_gradients_finite(key):
    near = torus_mesh(7, 5).neighborhoods(0.9)
    group = so2()
    kind = FieldType([(group.irrep(0), 2), (group.irrep(1), 2)])
    table = stencil(near, group, 0.9, 2, 2)
    net = gauge_net(kind, kind, kind, table, 1, Norm)
    bound = net.bind(net.init(key))
    assert {table.kernel.size, table.transport.size} < {a.size for a in jax.tree.leaves(bound)}

    @jax.jit
    def slopes(bound, x):
        """Of a batch."""
        return jax.vmap(bound)(x), jax.grad(lambda x: jnp.sum(jax.vmap(bound)(x) ** 2))(x)

    zeros = jnp.zeros((3, 35, kind.dim))
    assert jnp.isfinite(slopes(bound, zeros)[1]).all()
    assert jnp.isnan(slopes(bound, zeros * jnp.nan)[0]).all()


@pytest.mark.slow
def test_a_batch_over_eight_devices():
    one, eight = (on_devices("tests.equivariant.parallel", n) for n in (1, 8))
    assert (one.pop("devices"), eight.pop("devices")) == (1, 8)
    assert eight == pytest.approx(one, rel=1e-5)


def test_fields_of_a_batch_one_by_one(key):
    """Leading axes, vmap and a loop are the same; integers are numbers, bfloat16 goes through."""
    group, radius, near = seen("torus")
    kind = FieldType([(group.irrep(m), 1) for m in range(3)])
    net = gauge_conv(kind, kind, stencil(near, group, radius))
    params, x = net.init(key), jax.random.normal(key, (3, len(near.indices), kind.dim))
    once = net.apply(params, x)
    np.testing.assert_allclose(jax.jit(jax.vmap(net.bind(params)))(x), once, atol=1e-5)
    np.testing.assert_allclose(jnp.stack([net.apply(params, f) for f in x]), once, atol=1e-5)
    ones = jnp.ones(x.shape[1:], int)
    np.testing.assert_allclose(net.apply(params, ones), net.apply(params, ones * 1.0), atol=1e-6)
    rough = net.apply(params, x.astype(jnp.bfloat16))
    np.testing.assert_allclose(rough, once, atol=0.1)


def test_a_space_of_the_users_own(key):
    """The half-plane, with the base class alone, sees what the hyperboloid sees; the isometry may turn frames over."""
    mine, ours, group = HalfSpace(2), Hyperboloid(2, 1.0), o2()
    x = jnp.asarray(np.random.default_rng(0).uniform([-1, 0.5], [1, 2], (40, 2)), jnp.float32)
    kind, scalar = everything(group), FieldType([(group.trivial, 1)])
    f = jnp.sin(3 * x[:, :1])

    def output(space, points):
        near = neighborhoods(space, points, 0.1, 0.9)
        net = gauge_net(scalar, kind, scalar, stencil(near, group, 0.9), 1, Norm)
        return net.apply(net.init(key), f)

    here = output(mine, x)
    assert jnp.std(here) > 0.01
    np.testing.assert_allclose(here, output(ours, mine.to_hyperboloid(x)), atol=1e-4)


def test_coincident_points_share_what_they_see(key):
    """Each point twice, with half the weight: the same output, finite gradients in the points."""
    x = jnp.asarray(sphere_points(50)[0], jnp.float32)
    kind, group = FieldType([(so2().irrep(m), 1) for m in range(3)]), so2()
    f = jax.random.normal(key, (50, kind.dim))

    def output(x, f):
        near = neighborhoods(Sphere(2), x, 4 * np.pi / len(x), 0.9)
        net = gauge_conv(kind, kind, stencil(near, group, 0.9))
        return net.apply(net.init(key), f)

    twice = output(jnp.concatenate([x, x]), jnp.concatenate([f, f]))
    np.testing.assert_allclose(twice[:50], output(x, f), atol=1e-5)
    np.testing.assert_allclose(twice[50:], output(x, f), atol=1e-5)


def test_what_is_refused(key):
    points = jnp.asarray(torus_points(30)[0], jnp.float32)
    with pytest.raises(ValueError, match="radius must be positive"):
        neighborhoods(Torus(2), points, 1.0, 0.0)
    with pytest.raises(ValueError, match="every point must see one, points in reach, got 0"):
        neighborhoods(Torus(2), points[:1], 1.0, 0.1, points[:1] + 1)
    with pytest.raises(ValueError, match=r"radius must be below 3.14 on Torus\(dim=2\), got 4.0"):
        neighborhoods(Torus(2), points, 1.0, 4.0)
    with pytest.raises(ValueError, match=r"one weight or \(34,\) are needed, got \(3,\)"):
        neighborhoods(Torus(2), points, np.ones(3), 1.5)
    with pytest.raises(ValueError, match=r"points \('n', 3\) are needed, got \(34, 2\)"):
        neighborhoods(Sphere(2), points, 1.0, 1.5)
    with pytest.raises(ValueError, match="must lie on the unit sphere"):
        neighborhoods(Sphere(2), jnp.ones((4, 3)), 1.0, 1.5)
    with pytest.raises(ValueError, match="1 to 2 nearest points are needed"):
        polar_neighborhoods(Torus(2), points[:2], 1.0)
    near = neighborhoods(Torus(2), points, 1.0, 1.5)
    with pytest.raises(ValueError, match=r"SO\(3\) does not act on 2 dimensions"):
        stencil(near, so3(), 0.5)
    with pytest.raises(ValueError, match=r"stencil: radius must be positive, got -1\.0"):
        stencil(near, so2(), -1.0)
    with pytest.raises(ValueError, match="radial functions and a degree >= 0 are needed, got 0, 4"):
        stencil(near, so2(), 0.5, 0)
    with pytest.raises(ValueError, match=r"SO\(3\) does not act on 2 dimensions"):
        random_gauge(Torus(2), points, so3(), key)
    with pytest.raises(ValueError, match="in_gauge: frames: orthogonal matrices are needed"):
        near.in_gauge(2 * own_gauge(Torus(2), points))
    with pytest.raises(ValueError, match=r"in_gauge: frames .* are needed, got \(5, 2, 2\)"):
        near.in_gauge(own_gauge(Torus(2), points[:5]))
    mirrored = near.in_gauge(random_gauge(Torus(2), points, o2(), key))
    with pytest.raises(ValueError, match=r"SO\(2\) has no reflections"):
        stencil(mirrored, so2(), 0.5)
    kind = FieldType([(so2().trivial, 1)])
    net = gauge_conv(kind, kind, stencil(near, so2(), 0.5, 1, 0))
    with pytest.raises(ValueError, match=r"features \(..., points, 1\) are needed"):
        net.apply(net.init(key), jnp.zeros((len(points), 2)))
    with pytest.raises(ValueError, match="features of 34 or more points are needed, got 20"):
        net.apply(net.init(key), jnp.zeros((20, 1)))
    few = stencil(neighborhoods(Torus(2), points, 1.0, 1.5, points[:9]), so2(), 0.5)
    net = gauge_net(kind, kind, kind, few, 1)
    with pytest.raises(ValueError, match="all points see and are seen, got 9 that see and 34"):
        net.apply(net.init(key), jnp.zeros((34, 1)))


def ambient_frames(x):
    """North and west (n, 2, 3): with x outward they are right-handed."""
    north = np.array([0, 0, 1.0]) - x[:, 2:] * x
    north /= np.linalg.norm(north, axis=-1, keepdims=True)
    return np.stack([north, np.cross(x, north)], 1)


def wigner(l, beta):
    """d^l(beta) (..., 2 l + 1, 2 l + 1), orders from -l, by the eigenvectors of J_y."""
    m = np.arange(-l, l)
    raising = np.diag(np.sqrt(l * (l + 1) - m * (m + 1)), -1)
    values, vectors = np.linalg.eigh((raising - raising.T) / 2j)
    waves = np.exp(-1j * np.multiply.outer(beta, values))
    return np.real(np.einsum("ij,...j,kj->...ik", vectors, waves, vectors.conj()))


def spin_waves(l, spin, x):
    """D^l_{k, spin} (n, 2 l + 1) at the frames of x: functions that e^{-i spin a} multiplies in frames turned by a."""
    beta, alpha = np.arccos(x[:, 2]), np.arctan2(x[:, 1], x[:, 0])
    # R_z(alpha) R_y(beta) takes e_x to the south: the frame to the north is turned by pi
    waves = np.exp(-1j * np.multiply.outer(alpha, np.arange(-l, l + 1)))
    return waves * wigner(l, beta)[:, :, l + spin] * np.exp(-1j * np.pi * spin)


def spectral_layer(kernel, radius, of, to, fields, x):
    """The spin layer in coefficients: degree by degree a number, 2 pi int K(r) d^l_{to, +-of}(r) r dr.

    ``kernel(r)`` are the complex factors of f and of conj(f) at distance r in the first direction.
    """
    r, w = np.polynomial.legendre.leggauss(40)
    r, w = radius * (r + 1) / 2, radius * w / 2
    plain, conjugate = kernel(r)
    total = 0
    for l, f in fields.items():
        k = np.arange(-l, l + 1)
        mirrored = ((-1.0) ** (k - of) * f.conj())[::-1]  # of conj(f), whose spin is -of
        for factor, spin, coefficients in ((plain, of, f), (conjugate, -of, mirrored)):
            if l >= max(abs(spin), abs(to)):
                number = 2 * np.pi * np.sum(factor * wigner(l, r)[:, l + to, l + spin] * r * w)
                total = total + number * (spin_waves(l, to, x) @ coefficients)
    return total


def spin_error(of, to, n, key):
    """Of the convolution on n Fibonacci points against the spectral layer, relative, at 20 points."""
    radius, group, rng = 0.9, so2(), np.random.default_rng(0)
    x, weights = sphere_points(n)
    centers = sphere_points(20)[0]
    fields = {l: rng.normal(size=(2 * l + 1, 2)) @ [1, 1j] for l in range(max(of, 0), 5)}
    f = sum(spin_waves(l, of, x) @ c for l, c in fields.items())
    kinds = [FieldType([(group.irrep(m), 1)]) for m in (of, to)]
    seen, here = (
        gauge_of_vectors(Sphere(2), jnp.asarray(p), jnp.asarray(ambient_frames(p)))
        for p in (x, centers)
    )
    near = neighborhoods(Sphere(2), jnp.asarray(x), weights, radius, jnp.asarray(centers))
    table = stencil(near.in_gauge(seen, here), group, radius, 2, 4)
    net = gauge_conv(*kinds, table)
    params = as_float(net.init(key))
    layer = gauge.GaugeConv(*kinds, 2, 4, nnx.Rngs(0))
    layer.kernel.weights = nnx.Param(params["kernel"]["weights"])

    def kernel(r):
        log = jnp.asarray(np.stack([r, 0 * r], -1))
        rows = gauge._table(group, 2, 4, log, jnp.ones(len(r)), radius)
        k = np.einsum("kh,hio->koi", rows, layer.kernel())
        k = np.pad(k, [(0, 0), (0, 2 - k.shape[1]), (0, 2 - k.shape[2])])
        a = (k[:, 0, 0] + k[:, 1, 1]) / 2 + 1j * (k[:, 1, 0] - k[:, 0, 1]) / 2
        b = (k[:, 0, 0] - k[:, 1, 1]) / 2 + 1j * (k[:, 1, 0] + k[:, 0, 1]) / 2
        return a, b

    parts = np.stack([f.real, f.imag], -1) if of else f.real[:, None]
    found = net.apply(params, jnp.asarray(parts))
    if not of:  # the real part of the field
        fields = {
            l: (c + ((-1.0) ** np.arange(-l, l + 1) * c.conj())[::-1]) / 2
            for l, c in fields.items()
        }
    asked = spectral_layer(kernel, radius, of, to, fields, centers)
    asked = np.stack([asked.real, asked.imag], -1) if to else asked.real[:, None]
    return size(found - asked) / size(asked)


@pytest.mark.slow
@pytest.mark.parametrize(("of", "to"), [(1, 2), (0, 1), (2, 0)])
def test_on_the_sphere_it_is_the_spectral_spin_layer(of, to, key, x64):
    """Band-limited fields of spins: to the order of the quadrature."""
    coarse, fine = (spin_error(of, to, n, key) for n in (400, 1600))
    assert fine < 1e-3 and (coarse > 6 * fine or coarse < 1e-3)


def test_flat_space_is_a_steerable_convolution(key, x64):
    """On a grid of the torus, with Gaussian rings as radial functions, it has the kernels of SteerableConv."""
    n, side, group = 8, 3, so2()
    step = 2 * np.pi / n
    columns, rows = np.meshgrid(np.arange(n), np.arange(n))
    grid = np.stack([columns, -rows], -1).reshape(-1, 2)  # of an image, the second axis up
    points = jnp.asarray((grid * step + np.pi) % (2 * np.pi) - np.pi)
    kind = FieldType([(group.irrep(m), 2) for m in range(3)])
    planar = SteerableConv(kind, kind, side, nnx.Rngs(0))
    x = jax.random.normal(key, (n, n, kind.dim))
    asked = planar(jnp.pad(x, ((1, 1), (1, 1), (0, 0)), mode="wrap"))[1:-1, 1:-1]

    near = neighborhoods(Torus(2), points, 1.0, 1.5 * step)
    offset = near.log / step
    r = jnp.linalg.norm(offset, axis=-1)
    widths = ((0, 0.6), (1, 0.4))
    rings = jnp.stack([jnp.exp(-((r - q) ** 2) / (2 * w**2)) for q, w in widths], -1)
    rings = rings * near.weight[..., None]
    direction = offset / jnp.where(r > 1e-6, r, 1)[..., None]
    waves = group.harmonics(direction, 2).at[..., 1:].multiply((r > 1e-6)[..., None])
    table = (rings[..., None] * waves[..., None, :]).reshape(*r.shape, -1)
    # The kernel at the pixels is linear in the weights, and every kernel of SteerableConv has some.
    basis = partial(gauge._table_basis, radial=2, degree=2)
    kernel = functional(lambda rngs: Kernel(kind, kind, basis, rngs))
    first = table[0][np.argsort(np.asarray(near.log[0] @ jnp.array([1.0, -3.0])))]  # by pixels

    def at_pixels(weights):
        return jnp.einsum("kh,hio->kio", first, kernel.apply({"weights": weights})).ravel()

    size_of = sum(a.size for a in jax.tree.leaves(kernel.init(key)))
    columns, wanted = jax.vmap(at_pixels)(jnp.eye(size_of)).T, planar.kernel().ravel()
    weights, *_ = jnp.linalg.lstsq(columns, wanted)
    np.testing.assert_allclose(columns @ weights, wanted, atol=1e-10)
    layer = gauge.GaugeConv(kind, kind, 2, 2, nnx.Rngs(0))
    layer.kernel.weights = nnx.Param(weights)
    own = gauge.Stencil(2, 2, near.indices, near.transport, table)
    np.testing.assert_allclose(
        layer(own, x.reshape(n * n, -1)), asked.reshape(n * n, -1), atol=1e-9
    )
