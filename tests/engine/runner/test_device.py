"""What a run is computed on."""

from engine.runner.device import device, peak_memory_mib


def test_the_peak_is_that_of_this_process():
    block = bytearray(64 * 2**20)
    assert peak_memory_mib() > len(block) / 2**20


def test_the_device_has_a_type_a_name_and_a_count():
    found = device()
    assert set(found) == {"type", "name", "count"}
    assert found["count"] >= 1
