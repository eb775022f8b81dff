"""``python -m experiments.counterfactuals {toy} --help``."""

import tyro

from experiments.counterfactuals import toy


def main():
    """Parse the command and run it."""
    command = tyro.extras.subcommand_type_from_defaults({"toy": toy.Toy()})
    config = tyro.cli(command, description=__doc__)
    {toy.Toy: toy.run}[type(config)](config)


if __name__ == "__main__":
    main()
