"""Counterfactuals in the base of a generator: the search, what it may pay and where it goes, and the induced metric.

What they are worth is measured by :mod:`geodl.counterfactual.evaluation`; a search pays what
:mod:`geodl.counterfactual.penalties` says. Generators are those of :mod:`geodl.generators`.
"""

from geodl.counterfactual import evaluation, penalties
from geodl.counterfactual.directions import gradient, natural_gradient
from geodl.counterfactual.inversion import Inversion, invert
from geodl.counterfactual.metric import (
    inverse_metric,
    jacobian,
    linearize,
    singular_values,
    split_tangent_normal,
)
from geodl.counterfactual.running import run
from geodl.counterfactual.search import Sample, Search, State, Status, perturbed_starts
from geodl.counterfactual.targets import Target, confidence, interval, margin, reconstruction, value
from geodl.generators import Generator, data_space, from_bijector


__all__ = [
    "Generator",
    "Inversion",
    "Sample",
    "Search",
    "State",
    "Status",
    "Target",
    "confidence",
    "data_space",
    "evaluation",
    "from_bijector",
    "gradient",
    "interval",
    "inverse_metric",
    "invert",
    "jacobian",
    "linearize",
    "margin",
    "natural_gradient",
    "penalties",
    "perturbed_starts",
    "reconstruction",
    "run",
    "singular_values",
    "split_tangent_normal",
    "value",
]
