"""``python -m experiments.counterfactuals {toy,flow} --help``."""

import tyro

from experiments.counterfactuals import flow, toy


def main():
    """Parse the command and run it."""
    command = tyro.extras.subcommand_type_from_defaults({"toy": toy.Toy(), "flow": flow.FlowRun()})
    config = tyro.cli(command, description=__doc__)
    {toy.Toy: toy.run, flow.FlowRun: flow.run}[type(config)](config)


if __name__ == "__main__":
    main()
