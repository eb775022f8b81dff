"""Trees in hyperbolic space: `COMMAND --help` lists what can be set."""

import tyro

from experiments.trees import learned, plane


WORDS = {
    "learned": "Embeddings of a taxonomy, hyperbolic beside Euclidean: minutes on a laptop.",
    "plane": "Trees in the plane by construction, of any depth in float32, beside Euclidean space.",
}


def main():
    """Parse the command and run it."""
    command = tyro.extras.subcommand_type_from_defaults(
        {"learned": learned.Learned(), "plane": plane.Plane()}, WORDS
    )
    config = tyro.cli(command, description=__doc__, prog="python -m experiments.trees")
    {learned.Learned: learned.run, plane.Plane: plane.run}[type(config)](config)


if __name__ == "__main__":
    main()
