"""The experiments with Poincaré VAEs: ``COMMAND --help`` lists what can be set."""

from experiments._run import main
from experiments.pvae import branching, mnist, mnist_tables


COMMANDS = {
    "demo": (branching.DEMO, branching.run),
    "branching": (branching.Branching(), branching.run),
    "mnist-quick": (mnist.QUICK, mnist.run),
    "mnist": (mnist.Mnist(), mnist.run),
    "mnist-table": (mnist_tables.Table(), mnist_tables.write_table),
}

WORDS = {
    "demo": "A tree in the Poincaré disk, beside Euclidean space: minutes on a laptop.",
    "branching": "The paper's table on branching diffusion data.",
    "mnist-quick": "A 2-d Poincaré VAE of MNIST digits, in minutes.",
    "mnist": "The paper's table on MNIST.",
    "mnist-table": "Tables and picture of MNIST from the results of finished models.",
}


if __name__ == "__main__":
    main("experiments.pvae", __doc__, COMMANDS, WORDS)
