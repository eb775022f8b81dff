"""``python -m experiments.counterfactuals flow --help``."""

import tyro

from experiments.counterfactuals import flow


def main():
    """Parse the command and run it."""
    command = tyro.extras.subcommand_type_from_defaults({"flow": flow.FlowRun()})
    flow.run(tyro.cli(command, description=__doc__))


if __name__ == "__main__":
    main()
