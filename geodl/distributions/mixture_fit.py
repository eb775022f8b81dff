"""Mixtures of von Mises-Fisher distributions by expectation maximization (Banerjee, Dhillon, Ghosh & Sra 2005)."""

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from geodl._core import distrax
from geodl._core.checks import check, check_positive, float_dtype
from geodl._core.reductions import dot
from geodl.distributions._checks import points_on
from geodl.distributions.von_mises_fisher import VonMisesFisher, concentration_from_variance
from geodl.manifolds import Sphere, sphere


def fit_von_mises_fisher_mixture(
    key: Array,
    points: ArrayLike,
    components: int,
    steps: int = 100,
    restarts: int = 8,
    max_concentration: ArrayLike = 1e4,
) -> distrax.MixtureSameFamily:
    """The most likely of several mixtures, each after some steps of expectation maximization.

    Needs memory for restarts * n * components numbers.

    Args:
        key: Random key, for the starts.
        points: Unit vectors (n, d + 1).
        components: Their number, at most n.
        steps: Steps of each restart.
        restarts: How many mixtures to fit.
        max_concentration: The sharpest that a component may become, 1 / sqrt(kappa) rad wide (on the Earth 64 km
            for 1e4): without it, one that has caught nothing but duplicates of a point would have infinite
            likelihood.

    Returns:
        The mixture, components of :class:`VonMisesFisher`.

    Raises:
        ValueError: points that are not (n, d + 1), fewer points than components, and, where values are concrete,
            points off the sphere.

    Reference:
        Banerjee, Dhillon, Ghosh & Sra (2005).
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
        mixture = initial_mixture(key, points, components, max_concentration)
        return lax.scan(
            lambda mixture, _: em_step(mixture, points, max_concentration), mixture, length=steps
        )

    mixtures, log_likelihood = jax.vmap(run)(jax.random.split(key, restarts))
    best = jnp.argmax(log_likelihood[:, -1])
    return jax.tree.map(lambda a: a[best], mixtures)


def em_step(
    mixture: distrax.MixtureSameFamily, points: Array, max_concentration: ArrayLike = 1e4
) -> tuple[distrax.MixtureSameFamily, Array]:
    """A mixture that is at least as likely as ``mixture``, and the mean log-likelihood of ``mixture``."""
    each = mixture.components_distribution.log_prob(points[:, None])
    joint = each + jax.nn.log_softmax(mixture.mixture_distribution.logits)[None]
    total = jax.nn.logsumexp(joint, -1)
    shares = jnp.exp(joint - total[:, None])
    return _maximize(points, shares, max_concentration), jnp.mean(total)


def initial_mixture(
    key: Array, points: Array, components: int, max_concentration: ArrayLike = 1e4
) -> distrax.MixtureSameFamily:
    """Equal components of one width around centers drawn as in k-means++ (Arthur & Vassilvitskii 2007).

    Each center is a point of the data, drawn with a probability proportional to 1 - cos of its distance to
    the nearest of the centers before. The width is that of the distances to the nearest center.
    """

    def draw(one_minus_cos, key):
        center = points[jax.random.categorical(key, jnp.log(one_minus_cos))]
        return jnp.minimum(one_minus_cos, _one_minus_cos(points, center[None])), center

    keys = jax.random.split(key, components)
    one_minus_cos, centers = lax.scan(draw, jnp.full(len(points), 2.0, points.dtype), keys)
    concentration = concentration_from_variance(
        jnp.mean(one_minus_cos), points.shape[-1] - 1, max_concentration
    )
    return distrax.MixtureSameFamily(
        distrax.Categorical(logits=jnp.zeros(components, points.dtype)),
        VonMisesFisher(centers, jnp.full(components, concentration)),
    )


def _maximize(points, shares, max_concentration):
    """The most likely mixture, given the components' shares (n, components) of each point."""
    mass = jnp.sum(shares, 0)
    fraction = shares / jnp.maximum(mass, jnp.finfo(shares.dtype).tiny)[None]
    loc = sphere.project(jnp.sum(fraction[..., None] * points[:, None], 0))
    # the circular variance, 1 - (mean resultant length), from chords: it keeps its digits for concentrated components
    variance = jnp.sum(fraction * _one_minus_cos(points[:, None], loc[None]), 0)
    concentration = concentration_from_variance(variance, points.shape[-1] - 1, max_concentration)
    return distrax.MixtureSameFamily(
        distrax.Categorical(logits=jnp.log(mass / len(points))), VonMisesFisher(loc, concentration)
    )


def _one_minus_cos(x, y):
    """1 - <x, y>."""
    w = x - y
    return dot(w, w) / 2
