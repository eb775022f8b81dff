"""``python -m experiments.flows {vmf,torus,hyperbolic,so3,earth,earth-quick} --help``."""

import tyro

from experiments.flows import earth, known


def main():
    """Parse the command and run it."""
    command = tyro.extras.subcommand_type_from_defaults(
        {
            "vmf": known.VMF,
            "torus": known.TORUS,
            "hyperbolic": known.HYPERBOLIC,
            "so3": known.ROTATIONS,
            "earth": earth.Earth(),
            "earth-quick": earth.QUICK,
        }
    )
    config = tyro.cli(command, description=__doc__)
    {earth.Earth: earth.run, known.Known: known.run}[type(config)](config)


if __name__ == "__main__":
    main()
