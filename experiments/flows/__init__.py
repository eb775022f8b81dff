"""Densities on manifolds by flows: the sphere, the Earth, torus, hyperbolic plane and rotations."""
