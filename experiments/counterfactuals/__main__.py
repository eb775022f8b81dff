"""The experiments with counterfactuals: ``COMMAND --help`` lists what can be set."""

import tyro

from experiments.counterfactuals import clever_hans, crowd, faces, mnist, mnist_flow, toy


WORDS = {
    "toy": "Counterfactuals off a helix: what each optimizer keeps of the theorem.",
    "flow": "A flow of MNIST's images, or of scikit-learn's digits where they are not found.",
    "mnist": "Counterfactuals of digits, and what held-out classifiers make of them.",
    "crowd": "Few and many figures in generated scenes, for a counter and for an independent detector.",
    "faces": "Attributes of CelebA's faces, which you have downloaded into GEODL_DATA.",
    "clever-hans": "A classifier that reads a watermark, found out by its explanations.",
}


def main():
    """Parse the command and run it."""
    commands = {
        "toy": (toy.Toy(), toy.run),
        "flow": (mnist_flow.MnistFlow(), mnist_flow.run),
        "mnist": (mnist.Mnist(), mnist.run),
        "crowd": (crowd.Crowd(), crowd.run),
        "faces": (faces.Faces(), faces.run),
        "clever-hans": (clever_hans.CleverHans(), clever_hans.run),
    }
    defaults = {name: default for name, (default, _) in commands.items()}
    command = tyro.extras.subcommand_type_from_defaults(defaults, WORDS)
    config = tyro.cli(command, description=__doc__, prog="python -m experiments.counterfactuals")
    runs = {type(default): run for default, run in commands.values()}
    runs[type(config)](config)


if __name__ == "__main__":
    main()
