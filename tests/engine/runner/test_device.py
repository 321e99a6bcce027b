"""The device of a run."""

from engine.runner.device import device, peak_memory_mib


def test_peak_memory_is_of_this_process():
    block = bytearray(64 * 2**20)
    assert peak_memory_mib() > len(block) / 2**20


def test_device_type_name_and_count():
    found = device()
    assert set(found) == {"type", "name", "count"}
    assert found["count"] >= 1
