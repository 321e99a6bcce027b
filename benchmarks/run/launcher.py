"""Warm processes that start the runs of a task without importing its packages again (`contract.launch`)."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from contract.tasks import TASKS

_MODULE = "contract.launch"
# Imported by mmengine's Runner when it starts.
_IMPORTED_LATER = ("matplotlib.figure", "matplotlib.backends.backend_agg", "setuptools")
# GPUs are hidden during the import, at which mmengine asks for them: a process cannot be forked once it uses one.
_NO_GPU = {
    "CUDA_VISIBLE_DEVICES": "",
    "HIP_VISIBLE_DEVICES": "",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}
# The start waits for the import of the task's packages.
_MOST_SECONDS_TO_START = 120.0
_SECONDS_TO_END = 0.5


class ForkedProcess:
    """A run that a launcher starts, with the parts of `subprocess.Popen`'s interface that the harness uses.

    Attributes:
        stdin: While it is open, the run goes on.
        stdout: The run's output.
        returncode: The exit status, −N if signal N ended the run's group; None before.
        failed_to_start: Whether the launcher ended before it had started the run.
    """

    def __init__(self, stdin: BinaryIO, stdout: BinaryIO, report: int) -> None:
        self.stdin: BinaryIO | None = stdin
        self.stdout: BinaryIO | None = stdout
        self.returncode: int | None = None
        self.failed_to_start = False
        self._report = report
        self._text = b""
        os.set_blocking(report, False)

    @property
    def pid(self) -> int:
        """The process that leads the run's group; waits until the run has started.

        Raises:
            ProcessLookupError: It never started.
        """
        if b"\n" not in self._text and self.returncode is None and not self.failed_to_start:
            select.select([self._report], [], [], _MOST_SECONDS_TO_START)
            self.poll()
        if b"\n" not in self._text:
            raise ProcessLookupError("the run has not started")
        return int(self._text.split(b"\n")[0])

    def poll(self) -> int | None:
        """Return the exit status once the run has ended, else None."""
        if self.returncode is not None or self.failed_to_start:
            return self.returncode
        with contextlib.suppress(BlockingIOError):
            while block := os.read(self._report, 4096):
                self._text += block
            self._end()
        return self.returncode

    def _end(self) -> None:
        os.close(self._report)
        lines = self._text.decode().splitlines()
        if len(lines) == 2:
            self.returncode = int(lines[1])
        elif lines:
            # Only SIGKILL ends the leader before it reports the status.
            self.returncode = -signal.SIGKILL
        else:
            self.failed_to_start = True


class Launcher:
    """The warm process of one task.

    Args:
        module: The task's module.
        cwd: The repository.
        environment: Variables in addition to those of this process.
        further: Modules that the task imports while it runs.
    """

    def __init__(
        self,
        module: str,
        cwd: Path,
        environment: Mapping[str, str],
        further: Sequence[str] = _IMPORTED_LATER,
    ) -> None:
        self._control, other = socket.socketpair()
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _MODULE, module, *further],
                cwd=cwd,
                env={**os.environ, **environment, **_NO_GPU},
                stdin=other.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # Ctrl-C is not meant for it.
                start_new_session=True,
            )

    def start(
        self,
        arguments: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
    ) -> ForkedProcess | None:
        """Ask for a run; return None if the launcher has ended.

        Args:
            arguments: Those after the module's name.
            cwd: The working directory.
            environment: All variables.
        """
        if self._process.poll() is not None:
            return None
        (stdin, ours), (output, theirs), (report, status) = os.pipe(), os.pipe(), os.pipe()
        request = {"arguments": arguments, "cwd": str(cwd), "environment": dict(environment)}
        writer, reader = os.fdopen(ours, "wb", buffering=0), os.fdopen(output, "rb")
        try:
            socket.send_fds(self._control, [b"+"], [stdin, theirs, status])
            writer.write(json.dumps(request).encode() + b"\n")
        except OSError:
            os.close(report)
            writer.close()
            reader.close()
            return None
        finally:
            for file in (stdin, theirs, status):
                os.close(file)
        return ForkedProcess(writer, reader, report)

    def close(self) -> None:
        """End it; runs go on."""
        self._control.close()
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:  # It is still importing.
            self._process.kill()
            self._process.wait()


class Launchers:
    """The launchers of a command, each started when its task's first run starts.

    Args:
        cwd: The repository.
        environment: Variables of all runs, in addition to those of this process. Packages read some of them when they
            are imported, such as the number of threads.
        runs: The number of runs by task; a task with one run gets no launcher, because it would save nothing.
    """

    def __init__(self, cwd: Path, environment: Mapping[str, str], runs: Mapping[str, int]) -> None:
        self._cwd = cwd
        self._environment = dict(environment)
        self._modules = {TASKS[task].module for task, count in runs.items() if count > 1}
        self._launchers: dict[str, Launcher] = {}

    def start(
        self,
        command: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
    ) -> ForkedProcess | None:
        """Start a command in a copy of its task's launcher; return None if it needs a process of its own.

        These are commands other than a task's `python -m MODULE`, such as torchrun, tasks with one run, runs with
        another number of threads, and runs whose launcher has failed.
        """
        if list(command[:2]) != [sys.executable, "-m"] or command[2] not in self._modules:
            return None
        if any(environment.get(key) != value for key, value in self._environment.items()):
            return None
        module = command[2]
        if module not in self._launchers:
            self._launchers[module] = Launcher(module, self._cwd, self._environment)
        return self._launchers[module].start(command[3:], cwd, {**os.environ, **environment})

    def close(self) -> None:
        """End all launchers."""
        for launcher in self._launchers.values():
            launcher.close()
        self._launchers.clear()
