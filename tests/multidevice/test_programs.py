"""What the compiler makes of a step on more devices: no more collectives, less memory where the state is split."""

import pytest

from tests.devices import on_devices
from tests.flagships import TRAININGS


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
    whole, split = check(on_devices("tests.multidevice.programs")["matching"])
    assert split < 0.35 * whole  # parameters, their average, two moments: a quarter, and the data


@pytest.mark.slow
def test_collectives_of_all_trainings():
    for name, found in on_devices("tests.multidevice.programs", arguments=tuple(TRAININGS)).items():
        whole, split = check(found)
        assert split <= whole, name
