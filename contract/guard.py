"""Run a command, and kill it with all its children when the harness ends.

The harness starts this file as the leader of a separate process group and holds the other end of its standard input;
`contract.launch` does the same with a copy of itself. This file needs nothing but the standard library.
When the harness ends, even by SIGKILL, the kernel closes that end and the group is killed, so no task or loader
process continues. torchrun gives each of its processes a group of its own; these are killed one by one, also when
torchrun itself was killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36  # of linux/prctl.h


def main(command: list[str]) -> int:
    """Run a command and return its exit status, 128 + N if signal N ended it."""
    return guard(lambda: subprocess.Popen(command, stdin=subprocess.DEVNULL).wait)


def guard(start: Callable[[], Callable[[], int]]) -> int:
    """Start a child process, wait for its end, and kill it with all its children when standard input is closed.

    Args:
        start: Starts the child and returns a function that waits for its status, −N if signal N ended it.

    Returns:
        The exit status, 128 + N if signal N ended the child.
    """
    # The task handles the signals. A handler, unlike SIG_IGN, is not inherited by the child.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
    _adopt_orphans()
    wait = start()
    threading.Thread(target=_end_with_the_harness, daemon=True).start()
    status = wait()
    _kill_descendants()
    return status if status >= 0 else 128 - status


def _end_with_the_harness() -> None:
    """Kill the process group as soon as the other end of standard input is closed."""
    while os.read(0, 1):
        pass
    _kill_descendants()
    os.killpg(0, signal.SIGKILL)


def _adopt_orphans() -> None:
    """Become the parent of processes whose own parent ends, so that they remain descendants of this one."""
    with contextlib.suppress(OSError, AttributeError):  # no Linux
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _kill_descendants() -> None:
    # A process starts no others once its parents are killed, which come first.
    for pid in _descendants(os.getpid()):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _descendants(parent: int) -> list[int]:
    """Return the children of a process and theirs, parents first; none on a system without /proc."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name stands in parentheses and may contain any character.
            after_name = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
            children.setdefault(int(after_name.split()[1]), []).append(int(path.parent.name))
    found = list(children.get(parent, ()))
    for pid in found:
        found += children.get(pid, ())
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
