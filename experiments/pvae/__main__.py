"""``python -m experiments.pvae {demo,branching,mnist-quick,mnist,mnist-table} --help``."""

import tyro

from experiments.pvae import branching, mnist


def main():
    """Parse the command and run it."""
    command = tyro.extras.subcommand_type_from_defaults(
        {
            "demo": branching.DEMO,
            "branching": branching.Branching(),
            "mnist-quick": mnist.QUICK,
            "mnist": mnist.Mnist(),
            "mnist-table": mnist.Table(),
        }
    )
    config = tyro.cli(command, description=__doc__)
    runs = {
        branching.Branching: branching.run,
        mnist.Mnist: mnist.run,
        mnist.Table: mnist.write_table,
    }
    runs[type(config)](config)


if __name__ == "__main__":
    main()
