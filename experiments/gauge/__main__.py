"""Fields on surfaces: ``COMMAND --help`` lists what can be set."""

from experiments._run import main
from experiments.gauge import fields


COMMANDS = {
    "fields": (fields.Fields(), fields.run),
}

WORDS = {
    "fields": "Turned gradients on a deformed torus and on a mesh, gauge-equivariant beside other networks.",
}


if __name__ == "__main__":
    main("experiments.gauge", __doc__, COMMANDS, WORDS)
