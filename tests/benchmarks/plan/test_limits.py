"""Images of a pass that the device's memory allows, as tasks report them and run folders store them."""

import pytest

from benchmarks.plan.limits import LIMITS_FILE, Limit, Limits, reported


def test_limits_outlive_the_command(tmp_path):
    Limits(tmp_path).set("a", "seg", Limit(8, True))
    later = Limits(tmp_path)
    later.set("b", "det", Limit(4, False))
    assert Limits(tmp_path).of("a", "seg") == Limit(8, True)
    assert Limits(tmp_path).of("b", "det") == Limit(4, False)
    assert Limits(tmp_path).of("a", "det") is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"a/seg": 8}', '{"a/seg": {"images": 0, "changes_numbers": true}}']
)
def test_damaged_file_limits_nothing(tmp_path, text):
    (tmp_path / LIMITS_FILE).write_text(text)
    assert Limits(tmp_path).of("a", "seg") is None


@pytest.mark.parametrize(
    ("report", "limit"),
    [
        ({"device_batch_size": 4, "changes_numbers": False}, Limit(4, False)),
        ({"device_batch_size": 0, "changes_numbers": False}, None),
        ({"device_batch_size": 4}, None),
        ({"step": 1}, None),
    ],
)
def test_report_of_a_task(report, limit):
    assert reported(report) == limit
