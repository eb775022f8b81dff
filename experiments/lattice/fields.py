"""Vector fields on configurations that have the symmetries of the lattice, with divergences in closed form.

    u_x(t, phi) = sum_y sum_f w_f(t, x - y) h_f(phi_y)

is linear in odd features h_f of the sites; kernels w_f over the whole lattice, the same in the eight directions of the
square, make it equivariant under translations, rotations, reflections and phi -> -phi (Gerdes et al. 2022). On links
the field is D^T u(D theta), D the circulation about plaquettes: it reads gauge-invariant angles only, and is
equivariant under local U(1) transformations, which add constants to the links.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.lattice.theories import U1, Phi4
from geodl.equivariant import lattice
from geodl.flows import VectorField, warp_time


def vector_field(theory: Phi4 | U1, features: int = 8, times: int = 3) -> VectorField:
    """The field for the configurations of a theory.

    Args:
        theory: Its lattice and kind.
        features: Of phi^4 the field itself and sin(k omega phi) / (k omega), omega learned; of U(1) sin(k P) / k.
        times: Harmonics of the time that the kernels are made of.

    Returns:
        The field; its times are scalars.
    """
    size, gauge = theory.size, isinstance(theory, U1)
    spread, trace = kernel_basis(size, gauge)
    sines = features if gauge else features - 1

    def init(key):
        kernel = 1e-3 * jax.random.normal(key, (times, features, len(trace)))
        return {"kernel": kernel, "frequency": jnp.ones(())}

    def kernels(params, t):
        """Of each feature and orbit (F, O) at a time."""
        t = jnp.asarray(t, params["kernel"].dtype)
        harmonics = jnp.cos(jnp.pi * warp_time(t) * jnp.arange(times, dtype=t.dtype))
        # the flow goes in the warped time, in which the kernels are smooth: the field has unit speed there
        return jnp.tensordot(-jax.grad(warp_time)(t) * harmonics, params["kernel"], 1)

    def values(params, phi):
        """h_f (..., F, V), and its derivative; sines of multiples by the recurrence of Chebyshev."""
        omega = jnp.ones(()) if gauge else params["frequency"]
        sin, cos = jnp.sin(omega * phi), jnp.cos(omega * phi)
        h, slope = ([], []) if gauge else ([phi], [jnp.ones_like(phi)])
        s, c = (jnp.zeros_like(phi), sin), (jnp.ones_like(phi), cos)
        for k in range(1, sines + 1):
            h.append(s[1] / (k * omega))
            slope.append(c[1])
            s, c = (s[1], 2 * cos * s[1] - s[0]), (c[1], 2 * cos * c[1] - c[0])
        return jnp.stack(h, -2), jnp.stack(slope, -2)

    def rate(params, t, x):
        phi = theory.plaquettes(x) if isinstance(theory, U1) else x
        w = kernels(params, t)
        h, slope = values(params, phi)
        # one product of matrices: by far the most of the work
        matrix = (w @ jnp.asarray(spread.reshape(len(trace), -1), w.dtype)).reshape(-1, size**2)
        u = h.reshape(*phi.shape[:-1], -1) @ matrix
        if gauge:
            links = lattice.circulation(u.reshape(*u.shape[:-1], size, size))
            u = links.reshape(*u.shape[:-1], -1)
        return u, jnp.sum(slope, -1) @ (w @ jnp.asarray(trace, w.dtype))

    def apply(params, t, x):
        return rate(params, t, x)[0]

    return VectorField(theory.manifold, init, apply, rate)


def kernel_basis(size: int, gauge: bool) -> tuple[np.ndarray, np.ndarray]:
    """Kernels between sites that mean over an orbit of displacements, and what each adds to the divergence.

    On links u moves plaquettes by D D^T u, which has 4 on its diagonal and -1 between neighbors: the kernels contain
    its inverse (without the mean, which no link changes), so that they say how the plaquettes move.

    Returns:
        Kernels (O, V, V), and traces (O,) for each site.
    """
    number = orbits(size)[1]
    i, j = np.divmod(np.arange(size**2), size)
    pairs = number[(i[:, None] - i) % size, (j[:, None] - j) % size]
    kernels = np.stack([(pairs == o) / np.sum(number == o) for o in range(number.max() + 1)])
    if not gauge:
        return kernels, kernels[:, 0, 0]
    laplacian = 4.0 * (pairs == 0) - (pairs == 1)
    kernels = np.linalg.pinv(laplacian, hermitian=True) @ kernels
    return kernels, (laplacian @ kernels)[:, 0, 0]


def orbits(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Displacements that the square's symmetries make one.

    Returns:
        Of each orbit its displacement (a, b), a <= b <= size / 2, the nearest first, and the number (size, size) of
        that of each displacement.
    """
    away = np.minimum(np.arange(size), size - np.arange(size))
    a, b = np.meshgrid(away, away, indexing="ij")
    pair = np.stack([np.minimum(a, b), np.maximum(a, b)], -1).reshape(-1, 2)
    kinds, number = np.unique(pair, axis=0, return_inverse=True)
    order = np.argsort(np.sum(kinds**2, 1), kind="stable")
    return kinds[order], np.argsort(order)[number].reshape(size, size)


def transfer(params: dict[str, Array], size: int, larger: int) -> dict[str, Array]:
    """The parameters for a larger lattice: kernels that end where those of the smaller one did.

    The weight of an orbit is its kernel's sum, which stays.
    """
    if larger < size:
        raise ValueError(f"kernels go from a lattice to a larger one, got {size} and {larger}")
    small, large = orbits(size)[0], orbits(larger)[0]
    kernel = np.zeros((*params["kernel"].shape[:-1], len(large)), np.float32)
    place = {tuple(pair): o for o, pair in enumerate(large)}
    for o, pair in enumerate(small):
        kernel[..., place[tuple(pair)]] = params["kernel"][..., o]
    return params | {"kernel": jnp.asarray(kernel)}
