"""The experiments with flows on manifolds: ``COMMAND --help`` lists what can be set."""

from experiments._run import main
from experiments.flows import earth, known


COMMANDS = {
    "vmf": (known.VMF, known.run),
    "torus": (known.TORUS, known.run),
    "hyperbolic": (known.HYPERBOLIC, known.run),
    "so3": (known.ROTATIONS, known.run),
    "earth": (earth.Earth(), earth.run),
    "earth-quick": (earth.QUICK, earth.run),
}

WORDS = {
    "vmf": "Flows that learn von Mises-Fisher distributions: how near to the truth, by which way of training.",
    "torus": "A flow on the torus, beside the distribution that it has learned.",
    "hyperbolic": "A flow on the hyperbolic plane, likewise.",
    "so3": "Flows of rotations, likewise.",
    "earth": "Densities of the four earth-science sets: every baseline and ours.",
    "earth-quick": "Densities on the sphere, without download, in minutes.",
}


if __name__ == "__main__":
    main("experiments.flows", __doc__, COMMANDS, WORDS)
