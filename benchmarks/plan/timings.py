"""Times and memory of earlier runs, for estimates of later ones."""

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
    """Time and memory of a run.

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
        """Store the cost of a finished run.

        Args:
            run: The run.
            budget: Its budget.
            result: Its result.
            seconds: Run time of its last process.
        """
        trained, memory = result.get("wall_seconds"), result.get("peak_memory_mib")
        if not isinstance(trained, int | float) or not isinstance(memory, int | float):
            return
        # The process time includes imports; the result's time includes work before an interruption.
        seconds = round(max(trained, seconds), 2)
        known = read_json(self._path) or {}
        known[_name(run, budget)] = {"seconds": seconds, "memory_mib": memory}
        write_json(self._path, known)

    def estimate(self, runs: Sequence[PlannedRun], budget: str) -> list[Cost | None]:
        """Return the expected cost of each run; None if no similar run is known."""
        known = read_json(self._path) or {}
        costs = []
        for run in runs:
            entry = known.get(_name(run, budget))
            costs.append(Cost(entry["seconds"], entry["memory_mib"]) if entry else None)
        return costs


def total_seconds(plan: Plan, costs: Sequence[Cost | None], jobs: int) -> float | None:
    """Estimate the total time of the remaining runs; None if the cost of one is unknown.

    It is at least the longest chain of dependent runs, and at least the total work divided evenly.
    """
    left: dict[RunKey, float] = {}
    for run, cost in zip(plan.wanted, costs, strict=True):
        if run.state == CACHED or run.twin is not None:
            continue
        if cost is None:
            return None
        left[run.key] = cost.seconds

    def chain(key: RunKey | None) -> float:
        """Return the time of a run with its classifier and teacher."""
        return 0.0 if key is None else left.get(key, 0.0) + chain(plan.find(key).needs)

    return max([sum(left.values()) / jobs, *map(chain, left)], default=0.0)


def _name(run: PlannedRun, budget: str) -> str:
    # Rows with the same backbone differ in length because of their tricks (mixup trains longer).
    row, task = run.row, run.key.task
    recipe = row.of(task).recipe
    parts = [task, run.setup.config, row.backbone, budget]
    if run.processes > 1:
        parts.append(f"{run.processes} processes")
    return "|".join([*parts, *([recipe] if recipe is not None else []), *run.tricks])
