"""Lattice field theory: flows that have the symmetries of the lattice and of the gauge group."""
