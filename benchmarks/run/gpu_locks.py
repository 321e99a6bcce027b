"""Locks on GPUs, so that two commands on one machine do not choose the same ones.

A run takes some time until it needs memory, and until then its GPU looks free. The locks lie in the machine's own
temporary folder. They count only among the commands of one user; others are noticed by the memory that they use.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Container
from pathlib import Path


class GpuLocks:
    """The GPUs that this command holds.

    Args:
        folder: Where the locks are; None for this user's folder in the temporary folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.gettempdir(), f"trickbench-gpus-{os.getuid()}")
        # Open files: a lock ends with its file, and so with this process.
        self._held: dict[str, int] = {}

    def take(self, gpu: str) -> bool:
        """Hold a GPU; return False if another command holds it."""
        if gpu in self._held:
            return True
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = os.open(self._folder / gpu.replace("/", "-"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            return True  # a temporary folder that cannot be written must not stop the work
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        except OSError:
            os.close(file)
            return True
        self._held[gpu] = file
        return True

    def keep(self, gpus: Container[str]) -> None:
        """Give all other GPUs back."""
        for gpu in [gpu for gpu in self._held if gpu not in gpus]:
            os.close(self._held.pop(gpu))
