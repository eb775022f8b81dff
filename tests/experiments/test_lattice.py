"""Lattice field theory: actions, fields with their symmetries and divergences, estimates, a small run."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import iv

from experiments.lattice import compare, estimates, fields, sampling
from experiments.lattice.theories import U1, Phi4
from geodl.equivariant import lattice
from geodl.flows import divergence


def strong(theory, key):
    """A field of kernels that are not small."""
    field = fields.vector_field(theory, features=3, times=2)
    params = jax.tree.map(lambda a: a.astype(float), field.init(key))
    return field, params | {"kernel": 300 * params["kernel"]}


def test_the_action_of_phi4_by_the_definition(x64, key):
    theory, n = Phi4(4, m2=-3.0, lam=2.0), 4
    phi = np.asarray(jax.random.normal(key, (n, n)))
    expected = sum(
        (phi[i, j] - phi[(i + 1) % n, j]) ** 2
        + (phi[i, j] - phi[i, (j + 1) % n]) ** 2
        - 3 * phi[i, j] ** 2
        + 2 * phi[i, j] ** 4
        for i, j in itertools.product(range(n), repeat=2)
    )
    np.testing.assert_allclose(theory.action(jnp.asarray(phi.ravel())), expected, rtol=1e-12)
    found = theory.observables(jnp.asarray(phi.ravel()))
    lines = phi.sum(1) / 2, phi.sum(0) / 2
    two = [np.mean([np.mean(x * np.roll(x, -r)) for x in lines]) for r in range(3)]
    np.testing.assert_allclose(found["two-point"], two, rtol=1e-12)
    total = two[0] + 2 * two[1] + two[2]
    np.testing.assert_allclose(found["susceptibility"], total, rtol=1e-12)


@pytest.mark.parametrize("theory", [Phi4(4), U1(4)], ids=["phi4", "u1"])
def test_the_divergence_and_the_symmetries_of_a_field(theory, x64, key):
    field, params = strong(theory, key)
    x = jax.random.normal(jax.random.key(1), (2, theory.manifold.dim))
    v, div = field.rate(params, 0.3, x)
    exact = divergence.exact(theory.manifold, lambda t, x: field.apply(params, t, x))(0.3, x)[1]
    np.testing.assert_allclose(div, exact, rtol=1e-10)
    np.testing.assert_allclose(field.apply(params, 0.3, -x), -v, atol=1e-12)
    lattice_axes = (2, 4, 4) if isinstance(theory, U1) else (1, 4, 4)

    def shifted(x):
        return jnp.roll(x.reshape(-1, *lattice_axes), (1, 2), (-2, -1)).reshape(x.shape)

    np.testing.assert_allclose(field.apply(params, 0.3, shifted(x)), shifted(v), atol=1e-12)

    def turned(x):
        """By a right angle; the links of axis 1 become those of axis 0, backwards."""
        x = jnp.rot90(x.reshape(-1, *lattice_axes), axes=(-2, -1))
        if isinstance(theory, U1):
            x = jnp.stack([-jnp.roll(x[:, 1], -1, -2), x[:, 0]], 1)
        return x.reshape(-1, theory.manifold.dim)

    np.testing.assert_allclose(field.apply(params, 0.3, turned(x)), turned(v), atol=1e-12)


def test_a_flow_of_links_is_the_same_in_every_gauge(x64, key):
    theory = U1(4)
    field, params = strong(theory, key)
    theta = jax.random.uniform(key, (3, 2, 4, 4), float, -np.pi, np.pi)
    alpha = 5 * jax.random.normal(jax.random.key(2), (3, 4, 4))
    other = lattice.gauge_transform(theta, alpha)
    v, w = (field.rate(params, 0.4, x.reshape(3, -1)) for x in (theta, other))
    np.testing.assert_allclose(w[0], v[0], atol=1e-12)
    np.testing.assert_allclose(w[1], v[1], atol=1e-12)


def test_kernels_of_a_larger_lattice(x64, key):
    """A configuration that repeats itself is carried as on the smaller lattice."""
    small, large = Phi4(4), Phi4(8)
    field, params = strong(small, key)
    wide = fields.transfer(params, 4, 8)
    phi = jax.random.normal(key, (4, 4))
    v = field.apply(params, 0.3, phi.ravel())
    repeated = fields.vector_field(large, features=3, times=2).apply(
        jax.tree.map(lambda a: a.astype(float), wide), 0.3, jnp.tile(phi, (2, 2)).ravel()
    )
    np.testing.assert_allclose(repeated.reshape(8, 8), jnp.tile(v.reshape(4, 4), (2, 2)), atol=1e-5)
    with pytest.raises(ValueError, match="to a larger one, got 8 and 4"):
        fields.transfer(wide, 8, 4)


def test_exact_means_of_u1():
    """The sum of V independent angles on a grid, of which only multiples of 2 pi are taken."""
    theory, n = U1(4, 1.5), 512
    p = 2 * np.pi * (np.arange(n) - n // 2) / n

    def of_charges(beta):
        """Charges, and the density of the sum of 16 angles at 2 pi Q."""
        one = np.zeros(16 * n)
        one[np.arange(n) - n // 2] = np.exp(beta * np.cos(p)) / n
        density = np.fft.ifft(np.fft.fft(one) ** 16).real
        charges = np.arange(-7, 8)
        return charges, density[charges * n]

    charges, density = of_charges(1.5)
    step = 1e-4
    slope = np.log(np.sum(of_charges(1.5 + step)[1]) / np.sum(of_charges(1.5 - step)[1]))
    found = theory.exact()
    assert found["plaquette"] == pytest.approx(slope / (2 * step) / 16, rel=1e-6)
    squares = np.sum(charges**2 * density) / np.sum(density)
    assert found["topological susceptibility"] == pytest.approx(squares / 16, rel=1e-3)


def test_independent_plaquettes_are_a_distribution(x64, key):
    """E exp(-S - log q) = Z / Z_0 by samples, and every gauge as likely."""
    theory = U1(4, 1.5, start=1.2)
    x, log_q = theory.base().sample_and_log_prob(seed=key, sample_shape=4000)
    ratio = np.exp(-theory.action(x) - log_q)
    n = np.arange(-20, 21)
    partition = np.sum(iv(n, 1.5) ** 16) * (2 * np.pi) ** 32
    error = np.std(ratio) / len(ratio) ** 0.5
    assert abs(np.mean(ratio) - partition) < 4 * error < 0.1 * partition
    other = lattice.gauge_transform(x[:3].reshape(3, 2, 4, 4), jnp.ones((3, 4, 4)).at[:, 1].set(4))
    again = theory.base().log_prob(other.reshape(3, -1))
    np.testing.assert_allclose(again, log_q[:3], atol=1e-9)


def test_estimates_of_what_is_known():
    rng = np.random.default_rng(0)
    x = rng.normal(size=4000)
    log_weight = 0.5 * x - 0.125  # N(1/2, 1) by samples of N(0, 1): ESS exp(-1/4)
    ess = estimates.effective_sample_size(log_weight)
    assert abs(ess.mean - np.exp(-0.25)) < 4 * ess.error < 0.1
    mean = estimates.reweighted(log_weight, np.stack([x, x**2], 1))
    assert np.all(np.abs(mean.mean - [0.5, 1.25]) < 4 * mean.error) and np.all(mean.error < 0.1)
    chain = np.zeros((400, 500))
    for t in range(1, 500):  # tau_int = (1 + rho) / (2 (1 - rho)) = 1.5
        chain[:, t] = 0.5 * chain[:, t - 1] + rng.normal(size=400)
    mean, tau = estimates.of_chains(chain)
    assert abs(mean.mean) < 4 * mean.error and tau == pytest.approx(1.5, rel=0.25)


def test_lattices_that_are_none():
    with pytest.raises(ValueError, match="even number of sites along an axis, 4 or more, got 7"):
        Phi4(7)
    with pytest.raises(ValueError, match="got 2"):
        U1(2)
    with pytest.raises(ValueError, match="m2 must be finite, got nan"):
        Phi4(8, float("nan"))
    with pytest.raises(ValueError, match=r"lam must be positive .* got -1"):
        Phi4(8, lam=-1)


def test_chains_are_as_long_as_asked():
    config = sampling.HMC(chains=2, warmup=4, steps=6, leapfrogs=1)
    found = sampling.hamiltonian(Phi4(4), config, jax.random.key(0)).observables
    assert {values.shape[:2] for values in found.values()} == {(2, 6)}


def test_samples_are_as_many_as_asked(key, tmp_path, monkeypatch):
    """In batches that do not divide their number."""
    monkeypatch.setattr(sampling, "BATCH", 8)
    theory, recipe = U1(4), sampling.Recipe(1, 2, 8, 2, solver_steps=1, sampling_steps=1)
    params = sampling.start(theory, recipe, key)
    found = sampling.draw(theory, recipe, params, 20, tmp_path)
    assert {len(found.log_weight), *map(len, found.observables.values())} == {20}


@pytest.mark.quick("phi4")
@pytest.mark.parametrize("kind", [compare.Scalar, compare.Gauge], ids=["phi4", "u1"])
def test_a_small_run(kind, tmp_path, capsys):
    config = kind(
        sizes=(4,),
        recipe=sampling.Recipe(2, 2, 8, 2, solver_steps=1, sampling_steps=1),
        samples=32,
        hmc=sampling.HMC(chains=4, warmup=4, steps=8, leapfrogs=2),
        root=str(tmp_path),
    )
    rows = compare.run(config)
    assert [row["sampler"] for row in rows] == ["flow, none: its base", "flow, 2 steps", "HMC"]
    assert "ESS" in capsys.readouterr().out
    (folder,) = tmp_path.glob("*/default")
    assert (folder / "comparison.png").exists() and (folder / "comparison.svg").exists()
