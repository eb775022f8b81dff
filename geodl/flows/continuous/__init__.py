"""Continuous normalizing flows: along vector fields on manifolds."""
