"""Counterfactuals in the base of a generator: the contract, the search, and the induced metric.

What they are worth is measured by :mod:`geodl.counterfactual.evaluate`.
"""

from geodl.counterfactual import evaluate
from geodl.counterfactual.generator import Flat, Generator, data_space, from_bijector, linearise
from geodl.counterfactual.inversion import Inversion, invert
from geodl.counterfactual.metric import (
    inverse_metric,
    jacobian,
    singular_values,
    tangent_and_normal,
)
from geodl.counterfactual.search import Sample, Search, State, Status, perturbed, run
from geodl.counterfactual.targets import (
    Target,
    confidence,
    interval,
    margin,
    reconstruction,
    value,
)


__all__ = [
    "Flat",
    "Generator",
    "Inversion",
    "Sample",
    "Search",
    "State",
    "Status",
    "Target",
    "confidence",
    "data_space",
    "evaluate",
    "from_bijector",
    "interval",
    "inverse_metric",
    "invert",
    "jacobian",
    "linearise",
    "margin",
    "perturbed",
    "reconstruction",
    "run",
    "singular_values",
    "tangent_and_normal",
    "value",
]
