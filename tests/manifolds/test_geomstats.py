"""The same geometry as geomstats (float64, points in the interior, curvature 1)."""

import jax
import numpy as np
import pytest

from geodl.manifolds import SO3, Hyperboloid, PoincareBall, Sphere
from tests import _geomstats as geomstats
from tests.manifolds.spaces import Compiled, assert_close, random_setting


N = 16
PAIRS = {
    "ball": (PoincareBall(3, np.ones(N)), lambda: geomstats.PoincareBall(3)),
    "hyperboloid": (Hyperboloid(3, np.ones(N)), lambda: geomstats.Hyperboloid(3)),
    "sphere": (Sphere(3), lambda: geomstats.Hypersphere(3)),
    "so3": (SO3(), lambda: geomstats.SpecialOrthogonal(3)),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", PAIRS)
def test_same_as_geomstats(name):
    record, reference = PAIRS[name]
    space, metric = Compiled(record), reference().metric
    x, y, u, v = map(np.asarray, jax.tree.map(np.asarray, random_setting(record, (N,), seed=7)))
    tolerance = 1e-6 if name == "so3" else 1e-9  # its logarithm of rotations has no more digits
    assert_close(space.expmap(x, v), metric.exp(v, x), 1e-9)
    assert_close(space.logmap(x, y), metric.log(y, x), tolerance)
    assert_close(space.dist(x, y), metric.dist(x, y), tolerance)
    assert_close(space.inner(x, u, v), metric.inner_product(u, v, x), 1e-9)
    if name != "ball":  # geomstats has no transport there
        moved = metric.parallel_transport(u, x, end_point=y)
        assert_close(space.transport(x, y, u), moved, tolerance)
