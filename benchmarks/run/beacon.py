"""The last progress report of a run as a file, so that `status` can show it from any machine."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.plan.store import PROGRESS_FILE
from contract.files import read_json, write_json

SECONDS_BETWEEN_WRITES = 5.0


class Beacon:
    """Writes the last progress report of a run, at most every few seconds.

    Args:
        folder: The run's work dir.
        gpu: The GPU that it uses; None for all or none.
        interval_seconds: Least time between two writes.
    """

    def __init__(
        self, folder: Path, gpu: str | None, interval_seconds: float = SECONDS_BETWEEN_WRITES
    ) -> None:
        self._file = folder / PROGRESS_FILE
        self._gpu = gpu
        self._interval = interval_seconds
        self._next = 0.0
        # What an interrupted run had reached stays until it has reached more.
        self._write((read_json(self._file) or {}).get("report") or {})

    def report(self, report: Mapping[str, Any]) -> None:
        """Write a report, unless the last one is very recent."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._interval
            self._write(report)

    def remove(self) -> None:
        """Remove the file of a run that is done."""
        with contextlib.suppress(OSError):
            self._file.unlink()

    def _write(self, report: Mapping[str, Any]) -> None:
        # A disk that is full for a moment must not end a run that needs none of it.
        with contextlib.suppress(OSError, ValueError):
            write_json(self._file, {"gpu": self._gpu, "report": dict(report)})
