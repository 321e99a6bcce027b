"""The outcome of a run."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.plan.store import RunKey

COMPLETED = "completed"
FAILED = "failed"
SKIPPED = "skipped"
# Not finished; the same command goes on with it.
STOPPED = "stopped"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run.

    Attributes:
        key: The run.
        status: `benchmarks.plan.plan.CACHED`, COMPLETED, FAILED, SKIPPED or STOPPED.
        message: Why it failed, was skipped or stopped; else empty.
    """

    key: RunKey
    status: str
    message: str = ""
