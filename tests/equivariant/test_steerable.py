"""Convolutions that commute with the symmetries of the pixel grid, and what goes between them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from geodl.equivariant._steerable_kernels import image_basis
from geodl.equivariant.fields import FieldType
from geodl.equivariant.groups import cyclic, dihedral, o2, so2, so3
from geodl.equivariant.steerable import (
    Fourier,
    Gated,
    GroupConv,
    Norm,
    Pointwise,
    SteerableConv,
    average_pool,
    group_conv,
    invariants,
    plain,
    steerable_classifier,
    steerable_conv,
)
from geodl.nn import functional


def moved(kind, g, x):
    """rho(g) f(g^-1 p) of images, for symmetries g = R^k F^s of the square."""
    turns = int(np.rint(np.angle(g[0, 0] + 1j * g[1, 0]) / (np.pi / 2)))
    x = x[..., ::-1, :, :] if np.linalg.det(g) < 0 else x
    return kind.transform(jnp.asarray(g, x.dtype), jnp.rot90(x, turns, (-3, -2)))


def gap(apply, of, to, x):
    """The largest deviation from equivariance, in parts of the largest output, under all symmetries of the square."""
    y = apply(x)
    square = (dihedral if of.group.reflections else cyclic)(4).elements()
    order = of.group.order
    if order is not None:
        own = of.group.elements()
        square = [g for g in square if np.abs(own - g).max((1, 2)).min() < 1e-9]
        assert len(square) > 1
    return max(
        float(jnp.abs(apply(moved(of, g, x)) - moved(to, g, y)).max()) for g in square
    ) / float(jnp.abs(y).max())


def types(group):
    """Scalars and vectors, and a bit of all."""
    whole = group.band_limited(2) if group.order is None else group.regular()
    some = [(whole, 2), (group.vector, 1), (group.trivial, 1)]
    if group.reflections:
        some.append((group.irrep(0, odd=True), 2))
    return FieldType([(group.trivial, 2), (group.vector, 1)]), FieldType(some)


GROUPS = [cyclic(4), cyclic(8), dihedral(2), dihedral(8), so2(), o2()]


@pytest.mark.quick("D_2")
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_steerable_convolutions_are_exact_on_the_grid(group, key):
    of, to = types(group)

    def make(rngs):
        return SteerableConv(of, to, 5, rngs)

    net = functional(make)
    params = jax.tree.map(lambda a: a + 0.1, net.init(key))  # biases too
    x = jax.random.normal(key, (2, 6, 6, of.dim))
    apply = jax.jit(net.bind(params))
    assert gap(apply, of, to, x) < 1e-6
    simple, kernels = plain(make, params)
    assert kernels["kernel"].shape == (5, 5, of.dim, to.dim)
    np.testing.assert_allclose(simple.apply(kernels, x), apply(x), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_steerable_convolution_in_double_precision(key, x64):
    of, to = types(dihedral(4))
    net = steerable_conv(of, to, 3)
    params = jax.tree.map(lambda a: a.astype(float), net.init(key))
    assert gap(jax.jit(net.bind(params)), of, to, jax.random.normal(key, (5, 5, of.dim))) < 1e-13


@pytest.mark.parametrize("side", [1, 3, 5, 7])
def test_parameters_are_independent(side):
    for group in (cyclic(1), cyclic(4), dihedral(4)):
        basis = image_basis(group.regular(), group.trivial, side)
        rows = basis.reshape(len(basis), -1)
        assert np.linalg.matrix_rank(rows, tol=1e-3 * np.linalg.norm(rows, 2)) == len(rows)
        # rings of radius 0, 1, ... carry 1, 5, 9, ... harmonics, each as a function on the group, D_4's are shared by 2
        harmonics = sum(4 * r + 1 for r in range((side + 1) // 2))
        assert len(rows) == harmonics


@pytest.mark.slow
def test_a_turned_smooth_image_is_seen_turned(key):
    """C_8 under 45 degrees: only the pixels' error is left, and a kernel without symmetry fails."""
    group = cyclic(8)
    of, to = FieldType([(group.trivial, 1)]), FieldType([(group.regular(), 2)])
    net = steerable_conv(of, to, 7)
    apply = jax.jit(net.bind(net.init(key)))
    n = 33
    p = np.stack(np.meshgrid(np.arange(n) - n // 2, n // 2 - np.arange(n)), -1)  # right, up
    g = group.elements()[1]

    def image(p):
        centers = np.array([[4.0, 0], [-3, 3], [0, -5]])
        return np.exp(-np.sum((p[..., None, :] - centers) ** 2, -1) / 12) @ [1.0, -0.7, 0.5]

    y, turned = (apply(jnp.asarray(image(q)[..., None], jnp.float32)) for q in (p, p @ g))
    here = to.transform(jnp.asarray(g, jnp.float32), y)[n // 2, n // 2]
    scale = float(jnp.abs(y).max())
    assert float(jnp.abs(turned[n // 2, n // 2] - here).max()) < 0.03 * scale
    assert float(jnp.abs(turned[n // 2, n // 2] - y[n // 2, n // 2]).max()) > 0.05 * scale


def test_lifting_convolution_is_a_convolution_with_each_turned_filter(key):
    group = cyclic(4)
    of, to = FieldType([(group.trivial, 2)]), FieldType([(group.regular(), 3)])
    net = group_conv(of, to, 3)
    params = net.init(key)
    x = jax.random.normal(key, (5, 5, 2))
    w = params["weights"][0].reshape(3, 3, 2, 3)
    y = to.split(net.apply(params, x))[0]
    for i in range(4):
        layout = ("NHWC", "HWIO", "NHWC")
        kernel = jnp.rot90(w, i)
        asked = jax.lax.conv_general_dilated(
            x[None], kernel, (1, 1), "SAME", dimension_numbers=layout
        )
        np.testing.assert_allclose(y[..., i, :], asked[0], rtol=1e-4, atol=1e-5)


@pytest.mark.quick("D_4")
@pytest.mark.parametrize("group", [cyclic(2), cyclic(4), dihedral(2), dihedral(4)], ids=str)
def test_group_convolutions_are_exact(group, key):
    of, to = FieldType([(group.trivial, 2)]), FieldType([(group.regular(), 3)])

    def make(rngs):
        between = Pointwise(to, rngs)
        return nnx.Sequential(GroupConv(of, to, 3, rngs), between, GroupConv(to, to, 5, rngs))

    net = functional(make)
    params = net.init(key)
    apply = jax.jit(net.bind(params))
    x = jax.random.normal(key, (6, 6, 2))
    assert gap(apply, of, to, x) < 1e-6
    simple, kernels = plain(make, params)
    np.testing.assert_allclose(simple.apply(kernels, x), apply(x), rtol=1e-4, atol=1e-5)
    count = 9 * 2 * 3 + 25 * len(group) * 3 * 3 + 2 * 3
    assert sum(a.size for a in jax.tree.leaves(params)) == count


@pytest.mark.slow
@pytest.mark.parametrize("group", [dihedral(4), so2(), o2()], ids=str)
def test_nonlinearities_and_invariants_commute(group, key, x64):
    rngs = nnx.Rngs(0)
    whole = group.band_limited(2) if group.order is None else group.regular()
    kind = FieldType([(whole, 3), (group.trivial, 2), (group.irrep(1), 2)])
    functions = FieldType([(group.band_limited(2), 3), (group.trivial, 2)])
    any_g = group.random(key, (6,))
    samples = jnp.asarray(group.elements(12))[jnp.arange(6) * 5 % len(group.elements(12))]
    cases = [(Gated(kind, rngs), kind, any_g), (Norm(kind, rngs), kind, any_g)]
    cases.append((Fourier(functions, rngs, jnp.tanh), functions, samples))
    if group.order is not None:
        permuted = FieldType([(whole, 3), (group.quotient(cyclic(2)), 1), (group.trivial, 2)])
        cases.append((Pointwise(permuted, rngs, jnp.tanh), permuted, any_g))
    for layer, to, g in cases:
        x = jax.random.normal(key, (6, layer.of.dim))

        @jax.jit
        def both(g, x, layer=layer, to=to):
            y = layer(x)
            there = layer(layer.of.transform(g, x)), invariants(to, to.transform(g, y))
            slope = jax.grad(lambda x: layer(x).sum() + invariants(to, layer(x)).sum())
            return y, there, (to.transform(g, y), invariants(to, y)), slope(0 * x)

        y, there, asked, slope = both(g, x)
        assert jnp.abs(y - x[:, -to.dim :]).max() > 0.05
        jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), there, asked)
        assert asked[1].shape == (6, to.count) and jnp.isfinite(slope).all()


def test_what_would_break_the_symmetry_is_refused(key):
    rngs, group = nnx.Rngs(0), so2()
    vectors, scalars = FieldType([(group.vector, 1)]), FieldType([(group.trivial, 1)])
    with pytest.raises(ValueError, match="breaks the symmetry: take Norm, Gated or Fourier"):
        Pointwise(vectors, rngs)
    with pytest.raises(ValueError, match="more copies of frequency 1"):
        twice = FieldType([(type(group.vector)(group, group.vector.irreps * 2), 1)])
        Fourier(twice, rngs)
    with pytest.raises(ValueError, match="more than 2 rotations are needed, got 2"):
        Fourier(vectors, rngs, rotations=2)
    with pytest.raises(ValueError, match="the side of a kernel is odd"):
        steerable_conv(vectors, vectors, 4)
    with pytest.raises(ValueError, match="one group is needed"):
        steerable_conv(vectors, FieldType([(o2().trivial, 1)]), 3)
    with pytest.raises(ValueError, match=r"a group of the plane is needed, got SO\(3\)"):
        steerable_conv(*[FieldType([(so3().trivial, 1)])] * 2, 3)
    with pytest.raises(ValueError, match="C_8 does not map pixels to pixels"):
        group_conv(*[FieldType([(cyclic(8).regular(), 1)])] * 2, 3)
    with pytest.raises(ValueError, match="the fields out are regular"):
        group_conv(*[FieldType([(cyclic(4).trivial, 1)])] * 2, 3)
    with pytest.raises(ValueError, match="is not permuted"):
        group_conv(FieldType([(cyclic(4).vector, 1)]), FieldType([(cyclic(4).regular(), 1)]), 3)
    with pytest.raises(ValueError, match="even sides are needed"):
        average_pool(jnp.zeros((5, 4, 1)))
    net = steerable_conv(scalars, vectors, 3)
    with pytest.raises(ValueError, match=r"images \(..., height, width, 1\)"):
        net.apply(net.init(key), jnp.zeros((4, 4, 2)))


def test_classifier_does_not_see_turns_of_the_square(key):
    group = dihedral(4)
    stages = [
        FieldType([(group.regular(), 3), (group.irrep(1), 2)]),
        FieldType([(group.regular(), 4)]),
    ]
    nets = {
        "gated": steerable_classifier((8, 8, 1), 5, stages, Gated, 3),
        "p4m": steerable_classifier((8, 8, 1), 5, stages[1:] * 2, Pointwise, 3, GroupConv),
    }
    x = jax.random.normal(key, (3, 8, 8, 1))
    for net in nets.values():
        params = net.init(key)
        apply = jax.jit(net.bind(params))
        y = apply(x)
        assert y.shape == (3, 5) and jnp.std(y, 0).min() > 1e-3
        np.testing.assert_allclose(apply(jnp.rot90(x, 1, (1, 2))), y, atol=1e-5)
        np.testing.assert_allclose(apply(x[:, :, ::-1]), y, atol=1e-5)
    with pytest.raises(ValueError, match="sides are multiples of 2"):
        steerable_classifier((7, 8, 1), 5, stages)


def test_fourier_of_a_band_limited_function_is_its_square(key, x64):
    """The square of a function of frequency 1 has frequency 2: known in closed form."""
    group = so2()
    kind = FieldType([(group.band_limited(2), 1)])
    layer = Fourier(kind, nnx.Rngs(0), jnp.square)
    # values sqrt(n/d) * (a/sqrt(n) + sqrt(2/n) (b cos t + c sin t)) = (a + sqrt 2 (b cos t + c sin t)) / sqrt 5
    a, b, c = 0.3, -0.7, 0.4
    y = layer(jnp.array([a, b, c, 0, 0]))
    square = np.array(
        [
            a * a + b * b + c * c,
            2 * a * b,
            2 * a * c,
            (b * b - c * c) / np.sqrt(2),
            np.sqrt(2) * b * c,
        ]
    )
    np.testing.assert_allclose(y, square / np.sqrt(5), atol=1e-12)
