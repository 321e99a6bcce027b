"""Checks that crash, hang, or must run alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from benchmarks.acceptance.perform import Check, perform
from contract.acceptance import Line


def good(name: str) -> Check:
    return Check(name, lambda: [Line(check=name, found="all", verdict="ok")])


def outcome(checks: list[Check], jobs: int = 2) -> list[tuple[str, str]]:
    return [(line.check, line.verdict) for line in perform(checks, jobs)]


def test_crash_is_a_line_and_stops_nothing() -> None:
    def crash() -> Iterator[Line]:
        yield Line(check="half", found="1", verdict="ok")
        raise RuntimeError("the disk\n is gone")

    lines = list(perform([Check("crashing", crash), good("next")], 1))
    assert [(line.check, line.verdict) for line in lines] == [
        ("half", "ok"),
        ("crashing", "failed"),
        ("next", "ok"),
    ]
    assert lines[1].found == "the check crashed: RuntimeError: the disk is gone"


def test_hang_is_a_line_and_stops_nothing() -> None:
    release = threading.Event()

    def hang() -> Iterator[Line]:
        yield Line(check="half", found="1", verdict="ok")
        release.wait(30)

    lines = list(perform([Check("hanging", hang, limit_seconds=0.2), good("next")], 1))
    release.set()
    assert [line.verdict for line in lines] == ["ok", "failed", "ok"]
    assert lines[1].found == "it did not end within 0 s; last result: half"
    assert lines[1].seconds is not None


def test_lines_come_in_the_order_of_the_checks() -> None:
    second_done = threading.Event()

    def first() -> Iterator[Line]:
        assert second_done.wait(30)
        yield Line(check="first", found="", verdict="ok")

    def second() -> Iterator[Line]:
        second_done.set()
        yield Line(check="second", found="", verdict="ok")

    assert outcome([Check("first", first), Check("second", second)]) == [
        ("first", "ok"),
        ("second", "ok"),
    ]


def test_measurement_runs_alone() -> None:
    running: list[str] = []
    together: list[tuple[str, ...]] = []

    def note(name: str) -> Callable[[], Iterator[Line]]:
        def lines() -> Iterator[Line]:
            running.append(name)
            together.append(tuple(running))
            threading.Event().wait(0.1)
            running.remove(name)
            yield Line(check=name, found="", verdict="ok")

        return lines

    checks = [
        Check("a", note("a")),
        Check("speed", note("speed"), alone=True),
        Check("b", note("b")),
    ]
    assert outcome(checks) == [("a", "ok"), ("speed", "ok"), ("b", "ok")]
    assert together == [("a",), ("speed",), ("b",)]
