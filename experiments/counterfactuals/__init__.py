"""Counterfactuals in the base of a generator (Dombrowski et al. 2023)."""
