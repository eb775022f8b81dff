"""Pairs of points of the sphere, SO(3), the torus and the hyperboloid on which accuracy is measured."""

import numpy as np


CURVATURES = (0.1, 0.7, 1.0, 1.4, 2.0)


def _directions(rng, n, d):
    g = rng.standard_normal((n, d))
    return g / np.linalg.norm(g, axis=-1, keepdims=True)


def _powers(rng, low, high, n):
    return 10 ** rng.uniform(np.log10(low), np.log10(high), (n, 1))


def angles(rng, n):
    """{domain: distances (n, 1)} on a space of injectivity radius pi."""
    return {
        "distance to 3": rng.uniform(0.1, 3, (n, 1)),
        "distance from 1e-6": _powers(rng, 1e-6, 0.1, n),
        "1e-5 to 0.1 before the cut locus": np.pi - _powers(rng, 1e-5, 0.1, n),
    }


def sphere_cases(d, dtype, n, seed=0):
    """{domain: {"x", "y", "v"}} of float arrays (n, d + 1)."""
    rng = np.random.default_rng((seed, d))

    def tangent(x):
        g = rng.standard_normal(x.shape)
        for _ in range(2):  # the first pass leaves the rounding of a g along x
            g -= np.sum(g * x, -1, keepdims=True) * x
            g /= np.linalg.norm(g, axis=-1, keepdims=True)
        return g

    cases = {}
    for domain, distance in angles(rng, n).items():
        x = _directions(rng, n, d + 1)
        x[: n // 8] = np.eye(d + 1)[0]
        step = tangent(x)
        y = np.cos(distance) * x + np.sin(distance) * step
        cases[domain] = {"x": x, "y": y, "v": distance * tangent(x)}
    return _rounded(cases, dtype)


def _hat(w):
    """Skew matrices of the vectors w (n, 3)."""
    x, y, z = w.T
    o = 0 * x
    return np.stack([o, -z, y, z, o, -x, -y, x, o], -1).reshape(-1, 3, 3)


def _turn(w):
    """Rotation matrices of the rotation vectors w (n, 3), by Rodrigues' formula."""
    r = np.linalg.norm(w, axis=-1)[:, None, None]
    k = _hat(w) / r
    return np.eye(3) + np.sin(r) * k + 2 * np.sin(r / 2) ** 2 * (k @ k)


def so3_cases(d, dtype, n, seed=0):
    """{domain: {"x", "y", "v"}} of float arrays (n, 3, 3)."""
    rng = np.random.default_rng((seed, d))
    cases = {}
    for domain, distance in angles(rng, n).items():
        x = _turn(rng.uniform(0.1, 3, (n, 1)) * _directions(rng, n, 3))
        y = x @ _turn(distance * _directions(rng, n, 3))
        cases[domain] = {"x": x, "y": y, "v": x @ _hat(distance * _directions(rng, n, 3))}
    return _rounded(cases, dtype)


def torus_cases(d, dtype, n, seed=0):
    """{domain: {"x", "y", "v"}} of float arrays (n, d)."""
    rng = np.random.default_rng((seed, d))
    x, y, v = rng.uniform(-np.pi, np.pi, (3, n, d))
    near = x + _powers(rng, 1e-6, 0.1, n) * _directions(rng, n, d)
    side = np.sign(rng.standard_normal((n, d)))
    seam, across = (s * (np.pi - _powers(rng, 1e-6, 0.1, n)) for s in (side, -side))
    cases = {
        "everywhere": {"x": x, "y": y, "v": v},
        "distance from 1e-6": {"x": x, "y": near, "v": near - x},
        "across the seam, from 1e-6": {"x": seam, "y": across, "v": seam - across},
    }
    return _rounded(cases, dtype)


def hyperboloid_cases(d, dtype, n, seed=0):
    """{domain: {"x", "y", "v", "a", "c"}} of float arrays (n, d + 1); components a (n, d) of v, curvatures c (n,)."""
    rng = np.random.default_rng((seed, d))

    def point(r, u):
        return np.sinh(r) * u

    one, other = _directions(rng, n, d), _directions(rng, n, d)
    side = np.sign(rng.standard_normal((n, 1)))

    def radii(low, high):
        return rng.uniform(low, high, (n, 1))

    pairs = {
        "r to 3": (point(radii(0, 3), one), point(radii(0, 3), other)),
        "r = 1, apart from 1e-6": (one, one + _powers(rng, 1e-6, 0.1, n) * other),
        "r = 5 to 20": (point(radii(5, 20), one), point(radii(5, 20), other)),
        "in line with the origin, r to 40": (
            point(radii(1, 40), one),
            point(radii(1, 40), side * one),
        ),
        # neighbors there need more than the references' 80 digits
        "r = 44 to 80": (
            point(radii(44, 80), one),
            point(radii(44, 80), -one if d == 1 else other),
        ),
    }
    cases = {}
    for domain, (x, y) in pairs.items():
        c = rng.choice(CURVATURES, n).astype(dtype)
        root = np.sqrt(c.astype(float))[:, None]
        x, y, a = x / root, y / root, radii(0.1, 3) * _directions(rng, n, d) / root
        time, other_time = (
            root * np.sqrt(1 / root**2 + np.sum(p * p, -1, keepdims=True)) for p in (x, y)
        )
        v = a + root**2 * np.sum(x * a, -1, keepdims=True) * x / (1 + time)
        v0 = root * np.sum(x * v, -1, keepdims=True) / time
        cases[domain] = {
            "x": np.concatenate([time / root, x], -1),
            "y": np.concatenate([other_time / root, y], -1),
            "v": np.concatenate([v0, v], -1),
            "a": a,
            "c": c,
        }
    return _rounded(cases, dtype)


def _rounded(cases, dtype):
    return {k: {n: a.astype(dtype) for n, a in case.items()} for k, case in cases.items()}
