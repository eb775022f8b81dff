"""Digits on the sphere: `COMMAND --help` lists what can be set."""

import tyro

from experiments.spherical import digits


WORDS = {
    "quick": "scikit-learn's digits on the sphere, equivariant and planar networks, in minutes.",
    "mnist": "MNIST on the sphere, the protocol of the papers.",
}


def main():
    """Parse the command and run it."""
    command = tyro.extras.subcommand_type_from_defaults(
        {"quick": digits.QUICK, "mnist": digits.MNIST}, WORDS
    )
    digits.run(tyro.cli(command, description=__doc__, prog="python -m experiments.spherical"))


if __name__ == "__main__":
    main()
