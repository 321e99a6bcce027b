"""Times and memory of earlier runs, for estimates of later ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.plan import identity
from benchmarks.plan.costs import Cost
from benchmarks.plan.plan import PlannedRun
from contract.files import read_json, write_json


class Timings:
    """Costs of earlier runs on one hardware, in a file of the cache.

    Args:
        path: The file; it need not exist.
        hardware: The key of the hardware.
    """

    def __init__(self, path: Path, hardware: str = "") -> None:
        self._path = path
        self._hardware = hardware

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
        on_gpu = (result.get("device") or {}).get("type") == "cuda"
        known = read_json(self._path) or {}
        known[self._name(run, budget)] = {
            "seconds": seconds,
            "memory_mib": memory,
            "on_gpu": on_gpu,
        }
        write_json(self._path, known)

    def estimate(self, runs: Sequence[PlannedRun], budget: str) -> list[Cost | None]:
        """Return the cost of the last run like each of these; None if there was none."""
        known = read_json(self._path) or {}
        return [_cost(known.get(self._name(run, budget))) for run in runs]

    def _name(self, run: PlannedRun, budget: str) -> str:
        # Rows with the same backbone differ in length because of their tricks (mixup trains longer).
        row, task = run.row, run.key.task
        recipe = row.of(task).recipe
        given = [f"{key}={text}" for key, text in identity.overrides(run.setup.overrides).items()]
        parts = [self._hardware, task, run.setup.config, row.backbone, budget]
        parts += [str(row.precision), str(run.data.fingerprint)[:12], *given]
        if run.processes > 1:
            parts.append(f"{run.processes} processes")
        return "|".join([*parts, *([recipe] if recipe is not None else []), *run.tricks])


def _cost(entry: dict[str, Any] | None) -> Cost | None:
    if entry is None:
        return None
    memory = round(entry["memory_mib"] * 2**20)
    if entry.get("on_gpu"):
        return Cost(entry["seconds"], device_bytes=memory)
    return Cost(entry["seconds"], host_bytes=memory)
