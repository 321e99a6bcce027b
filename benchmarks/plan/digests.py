"""Digests of checkpoints, kept in a file: a plan of many runs would otherwise read gigabytes each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contract.files import file_sha256, read_json, write_json


class Digests:
    """Digests of files by path and state (size, time of change, inode).

    Args:
        path: The file that keeps them; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Any] = read_json(path) or {}
        self._changed = False

    def of(self, file: Path) -> str:
        """Return the sha256 of a file, which is read only if its state has changed."""
        status = file.stat()
        state = [status.st_size, status.st_mtime_ns, status.st_ino]
        entry = self._known.get(str(file))
        if isinstance(entry, list) and entry[:3] == state:
            return entry[3]
        digest = file_sha256(file)
        self._known[str(file)] = [*state, digest]
        self._changed = True
        return digest

    def save(self) -> None:
        """Keep new digests for later commands; a folder that cannot be written is no mistake here."""
        if not self._changed:
            return
        try:
            write_json(self._path, self._known)
        except OSError:
            return
        self._changed = False
