"""Fields on surfaces: ``COMMAND --help`` lists what can be set."""

from experiments._run import main
from experiments.gauge import digits, fields, points, wind


COMMANDS = {
    "fields": (fields.Fields(), fields.run),
    "digits": (digits.Digits(), digits.run),
    "wind": (wind.Wind(), wind.run),
    "points": (points.Points(), points.run),
}

WORDS = {
    "fields": "Turned gradients on a deformed torus or on meshes, gauge-equivariant beside other networks.",
    "digits": "Digits on the sphere at scattered points, a gauge network beside a spherical and a planar one.",
    "wind": "Wind from geopotential on a generated globe, or on ERA-Interim's.",
    "points": "How the error of a convolution falls with the number of points, on four spaces.",
}


if __name__ == "__main__":
    main("experiments.gauge", __doc__, COMMANDS, WORDS)
