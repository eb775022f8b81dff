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


def effective_sample_size(log_weight: np.ndarray, seed: int = 0) -> Estimate:
    """(sum w)^2 / (n sum w^2) of samples of a model, as a share of n; the error by the bootstrap.

    Args:
        log_weight: log p - log q of n samples of q.
        seed: Of the bootstrap.
    """
    w = weights(log_weight)
    share = np.sum(w) ** 2 / (len(w) * np.sum(w**2))
    again = [w[i] for i in _resampled(len(w), seed)]
    error = np.std([np.sum(v) ** 2 / (len(v) * np.sum(v**2)) for v in again])
    return Estimate(np.asarray(share), np.asarray(error))


def reweighted(log_weight: np.ndarray, values: np.ndarray, seed: int = 0) -> Estimate:
    """The mean over p of values (n, ...) at samples of q; the error by the bootstrap."""
    w, values = weights(log_weight), np.asarray(values, np.float64)

    def mean(w, values):
        return np.tensordot(w, values, 1) / np.sum(w)

    again = [mean(w[i], values[i]) for i in _resampled(len(w), seed)]
    return Estimate(mean(w, values), np.std(again, 0))


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


def _resampled(n, seed):
    rng = np.random.default_rng(seed)
    return (rng.integers(0, n, n) for _ in range(BOOTSTRAPS))
