"""Digits on the sphere: ``COMMAND --help`` lists what can be set."""

from experiments._run import main
from experiments.spherical import digits


COMMANDS = {"quick": (digits.QUICK, digits.run), "mnist": (digits.MNIST, digits.run)}

WORDS = {
    "quick": "scikit-learn's digits on the sphere, equivariant and planar networks, in minutes.",
    "mnist": "MNIST on the sphere, the protocol of the papers.",
}


if __name__ == "__main__":
    main("experiments.spherical", __doc__, COMMANDS, WORDS)
