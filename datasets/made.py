"""The note on how a command made a dataset's images from others: `made.json` in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contract.files import read_json

MADE_FILE = "made.json"


def made(root: Path) -> dict[str, Any] | None:
    """Return the note; None for images as they were published."""
    return read_json(root / MADE_FILE)


def describe(root: Path) -> str | None:
    """Describe the images of a dataset for the protocol of a table; None for images as they were published."""
    note = made(root)
    if note is None or "short_side" not in note:
        return None
    return f"short side {note['short_side']}, JPEG quality {note['quality']}"
