"""Flows of finitely many steps: couplings of vectors and of images."""
