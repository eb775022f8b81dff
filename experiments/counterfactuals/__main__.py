"""``python -m experiments.counterfactuals {toy,flow,crowd,clever-hans} --help``."""

import tyro

from experiments.counterfactuals import clever_hans, crowd, flow, toy


def main():
    """Parse the command and run it."""
    command = tyro.extras.subcommand_type_from_defaults(
        {
            "toy": toy.Toy(),
            "flow": flow.FlowRun(),
            "crowd": crowd.Crowd(),
            "clever-hans": clever_hans.CleverHans(),
        }
    )
    config = tyro.cli(command, description=__doc__)
    {
        toy.Toy: toy.run,
        flow.FlowRun: flow.run,
        crowd.Crowd: crowd.run,
        clever_hans.CleverHans: clever_hans.run,
    }[type(config)](config)


if __name__ == "__main__":
    main()
