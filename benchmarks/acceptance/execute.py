"""Run a command with a time limit, and end everything that it started."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.run.process import TaskProcess

_POLL_SECONDS = 0.02
_COUNT_SECONDS = 0.5
# For children that end a little later than their parent.
_GRACE_SECONDS = 1.0
_LONGEST_WORDS = 200
# The status of a task that found a mistake of the user, and printed one sentence.
USER_ERROR = 2


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        status: Exit status; None if it was killed.
        seconds: From the start to the end.
        output: Standard output and standard error.
        limit_seconds: The time limit.
        stopped: Whether `until` asked for the end.
        marked_seconds: When `mark` was first seen in the output, from the start; None if it was not.
        remained: Number of its processes that were still running when it ended.
    """

    status: int | None
    seconds: float
    output: str
    limit_seconds: float
    stopped: bool = False
    marked_seconds: float | None = None
    remained: int = 0

    @property
    def problem(self) -> str | None:
        """Why the command did not succeed, in words with its last line; None if it did."""
        if self.status == 0:
            return None
        if self.status is None:
            kind = f"it did not end within {self.limit_seconds:.0f} s"
        elif self.status > 128:
            kind = f"signal {self.status - 128} ended it"
        else:
            kind = f"exit status {self.status}"
        return f"{kind}; last line: {last_line(self.output)}"


def last_line(output: str) -> str:
    """Return the last line that says something, shortened."""
    lines = [line.strip() for line in output.splitlines()]
    # The sentence of a task comes before torchrun's own report.
    errors = [line for line in lines if line.startswith("error: ")]
    spoken = errors or [line for line in lines if any(map(str.isalnum, line))]
    text = spoken[-1] if spoken else "no output"
    return text if len(text) <= _LONGEST_WORDS else f"{text[:_LONGEST_WORDS]}…"


def execute(
    command: Sequence[str],
    *,
    log: Path,
    cwd: Path,
    limit_seconds: float,
    environment: Mapping[str, str] | None = None,
    until: Callable[[], bool] | None = None,
    mark: str | None = None,
) -> Outcome:
    """Run a command to its end, or kill it.

    Args:
        command: The command line.
        log: A new file for its output.
        cwd: The working directory.
        limit_seconds: Kill it after this time.
        environment: Variables in addition to those of this process.
        until: Called all the time; SIGKILL is sent as soon as it returns True.
        mark: Note when these words first appear in the output.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    process = TaskProcess(
        command, log=log, cwd=cwd, environment=environment or {}, on_progress=lambda _: None
    )
    family: dict[int, psutil.Process] = {}
    stopped, marked, counted, killed = False, None, 0.0, False
    while process.running:
        stopped = until is not None and until()
        if stopped or process.seconds > limit_seconds:
            family |= {child.pid: child for child in _children(process.pid)}
            process.signal(signal.SIGKILL)
            killed = True
            break
        if mark is not None and marked is None and mark in _text(log):
            marked = process.seconds
        if process.seconds - counted > _COUNT_SECONDS:
            # torchrun's workers have sessions of their own: they outlive the group of their parent.
            counted = process.seconds
            family |= {child.pid: child for child in _children(process.pid)}
        time.sleep(_POLL_SECONDS)
    seconds = process.seconds
    # Before `poll`, because they hold the output open.
    remained = _end(family.values(), 0.0 if killed else _GRACE_SECONDS)
    while (status := process.poll()) is None:
        time.sleep(_POLL_SECONDS)
    output = _text(log)
    if mark is not None and marked is None and mark in output:
        marked = seconds
    return Outcome(
        status=None if killed else status,
        seconds=seconds,
        output=output,
        limit_seconds=limit_seconds,
        stopped=stopped,
        marked_seconds=marked,
        remained=0 if killed else remained,
    )


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _end(family: Iterable[psutil.Process], grace_seconds: float) -> int:
    """Kill the processes that still run after some time; return their number."""
    running = [child for child in family if _runs(child)]
    _, running = psutil.wait_procs(running, timeout=grace_seconds)
    running = [child for child in running if _runs(child)]
    for child in running:
        with contextlib.suppress(psutil.Error):
            child.kill()
    psutil.wait_procs(running, timeout=5)
    return len(running)


def _runs(child: psutil.Process) -> bool:
    # `is_running` compares the start time too, in case the number was given to another process.
    try:
        return child.is_running() and child.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
