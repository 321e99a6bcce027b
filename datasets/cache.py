"""Answers that are kept in files. They only save time and may be removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contract import files
from contract.errors import UserError


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` so that a reader sees all of it or nothing.

    Raises:
        UserError: The file cannot be written, for example because the disk is full.
    """
    try:
        files.write_json(path, content)
    except OSError as error:
        raise UserError(
            f"can't write {path}: {error.strerror or error}. "
            "Free some space or make the folder writable."
        ) from error
