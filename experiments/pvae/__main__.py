"""The experiments with Poincaré VAEs: ``COMMAND --help`` lists what can be set."""

import tyro

from experiments.pvae import branching, mnist, mnist_tables


WORDS = {
    "demo": "A tree in the Poincaré disk, beside Euclidean space: minutes on a laptop.",
    "branching": "The paper's table on branching diffusion data.",
    "mnist-quick": "A 2-d Poincaré VAE of MNIST digits, in minutes.",
    "mnist": "The paper's table on MNIST.",
    "mnist-table": "The tables of MNIST from the results of finished models.",
}


def main():
    """Parse the command and run it."""
    command = tyro.extras.subcommand_type_from_defaults(
        {
            "demo": branching.DEMO,
            "branching": branching.Branching(),
            "mnist-quick": mnist.QUICK,
            "mnist": mnist.Mnist(),
            "mnist-table": mnist_tables.Table(),
        },
        WORDS,
    )
    config = tyro.cli(command, description=__doc__, prog="python -m experiments.pvae")
    runs = {
        branching.Branching: branching.run,
        mnist.Mnist: mnist.run,
        mnist_tables.Table: mnist_tables.write_table,
    }
    runs[type(config)](config)


if __name__ == "__main__":
    main()
