"""What a Slurm job calls. It holds only strings, so a job that waits survives changes of the code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

# Asks the command to store checkpoints and to end.
_STOP = signal.SIGTERM


class RunJob:
    """Trains one run with the command line of this repository.

    Slurm's time limit and submitit's preemption signal reach `checkpoint` through submitit; a job that is cancelled,
    requeued or preempted gets SIGTERM. Both pass the wish to end on and wait for the command.

    Args:
        command: The words after `python -m benchmarks`.
        folder: The working directory.
        variables: Environment variables of the command.
    """

    def __init__(
        self, command: Sequence[str], folder: str, variables: Mapping[str, str] | None = None
    ) -> None:
        self.command = list(command)
        self.folder = folder
        self.variables = dict(variables or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_process": None}

    def __call__(self) -> None:
        """Train the run, and end with the command's exit status."""
        # A group of its own, so that signals for this process alone do not reach it.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks", *self.command],
            cwd=self.folder,
            env={**os.environ, **self.variables},
            start_new_session=True,
        )
        # submitit only notes SIGTERM in its log.
        signal.signal(signal.SIGTERM, self._pass_on)
        status = self._process.wait()
        if status != 0:
            # No traceback: the command has printed the reason, and Slurm sees the failure.
            sys.stdout.flush()
            sys.exit(status if status > 0 else 128 - status)

    def checkpoint(self) -> Any:
        """Let the run store its state, and return what continues it; submitit then requeues the job."""
        import submitit.helpers

        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(_STOP)
            self._process.wait()
        return submitit.helpers.DelayedSubmission(self)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(_STOP)
