"""Formulas of convex polyhedra, found by attribution: ``--help`` lists what can be set."""

import tyro

from experiments.intuition.conjectures import Conjectures, run


if __name__ == "__main__":
    run(tyro.cli(Conjectures, description=__doc__, prog="python -m experiments.intuition"))
