"""A task as a process, with its output in a log, progress reports, and reliable termination."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.run.launcher import ForkedProcess, Launchers
from contract import guard, progress

# torchrun reports several lines on each of its processes.
LOG_TAIL_LINES = 400

_GUARD = Path(guard.__file__)


class TaskProcess:
    """A running task.

    Args:
        command: The command line.
        log: Where standard output and standard error go, appended.
        cwd: The working directory.
        environment: Variables in addition to those of this process.
        on_progress: Called from another thread with each progress report of the task.
        launchers: Processes that have imported the tasks' packages; None always starts a new process.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        cwd: Path,
        environment: Mapping[str, str],
        on_progress: Callable[[dict[str, Any]], None],
        launchers: Launchers | None = None,
    ) -> None:
        self.log = log
        self.started = time.monotonic()
        self.log_error: OSError | None = None
        self._asked_to_end = False
        self._on_progress = on_progress
        self._log_file = log.open("ab", buffering=0)
        self._start_anew = lambda: subprocess.Popen(
            # -I and -S: the guard needs only the standard library, and starts faster without the rest.
            [sys.executable, "-I", "-S", str(_GUARD), *command],
            cwd=cwd,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        forked = launchers and launchers.start(command, cwd, environment)
        self._process = forked or self._start_anew()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process that leads the task's group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether that process runs, even if others of the task outlive it; `poll` waits for their output."""
        return self._process.poll() is None

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self.started

    def poll(self) -> int | None:
        """Return the exit status once the task has ended and its log is complete, else None.

        Raises:
            OSError: The log could not be written.
        """
        if self.log_error is not None:
            raise self.log_error
        status = self._process.poll()
        if isinstance(self._process, ForkedProcess) and self._process.failed_to_start:
            if self._asked_to_end:
                self._close()
                return 128 + signal.SIGKILL
            self._replace_launcher()
        if status is None:
            return None
        # Remaining child processes would keep the output open and the machine busy.
        self.signal(signal.SIGKILL)
        self._reader.join(timeout=10)
        self._close()
        return status if status >= 0 else 128 - status

    def signal(self, number: int) -> None:
        """Send a signal to the task and its children."""
        if number == signal.SIGKILL and self._process.returncode is None:
            # torchrun's processes are not in the group; it passes all other signals on to them.
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(self._process.pid).children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.kill()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
        self._asked_to_end = True

    def tail(self) -> list[str]:
        """Return the last lines of the log."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 65536))
            text = file.read().decode("utf-8", errors="replace")
        return text.splitlines()[-LOG_TAIL_LINES:]

    def _replace_launcher(self) -> None:
        """Start the task in a new process, because the launcher ended before it could."""
        self._reader.join(timeout=10)
        self._close_pipes()
        self._process = self._start_anew()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        for line in stream:
            report = progress.parse(line)
            if report is not None:
                self._on_progress(report)
                continue
            if self.log_error is not None:
                continue  # The pipe is still emptied, so the task does not block.
            try:
                self._log_file.write(line)
            except OSError as error:
                self.log_error = error

    def _close(self) -> None:
        self._log_file.close()
        self._close_pipes()

    def _close_pipes(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def terminate(
    processes: Sequence[TaskProcess], grace_seconds: float, in_a_hurry: Callable[[], bool]
) -> None:
    """End tasks: ask them first, so they can save their position, and kill those that remain.

    Args:
        processes: The tasks.
        grace_seconds: How long they may take to end.
        in_a_hurry: Returns whether to kill them at once; called while waiting.
    """
    for process in processes:
        process.signal(signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while time.monotonic() < deadline and not in_a_hurry():
        if all([_has_ended(process) for process in processes]):
            return
        time.sleep(0.05)
    for process in processes:
        process.signal(signal.SIGKILL)
        while not _has_ended(process):
            time.sleep(0.02)


def _has_ended(process: TaskProcess) -> bool:
    try:
        return process.poll() is not None
    except OSError:  # Its log could not be written; it is ended anyway.
        process.log_error = None
        return False


@contextmanager
def caught_signals() -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGUSR1 in a list for an orderly shutdown.

    The handlers are set explicitly, because a shell starts background jobs with SIGINT ignored.
    """
    caught: list[int] = []

    def catch(number: int, frame: object) -> None:
        caught.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.signal(number, catch) for number in numbers}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
