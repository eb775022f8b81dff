"""Lattice field theory: flows that sample it, equivariant under the symmetries of the lattice and of the gauge group."""
