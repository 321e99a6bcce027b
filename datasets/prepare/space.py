"""Whether a disk has room, asked before anything is written to it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rich.filesize import decimal

from contract.errors import UserError

BLOCK_BYTES = 4096


def on_disk(size_bytes: int) -> int:
    """Return what a file takes on a disk with the usual blocks of 4 KiB.

    With a million small pictures this is a tenth more than their sizes.
    """
    return -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES


def folder_bytes(folder: Path) -> int:
    """Return what the files below a folder take on the disk; 0 if there is no folder."""
    return sum(
        on_disk(os.lstat(os.path.join(parent, name)).st_size)
        for parent, _, names in os.walk(folder)
        for name in names
    )


def require_space(folder: Path, needed_bytes: int, what: str) -> None:
    """Check that a disk has room.

    Args:
        folder: Where it will be written; need not exist yet.
        needed_bytes: How much that is.
        what: What it is for, the beginning of the sentence.

    Raises:
        UserError: There is too little; with what is needed and what is free.
    """
    absolute = folder.absolute()
    existing = next(path for path in (absolute, *absolute.parents) if path.exists())
    free_bytes = shutil.disk_usage(existing).free
    if needed_bytes > free_bytes:
        raise UserError(
            f"{what} takes {decimal(needed_bytes)} in {folder}, and {decimal(free_bytes)} is free "
            f"there: free {decimal(needed_bytes - free_bytes)} more, or name a folder on another "
            "disk with --root."
        )
