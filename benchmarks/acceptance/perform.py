"""Perform checks, several at a time, so that neither a crash nor a hang of one stops the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from contract.acceptance import Line

_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: Its name in the line that says that it crashed or hangs.
        lines: Performs it; yields a line for each result.
        limit_seconds: The time after which it counts as hanging.
        alone: Whether no other check may run at the same time, because it measures a speed.
    """

    name: str
    lines: Callable[[], Iterable[Line]]
    limit_seconds: float = 300.0
    alone: bool = False


def perform(checks: Sequence[Check], jobs: int) -> Iterator[Line]:
    """Perform checks and yield their lines in the order of the checks, each as early as possible.

    Args:
        checks: In the order in which they start.
        jobs: Number of checks at a time.
    """
    waiting = list(enumerate(checks))
    running: dict[int, _Running] = {}
    done: dict[int, list[Line]] = {}
    next_printed = 0
    while waiting or running:
        while waiting and _may_start(waiting[0][1], running, jobs):
            number, check = waiting.pop(0)
            running[number] = _Running(check)
        for number, one in list(running.items()):
            lines = one.result()
            if lines is not None:
                done[number] = lines
                del running[number]
        while next_printed in done:
            yield from done.pop(next_printed)
            next_printed += 1
        time.sleep(_POLL_SECONDS)


def _may_start(check: Check, running: dict[int, _Running], jobs: int) -> bool:
    if check.alone or any(one.check.alone for one in running.values()):
        return not running
    return len(running) < jobs


class _Running:
    """A check in a thread of its own; a thread that hangs ends with the process."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self._lines: list[Line] = []
        self._crash: str | None = None
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        started = self._started
        try:
            for line in self.check.lines():
                now = time.monotonic()
                seconds = line.seconds if line.seconds is not None else now - started
                self._lines.append(line.model_copy(update={"seconds": round(seconds, 1)}))
                started = now
        except Exception as error:
            words = " ".join(str(error).split())
            self._crash = f"the check crashed: {type(error).__name__}: {words[:200]}"

    def result(self) -> list[Line] | None:
        """Return the lines of a check that ended or hangs; None while it may still go on."""
        if not self._thread.is_alive():
            return [*self._lines, *([self._failed(self._crash)] if self._crash else [])]
        if time.monotonic() - self._started < self.check.limit_seconds:
            return None
        found = f"it did not end within {self.check.limit_seconds:.0f} s"
        last = f"; last result: {self._lines[-1].check}" if self._lines else ""
        return [*self._lines, self._failed(found + last)]

    def _failed(self, found: str) -> Line:
        seconds = round(time.monotonic() - self._started, 1)
        return Line(
            check=self.check.name,
            found=found,
            expected="a result",
            verdict="failed",
            seconds=seconds,
        )
