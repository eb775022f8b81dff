"""Means over samples, weighted or of Markov chains, with their errors."""

from typing import NamedTuple

import numpy as np


BOOTSTRAPS = 200


class Estimate(NamedTuple):
    """A mean and its standard error, of numbers or of arrays."""

    mean: np.ndarray
    error: np.ndarray

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.error:.4f}"


def weights(log_weight: np.ndarray) -> np.ndarray:
    """p / q up to a factor, the largest being 1, in float64."""
    log_weight = np.asarray(log_weight, np.float64)
    return np.exp(log_weight - np.max(log_weight))


def effective_sample_size(log_weight: np.ndarray) -> Estimate:
    """(sum w)^2 / (n sum w^2), a share of n, for log_weight = log p - log q (n,) of samples of q; bootstrap error."""

    def share(w):
        return np.sum(w) ** 2 / (len(w) * np.sum(w**2))

    return _bootstrapped(share, weights(log_weight))


def reweighted(log_weight: np.ndarray, values: np.ndarray) -> Estimate:
    """The mean over p of values (n, ...) at samples of q; the error by the bootstrap."""

    def mean(w, values):
        return np.tensordot(w, values, 1) / np.sum(w)

    return _bootstrapped(mean, weights(log_weight), np.asarray(values, np.float64))


def of_chains(values: np.ndarray) -> tuple[Estimate, float]:
    """The mean over chains (chains, steps, ...), its error by the spread of the chains' means, and tau_int.

    2 tau_int is the number of steps for an independent sample: by how much the chains' means spread more than those of
    as many independent samples; of arrays the largest.
    """
    values = np.asarray(values, np.float64)
    chains, steps = values.shape[:2]
    means = values.mean(1)
    variance = np.var(values, (0, 1))
    tau = 0.5 * np.max(steps * np.var(means, 0, ddof=1) / np.maximum(variance, 1e-300))
    return Estimate(means.mean(0), np.std(means, 0, ddof=1) / chains**0.5), max(float(tau), 0.5)


def _bootstrapped(statistic, *arrays):
    rng, n = np.random.default_rng(0), len(arrays[0])
    resampled = (rng.integers(0, n, n) for _ in range(BOOTSTRAPS))
    again = [statistic(*(a[i] for a in arrays)) for i in resampled]
    return Estimate(np.asarray(statistic(*arrays)), np.std(again, 0))
