"""Keeps small answers in files. What is kept only saves time and may be removed."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError


def read_json(path: Path) -> dict[str, Any] | None:
    """Returns what `write_json` kept, or None where that is missing or damaged."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return kept if isinstance(kept, dict) else None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes `content` so that a reader sees all of it or nothing.

    Raises:
        UserError: The file can't be written, for example because the disk is full.
    """
    # The process id keeps two runs that check the same set from writing into one file.
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(content), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise UserError(
            f"can't write {path}: {error.strerror or error}. "
            "Free some space or make the folder writable."
        ) from error
