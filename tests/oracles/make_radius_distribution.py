"""Write radius_distribution.json: the distribution of the Riemannian normal's radius by mpmath quadrature at 40 digits.

    python tests/oracles/make_radius_distribution.py > tests/oracles/radius_distribution.json

Each cell: dim, scale, c, log Z, its derivatives in scale and c, and for some radii the distribution
function and the pathwise derivatives dr/dscale, dr/dc at fixed probability. Takes some minutes.
"""

import itertools
import json

import mpmath as mp


mp.mp.dps = 40

ANCHOR = list(
    itertools.product((2, 5, 10, 20, 50, 100), ("0.1", "0.5", "1", "2", "5"), ("0.1", "0.7", "1.4"))
)
WIDE = list(itertools.product((2, 3, 30, 300, 1000), ("0.05", "0.3", "5"), ("0.1", "1", "3")))


def cell(dim, scale, c, radii):
    """One row of the table."""
    s, c, n = mp.mpf(scale), mp.mpf(c), dim - 1
    k = mp.sqrt(c)

    def log_density(r):
        return -r * r / (2 * s * s) + n * mp.log(mp.sinh(k * r) / k)

    a = n * c * s * s
    mode = mp.findroot(lambda t: t * mp.tanh(t) - a, mp.sqrt(a * (1 + a))) / k
    peak = log_density(mode)
    scores = {
        "one": lambda r: mp.mpf(1),
        "scale": lambda r: r * r / s**3,
        "c": lambda r: n * (r * mp.coth(k * r) / (2 * k) - 1 / (2 * c)),
    }
    ends = sorted({max(mp.mpf(0), mode + s * x) for x in (-13, -6, -3, -1, 0, 1, 3, 6, 13)})
    where = [mode + s * mp.mpf(x) for x in radii if mode + s * mp.mpf(x) > 0]

    def integral(name, points):
        def f(r):
            return mp.exp(log_density(r) - peak) * scores[name](r) if r > 0 else mp.mpf(0)

        return mp.quad(f, points, maxdegree=5)

    mass, ds, dc = (integral(name, ends) for name in scores)
    rows = []
    for r in where:
        below = [e for e in ends if e < r] + [r]
        part, part_s, part_c = (integral(name, below) for name in scores)
        density = mp.exp(log_density(r) - peak)
        drds = -(part_s - part * ds / mass) / density
        drdc = -(part_c - part * dc / mass) / density
        rows.append([float(x) for x in (r, part / mass, drds, drdc)])
    return {
        "dim": dim, "scale": float(scale), "c": float(c), "log_z": float(peak + mp.log(mass)),
        "dscale": float(ds / mass), "dc": float(dc / mass), "radii": rows,
    }  # fmt: skip


if __name__ == "__main__":
    rows = [cell(*args, ()) for args in ANCHOR]
    rows += [cell(*args, ("-2", "-0.5", "0.3", "1.5")) for args in WIDE]
    print("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]")
