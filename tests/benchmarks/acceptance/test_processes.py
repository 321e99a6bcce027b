"""Verdicts on an error on one of several processes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.fake_machine import ended

from benchmarks.acceptance.processes import judge_error

GOOD = ended(1, "error: the image cannot be decoded", marked_seconds=3.5)


def test_quick_end_with_a_message() -> None:
    line = judge_error(GOOD, "2 processes by gloo")
    assert line.verdict == "ok"
    assert line.found == "ended after 5.0 s, 1.5 s after the message, message printed"
    assert line.numbers == {"seconds": 5.0, "seconds after the message": 1.5}


@pytest.mark.parametrize(
    ("outcome", "found"),
    [
        (replace(GOOD, status=None), "killed after 60 s, message printed"),
        (replace(GOOD, marked_seconds=None), "ended after 5.0 s, message not printed"),
        (replace(GOOD, status=0), "exit status 0, message printed"),
        (
            replace(GOOD, seconds=90.0),
            "ended after 90.0 s, 86.5 s after the message, message printed",
        ),
        (
            replace(GOOD, remained=1),
            "ended after 5.0 s, 1.5 s after the message, message printed, 1 processes still ran",
        ),
    ],
)
def test_faults(outcome, found: str) -> None:
    line = judge_error(outcome, "2 processes by gloo")
    assert (line.verdict, line.found) == ("failed", found)
