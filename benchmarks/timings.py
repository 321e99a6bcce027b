"""How long cells took and what they needed, to tell what others will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.plan import ADOPT, CACHED, Plan
from benchmarks.plan import Cell as PlannedCell
from benchmarks.run_folder import CellKey
from contract.files import read_json, write_json


@dataclass(frozen=True)
class Cost:
    """What a cell takes.

    Args:
        seconds: Wall-clock time.
        memory_mib: Peak memory.
    """

    seconds: float
    memory_mib: float


class Timings:
    """Costs of earlier cells, in a file of the cache.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def record(
        self, cell: PlannedCell, budget: str, result: dict[str, Any], seconds: float
    ) -> None:
        """Keeps the cost of a finished cell.

        Args:
            cell: The cell.
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
        known[_name(cell, budget)] = {"seconds": seconds, "memory_mib": memory}
        write_json(self._path, known)

    def estimate(self, cells: Sequence[PlannedCell], budget: str) -> list[Cost | None]:
        """Returns what each cell will take; None where nothing like it has been run."""
        known = read_json(self._path) or {}
        costs = []
        for cell in cells:
            entry = known.get(_name(cell, budget))
            costs.append(Cost(entry["seconds"], entry["memory_mib"]) if entry else None)
        return costs


def total_seconds(plan: Plan, costs: Sequence[Cost | None], jobs: int) -> float | None:
    """Returns about how long the cells that are left take together; None where one is unknown.

    No run is shorter than its longest way from a classifier to what it feeds, nor than its total
    work shared evenly.
    """
    left: dict[CellKey, float] = {}
    for cell, cost in zip(plan.cells, costs, strict=True):
        if cell.state in (CACHED, ADOPT) or cell.twin is not None:
            continue
        if cost is None:
            return None
        left[cell.key] = cost.seconds

    def chain(key: CellKey | None) -> float:
        """From a teacher to a classifier to what it feeds."""
        return 0.0 if key is None else left.get(key, 0.0) + chain(plan.find(key).needs)

    return max([sum(left.values()) / jobs, *map(chain, left)], default=0.0)


def _name(cell: PlannedCell, budget: str) -> str:
    # Rows of one backbone differ in length through their tricks (mixup trains longer).
    row = cell.row
    recipe = [row.recipe or ""] if cell.key.stage == "cls" else []
    return "|".join(
        [cell.key.stage, cell.stage.config, row.backbone, budget, *recipe, *cell.tricks]
    )
