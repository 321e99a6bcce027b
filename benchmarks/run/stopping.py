"""When runs must stop, and what they say when they have."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.run.process import terminate
from benchmarks.run.running import Running
from contract.command_line import STOPPED as STOPPED_STATUS

# How long tasks may take to save.
GRACE_SECONDS = 60.0
SAVING = "Saving checkpoints; press Ctrl-C again to end at once."
# What a task that is stopped while it starts, or that saves for too long, ends with.
_ENDED_BY_HARNESS = (128 + signal.SIGTERM, 128 + signal.SIGKILL, 130)


class Interrupted(BaseException):
    """The command was asked to end, by Ctrl-C or by SIGTERM."""


def stop_time(started: float, seconds: float | None) -> float | None:
    """Return when runs are asked to stop, so that they can save until the time is over.

    Args:
        started: When the time began, of `time.monotonic`.
        seconds: `--stop-after`; None for no limit.
    """
    if seconds is None:
        return None
    return started + seconds - min(GRACE_SECONDS, seconds / 10)


@dataclass(frozen=True)
class Ending:
    """When and how tasks are asked to end.

    Attributes:
        at: When, of `time.monotonic`; None for never.
        grace_seconds: Time that they have to save and end.
        say: Prints a sentence.
    """

    at: float | None = None
    grace_seconds: float = GRACE_SECONDS
    say: Callable[[str], None] = lambda text: None

    def end(self, running: Iterable[Running], in_a_hurry: Callable[[], bool]) -> None:
        """Ask running tasks to save and end, and wait until they have; kill them in a hurry."""
        left = [each.process for each in running]
        if left:
            self.say(SAVING)
        terminate(left, self.grace_seconds, in_a_hurry)


class Stopping:
    """What the user and the clock ask for.

    Args:
        signals: The signals that have come; it grows.
        at: When to stop, of `time.monotonic`; None for never.
    """

    def __init__(self, signals: Sequence[int], at: float | None) -> None:
        self._signals = signals
        self._at = at

    @property
    def interruptions(self) -> int:
        """How many signals end the command without a report."""
        return sum(number != signal.SIGUSR1 for number in self._signals)

    @property
    def is_due(self) -> bool:
        """Whether the time is over, by the clock or by SIGUSR1."""
        return signal.SIGUSR1 in self._signals or (
            self._at is not None and time.monotonic() >= self._at
        )


def stopped_message(status: int, *, asked: bool, reported: bool) -> str:
    """Return how a task was stopped, as a sentence; empty if it was not.

    Args:
        status: Its exit status.
        asked: Whether this command asked it to stop.
        reported: Whether it said so itself; torchrun has an exit status of its own.
    """
    if status == STOPPED_STATUS or reported:
        return "stopped; it saved its position"
    if asked and status in _ENDED_BY_HARNESS:
        return "stopped; it goes on from its last checkpoint"
    return ""
