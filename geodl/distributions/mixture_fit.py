"""Mixtures of von Mises-Fisher laws by expectation maximisation (Banerjee, Dhillon, Ghosh & Sra 2005)."""

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from geodl._core import distrax
from geodl._core.checks import check, check_positive, float_dtype
from geodl._core.reductions import dot
from geodl.distributions._checks import points_on
from geodl.distributions.von_mises_fisher import VonMisesFisher, concentration_from_gap
from geodl.manifolds import Sphere, sphere


def fit_von_mises_fisher_mixture(
    key: Array,
    points: ArrayLike,
    components: int,
    steps: int = 100,
    restarts: int = 8,
    max_concentration: ArrayLike = 1e4,
) -> distrax.MixtureSameFamily:
    """The most likely of ``restarts`` mixtures for points (n, d + 1), each after ``steps`` of :func:`em_step`.

    Needs memory for restarts * n * components numbers. ``max_concentration`` is the sharpest a component may
    become, 1 / sqrt(kappa) rad wide (on the Earth 64 km for 1e4): without it, one that has caught nothing but
    duplicates of a point would have infinite likelihood. Raises ``ValueError`` for points that are not
    (n, d + 1), fewer points than components, and, where values are concrete, points off the sphere.
    """
    points = jnp.asarray(points)
    points = points.astype(jnp.promote_types(float_dtype(points), jnp.float32))
    if points.ndim != 2 or not 1 <= components <= len(points):
        raise ValueError(
            "fit_von_mises_fisher_mixture: points must be (n, d + 1) with n >= components >= 1, got "
            f"{points.shape} and {components} components"
        )
    if steps < 1 or restarts < 1:
        raise ValueError(
            f"fit_von_mises_fisher_mixture: steps and restarts must be positive, got {steps}, {restarts}"
        )
    check_positive("max_concentration", max_concentration)
    points_on("fit_von_mises_fisher_mixture", Sphere(points.shape[-1] - 1), points)
    check(jnp.isfinite(points), "fit_von_mises_fisher_mixture: points must be finite", points)

    def run(key):
        law = initial_mixture(key, points, components, max_concentration)
        return lax.scan(lambda law, _: em_step(law, points, max_concentration), law, length=steps)

    laws, log_likelihood = jax.vmap(run)(jax.random.split(key, restarts))
    best = jnp.argmax(log_likelihood[:, -1])
    return jax.tree.map(lambda a: a[best], laws)


def em_step(
    law: distrax.MixtureSameFamily, points: Array, max_concentration: ArrayLike = 1e4
) -> tuple[distrax.MixtureSameFamily, Array]:
    """A mixture that is at least as likely as ``law``, and the mean log-likelihood of ``law``."""
    each = law.components_distribution.log_prob(points[:, None])
    joint = each + jax.nn.log_softmax(law.mixture_distribution.logits)[None]
    total = jax.nn.logsumexp(joint, -1)
    shares = jnp.exp(joint - total[:, None])
    return _maximise(points, shares, max_concentration), jnp.mean(total)


def initial_mixture(
    key: Array, points: Array, components: int, max_concentration: ArrayLike = 1e4
) -> distrax.MixtureSameFamily:
    """Equal components of one width around centres drawn as in k-means++ (Arthur & Vassilvitskii 2007).

    Each centre is a point of the data, drawn with a probability proportional to 1 - cos of its distance to
    the nearest of the centres before. The width is that of the distances to the nearest centre.
    """

    def draw(gap, key):
        centre = points[jax.random.categorical(key, jnp.log(gap))]
        return jnp.minimum(gap, _gap(points, centre[None])), centre

    keys = jax.random.split(key, components)
    gap, centres = lax.scan(draw, jnp.full(len(points), 2.0, points.dtype), keys)
    concentration = concentration_from_gap(jnp.mean(gap), points.shape[-1] - 1, max_concentration)
    return distrax.MixtureSameFamily(
        distrax.Categorical(logits=jnp.zeros(components, points.dtype)),
        VonMisesFisher(centres, jnp.full(components, concentration)),
    )


def _maximise(points, shares, max_concentration):
    """The most likely mixture, given the components' shares (n, components) of each point."""
    mass = jnp.sum(shares, 0)
    fraction = shares / jnp.maximum(mass, jnp.finfo(shares.dtype).tiny)[None]
    loc = sphere.project(jnp.sum(fraction[..., None] * points[:, None], 0))
    # 1 - (mean resultant length), from chords: it keeps its digits for concentrated components
    gap = jnp.sum(fraction * _gap(points[:, None], loc[None]), 0)
    concentration = concentration_from_gap(gap, points.shape[-1] - 1, max_concentration)
    return distrax.MixtureSameFamily(
        distrax.Categorical(logits=jnp.log(mass / len(points))),
        VonMisesFisher(loc, concentration),
    )


def _gap(x, y):
    """1 - <x, y>."""
    w = x - y
    return dot(w, w) / 2
