"""How long runs took and how much memory they needed, to estimate what others will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.plan.plan import CACHED, Plan, PlannedRun
from benchmarks.plan.store import RunKey
from contract.files import read_json, write_json


@dataclass(frozen=True)
class Cost:
    """What a run takes.

    Attributes:
        seconds: Wall-clock time.
        memory_mib: Peak memory.
    """

    seconds: float
    memory_mib: float


class Timings:
    """Costs of earlier runs, in a file of the cache.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def record(self, run: PlannedRun, budget: str, result: dict[str, Any], seconds: float) -> None:
        """Keep the cost of a finished run.

        Args:
            run: The run.
            budget: How long it was to train.
            result: Its result.
            seconds: How long its last process ran.
        """
        trained, memory = result.get("wall_seconds"), result.get("peak_memory_mib")
        if not isinstance(trained, int | float) or not isinstance(memory, int | float):
            return
        # The process includes imports, the result what was done before an interruption.
        seconds = round(max(trained, seconds), 2)
        known = read_json(self._path) or {}
        known[_name(run, budget)] = {"seconds": seconds, "memory_mib": memory}
        write_json(self._path, known)

    def estimate(self, runs: Sequence[PlannedRun], budget: str) -> list[Cost | None]:
        """Return what each run will take; None if nothing like it has been run."""
        known = read_json(self._path) or {}
        costs = []
        for run in runs:
            entry = known.get(_name(run, budget))
            costs.append(Cost(entry["seconds"], entry["memory_mib"]) if entry else None)
        return costs


def total_seconds(plan: Plan, costs: Sequence[Cost | None], jobs: int) -> float | None:
    """Return about how long the runs that are left take together; None if one is unknown.

    It cannot be shorter than the longest chain from a classifier to what starts from it, nor than the total work
    divided evenly.
    """
    left: dict[RunKey, float] = {}
    for run, cost in zip(plan.wanted, costs, strict=True):
        if run.state == CACHED or run.twin is not None:
            continue
        if cost is None:
            return None
        left[run.key] = cost.seconds

    def chain(key: RunKey | None) -> float:
        """Return the time from a teacher over a classifier to a run."""
        return 0.0 if key is None else left.get(key, 0.0) + chain(plan.find(key).needs)

    return max([sum(left.values()) / jobs, *map(chain, left)], default=0.0)


def _name(run: PlannedRun, budget: str) -> str:
    # Rows of one backbone differ in length through their tricks (mixup trains longer).
    row, task = run.row, run.key.task
    recipe = row.of(task).recipe
    parts = [task, run.setup.config, row.backbone, budget]
    return "|".join([*parts, *([recipe] if recipe is not None else []), *run.tricks])
