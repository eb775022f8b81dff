"""Bijectors that distrax lacks: charts of manifolds, log-determinants with respect to the Riemannian volume."""

from geodl.bijectors.charts import ExponentialMap, Stereographic


__all__ = ["ExponentialMap", "Stereographic"]
