"""The outcome of a run."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.plan.store import RunKey

COMPLETED = "completed"
FAILED = "failed"
SKIPPED = "skipped"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run.

    Attributes:
        key: The run.
        status: `benchmarks.plan.plan.CACHED`, COMPLETED, FAILED or SKIPPED.
        message: Why it failed or was skipped; else empty.
    """

    key: RunKey
    status: str
    message: str = ""
