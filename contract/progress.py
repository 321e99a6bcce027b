"""The progress line, which a task writes to standard output and the harness reads."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

# The harness sets this variable to "1" for the processes whose progress it reads.
VARIABLE = "TRICKBENCH_PROGRESS"
_MARK = "@progress "


def is_asked_for() -> bool:
    """Return whether the harness reads this process's progress."""
    return os.environ.get(VARIABLE) == "1"


def write(report: Mapping[str, Any]) -> None:
    """Print one report as a progress line."""
    print(_MARK + json.dumps(report), flush=True)


def parse(line: bytes) -> dict[str, Any] | None:
    """Return the report in a line of a task's output, or None if the line is not a progress line."""
    if not line.startswith(_MARK.encode()):
        return None
    try:
        report = json.loads(line[len(_MARK) :])
    except ValueError:
        return None
    return report if isinstance(report, dict) else None
