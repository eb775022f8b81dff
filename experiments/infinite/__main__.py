"""Networks of infinite width: ``COMMAND --help`` lists what can be set."""

from experiments._run import main
from experiments.infinite import emergence, width


COMMANDS = {
    "width": (width.Width(), width.run),
    "emergence": (emergence.Emergence(), emergence.run),
}

WORDS = {
    "width": "Kernels of finite networks beside those of infinite width, and the rate at which they get there.",
    "emergence": "Ensembles trained on all turned images beside the group's kernel, canonicalization and averages.",
}


if __name__ == "__main__":
    main("experiments.infinite", __doc__, COMMANDS, WORDS)
