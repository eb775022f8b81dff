import pytest

from tests.devices import on_devices


@pytest.mark.slow
def test_eight_devices_have_the_losses_of_one():
    """Matching by sharded arrays, the likelihood's gradient in shard_map, the adaptive solver on sharded points."""
    one, eight = (on_devices("tests.flows.parallel", n) for n in (1, 8))
    assert (one.pop("devices"), eight.pop("devices")) == (1, 8)
    assert eight == pytest.approx(one, rel=2e-4)
    assert one["likelihood"] == pytest.approx(one["adaptive"], abs=2e-3)
