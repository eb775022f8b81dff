"""Continuous normalizing flows along vector fields on manifolds: fields, solvers, losses, and the distribution."""
