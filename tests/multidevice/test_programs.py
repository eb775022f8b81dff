"""What the compiler makes of a step on more devices: no more collectives, less memory where the state is split."""

import pytest

from tests.devices import on_devices
from tests.flagships import EVALUATIONS, TRAININGS


def check(found):
    two, eight, split = (found[mesh] for mesh in ("2x1", "8x1", "2x4"))
    # gradients are summed, nothing is moved: as many collectives on any number of devices
    assert set(two["collectives"]) <= {"all-reduce"}
    assert {k: n for k, (n, _) in two["collectives"].items()} == {
        k: n for k, (n, _) in eight["collectives"].items()
    }
    assert sum(size for _, size in eight["collectives"].values()) < 4 * eight["arguments"]
    return eight["arguments"], split["arguments"]


def test_collectives_and_memory_of_a_step():
    found = on_devices("tests.multidevice.programs")
    whole, split = check(found["matching"])
    assert split < 0.35 * whole  # parameters, their average, two moments: a quarter, and the data
    two, eight = (found["drawn"][mesh] for mesh in ("2x1", "8x1"))
    assert eight["flops"] < 0.3 * two["flops"] and not eight["collectives"]


@pytest.mark.slow
def test_collectives_of_all_trainings():
    programs = on_devices("tests.multidevice.programs", arguments=tuple(TRAININGS))
    for name in TRAININGS:
        whole, split = check(programs[name])
        assert split <= whole, name


@pytest.mark.slow
def test_samples_of_an_evaluation_are_alone():
    """But that an adaptive solver takes one step for all: a number of each, and whether the end is reached."""
    programs = on_devices("tests.multidevice.programs", arguments=tuple(EVALUATIONS))
    for name in EVALUATIONS:
        for mesh in ("2x1", "8x1", "2x4"):
            found = programs[name][mesh]["collectives"]
            assert set(found) <= ({"all-reduce"} if name == "adaptive_likelihood" else set()), name
            assert sum(size for _, size in found.values()) <= 64
