"""A run that has a process."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.plan.claims import Claim
from benchmarks.plan.plan import PlannedRun
from benchmarks.run.beacon import Beacon
from benchmarks.run.process import TaskProcess


@dataclass
class Running:
    """A run that has a process.

    Attributes:
        lock: Claim that keeps other harnesses from training the same identity.
        beacon: Stores its progress for `status`.
    """

    run: PlannedRun
    process: TaskProcess
    lock: Claim
    beacon: Beacon
