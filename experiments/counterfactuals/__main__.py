"""``python -m experiments.counterfactuals {toy,flow,mnist} --help``."""

import tyro

from experiments.counterfactuals import flow, mnist, toy


def main():
    """Parse the command and run it."""
    commands = {"toy": toy.Toy(), "flow": flow.FlowRun(), "mnist": mnist.Mnist()}
    config = tyro.cli(tyro.extras.subcommand_type_from_defaults(commands), description=__doc__)
    {toy.Toy: toy.run, flow.FlowRun: flow.run, mnist.Mnist: mnist.run}[type(config)](config)


if __name__ == "__main__":
    main()
