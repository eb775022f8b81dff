"""``python -m experiments.counterfactuals {toy,flow,mnist,crowd,faces,clever-hans} --help``."""

import tyro

from experiments.counterfactuals import clever_hans, crowd, faces, flow, mnist, toy


def main():
    """Parse the command and run it."""
    commands = {
        "toy": (toy.Toy(), toy.run),
        "flow": (flow.FlowRun(), flow.run),
        "mnist": (mnist.Mnist(), mnist.run),
        "crowd": (crowd.Crowd(), crowd.run),
        "faces": (faces.Faces(), faces.run),
        "clever-hans": (clever_hans.CleverHans(), clever_hans.run),
    }
    defaults = {name: default for name, (default, _) in commands.items()}
    config = tyro.cli(tyro.extras.subcommand_type_from_defaults(defaults), description=__doc__)
    runs = {type(default): run for default, run in commands.values()}
    runs[type(config)](config)


if __name__ == "__main__":
    main()
