"""Images of a forward pass that a device's memory allows, by row and task.

A task reports them when its passes do not fit. The harness starts the run again with them, and stores them in the run
folder, so that all seeds of a row train alike and a later command starts with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.plan.claims import CLAIMS, hold
from contract.files import read_json, write_json

LIMITS_FILE = "device_batch.json"
# The config key, which is also the key of a task's report.
KEY = "device_batch_size"


@dataclass(frozen=True)
class Limit:
    """The most images of a forward pass.

    Attributes:
        images: Their number.
        changes_numbers: Whether batch statistics are those of a pass; the number is then part of the identity.
    """

    images: int
    changes_numbers: bool


class Limits:
    """The limits of a run folder.

    Args:
        run_dir: The run folder.
    """

    def __init__(self, run_dir: Path) -> None:
        self._file = run_dir / LIMITS_FILE
        self._limits = {
            key: limit for key, value in self._stored().items() if (limit := _read(value))
        }

    def _stored(self) -> Mapping[str, Any]:
        return read_json(self._file) or {}

    def of(self, row: str, task: str) -> Limit | None:
        """Return the limit of a row's task; None if there is none."""
        return self._limits.get(f"{row}/{task}")

    def set(self, row: str, task: str, limit: Limit) -> None:
        """Store the limit of a row's task."""
        self._limits[f"{row}/{task}"] = limit
        with hold(self._file.parent / CLAIMS / "limits"):
            stored = {key: asdict(value) for key, value in self._limits.items()}
            # Another command may have stored those of other rows.
            write_json(self._file, {**self._stored(), **stored})


def _read(value: Any) -> Limit | None:
    """Return a limit from a report or a file; None if it is damaged."""
    if not isinstance(value, Mapping):
        return None
    images, changes = value.get("images"), value.get("changes_numbers")
    if not (isinstance(images, int) and images >= 1 and isinstance(changes, bool)):
        return None
    return Limit(images, changes)


def reported(report: Mapping[str, Any]) -> Limit | None:
    """Return the limit in a task's progress report; None if it reports none."""
    if KEY not in report:
        return None
    return _read({"images": report[KEY], "changes_numbers": report.get("changes_numbers")})
