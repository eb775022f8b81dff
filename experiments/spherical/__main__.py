"""Digits on the sphere: ``COMMAND --help`` lists what can be set."""

from experiments._run import main
from experiments.spherical import digits, fisheye, grids, segments


COMMANDS = {
    "quick": (digits.QUICK, digits.run),
    "mnist": (digits.MNIST, digits.run),
    "segments": (segments.Segments(), segments.run),
    "grids": (grids.Grids(), grids.run),
    "fisheye": (fisheye.Fisheye(), fisheye.run),
}

WORDS = {
    "quick": "scikit-learn's digits on the sphere, equivariant and planar networks, in minutes.",
    "mnist": "MNIST on the sphere, the protocol of the papers.",
    "segments": "Which digit each pixel belongs to: equivariant networks beside augmented planar ones.",
    "grids": "How far nonlinearities on grids are from commuting with rotations; no training.",
    "fisheye": "A fisheye camera's image on the sphere and back, on generated scenes.",
}


if __name__ == "__main__":
    main("experiments.spherical", __doc__, COMMANDS, WORDS)
