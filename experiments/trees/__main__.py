"""Trees in hyperbolic space: ``COMMAND --help`` lists what can be set."""

from experiments._run import main
from experiments.trees import learned, plane


COMMANDS = {
    "learned": (learned.Learned(), learned.run),
    "plane": (plane.Plane(), plane.run),
}

WORDS = {
    "learned": "Embeddings of a taxonomy, hyperbolic beside Euclidean: minutes on a laptop.",
    "plane": "Trees in the plane by construction, of any depth in float32, beside Euclidean space.",
}


if __name__ == "__main__":
    main("experiments.trees", __doc__, COMMANDS, WORDS)
