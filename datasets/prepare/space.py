"""Check free disk space before writing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rich.filesize import decimal

from contract.errors import UserError

BLOCK_BYTES = 4096


def on_disk(size_bytes: int) -> int:
    """Return the space of a file on a disk with the usual blocks of 4 KiB.

    For a million small images, this is a tenth more than their sizes.
    """
    return -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES


def folder_bytes(folder: Path) -> int:
    """Return the disk space of the files below a folder; 0 if the folder does not exist."""
    return sum(
        on_disk(os.lstat(os.path.join(parent, name)).st_size)
        for parent, _, names in os.walk(folder)
        for name in names
    )


def require_space(folder: Path, needed_bytes: int, what: str, how: str = "with --root") -> None:
    """Check that a disk has enough free space.

    Args:
        folder: The folder to write to; it need not exist yet.
        needed_bytes: The required space.
        what: The purpose, as the beginning of the message.
        how: How the command line names the folder.

    Raises:
        UserError: There is not enough space; the message has the needed and the free space.
    """
    absolute = folder.absolute()
    existing = next(path for path in (absolute, *absolute.parents) if path.exists())
    free_bytes = shutil.disk_usage(existing).free
    if needed_bytes > free_bytes:
        raise UserError(
            f"{what} takes {decimal(needed_bytes)} in {folder}, and {decimal(free_bytes)} is free "
            f"there: free {decimal(needed_bytes - free_bytes)} more, or name a folder on another "
            f"disk {how}."
        )
