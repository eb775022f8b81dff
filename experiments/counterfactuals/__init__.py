"""Counterfactuals in the base space of generators (Dombrowski, Gerken, Müller & Kessel 2022)."""
