"""What a job asks Slurm for: time, memory, processors and GPUs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.plan.estimate import expected_memory_bytes, expected_seconds
from benchmarks.plan.plan import Plan, PlannedRun
from benchmarks.plan.store import RunKey

# Estimates are of one machine, and the cluster may be slower or its disks busy. A job that reaches its limit is only
# continued, so a short limit costs a start, while a long one lets it wait longer in the queue.
TIME_FACTOR = 1.5
START_MINUTES = 10
UNKNOWN_MINUTES = 240
MEMORY_FACTOR = 1.3
START_GIB = 2
UNKNOWN_GIB = 16
# Loader workers and the training process, by GPU.
CPUS_PER_GPU = 8


@dataclass(frozen=True)
class Limits:
    """What the user sets for all jobs.

    Attributes:
        most_minutes: The longest time limit.
        least_minutes: The shortest time limit.
        memory_gib: Memory of each job; None for an estimate.
        cpus: Processors of each job; None for a number by GPUs.
    """

    most_minutes: int = 24 * 60
    least_minutes: int = 15
    memory_gib: int | None = None
    cpus: int | None = None


@dataclass(frozen=True)
class Resources:
    """What a job asks for.

    Attributes:
        minutes: Its time limit.
        memory_gib: Its memory.
        cpus: Its processors.
        gpus: Its GPUs.
    """

    minutes: int
    memory_gib: int
    cpus: int
    gpus: int

    def __str__(self) -> str:
        gpus = f", {self.gpus} GPU" + "s" * (self.gpus > 1) if self.gpus else ""
        hours = f"{self.minutes // 60} h {self.minutes % 60:02d} min"
        cpus = f"{self.cpus} core" + "s" * (self.cpus > 1)
        return f"{hours}, {self.memory_gib} GiB, {cpus}{gpus}"


class Estimator:
    """Derives the resources of jobs from a plan.

    Args:
        plan: The plan.
        limits: What the user sets.
    """

    def __init__(self, plan: Plan, limits: Limits) -> None:
        self._limits = limits
        self._seconds = expected_seconds(plan)
        self._memory = expected_memory_bytes(plan)

    def of(self, runs: Iterable[PlannedRun], gpus: int) -> Resources:
        """Return what covers each of some runs.

        Args:
            runs: The runs.
            gpus: GPUs of each.
        """
        limits, keys = self._limits, [run.key for run in runs]
        minutes = max(self._minutes(key) for key in keys)
        memory = limits.memory_gib or max(self._gib(key) for key in keys)
        cpus = limits.cpus or max(1, CPUS_PER_GPU * gpus)
        least = min(limits.least_minutes, limits.most_minutes)
        return Resources(min(max(minutes, least), limits.most_minutes), memory, cpus, gpus)

    def _minutes(self, key: RunKey) -> int:
        seconds = self._seconds.get(key)
        if seconds is None:
            return UNKNOWN_MINUTES
        return math.ceil(seconds * TIME_FACTOR / 60) + START_MINUTES

    def _gib(self, key: RunKey) -> int:
        known = self._memory.get(key)
        if known is None:
            return UNKNOWN_GIB
        return math.ceil(known * MEMORY_FACTOR / 1024**3) + START_GIB
