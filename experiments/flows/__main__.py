"""The experiments with flows on manifolds: ``COMMAND --help`` lists what can be set."""

import tyro

from experiments.flows import earth, known


WORDS = {
    "vmf": "Flows that learn von Mises-Fisher distributions: how near to the truth, by which way of training.",
    "torus": "A flow on the torus, beside the distribution that it has learned.",
    "hyperbolic": "A flow on the hyperbolic plane, likewise.",
    "so3": "Flows of rotations, likewise.",
    "earth": "Densities of the four earth-science sets: every baseline and ours.",
    "earth-quick": "Densities on the sphere, without download, in minutes.",
}


def main():
    """Parse the command and run it."""
    command = tyro.extras.subcommand_type_from_defaults(
        {
            "vmf": known.VMF,
            "torus": known.TORUS,
            "hyperbolic": known.HYPERBOLIC,
            "so3": known.ROTATIONS,
            "earth": earth.Earth(),
            "earth-quick": earth.QUICK,
        },
        WORDS,
    )
    config = tyro.cli(command, description=__doc__, prog="python -m experiments.flows")
    {earth.Earth: earth.run, known.Known: known.run}[type(config)](config)


if __name__ == "__main__":
    main()
