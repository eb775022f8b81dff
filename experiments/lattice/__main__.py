"""Lattice field theory: ``COMMAND --help`` lists what can be set."""

from experiments._run import main
from experiments.lattice import compare


COMMANDS = {
    "phi4": (compare.Scalar(), compare.run),
    "u1": (compare.Gauge(), compare.run),
}

WORDS = {
    "phi4": "A scalar field with a quartic potential: an equivariant flow beside Hamiltonian Monte Carlo.",
    "u1": "U(1) gauge theory, likewise, with a flow that keeps every gauge.",
}


if __name__ == "__main__":
    main("experiments.lattice", __doc__, COMMANDS, WORDS)
