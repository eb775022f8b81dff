import pytest

from tests.devices import on_devices


@pytest.mark.slow
def test_eight_devices_find_what_one_finds():
    """Every sample's state: point, optimizer, frame, best, score, steps, status."""
    found = on_devices("tests.counterfactual.parallel")
    assert found["devices"] == 8 and 0 < found["found"] < 16
    assert found["path"] == [31, 16, 3]
    assert max(found["differences"]) < 1e-5
