"""Group convolutions: kernels against loops over positions and wide networks, finite layers against equivariant's."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geodl import equivariant, infinite
from geodl.equivariant import FieldType, groups
from tests.infinite._finite import limit


GROUPS = {"C_4": groups.cyclic(4), "D_4": groups.dihedral(4)}
RNG = np.random.default_rng(0)


def orbit(group, x):
    """The images g x (g, ..., height, width, channels), by NumPy."""
    turned = [np.rot90(x, k, (-3, -2)) for k in range(4)]
    # an element is R(k) F, F the reflection of the second axis
    flipped = [np.rot90(np.flip(x, -3), k, (-3, -2)) for k in range(4)]
    return np.stack([*turned, *flipped] if group.reflections else turned)


def invariant(group, side=None, width=8, last=1, activation=infinite.relu):
    scales = {"weight_std": 1.3, "bias_std": 0.2}
    inner = {"side": 1 if side is None else side, **scales}
    return infinite.serial(
        infinite.lifting_conv(group, width, side, **scales),
        activation(),
        infinite.group_conv(group, width, **inner),
        activation(),
        infinite.group_pool(group),
        infinite.mean_pool(),
        infinite.dense(last, **scales),
    )


@pytest.mark.quick("D_4")
@pytest.mark.parametrize("name", GROUPS)
def test_finite_layers_are_those_of_equivariant(name):
    group, side = GROUPS[name], 3
    image, regular = FieldType([(group.trivial, 2)]), FieldType([(group.regular(), 3)])
    key = jax.random.key(1)
    for layer, of in (
        (infinite.lifting_conv(group, 3, side), image),
        (infinite.group_conv(group, 3, side), regular),
    ):
        x = RNG.normal(size=(2, 6, 6, of.dim)).astype(np.float32)
        params, shape = layer.init(key, x.shape[1:])
        net = equivariant.group_conv(of, regular, side)
        scale = np.prod(params["weight"].shape[:2]) ** -0.5
        theirs = {"weights": {0: scale * params["weight"]}, "bias": jnp.zeros(3)}
        found = layer.apply(params, x)
        assert found.shape == (2, *shape)
        np.testing.assert_allclose(found, net.apply(theirs, x), atol=2e-6)


def by_loops(group, x, y, side, dual):
    """NNGP and NTK of lifting, nonlinearity, group convolution, mean: in loops over taps; scales 1, no biases."""
    elements, n = group.elements(), len(x)
    offsets = [
        np.array([a, b])
        for a in range(-(side // 2), side // 2 + 1)
        for b in range(-(side // 2), side // 2 + 1)
    ]
    inside = lambda p: 0 <= p[0] < n and 0 <= p[1] < n  # noqa: E731

    def pixel(x, p):  # coordinates (right, up)
        return x[n - 1 - p[1], p[0]] if inside(p) else 0 * x[0, 0]

    def find(g):
        return int(np.argmin(np.abs(elements - g).sum((1, 2))))

    positions = [
        (np.array([a, b]), g) for a in range(n) for b in range(n) for g in range(len(elements))
    ]
    index = {(*p, g): i for i, (p, g) in enumerate(positions)}

    def lifted(x):
        return np.array(
            [
                [pixel(x, p + np.rint(elements[g] @ o).astype(int)) for o in offsets]
                for p, g in positions
            ]
        ).reshape(len(positions), -1)

    def convolved(k):
        seen = []
        for p, g in positions:
            row = []
            for o in offsets:
                q = p + np.rint(elements[g] @ o).astype(int)
                for h in range(len(elements)):
                    row.append(
                        index[(*q, find(elements[g] @ elements[h]))]
                        if inside(q)
                        else len(positions)
                    )
            seen.append(row)
        seen, padded = np.array(seen), np.pad(k, [(0, 1), (0, 1)])
        return np.mean([padded[np.ix_(t, t)] for t in seen.T], 0)

    a, b = lifted(x), lifted(y)
    k = a @ b.T / a.shape[1]
    v1, v2 = ((f**2).mean(-1) for f in (a, b))
    nngp, slope = dual(k, v1[:, None], v2)
    nngp, ntk = np.asarray(nngp), np.asarray(slope * k)
    return np.mean(convolved(nngp)), np.mean(convolved(nngp) + convolved(ntk))


def test_local_filters_against_loops(x64):
    group, side = groups.dihedral(4), 3
    x, y = RNG.normal(size=(2, 4, 4, 2))
    layer = infinite.serial(
        infinite.lifting_conv(group, 1, side),
        infinite.erf(),
        infinite.group_conv(group, 1, side),
        infinite.group_pool(group),
        infinite.mean_pool(),
    )
    found = jax.jit(infinite.kernels)(layer, x[None], y[None])
    expected = by_loops(group, x, y, side, infinite.duals.erf)
    np.testing.assert_allclose(np.ravel(found), expected, rtol=1e-12)


def test_means_of_pixels(x64):
    """Pooling by hand on the kernel of the features of a wide linear network, which the kernel is exactly."""
    group = groups.cyclic(4)
    x = RNG.normal(size=(2, 4, 4, 1))
    lifting = infinite.lifting_conv(group, 1, 3)
    full = infinite.kernels(lifting, x).nngp.reshape(2, 2, *(4, 4, 4) * 2)
    pooled = infinite.kernels(infinite.serial(lifting, infinite.average_pool(group)), x).nngp
    by_hand = full.reshape(2, 2, *(2, 2, 2, 2, 4) * 2).mean((3, 5, 8, 10)).reshape(2, 2, 16, 16)
    np.testing.assert_allclose(pooled, by_hand, rtol=1e-12)
    layer = infinite.average_pool(group)
    assert layer.apply({}, x).shape == (2, *layer.init(jax.random.key(0), (4, 4, 1))[1])
    with pytest.raises(ValueError, match="even sides are needed, got 3"):
        infinite.kernels(infinite.serial(lifting, layer), x[:, :3, :3])


@pytest.mark.quick("3-D_4")
@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("side", [None, 3])
def test_kernels_do_not_see_how_an_image_is_turned(name, side, x64):
    group = GROUPS[name]
    x = RNG.normal(size=(2, 4, 4, 1))
    net = invariant(group, side)
    turned = orbit(group, x)[[1, -1]].reshape(4, 4, 4, 1)
    found = jax.jit(infinite.kernels)(net, x, np.concatenate([x, turned]))
    for k in found:
        np.testing.assert_allclose(k[:, 2:4], k[:, :2], rtol=1e-12)
        np.testing.assert_allclose(k[:, 4:], k[:, :2], rtol=1e-12)


@pytest.mark.quick("D_4")
@pytest.mark.parametrize("name", GROUPS)
def test_a_fully_augmented_ensemble_is_the_group_network(name, x64):
    """Mean of the dense ensemble, trained on all turned images = that of the network with the group's kernel.

    At any time of the training (in units of the number of copies) and for inputs that are no images at all.
    """
    group = GROUPS[name]
    scales = {"weight_std": 1.3, "bias_std": 0.2}
    dense = partial(infinite.dense, 1, **scales)
    mlp = infinite.serial(dense(), infinite.relu(), dense(), infinite.relu(), dense())
    x, test = RNG.normal(size=(6, 4, 4, 1)), RNG.normal(size=(3, 4, 4, 1))
    y = RNG.normal(size=(6, 2))
    copies = len(group)
    augmented = orbit(group, x).reshape(copies * 6, -1)
    flat = test.reshape(3, -1)

    def flow(net, x, y, test, time):
        own = infinite.kernels(net, test).nngp
        pair = infinite.kernels(net, x), infinite.kernels(net, test, x)
        return infinite.gradient_flow(*pair, own, y, time).mean

    net = invariant(group)
    for time in (0.7, np.inf):
        mean = flow(mlp, augmented, np.tile(y, (copies, 1)), flat, time / copies)
        np.testing.assert_allclose(mean, flow(net, x, y, test, time), atol=1e-10)
        plain = flow(mlp, x.reshape(6, -1), y, flat, time)
        assert np.abs(plain - mean).max() > 0.1  # which augmentation changes


@pytest.mark.slow
@pytest.mark.parametrize("side", [None, 3])
def test_wide_networks_have_these_kernels(side):
    group = groups.cyclic(4)
    x = jnp.asarray(RNG.normal(size=(2, 4, 4, 1)), jnp.float32)
    for scores in limit(lambda n, last: invariant(group, side, n, last), (4, 4, 1), x, 48, 24, 48):
        assert np.abs(scores).max() < 4.5


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="C_3 does not map pixels to pixels"):
        infinite.lifting_conv(groups.cyclic(3), 4)
    with pytest.raises(ValueError, match="side of a filter is odd, got 2"):
        infinite.group_conv(groups.cyclic(4), 4, 2)
    net = invariant(groups.cyclic(4))
    with pytest.raises(ValueError, match=r"square images .* got \(4, 3, 1\)"):
        infinite.kernels(net, np.ones((1, 4, 3, 1)))
    with pytest.raises(ValueError, match=r"square images .* got \(4, 4\)"):
        infinite.kernels(net, np.ones((1, 4, 4)))
    with pytest.raises(ValueError, match="group_conv: features on square images"):
        infinite.kernels(
            infinite.serial(infinite.relu(), infinite.group_conv(groups.cyclic(4), 4)),
            np.ones((1, 5)),
        )
