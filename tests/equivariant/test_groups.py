"""Groups and representations against products of matrices, characters and null spaces."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from geodl.equivariant import groups
from geodl.equivariant.fields import FieldType
from geodl.equivariant.groups import cyclic, dihedral, o2, so2, so3
from geodl.equivariant.steerable import kernel_basis


FINITE = [
    cyclic(1),
    cyclic(2),
    cyclic(3),
    cyclic(8),
    dihedral(1),
    dihedral(2),
    dihedral(3),
    dihedral(8),
]
PLANAR = [*FINITE, so2(), o2()]


def irreps(group, highest=3):
    if group == so3():
        return [group.irrep(0), group.irrep(1)]
    top = highest if group.order is None else group.order // 2
    return [
        groups.Representation(group, (part,))
        for m in range(top + 1)
        for part in (group.parts(m) if group.reflections else group.parts(m)[:1])
    ]


@pytest.mark.quick("C_2", "D_3")
@pytest.mark.parametrize("group", FINITE, ids=str)
def test_regular_and_quotient_representations_move_cosets(group, x64):
    elements = group.elements()
    assert len(elements) == len(group)
    assert [str(cyclic(4)), str(dihedral(3))] == ["C_4", "D_3"]
    subgroups = [cyclic(k) for k in range(1, group.order + 1) if group.order % k == 0]
    if group.reflections:
        subgroups += [dihedral(h.order) for h in subgroups]
    for subgroup in subgroups:
        representation = group.quotient(subgroup)
        # cosets as sets of elements, in the order of their first members, rotations before reflections
        label = {}

        def find(g):
            return int(np.argmin([np.abs(g - e).max() for e in elements]))

        cosets = []
        for e in elements:
            coset = frozenset(find(e @ h) for h in subgroup.elements())
            if coset not in cosets:
                cosets.append(coset)
            label[find(e)] = cosets.index(coset)
        assert representation.dim == len(cosets)
        found = np.asarray(representation.matrix(jnp.asarray(elements)))
        asked = np.zeros_like(found)
        for i, g in enumerate(elements):
            for c, coset in enumerate(cosets):
                asked[i, label[find(g @ elements[min(coset)])], c] = 1
        np.testing.assert_allclose(found, asked, atol=1e-14)
        for g, matrix in zip(elements, asked, strict=True):
            np.testing.assert_array_equal(representation.origins(g), np.argmax(matrix, -1))
    assert group.regular().permutes and group.trivial.permutes


@pytest.mark.quick("O(2)", "SO(3)")
@pytest.mark.parametrize("group", [*PLANAR, so3()], ids=str)
def test_representations_are_orthogonal_and_multiplicative(group, key, x64):
    g, h = group.random(key, (2, 5))
    group.validate(g)
    several = [*irreps(group), group.vector]
    if group == so2() or group == o2():
        several.append(group.band_limited(3))
    for r in several:
        a, b = np.asarray(r.matrix(g)), np.asarray(r.matrix(h))
        np.testing.assert_allclose(a @ b, r.matrix(g @ h), atol=1e-13)
        np.testing.assert_allclose(
            a @ np.swapaxes(a, 1, 2), np.tile(np.eye(r.dim), (5, 1, 1)), atol=1e-13
        )
    np.testing.assert_allclose(group.vector.matrix(g), g, atol=1e-14)
    assert len({str(r.irreps) for r in irreps(group)}) == len(irreps(group))


def matrix(r, g):
    """rho(g), of irreps or sums of them, with NumPy."""
    return scipy.linalg.block_diag(*(r.group.act(i, g, np.eye(i.dim)) for i in r.irreps))


def null_space(group, of, to, degree):
    """All tensors B (y, to, of) with sum_y Y_y(g x) B_y = rho_to(g) (sum_y Y_y(x) B_y) rho_of(g)^-1, as rows."""
    rng = np.random.default_rng(0)
    if group == so3():
        generators = np.asarray(group.random(jax.random.key(1), (3,), float))
    else:
        angle = 1.0 if group.order is None else 2 * np.pi / group.order
        c, s = np.cos(angle), np.sin(angle)
        generators = [np.array([[c, -s], [s, c]]), *([np.diag([1.0, -1])] * group.reflections)]
    x = rng.normal(size=(60, group.dim))
    rows = []
    for g in generators:
        here, there = group.harmonics(x, degree), group.harmonics(x @ g.T, degree)
        turn = np.linalg.lstsq(here, there, rcond=None)[0]  # Y(g x) = Y(x) turn
        a, b = matrix(to, g), matrix(of, g)
        eye = np.eye(turn.shape[0] * of.dim * to.dim)
        rows.append(
            np.kron(turn, np.eye(of.dim * to.dim)) - np.kron(np.eye(len(turn)), np.kron(a, b))
        )
        assert rows[-1].shape == eye.shape
    _, s, basis = np.linalg.svd(np.concatenate(rows))
    return basis[np.sum(s > 1e-9) :]


@pytest.mark.parametrize("group", [*PLANAR, so3()], ids=str)
def test_kernels_are_all_solutions_of_the_constraint(group, x64):
    several = irreps(group)
    for degree in (0, 2) if group == so3() else (0, 5):
        for of in several:
            for to in several:
                tensors, degrees = kernel_basis(of, to, degree)
                asked = null_space(group, of, to, degree)
                assert len(tensors) == len(asked) == len(degrees)
                rows = tensors.reshape(len(tensors), asked.shape[1])
                assert np.linalg.matrix_rank(rows) == len(rows) if len(rows) else True
                np.testing.assert_allclose(rows @ asked.T @ asked, rows, atol=1e-9)


@pytest.mark.quick("D_4", "SO(2)", "SO(3)")
@pytest.mark.parametrize("group", [cyclic(8), dihedral(4), so2(), o2(), so3()], ids=str)
def test_kernels_commute_with_random_elements(group, key, x64):
    of = to = irreps(group)[-1]
    if group.dim == 2:
        of = group.band_limited(2) if group.order is None else group.regular()
        to = group.vector
    degree = 2 if group.dim == 3 else 4
    g = np.asarray(group.random(key, (4,)))
    x = np.random.default_rng(0).normal(size=(4, group.dim))
    tensors, _ = kernel_basis(of, to, degree)
    assert len(tensors) > 2

    def kernels(x):
        return np.einsum("sy,nyij->snij", group.harmonics(x, degree), tensors)

    there = kernels(np.einsum("sij,sj->si", g, x))
    a, b = (np.asarray(r.matrix(jnp.asarray(g)))[:, None] for r in (to, of))
    np.testing.assert_allclose(there, a @ kernels(x) @ np.swapaxes(b, -1, -2), atol=1e-12)


def test_counts_of_parameters():
    # per radial function: 1 between scalars, 2 with a scalar, 4 otherwise; O(2) halves all but the first
    for group, counts in ((so2(), (1, 2, 2, 4)), (o2(), (1, 1, 1, 2))):
        pairs = [(0, 0), (0, 2), (2, 0), (1, 2)]
        found = [len(kernel_basis(group.irrep(m), group.irrep(n), 6)[0]) for m, n in pairs]
        assert tuple(found) == counts
    # kernels between regular fields: one function of x (2 J + 1 harmonics) for each element
    for group in (cyclic(8), dihedral(4)):
        assert len(kernel_basis(group.regular(), group.regular(), 3)[0]) == 7 * len(group)


def test_field_type(key, x64):
    group = o2()
    kind = FieldType([(group.irrep(0, odd=True), 2), (group.band_limited(1), 3)])
    x = jax.random.normal(key, (4, kind.dim))
    assert kind.dim == 2 + 3 * 6 and kind.count == 5
    assert [b.shape for b in kind.split(x)] == [(4, 1, 2), (4, 6, 3)]
    np.testing.assert_array_equal(kind.join(kind.split(x)), x)
    g, h = group.random(key, (2, 4))
    np.testing.assert_allclose(
        kind.transform(g, kind.transform(h, x)), kind.transform(g @ h, x), atol=1e-12
    )
    np.testing.assert_allclose(
        kind.transform(g, x)[:, :2], np.linalg.det(g)[:, None] * x[:, :2], atol=1e-12
    )
    with pytest.raises(ValueError, match="features"):
        kind.split(x[:, 1:])
    with pytest.raises(ValueError, match=r"one group is needed, got O\(2\), SO\(2\)"):
        FieldType([(group.trivial, 1), (so2().trivial, 1)])
    with pytest.raises(ValueError, match="positive numbers"):
        FieldType([(group.trivial, 0)])
    with pytest.raises(ValueError, match=r"SO\(2\) has no reflections"):
        FieldType([(so2().trivial, 1)]).transform(jnp.diag(jnp.array([1.0, -1.0])), x[:, :1])
    with pytest.raises(ValueError, match="C_4: off a rotation"):
        FieldType([(cyclic(4).trivial, 1)]).transform(so2().random(key), x[:, :1])
    angle = np.pi / 1000  # half of what C_1000 turns by
    between = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    with pytest.raises(ValueError, match="C_1000: off a rotation"):
        FieldType([(cyclic(1000).trivial, 1)]).transform(between, x[:, :1])
    nan = kind.transform(g * jnp.nan, x)
    assert jnp.isnan(nan).all()


def test_what_a_group_does_not_have():
    for group in (cyclic, dihedral):
        for order in (0, True):
            with pytest.raises(
                ValueError, match=f"{group.__name__}: order must be a positive integer, got {order}"
            ):
                group(order)
    with pytest.raises(ValueError, match="from 0 to 2, got 3"):
        cyclic(5).irrep(3)
    with pytest.raises(ValueError, match="no odd representation"):
        so2().irrep(0, odd=True)
    with pytest.raises(ValueError, match="is not finite"):
        so2().elements()
    with pytest.raises(ValueError, match="finite groups are needed"):
        o2().regular()
    with pytest.raises(ValueError, match="C_3 is not a subgroup of C_4"):
        cyclic(4).quotient(cyclic(3))
    with pytest.raises(ValueError, match="degrees 0 and 1"):
        so3().irrep(2)
